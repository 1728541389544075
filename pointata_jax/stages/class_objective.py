"""Pre-training by the names of classes: what a partial view of a shape is a view of.

Published 3D encoders learn from text or class names. Here a linear layer on the pooled tokens
predicts the class of each view (cross-entropy with smoothed labels), and a supervised contrast
("Supervised Contrastive Learning", Khosla et al., NeurIPS 2020) draws the pooled tokens of shapes
of one class together. In training the backbone sees a random part of the patches of a view, which
makes a step cheaper and acts as a cut with many holes. Where the hidden patches are reconstructed
as well, they are the other part.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, Key

from pointata_jax.models.point_mae import (
    BackboneConfig,
    MaskedAutoencoder,
    chamfer_distance,
    group_points,
    pooled_features,
)


class ShapeClassifier(nn.Module):
    """A masked autoencoder with a linear classifier on the pooled tokens of its backbone.

    Attributes:
      config: shape of the backbone.
      num_classes: number of classes.
      num_kept: patches of a view that the backbone sees in training.
      reconstruct: whether the other patches are reconstructed in training. Without it there is no
        decoder.
    """

    config: BackboneConfig
    num_classes: int
    num_kept: int
    reconstruct: bool = False

    def setup(self):
        """Makes the submodules."""
        self.autoencoder = MaskedAutoencoder(self.config)
        self.norm = nn.LayerNorm()
        self.head = nn.Dense(self.num_classes)

    def __call__(
        self,
        points: Float[Array | np.ndarray, "b n 3"],
        key: Key[Array, ""] | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "b {self.num_classes}"], Float[Array, "b features"], Float[Array, ""]]:
        """Logits and pooled tokens of views, and the Chamfer distance of hidden patches.

        Args:
          points: views in the unit sphere.
          key: randomness of the choice of patches; needed in training.
          train: whether patches are left out and BatchNorm uses batch statistics.

        Returns:
          The distance is 0 where nothing is reconstructed.
        """
        cfg = self.config
        patches, centers = group_points(points, cfg.num_groups, cfg.group_size)
        hidden = 0
        if train and key is not None and self.num_kept < cfg.num_groups:
            hidden = cfg.num_groups - self.num_kept
            order = jnp.argsort(jax.random.uniform(key, centers.shape[:2]), axis=1)
            patches = jnp.take_along_axis(patches, order[:, :, None, None], axis=1)
            centers = jnp.take_along_axis(centers, order[:, :, None], axis=1)
        tokens = self.autoencoder.encode_visible(patches, centers, hidden, train)
        distance = jnp.zeros(())
        # The decoder's parameters are made at initialization, where nothing is hidden yet.
        if self.reconstruct and (hidden or self.is_initializing()):
            rebuilt = self.autoencoder.rebuild(tokens, patches, centers, hidden)
            if hidden:
                distance = chamfer_distance(rebuilt["rebuilt"], rebuilt["target"])
        features = pooled_features(tokens)
        return self.head(self.norm(features)), features, distance


def standardized_directions(features: Float[Array, "b d"]) -> Float[Array, "b d"]:
    """Unit vectors of features that are standardized by the batch."""
    centered = features - features.mean(0)
    rows = centered / (jnp.sqrt(jnp.square(centered).mean(0)) + 1e-3)
    return rows / jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)


def supervised_contrast(
    directions: Float[Array, "b d"], labels: Int[Array, " b"], temperature: float
) -> Float[Array, ""]:
    """Supervised contrast over unit vectors; rows of one class attract, all others repel.

    A row that is alone in its class does not count. The value is 0 if every row is.
    """
    scores = directions @ directions.T / temperature
    itself = jnp.eye(len(labels), dtype=bool)
    log_share = jax.nn.log_softmax(jnp.where(itself, -jnp.inf, scores), axis=1)
    same = (labels[:, None] == labels[None, :]) & ~itself
    count = same.sum(1)
    losses = -jnp.where(same, log_share, 0.0).sum(1) / jnp.maximum(count, 1)
    return losses.sum() / jnp.maximum((count > 0).sum(), 1)


def classification_loss(
    logits: Float[Array, "b classes"], labels: Int[Array, " b"], label_smoothing: float
) -> Float[Array, ""]:
    """Mean cross-entropy with smoothed labels."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()

"""P4Transformer: point 4D convolutions and a transformer over tokens, trained from scratch.

The networks of Fan et al., "Point 4D Transformer Networks for Spatio-Temporal Modeling in Point
Cloud Videos", CVPR 2021: action recognition (a label per clip), segmentation of points, and the
variant of the HOI4D action-segmentation benchmark (a label per frame). They need no pre-trained
weights, so they are what adapted models are compared with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from pointata_jax import ops
from pointata_jax.errors import InputError
from pointata_jax.models.blocks import NORM_EPSILON
from pointata_jax.models.heads import anchor_weights, batch_norm
from pointata_jax.models.p4d import P4DConfig, check_clip, num_blocks
from pointata_jax.models.setting_names import check_setting_names

KINDS = ("clip", "frame", "point")
TIME_POOLINGS = ("max", "sum")
# The network for points, with widths as divisors of the token width. Each encoder level has a
# kernel in frames, a point stride and three widths; each decoder level has two widths.
ENCODER = (
    (1, 4, (32, 16, 8)),
    (1, 4, (8, 8, 4)),
    (3, 4, (4, 4, 2)),
    (1, 2, (2, 2, 1)),
)
DECODER = ((4, 4), (4, 4), (8, 8), (8, 8))
# Points of a frame for one token of the network for points: the product of its strides.
POINTS_PER_TOKEN = int(np.prod([stride for _, stride, _ in ENCODER]))
# Interpolation reads three tokens.
FEWEST_POINTS = 3 * POINTS_PER_TOKEN


@dataclasses.dataclass(frozen=True)
class P4TransformerConfig:
    """Architecture of a `P4Transformer`; the defaults are the network for MSR-Action3D.

    Attributes:
      kind: what gets a label: a "clip", a "frame" or a "point".
      num_classes: classes of the task.
      channels: extra channels of a point besides x, y, z.
      num_centers: tokens m of an anchor frame. Not used by kind "point", which has a token for each
        128 points.
      neighbors: points k per center from each frame of a tube; the first k in the order of the
        points that are inside the radius.
      radius: radius of a tube in units of the clip. The levels of kind "point" multiply it by
        1, 2, 4 and 8.
      anchor_stride: frames from one anchor frame to the next; the first anchor is frame 0. Not used
        by kind "point", in which every frame is an anchor.
      width: token width, a multiple of 32 for kind "point", whose other widths derive from it.
      depth: transformer layers.
      num_heads: attention heads.
      head_width: width of an attention head; heads need not add up to `width`.
      mlp_width: hidden width of the feed-forward layers, and of the head of clips and frames.
      embedder_relu: whether a ReLU follows the sum of token and position for kind "clip". For kind
        "frame" there always is one, for kind "point" tokens are never negative.
      dropout: rate in the feed-forward layers.
      head_dropout: rate before the last layer of the head of clips and frames.
      skip_radius_sq: points with a squared norm up to this never become centers, in squared units
        of the clip (see `ops.farthest_point_sample`). The published code has 1e-3. Keep 0 for clips
        that are centered on the origin, which would lose their middle.
    """

    kind: str = "clip"
    num_classes: int = 20
    channels: int = 0
    num_centers: int = 64
    neighbors: int = 32
    radius: float = 0.7
    anchor_stride: int = 2
    width: int = 1024
    depth: int = 5
    num_heads: int = 8
    head_width: int = 128
    mlp_width: int = 2048
    embedder_relu: bool = False
    dropout: float = 0.0
    head_dropout: float = 0.0
    skip_radius_sq: float = 0.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(
                f"a P4Transformer for labels of kind {self.kind!r} is unknown: choose one of "
                f"{', '.join(KINDS)}."
            )
        positive = (
            "num_classes num_centers neighbors radius anchor_stride width depth num_heads "
            "head_width mlp_width"
        )
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise InputError(
                    f"{name} of a P4Transformer is {getattr(self, name)}: give a positive number."
                )
        for name in ("channels", "skip_radius_sq"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    f"{name} of a P4Transformer is {getattr(self, name)}: give zero or more."
                )
        for name in ("dropout", "head_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(
                    f"{name} of a P4Transformer is {getattr(self, name)}: give a rate of at least "
                    "0 and below 1."
                )
        if self.kind == "point" and self.width % 32:
            raise InputError(
                f"width of a P4Transformer for points is {self.width}: give a multiple of 32, "
                "because the widths of its levels are fractions of it."
            )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-able values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> P4TransformerConfig:
        """Inverse of `to_dict`; `InputError` on a name that is no setting."""
        check_setting_names(cls, values, "P4Transformer")
        return cls(**values)


class P4DConv(nn.Module):
    """Point 4D convolution: features of centers from the points of the tubes around them.

    Anchor frames are 0, stride, 2 * stride, …, and their centers are farthest points. A point of a
    tube has the displacement (dx, dy, dz, dt) from its center, in the unit of the clip and in
    frames. Its feature is the sum of a linear map of the displacement and one of the point's own
    features, followed by further linear maps. Features are pooled over the neighbors by maximum,
    then over the frames of the tube. A frame before the first or after the last is replaced by the
    nearest one but keeps its dt.

    In training, batch statistics are those of all frames together. The published code calls
    BatchNorm once for each frame, so its statistics are those of a frame.

    Attributes:
      widths: width of each linear map; the first is that of the displacement and of the features.
      radius: of the ball around a center, in units of the clip.
      neighbors: points k of a ball, the first in the order of the points. All of them count where
        a frame has fewer.
      kernel: frames of a tube, an odd number.
      stride: frames from one anchor frame to the next.
      batch_norm: whether each linear map is followed by BatchNorm.
      activation: whether each is followed by ReLU, after BatchNorm.
      time_pooling: "max" or "sum" over the frames of a tube.
      skip_radius_sq: see `ops.farthest_point_sample`.
    """

    widths: tuple[int, ...]
    radius: float
    neighbors: int = 32
    kernel: int = 3
    stride: int = 1
    batch_norm: bool = False
    activation: bool = False
    time_pooling: str = "max"
    skip_radius_sq: float = 0.0

    def __call__(
        self,
        xyz: Float[Array, "b t n 3"],
        num_centers: int,
        features: Float[Array, "b t n c"] | None = None,
        train: bool = False,
    ) -> tuple[
        Float[Array, "b anchors {num_centers} {self.widths[-1]}"],
        Float[Array, "b anchors {num_centers} 3"],
    ]:
        """Features of the centers, and the centers.

        Args:
          xyz: coordinates of the points of all frames.
          num_centers: centers m of an anchor frame.
          features: features of the points; None for none.
          train: whether BatchNorm uses batch statistics.

        Raises:
          InputError: an even kernel, an unknown pooling, or fewer points than centers.
        """
        if self.kernel % 2 == 0 or self.time_pooling not in TIME_POOLINGS:
            raise InputError(
                f"a P4DConv has kernel {self.kernel} and time pooling {self.time_pooling!r}: give "
                f"an odd kernel and one of {', '.join(TIME_POOLINGS)}."
            )
        points, centers = self._tubes(xyz, num_centers, features)
        batch, anchors = points.shape[:2]
        flat = points.reshape(batch, anchors * num_centers, *points.shape[3:])
        pooled = self._in_blocks(flat, train)
        return pooled.reshape(batch, anchors, num_centers, self.widths[-1]), centers

    def _tubes(
        self,
        xyz: Float[Array, "b t n 3"],
        num_centers: int,
        features: Float[Array, "b t n c"] | None,
    ) -> tuple[Float[Array, "b anchors m kernel k columns"], Float[Array, "b anchors m 3"]]:
        """The points of the tubes, as displacements and features, and the centers."""
        batch, num_frames, num_points, _ = xyz.shape
        k = min(self.neighbors, num_points)
        anchors = np.arange(0, num_frames, self.stride)
        offsets = np.arange(self.kernel) - self.kernel // 2
        frames = np.clip(anchors[:, None] + offsets, 0, num_frames - 1)

        chosen = ops.farthest_point_sample(
            xyz[:, anchors], num_centers, skip_radius_sq=self.skip_radius_sq
        )
        centers = ops.gather(xyz[:, anchors], chosen)
        found = ops.ball_query(
            centers[:, :, None], xyz[:, frames], self.radius, k, order="index", empty="zero"
        )
        # Indices are brought into tube order before the gather: transposing features costs more.
        found = (found + (frames * num_points)[None, :, :, None, None]).swapaxes(2, 3)
        rows = xyz if features is None else jnp.concatenate([xyz, features], axis=-1)
        points = ops.gather(
            rows.reshape(batch, num_frames * num_points, -1), found.reshape(batch, -1)
        ).reshape(*found.shape, -1)
        displacement = points[..., :3] - centers[..., None, None, :]
        time = jnp.asarray(offsets[:, None, None], xyz.dtype)
        time = jnp.broadcast_to(time, (*found.shape, 1))
        return jnp.concatenate([displacement, time, points[..., 3:]], axis=-1), centers

    def _in_blocks(
        self, points: Float[Array, "b m kernel k columns"], train: bool
    ) -> Float[Array, "b m {self.widths[-1]}"]:
        """`_convolve` in blocks of tubes, unless BatchNorm needs all of them at once.

        The widest features exist for each of the 3k points of a tube: 300 MB for a clip of MSR.
        """
        batch, num_tubes, kernel, k, columns = points.shape
        if self.batch_norm or self.is_initializing():
            return self._convolve(points, train)
        blocks = num_blocks(batch, num_tubes, kernel * k)

        def step(module: P4DConv, carry: None, block: jax.Array):
            return carry, module._convolve(block, train)

        scan = nn.scan(
            nn.remat(
                step,
                prevent_cse=False,
                policy=jax.checkpoint_policies.save_only_these_names(ops.PLACES),
            ),
            variable_broadcast="params",
            split_rngs={"params": False},
        )
        cut = points.reshape(batch, blocks, num_tubes // blocks, kernel, k, columns).swapaxes(0, 1)
        _, pooled = scan(self, None, cut)
        return pooled.swapaxes(0, 1).reshape(batch, num_tubes, self.widths[-1])

    @nn.compact
    def _convolve(
        self, points: Float[Array, "b m kernel k columns"], train: bool
    ) -> Float[Array, "b m {self.widths[-1]}"]:
        """Pooled features of tubes, given as their points."""
        batch, num_tubes, kernel, k, columns = points.shape

        def layer(rows: jax.Array, width: int, name: str) -> jax.Array:
            rows = nn.Dense(width, use_bias=False, name=name)(rows)
            if self.batch_norm:
                rows = batch_norm(train, f"{name}_norm")(rows)
            return nn.relu(rows) if self.activation else rows

        # Two-dimensional operands: XLA's CPU matmul is markedly slower on higher ranks.
        points = points.reshape(-1, columns)
        rows = layer(points[:, :4], self.widths[0], "displacement")
        if columns > 4:
            rows = rows + layer(points[:, 4:], self.widths[0], "features")
        for i, width in enumerate(self.widths[1:]):
            rows = layer(rows, width, f"mlp_{i}")
        # A maximum over the frames of maxima over neighbors is one maximum over all.
        together = kernel * k if self.time_pooling == "max" else k
        pooled = ops.neighbor_max(rows.reshape(-1, together, rows.shape[-1]))
        return pooled.reshape(batch, num_tubes, -1, pooled.shape[-1]).sum(2)


class FeaturePropagation(nn.Module):
    """Carries features from the centers of a frame to its points.

    Features are interpolated between the three nearest centers by inverse distance and joined with
    the points' own. Linear maps without bias follow, each with BatchNorm and ReLU.

    Attributes:
      widths: width of each linear map.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(
        self,
        xyz: Float[Array, "b t n 3"],
        centers: Float[Array, "b t m 3"],
        features: Float[Array, "b t m c"],
        skip: Float[Array, "b t n s"] | None = None,
        train: bool = False,
    ) -> Float[Array, "b t n {self.widths[-1]}"]:
        """Features of the points.

        Args:
          xyz: coordinates of the points.
          centers: coordinates of the centers, at least three.
          features: features of the centers.
          skip: the points' own features; None for none.
          train: whether BatchNorm uses batch statistics.
        """
        spread = ops.three_nn_interpolate(xyz, centers, features)
        if skip is not None:
            spread = jnp.concatenate([spread, skip], axis=-1)
        rows = spread.reshape(-1, spread.shape[-1])
        for i, width in enumerate(self.widths):
            rows = nn.Dense(width, use_bias=False, name=f"mlp_{i}")(rows)
            rows = nn.relu(batch_norm(train, f"mlp_{i}_norm")(rows))
        return rows.reshape(*xyz.shape[:3], self.widths[-1])


class P4TransformerLayer(nn.Module):
    """Pre-norm transformer layer in which a GELU follows the attention's output projection.

    As published, there is no output projection where one head has the width of the tokens.

    Attributes:
      num_heads: attention heads.
      head_width: width of a head.
      mlp_width: hidden width of the feed-forward layer.
      dropout: rate in the feed-forward layer.
    """

    num_heads: int
    head_width: int
    mlp_width: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Float[Array, "b n d"], train: bool = False) -> Float[Array, "b n d"]:
        """Transforms tokens.

        Args:
          x: tokens to which the caller has added their position.
          train: whether dropout is on.
        """
        batch, length, width = x.shape
        inner = self.num_heads * self.head_width
        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm_1")(x).reshape(-1, width)
        qkv = nn.Dense(3 * inner, use_bias=False, name="qkv")(rows)
        # Columns of the published matrix are ordered q, k, v, then head, then channel.
        qkv = qkv.reshape(batch, length, 3, self.num_heads, self.head_width)
        rows = jax.nn.dot_product_attention(*(qkv[:, :, i] for i in range(3))).reshape(-1, inner)
        if self.num_heads > 1 or self.head_width != width:
            rows = nn.gelu(nn.Dense(width, name="proj")(rows), approximate=False)
        x = x + rows.reshape(x.shape)

        rows = nn.LayerNorm(epsilon=NORM_EPSILON, name="norm_2")(x).reshape(-1, width)
        rows = nn.gelu(nn.Dense(self.mlp_width, name="mlp_0")(rows), approximate=False)
        rows = nn.Dropout(self.dropout, deterministic=not train)(rows)
        rows = nn.Dense(width, name="mlp_1")(rows)
        rows = nn.Dropout(self.dropout, deterministic=not train)(rows)
        return x + rows.reshape(x.shape)


class P4Transformer(nn.Module):
    """The model: logits of a clip, of its frames or of its points.

    Kind "clip": one point 4D convolution makes tokens, to which a linear map of (x, y, z, t) is
    added. All tokens of the clip attend to each other, and the head reads their maximum.

    Kind "frame": the maximum of the tokens of each anchor frame is the token of that frame, and
    these attend to each other. Logits are interpolated linearly to the frames between the anchors.
    With `anchor_stride=1` it is the network of the HOI4D benchmark.

    Kind "point": four convolutions, of which the third spans three frames. The tokens of all frames
    attend to each other. Four levels of interpolation carry them back to the points. BatchNorm
    exists in this kind only.

    The result depends on the order of the points: it decides which of them a ball takes, and the
    first point of a frame is its first center. The published loaders shuffle them.

    Attributes:
      config: architecture.
    """

    config: P4TransformerConfig

    def setup(self):
        """Creates the submodules."""
        cfg = self.config
        self.layers = [
            P4TransformerLayer(cfg.num_heads, cfg.head_width, cfg.mlp_width, cfg.dropout)
            for _ in range(cfg.depth)
        ]
        if cfg.kind == "point":
            self.encoder = [
                P4DConv(
                    widths=tuple(cfg.width // divisor for divisor in divisors),
                    radius=cfg.radius * 2**level,
                    neighbors=cfg.neighbors,
                    kernel=kernel,
                    batch_norm=True,
                    activation=True,
                    time_pooling="sum",
                    skip_radius_sq=cfg.skip_radius_sq,
                )
                for level, (kernel, _, divisors) in enumerate(ENCODER)
            ]
            self.decoder = [
                FeaturePropagation(tuple(cfg.width // divisor for divisor in divisors))
                for divisors in DECODER
            ]
        else:
            self.tube_embedding = P4DConv(
                widths=(cfg.width,),
                radius=cfg.radius,
                neighbors=cfg.neighbors,
                stride=cfg.anchor_stride,
                skip_radius_sq=cfg.skip_radius_sq,
            )
            self.position = nn.Dense(cfg.width)
            self.head_norm = nn.LayerNorm(epsilon=NORM_EPSILON)
            self.hidden = nn.Dense(cfg.mlp_width)
            self.head_dropout = nn.Dropout(cfg.head_dropout)
        self.logits = nn.Dense(cfg.num_classes)

    def __call__(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"], train: bool = False
    ) -> (
        Float[Array, "b {self.config.num_classes}"]
        | Float[Array, "b t {self.config.num_classes}"]
        | Float[Array, "b t n {self.config.num_classes}"]
    ):
        """Logits of each clip, frame or point, by the configuration's `kind`.

        Args:
          clip: points of the frames in any unit; `radius` and `skip_radius_sq` are in it.
          train: whether dropout is on (key "dropout") and BatchNorm uses batch statistics, which
            then update the collection "batch_stats".

        Raises:
          InputError: the clip's shape does not fit the configuration.
        """
        if self.config.kind == "point":
            return self._label_points(clip, train)
        tokens, centers = self.tubes(clip)
        batch, anchors, num_centers, width = tokens.shape
        # The published time of an anchor frame is its number, counted from one.
        time = jnp.arange(1, anchors + 1, dtype=centers.dtype)[:, None, None]
        place = jnp.concatenate([centers, jnp.broadcast_to(time, (*tokens.shape[:3], 1))], axis=-1)
        tokens = self.position(place.reshape(-1, 4)).reshape(tokens.shape) + tokens
        if self.config.kind == "clip":
            tokens = nn.relu(tokens) if self.config.embedder_relu else tokens
            tokens = self._transform(tokens.reshape(batch, anchors * num_centers, width), train)
            return self._head(tokens.max(1), train)
        tokens = self._transform(nn.relu(ops.neighbor_max(tokens)), train)
        logits = self._head(tokens.reshape(-1, width), train).reshape(batch, anchors, -1)
        if self.config.anchor_stride == 1:
            return logits
        weights = anchor_weights(clip.shape[1], anchors, self.config.anchor_stride)
        return jnp.einsum("ta,bac->btc", weights, logits)

    def tubes(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"]
    ) -> tuple[
        Float[Array, "b anchors {self.config.num_centers} {self.config.width}"],
        Float[Array, "b anchors {self.config.num_centers} 3"],
    ]:
        """Features of the tubes of kind "clip" or "frame" without position, and their centers.

        Args:
          clip: see `__call__`.

        Raises:
          InputError: the clip's shape does not fit the configuration, or the kind is "point".
        """
        cfg = self.config
        if cfg.kind == "point":
            raise InputError(
                'a P4Transformer of kind "point" has four levels of tubes: ask for the tubes of '
                'kind "clip" or "frame".'
            )
        check_clip(
            clip,
            P4DConfig(num_centers=cfg.num_centers, neighbors=cfg.neighbors, channels=cfg.channels),
        )
        xyz, features = _split_columns(clip)
        return self.tube_embedding(xyz, cfg.num_centers, features)

    def _transform(self, tokens: Float[Array, "b n d"], train: bool) -> Float[Array, "b n d"]:
        """Tokens after all transformer layers; there is no final norm."""
        for layer in self.layers:
            tokens = layer(tokens, train)
        return tokens

    def _head(
        self, rows: Float[Array, "rows d"], train: bool
    ) -> Float[Array, "rows {self.config.num_classes}"]:
        """Logits of clips or frames."""
        hidden = nn.gelu(self.hidden(self.head_norm(rows)), approximate=False)
        return self.logits(self.head_dropout(hidden, deterministic=not train))

    def _label_points(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"], train: bool
    ) -> Float[Array, "b t n {self.config.num_classes}"]:
        """Logits of all points of all frames."""
        check_clip(clip, P4DConfig(num_centers=1, neighbors=1, channels=self.config.channels))
        if clip.shape[2] < FEWEST_POINTS:
            raise InputError(
                f"frames of a clip hold {clip.shape[2]} points, but a P4Transformer for points has "
                f"a token for each {POINTS_PER_TOKEN} and needs three of them: sample at least "
                f"{FEWEST_POINTS} points per frame."
            )
        xyz, skip = _split_columns(clip)
        # Only the points themselves may lack features.
        levels: list[tuple[jax.Array, Any]] = [(xyz, skip)]
        for convolve, (_, stride, _) in zip(self.encoder, ENCODER, strict=True):
            skip, xyz = convolve(xyz, xyz.shape[2] // stride, skip, train)
            levels.append((xyz, skip))
        centers, tokens = levels.pop()
        rows = self._transform(tokens.reshape(tokens.shape[0], -1, tokens.shape[-1]), train)
        features = rows.reshape(tokens.shape)
        for propagate, (xyz, skip) in zip(self.decoder, reversed(levels), strict=True):
            features, centers = propagate(xyz, centers, features, skip, train), xyz
        logits = self.logits(features.reshape(-1, features.shape[-1]))
        return logits.reshape(*clip.shape[:3], self.config.num_classes)


def _split_columns(
    clip: Float[Array | np.ndarray, "b t n c"],
) -> tuple[Float[Array, "b t n 3"], Float[Array, "b t n channels"] | None]:
    """Coordinates and channels of points; None where there are no channels."""
    clip = jnp.asarray(clip)
    return clip[..., :3], clip[..., 3:] if clip.shape[-1] > 3 else None

"""P4D embedder: a point-cloud clip becomes tokens, one per spatio-temporal tube.

A tube (Fan et al., "Point 4D Transformer Networks", CVPR 2021) is a center on an anchor frame with
its nearest points in that frame and in the two frames beside it. The network on a tube is the
mini-PointNet of Point-MAE with more inputs, so that its tokens live where the frozen backbone's
own patch tokens do, and so that it can start from the backbone's own weights
(`embedder_from_backbone`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from pointata_jax import ops
from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import NORM_EPSILON

# An unscaled time offset of one drowns displacements, which are below one after the division by the
# radius and mostly far below.
TIME_SCALE = 0.5
# Frames of a tube relative to its anchor.
TUBE_OFFSETS = (-1, 0, 1)
NORMALIZATIONS = ("layer", "none")
# Points that go through the network at a time. On a CPU a block that stays in the cache makes the
# backward pass three times faster although it recomputes the forward one; an accelerator wants
# large operands, and there the bound is on memory.
BLOCK_ROWS = {"cpu": 1 << 10}
BLOCK_ROWS_ACCELERATOR = 1 << 18


@dataclasses.dataclass(frozen=True)
class P4DConfig:
    """Shape of a P4D embedder.

    Attributes:
      width: token width D.
      num_centers: tokens n per anchor frame.
      neighbors: points k taken from each of the three frames of a tube.
      radius: radius of a tube in the units of the (normalized) clip.
      channels: extra channels C of a point besides x, y, z.
      anchor_stride: every how many frames an anchor is placed, the first on frame 0.
      widths: hidden widths (w0, w1, w2).
      normalization: "layer" for LayerNorm, "none" when a backbone's normalizations are folded into
        the weights.
      max_displacement: longest displacement in radii. Where a ball is empty the nearest point
        stands in, and that may be as far away as the clip is wide; beyond this length only its
        direction is kept. It is above one so that a stand-in can be told from a point on the rim.
    """

    width: int = 384
    num_centers: int = 64
    neighbors: int = 8
    radius: float = 0.2
    channels: int = 0
    anchor_stride: int = 2
    widths: tuple[int, int, int] = (64, 128, 256)
    normalization: str = "layer"
    max_displacement: float = 3.0

    def __post_init__(self):
        if self.normalization not in NORMALIZATIONS:
            raise InputError(
                f"embedder normalization {self.normalization!r} is unknown: "
                f"choose one of {', '.join(NORMALIZATIONS)}."
            )
        for name in ("num_centers", "neighbors", "anchor_stride", "radius"):
            if getattr(self, name) <= 0:
                raise InputError(
                    f"embedder {name} is {getattr(self, name)}: give a positive number."
                )

    def num_anchors(self, num_frames: int) -> int:
        """Anchor frames T' of a clip of `num_frames` frames: 0, stride, 2 * stride, …"""
        return -(-num_frames // self.anchor_stride)


def check_clip(clip: jax.Array, config: P4DConfig) -> None:
    """Raises `InputError` unless `clip` is `[B, T, N, 3+C]` with enough points for `config`."""
    if clip.ndim != 4:
        raise InputError(
            f"a clip has shape {tuple(clip.shape)}, which is not [batch, frames, points, "
            f"{3 + config.channels}]: add or remove leading axes."
        )
    if clip.shape[-1] != 3 + config.channels:
        raise InputError(
            f"points of a clip carry {clip.shape[-1]} numbers, but the model was built for x, y, z "
            f"and {config.channels} extra channels: give clips [B, T, N, {3 + config.channels}] or "
            f"set channels={clip.shape[-1] - 3} in the configuration."
        )
    needed = max(config.neighbors, config.num_centers)
    if clip.shape[2] < needed:
        raise InputError(
            f"frames of a clip hold {clip.shape[2]} points, fewer than the {needed} that "
            f"{config.num_centers} centers and {config.neighbors} neighbors need: sample more "
            "points per frame, or lower num_centers or neighbors."
        )


def anchor_centers(xyz: jax.Array, num_centers: int) -> jax.Array:
    """Farthest-point centers of frames, `[..., N, 3] -> [..., n, 3]`.

    The walk starts at the point farthest from the clip's origin, so the result is a function of the
    set of points and not of their order. A frame with fewer than n distinct points repeats its
    starting point, for the same reason.
    """
    start = jnp.argmax(jnp.square(xyz).sum(-1), axis=-1).astype(jnp.int32)
    chosen = ops.farthest_point_sample(xyz, num_centers, start=start)
    centers = ops.gather(xyz, chosen)
    return jnp.where(ops.repeated_points(centers)[..., None], centers[..., :1, :], centers)


def tubes(clip: jax.Array, config: P4DConfig) -> tuple[jax.Array, jax.Array]:
    """Cuts a clip into tubes.

    Args:
      clip: `[B, T, N, 3+C]`, normalized.
      config: n centers, k neighbors in each frame, radius, stride.

    Returns:
      Tubes `[B, T', n, 3k, 4+C]` – displacement from the center in radii, half the frame offset,
      channels; ordered by frame, then by distance – and centers `[B, T', n, 3]`. A frame before the
      first or after the last is replaced by its neighbor but keeps its offset. A point that equals
      another of its frame in all columns is a copy (sparse frames are filled up with them) and
      counts once. A frame with fewer than k different points in the ball repeats the nearest one,
      which a maximum does not notice; with none, the nearest point of the frame stands in (see
      `P4DConfig.max_displacement`).
    """
    batch, num_frames, num_points, _ = clip.shape
    n, k = config.num_centers, config.neighbors
    xyz = jax.lax.stop_gradient(clip[..., :3])
    anchors = np.arange(0, num_frames, config.anchor_stride)
    frames = np.clip(anchors[:, None] + np.asarray(TUBE_OFFSETS), 0, num_frames - 1)
    tube_frames = len(TUBE_OFFSETS)

    centers = anchor_centers(xyz[:, anchors], n)
    different = ~ops.repeated_points(clip)
    # One search over the batch, all anchors and the three frames of each.
    asked = jnp.broadcast_to(centers[:, :, None], (batch, len(anchors), tube_frames, n, 3))
    found = ops.ball_query(
        asked,
        xyz[:, frames],
        config.radius,
        k,
        order="distance",
        empty="nearest",
        valid=different[:, frames],
    )
    # Indices, not features, are brought into tube order: they are the smallest thing to transpose.
    found = (found + (frames * num_points)[None, :, :, None, None]).swapaxes(2, 3)
    points = ops.gather(
        clip.reshape(batch, num_frames * num_points, -1), found.reshape(batch, -1)
    ).reshape(batch, len(anchors), n, tube_frames * k, -1)

    displacement = (points[..., :3] - centers[..., None, :]) / config.radius
    squared = jnp.square(displacement).sum(-1, keepdims=True)
    limit = config.max_displacement
    displacement *= limit / jnp.sqrt(jnp.maximum(squared, limit**2))
    offsets = np.repeat(np.asarray(TUBE_OFFSETS, np.float32) * TIME_SCALE, k)
    time = jnp.broadcast_to(offsets[:, None].astype(clip.dtype), (*points.shape[:-1], 1))
    return jnp.concatenate([displacement, time, points[..., 3:]], axis=-1), centers


class P4DEmbedder(nn.Module):
    """Tokens of a clip, `[B, T, N, 3+C] -> ([B, T', n, D], centers [B, T', n, 3])`.

    Per neighbor h = Dense(ReLU(norm(Dense(input)))), g = max of h over the tube; the token is the
    maximum over the tube of Dense(ReLU(norm(W_g g + W_h h))). The last Dense is called "out".
    """

    config: P4DConfig

    def setup(self):
        cfg = self.config
        w0, w1, w2 = cfg.widths
        self.first_dense_0 = nn.Dense(w0)
        self.first_dense_1 = nn.Dense(w1)
        # The matrix on [g; h] in two halves: g is multiplied once per token, not once per point.
        self.second_global = nn.Dense(w2)
        self.second_local = nn.Dense(w2, use_bias=False)
        self.out = nn.Dense(cfg.width)
        if cfg.normalization == "layer":
            self.first_norm = nn.LayerNorm(epsilon=NORM_EPSILON)
            self.second_norm = nn.LayerNorm(epsilon=NORM_EPSILON)

    def encode(self, neighborhoods: jax.Array) -> jax.Array:
        """Tokens `[B, n, D]` of tubes `[B, n, K, 4+C]`; K need not be 3k."""
        batch, n, size, features = neighborhoods.shape
        budget = BLOCK_ROWS.get(jax.default_backend(), BLOCK_ROWS_ACCELERATOR)
        # Blocks are cut across the tubes of a clip and never across clips: the batch axis may be
        # split over devices, and each then works on its own part.
        fitting = max(1, budget // (batch * size))
        blocks = next(b for b in range(1, n + 1) if n % b == 0 and n // b <= fitting)
        merged = self._merged_layers()
        if blocks == 1 or self.is_initializing():
            return self._encode(neighborhoods, merged)
        cut = neighborhoods.reshape(batch, blocks, n // blocks, size, features).swapaxes(0, 1)

        def step(module: P4DEmbedder, merged, block: jax.Array):
            return merged, module._encode(block, merged)

        scan = nn.scan(
            nn.remat(
                step,
                prevent_cse=False,
                policy=jax.checkpoint_policies.save_only_these_names(ops.PLACES),
            ),
            variable_broadcast="params",
            split_rngs={"params": False},
        )
        _, tokens = scan(self, merged, cut)
        return tokens.swapaxes(0, 1).reshape(batch, n, self.config.width)

    def _merged_layers(self) -> tuple[jax.Array, jax.Array]:
        """W_h h as one layer on what h is made of: kernel `[w0, w2]`, bias `[w2]`.

        h is linear in it, so the two matrices are multiplied once instead of once per point, which
        saves a sixth of the network.
        """
        w0 = self.config.widths[0]
        if self.is_initializing():
            self.second_local(self.first_dense_1(jnp.zeros((1, w0))))
        first = self.first_dense_1.variables["params"]
        second = self.second_local.variables["params"]["kernel"]
        return first["kernel"] @ second, first["bias"] @ second

    def _encode(self, neighborhoods: jax.Array, merged: tuple[jax.Array, jax.Array]) -> jax.Array:
        *lead, size, features = neighborhoods.shape
        normalize = self.config.normalization == "layer"
        # Two-dimensional operands: XLA's CPU matmul is markedly slower on higher ranks.
        rows = self.first_dense_0(neighborhoods.reshape(-1, features))
        rows = nn.relu(self.first_norm(rows) if normalize else rows)
        local = self.first_dense_1(rows)
        kernel, bias = merged
        largest = ops.neighbor_max(local.reshape(-1, size, local.shape[-1]))
        pooled = self.second_global(largest) + bias
        rows = (rows @ kernel).reshape(-1, size, pooled.shape[-1]) + pooled[:, None]
        rows = rows.reshape(-1, pooled.shape[-1])
        rows = self.out(nn.relu(self.second_norm(rows) if normalize else rows))
        tokens = ops.neighbor_max(rows.reshape(-1, size, self.config.width))
        return tokens.reshape(*lead, self.config.width)

    def __call__(self, clip: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Tokens `[B, T', n, D]` and centers `[B, T', n, 3]`; `InputError` on a wrong shape."""
        check_clip(clip, self.config)
        neighborhoods, centers = tubes(clip, self.config)
        batch, anchors, n = centers.shape[:3]
        tokens = self.encode(neighborhoods.reshape(batch, anchors * n, *neighborhoods.shape[3:]))
        return tokens.reshape(batch, anchors, n, self.config.width), centers


def embedder_from_backbone(backbone_variables: Mapping[str, Any], config: P4DConfig) -> dict:
    """Parameters of a `P4DEmbedder` that computes what the backbone's patch embedder computes.

    The stored statistics of both BatchNorms are folded into the Dense layers before them, the rows
    of the first kernel for x, y, z are multiplied by the radius (this embedder reads displacements
    in radii), and the new input rows – frame offset, channels – are zero. So on a tube whose three
    frames hold the same static points the token is the 3D token of those points.

    Args:
      backbone_variables: `{"params", "batch_stats"}` of a `Backbone`.
      config: must have `normalization="none"` and the backbone's widths.

    Returns:
      The parameter tree of `P4DEmbedder(config)`.

    Raises:
      InputError: if normalization or widths do not fit.
    """
    if config.normalization != "none":
        raise InputError(
            "an embedder copied from the backbone carries the backbone's normalization inside its "
            f"weights, but the configuration says normalization={config.normalization!r}: "
            'set normalization="none" (embedder_normalization of a PointATAConfig).'
        )
    try:
        params = backbone_variables["params"]["embedder"]
        stats = backbone_variables["batch_stats"]["embedder"]
    except KeyError as missing:
        raise InputError(
            f"the backbone has no {missing} for its patch embedder, so no video embedder can start "
            "from it: load a backbone file that includes the patch embedder."
        ) from missing

    if "reduce_dim" in backbone_variables["params"]:
        raise InputError(
            "this backbone brings its patch tokens to width by a linear layer after the maximum "
            "(Point-BERT, ULIP), which a video embedder lacks: start the embedder from stage 1 or "
            'from random weights (embedder_init="random").'
        )

    def folded(dense: str, norm: str) -> tuple[jax.Array, jax.Array]:
        scale = params[norm]["scale"] / jnp.sqrt(stats[norm]["var"] + NORM_EPSILON)
        shift = params[norm]["bias"] - stats[norm]["mean"] * scale
        return params[dense]["kernel"] * scale, params[dense]["bias"] * scale + shift

    first_kernel, first_bias = folded("first_conv_0", "first_norm")
    second_kernel, second_bias = folded("second_conv_0", "second_norm")
    w1 = params["first_conv_1"]["kernel"].shape[1]
    widths = (first_kernel.shape[1], w1, second_kernel.shape[1])
    width = params["second_conv_1"]["kernel"].shape[1]
    if widths != tuple(config.widths) or width != config.width:
        raise InputError(
            f"the backbone's patch embedder has widths {widths} -> {width}, the video embedder "
            f"{tuple(config.widths)} -> {config.width}: build the embedder with the widths of the "
            "backbone."
        )
    if first_kernel.shape[0] != 3:
        raise InputError(
            f"the backbone's patch embedder reads {first_kernel.shape[0]} numbers per point, not "
            "x, y, z: a video embedder can only start from one that reads coordinates alone."
        )
    new_rows = jnp.zeros((1 + config.channels, widths[0]), first_kernel.dtype)
    return {
        "first_dense_0": {
            "kernel": jnp.concatenate([first_kernel * config.radius, new_rows]),
            "bias": first_bias,
        },
        "first_dense_1": dict(params["first_conv_1"]),
        # Point-MAE concatenates [global, local]: the upper half of the matrix is g's.
        "second_global": {"kernel": second_kernel[:w1], "bias": second_bias},
        "second_local": {"kernel": second_kernel[w1:]},
        "out": dict(params["second_conv_1"]),
    }

"""P4D embedder: a point-cloud clip becomes tokens, one per spatio-temporal tube.

A tube (Fan et al., "Point 4D Transformer Networks", CVPR 2021) is a center on an anchor frame with
its nearest points in that frame and in the two frames beside it. The network on a tube is the
mini-PointNet of Point-MAE with more inputs. So its tokens resemble the patch tokens that the frozen
backbone was trained on, and it can start from the backbone's weights (`embedder_from_backbone`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pointata_jax import ops
from pointata_jax.errors import InputError
from pointata_jax.models.point_mae import NORM_EPSILON

# Displacements are divided by the radius and mostly far below one. An unscaled time offset of one
# would dominate them.
TIME_SCALE = 0.5
NORMALIZATIONS = ("layer", "none")
# Points that go through the network at a time. On a CPU a block that stays in the cache makes the
# backward pass three times faster although it recomputes the forward one. An accelerator needs
# large operands, so there the number only bounds memory.
BLOCK_ROWS = {"cpu": 1 << 10}
BLOCK_ROWS_ACCELERATOR = 1 << 18


@dataclasses.dataclass(frozen=True)
class P4DConfig:
    """Shape of a P4D embedder.

    Attributes:
      width: token width d.
      num_centers: centers m, and so tokens, of each anchor frame.
      neighbors: points k taken from each frame of a tube.
      radius: radius of a tube in the units of the (normalized) clip.
      channels: extra channels of a point besides x, y, z.
      anchor_stride: frames from one anchor frame to the next; the first anchor is frame 0.
      widths: hidden widths (w0, w1, w2).
      normalization: "layer" for LayerNorm, "none" when a backbone's normalizations are folded into
        the weights.
      tube_frames: frames of a tube, with the anchor in the middle; 1 sees no motion.
      max_displacement: longest displacement in radii. An empty ball takes the nearest point of the
        frame, which may be as far away as the clip is wide; beyond this length only its direction
        is kept. A value above one distinguishes such a point from one on the surface of the ball.
    """

    width: int = 384
    num_centers: int = 64
    neighbors: int = 8
    radius: float = 0.2
    channels: int = 0
    anchor_stride: int = 2
    widths: tuple[int, int, int] = (64, 128, 256)
    normalization: str = "layer"
    tube_frames: int = 3
    max_displacement: float = 3.0
    output: int | None = None
    channel_constants: tuple[float, ...] = ()

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
        if self.tube_frames not in (1, 3):
            raise InputError(f"tube_frames is {self.tube_frames}: a tube has 1 or 3 frames.")

    def num_anchors(self, num_frames: int) -> int:
        """Number of anchor frames (0, stride, 2 * stride, …) in a clip of `num_frames` frames."""
        return -(-num_frames // self.anchor_stride)


def check_clip(clip: jax.Array | np.ndarray, config: P4DConfig) -> None:
    """Checks the shape of a clip.

    Args:
      clip: should be `[b, t, n, 3 + channels]`.
      config: how many channels and points it must have.

    Raises:
      InputError: another shape, or fewer points than centers or neighbors.
    """
    if clip.ndim != 4:
        raise InputError(
            f"a clip has shape {tuple(clip.shape)}, which is not [batch, frames, points, "
            f"{3 + config.channels}]: add or remove leading axes."
        )
    if clip.shape[-1] != 3 + config.channels:
        raise InputError(
            f"points of a clip carry {clip.shape[-1]} numbers, but the model was built for x, y, z "
            f"and {config.channels} extra channels: give clips [b, t, n, {3 + config.channels}] or "
            f"set channels={clip.shape[-1] - 3} in the configuration."
        )
    needed = max(config.neighbors, config.num_centers)
    if clip.shape[2] < needed:
        raise InputError(
            f"frames of a clip hold {clip.shape[2]} points, fewer than the {needed} that "
            f"{config.num_centers} centers and {config.neighbors} neighbors need: sample more "
            "points per frame, or lower num_centers or neighbors."
        )


def anchor_centers(
    xyz: Float[Array, "*batch n 3"], num_centers: int
) -> Float[Array, "*batch {num_centers} 3"]:
    """Farthest-point centers of frames.

    Sampling starts at the point farthest from the clip's origin, so the result is a function of the
    set of points and not of their order. For the same reason a frame with fewer than `num_centers`
    distinct points repeats its starting point.

    Args:
      xyz: coordinates of the points of each frame.
      num_centers: centers m of a frame.
    """
    start = jnp.argmax(jnp.square(xyz).sum(-1), axis=-1).astype(jnp.int32)
    chosen = ops.farthest_point_sample(xyz, num_centers, start=start)
    centers = ops.gather(xyz, chosen)
    return jnp.where(ops.repeated_points(centers)[..., None], centers[..., :1, :], centers)


def tubes(
    clip: Float[Array | np.ndarray, "b t n 3+{config.channels}"], config: P4DConfig
) -> tuple[
    Float[Array, "b anchors m {config.tube_frames}*{config.neighbors} 4+{config.channels}"],
    Float[Array, "b anchors m 3"],
]:
    """Cuts a clip into tubes.

    A frame before the first or after the last is replaced by its neighbor but keeps its offset. A
    point that equals another of its frame in all columns is a copy (sparse frames are filled up
    with copies) and counts once. A frame with fewer than k different points in the ball repeats the
    nearest one, which does not change a maximum. A frame with none takes its nearest point (see
    `P4DConfig.max_displacement`).

    Args:
      clip: normalized.
      config: m centers, k neighbors in each frame, radius, stride.

    Returns:
      Tubes and their centers. The points of a tube are ordered by frame, then by distance. Their
      columns are the displacement from the center in radii, half the frame offset, the channels.
    """
    clip = jnp.asarray(clip)
    batch, num_frames, num_points, _ = clip.shape
    n, k = config.num_centers, config.neighbors
    xyz = jax.lax.stop_gradient(clip[..., :3])
    anchors = np.arange(0, num_frames, config.anchor_stride)
    tube_frames = config.tube_frames
    offsets = np.arange(tube_frames) - tube_frames // 2
    frames = np.clip(anchors[:, None] + offsets, 0, num_frames - 1)

    centers = anchor_centers(xyz[:, anchors], n)
    different = ~ops.repeated_points(clip)
    # One search over the batch, all anchors and the frames of each tube.
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
    # Indices are brought into tube order before the gather: transposing features costs more.
    found = (found + (frames * num_points)[None, :, :, None, None]).swapaxes(2, 3)
    points = ops.gather(
        clip.reshape(batch, num_frames * num_points, -1), found.reshape(batch, -1)
    ).reshape(batch, len(anchors), n, tube_frames * k, -1)

    displacement = (points[..., :3] - centers[..., None, :]) / config.radius
    squared = jnp.square(displacement).sum(-1, keepdims=True)
    limit = config.max_displacement
    displacement *= limit / jnp.sqrt(jnp.maximum(squared, limit**2))
    times = np.repeat(offsets.astype(np.float32) * TIME_SCALE, k)
    time = jnp.broadcast_to(times[:, None].astype(clip.dtype), (*points.shape[:-1], 1))
    return jnp.concatenate([displacement, time, points[..., 3:]], axis=-1), centers


def num_blocks(batch: int, num_tubes: int, size: int) -> int:
    """Number of equal blocks that the tubes of each clip are cut into, by `BLOCK_ROWS`.

    Blocks are cut across the tubes of a clip and never across clips: the batch axis may be split
    over devices, and each device then works on its own part.

    Args:
      batch: clips.
      num_tubes: tubes of a clip.
      size: points of a tube.
    """
    budget = BLOCK_ROWS.get(jax.default_backend(), BLOCK_ROWS_ACCELERATOR)
    fitting = max(1, budget // (batch * size))
    return next(
        b for b in range(1, num_tubes + 1) if num_tubes % b == 0 and num_tubes // b <= fitting
    )


def fold_dense(
    first: Mapping[str, jax.Array], second: Mapping[str, jax.Array]
) -> dict[str, jax.Array]:
    """Parameters of one Dense layer that does what two in a row do.

    `second(first(x)) = (x K1 + b1) K2 + b2 = x (K1 K2) + (b1 K2 + b2)`, up to rounding. Worth it
    where both layers run on many rows: the matrices are multiplied once instead of once per row.

    Args:
      first: parameters of the layer that runs first, "kernel" `[in, hidden]` and "bias"
        `[hidden]`; a layer without bias has no "bias".
      second: parameters of the layer on its output, "kernel" `[hidden, out]` and "bias" `[out]`,
        likewise.

    Returns:
      "kernel" `[in, out]`, and "bias" `[out]` unless both layers lack one.
    """
    folded = {"kernel": first["kernel"] @ second["kernel"]}
    biases = [first["bias"] @ second["kernel"]] if "bias" in first else []
    biases += [second["bias"]] if "bias" in second else []
    if biases:
        folded["bias"] = sum(biases[1:], biases[0])
    return folded


class P4DEmbedder(nn.Module):
    """Tokens of a clip, one for each tube.

    For each point of a tube h = Dense(ReLU(norm(Dense(point)))), and g is the maximum of h over the
    tube. The token is the maximum over the tube of Dense(ReLU(norm(W_g g + W_h h))). This is
    Point-MAE's mini-PointNet with its matrix on [g; h] in two parts, so that g is multiplied once
    per tube and not once per point.

    Attributes:
      config: shape of the embedder.
      fold: whether W_h and the Dense layer that makes h run as one layer (`fold_dense`), which
        saves a sixth of the network; tokens are the same up to rounding.
    """

    config: P4DConfig
    fold: bool = True

    def setup(self):
        """Creates the layers."""
        cfg = self.config
        w0, w1, w2 = cfg.widths
        self.first_dense_0 = nn.Dense(w0)
        self.first_dense_1 = nn.Dense(w1)
        self.second_global = nn.Dense(w2)
        self.second_local = nn.Dense(w2, use_bias=False)
        self.out = nn.Dense(cfg.width if cfg.output is None else cfg.output)
        if cfg.output is not None:
            self.reduce_dim = nn.Dense(cfg.width)
        if cfg.normalization == "layer":
            self.first_norm = nn.LayerNorm(epsilon=NORM_EPSILON)
            self.second_norm = nn.LayerNorm(epsilon=NORM_EPSILON)

    def __call__(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"]
    ) -> tuple[
        Float[Array, "b anchors m {self.config.width}"],
        Float[Array, "b anchors m 3"],
    ]:
        """Tokens of a normalized clip and their centers; `InputError` on a wrong shape."""
        check_clip(clip, self.config)
        points, centers = tubes(clip, self.config)
        batch, anchors, num_centers = centers.shape[:3]
        tokens = self.encode(points.reshape(batch, anchors * num_centers, *points.shape[3:]))
        return tokens.reshape(batch, anchors, num_centers, self.config.width), centers

    def encode(
        self, points: Float[Array, "b m k 4+{self.config.channels}"]
    ) -> Float[Array, "b m {self.config.width}"]:
        """Tokens of tubes, given as their points; k may be any number.

        Computed in blocks of tubes, which are recomputed in the backward pass.
        """
        batch, num_tubes, size, features = points.shape
        blocks = num_blocks(batch, num_tubes, size)
        # During initialization a layer makes its parameters when it is called on data, so both are
        # called and nothing is folded.
        folded = None
        if self.fold and not self.is_initializing():
            folded = fold_dense(
                self.first_dense_1.variables["params"], self.second_local.variables["params"]
            )
        if blocks == 1 or self.is_initializing():
            return self._encode_block(points, folded)

        def step(module: P4DEmbedder, folded, block: jax.Array):
            return folded, module._encode_block(block, folded)

        scan = nn.scan(
            nn.remat(
                step,
                prevent_cse=False,
                policy=jax.checkpoint_policies.save_only_these_names(ops.PLACES),
            ),
            variable_broadcast="params",
            split_rngs={"params": False},
        )
        cut = points.reshape(batch, blocks, num_tubes // blocks, size, features).swapaxes(0, 1)
        _, tokens = scan(self, folded, cut)
        return tokens.swapaxes(0, 1).reshape(batch, num_tubes, self.config.width)

    def _encode_block(
        self,
        points: Float[Array, "b m k 4+{self.config.channels}"],
        folded: Mapping[str, jax.Array] | None,
    ) -> Float[Array, "b m {self.config.width}"]:
        """Tokens of a block of tubes.

        Args:
          points: the points of each tube.
          folded: `first_dense_1` and `second_local` as one layer; None to call both.
        """
        batch, num_tubes, size, features = points.shape
        normalize = self.config.normalization == "layer"
        # Two-dimensional operands: XLA's CPU matmul is markedly slower on higher ranks.
        rows = self.first_dense_0(points.reshape(-1, features))
        rows = nn.relu(self.first_norm(rows) if normalize else rows)
        hidden = self.first_dense_1(rows)
        largest = ops.neighbor_max(hidden.reshape(-1, size, hidden.shape[-1]))
        pooled = self.second_global(largest)
        if folded is None:
            local = self.second_local(hidden)
        else:
            local = rows @ folded["kernel"]
            pooled = pooled + folded["bias"]  # Once per tube is enough: it is added to each point.
        rows = local.reshape(-1, size, local.shape[-1]) + pooled[:, None]
        rows = rows.reshape(-1, local.shape[-1])
        rows = self.out(nn.relu(self.second_norm(rows) if normalize else rows))
        tokens = ops.neighbor_max(rows.reshape(-1, size, rows.shape[-1]))
        if self.config.output is not None:
            tokens = self.reduce_dim(tokens)
        return tokens.reshape(batch, num_tubes, self.config.width)


def embedder_from_backbone(
    backbone_variables: Mapping[str, Any],
    config: P4DConfig,
    colors: Sequence[tuple[int, float, float]] = (),
) -> dict[str, dict[str, ArrayLike]]:
    """Parameters of a `P4DEmbedder` that computes what the backbone's patch embedder computes.

    The stored statistics of both BatchNorms are folded into the Dense layers before them. The rows
    of the first kernel for x, y, z are multiplied by the radius because this embedder reads
    displacements in radii. The new input rows, for frame offset and channels, are zero. So on a
    tube whose three frames hold the same static points the token is the 3D token of those points.
    Input channels of the backbone besides x, y, z (colors) read those channels of the clip that
    `colors` names. Without it they have the values of `config.channel_constants`, which are folded
    into the bias.

    Args:
      backbone_variables: `{"params", "batch_stats"}` of a `Backbone`.
      config: must have `normalization="none"`, the widths and the `output` of the backbone, and one
        constant for each of its input channels besides x, y, z.
      colors: for each of these input channels, which channel of the clip it is, and the factor and
        the offset that give it the backbone's unit (`ClipConfig.colors`). Not used unless there are
        as many as the backbone has such channels.

    Returns:
      The parameter tree of `P4DEmbedder(config)`.

    Raises:
      InputError: if normalization, widths or channels do not fit.
    """
    if config.normalization != "none":
        raise InputError(
            "an embedder copied from the backbone has the backbone's normalization in its weights, "
            f"but the configuration says normalization={config.normalization!r}: "
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

    reduce_dim = backbone_variables["params"].get("reduce_dim")
    if reduce_dim is not None and config.output is None:
        raise InputError(
            "this backbone projects its patch tokens by a linear layer after the maximum "
            "(Point-BERT, ULIP, Uni3D), but the video embedder was built without one: set output "
            "to the width before that layer (embedder_output of a BackboneConfig)."
        )

    def folded(dense: str, norm: str) -> tuple[jax.Array, jax.Array]:
        scale = params[norm]["scale"] / jnp.sqrt(stats[norm]["var"] + NORM_EPSILON)
        shift = params[norm]["bias"] - stats[norm]["mean"] * scale
        if "bias" in params[dense]:
            shift = params[dense]["bias"] * scale + shift
        return params[dense]["kernel"] * scale, shift

    first_kernel, first_bias = folded("first_conv_0", "first_norm")
    second_kernel, second_bias = folded("second_conv_0", "second_norm")
    w1 = params["first_conv_1"]["kernel"].shape[1]
    widths = (first_kernel.shape[1], w1, second_kernel.shape[1])
    output = params["second_conv_1"]["kernel"].shape[1]
    width = output if reduce_dim is None else reduce_dim["kernel"].shape[1]
    ours = config.width if config.output is None else config.output
    if (widths, output, width) != (tuple(config.widths), ours, config.width):
        raise InputError(
            f"the backbone's patch embedder has widths {widths} -> {output}, the video embedder "
            f"{tuple(config.widths)} -> {ours}: build the embedder with the widths of the "
            "backbone."
        )
    constants = jnp.asarray(config.channel_constants, first_kernel.dtype)
    if first_kernel.shape[0] != 3 + len(constants):
        raise InputError(
            f"the backbone's patch embedder reads {first_kernel.shape[0]} numbers per point, but "
            f"the video embedder has constants for {len(constants)} of them besides x, y, z: set "
            "channel_constants of the backbone, or start the embedder from stage 1 or from random "
            'weights (embedder_init="random").'
        )
    new_rows = jnp.zeros((1 + config.channels, widths[0]), first_kernel.dtype)
    if len(constants):
        color_rows, first_kernel = first_kernel[3:], first_kernel[:3]
        if len(colors) == len(constants):
            places, factors, offsets = zip(*colors, strict=True)
            rows = jnp.asarray(factors)[:, None] * color_rows
            new_rows = new_rows.at[1 + jnp.asarray(places)].set(rows)
            constants = jnp.asarray(offsets, constants.dtype)
        first_bias = first_bias + constants @ color_rows
    copied = {
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
    return copied if reduce_dim is None else copied | {"reduce_dim": dict(reduce_dim)}

"""Point-MAE: the 3D backbone, its patch embedder and its masked-autoencoding decoder.

Architecture of "Masked Autoencoders for Point Cloud Self-supervised Learning" (Pang et al., ECCV
2022), the trunk that Point-BERT, ReCon and ULIP share: farthest-point groups, a mini-PointNet per
group, a position MLP whose output is added again at the input of *every* block, pre-norm blocks
with a bias-free qkv projection and exact GELU, and a final LayerNorm. The additions of these
relatives (Point-BERT's narrower embedder, class, image and text tokens, colors, ReCon's blocks,
PCP-MAE's position, the blocks of Point-JEPA and Uni3D) are fields of `BackboneConfig`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Key

from pointata_jax import ops
from pointata_jax.errors import InputError
from pointata_jax.models.blocks import NORM_EPSILON, Block, ReconBlock
from pointata_jax.models.setting_names import check_setting_names
from weights_convert.variants import VARIANTS, check_variants

# PyTorch's 0.1: Flax's momentum is one minus PyTorch's (its default is 0.99).
BATCH_NORM_MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """Shape of a Point-MAE-family backbone.

    Attributes:
      width: token width d.
      depth: number of transformer blocks.
      num_heads: attention heads; must divide `width`.
      mlp_ratio: hidden width of a block's MLP over `width`.
      embedder_widths: the three hidden widths (w0, w1, w2) of the mini-PointNet.
      num_groups: patches that a shape is cut into.
      group_size: points in a patch.
      decoder_depth: blocks of the reconstruction decoder (pre-training only).
      input_channels: numbers per point that the patch embedder reads.
      class_token: whether the checkpoint has a trained class token (Point-BERT and fine-tuned
        files do, Point-MAE's pre-training files do not).
      extra_tokens: names of further trained tokens, which follow the class token; ("image",
        "text") in ReCon.
      embedder_output: output width of the mini-PointNet, where a linear layer (`reduce_dim`)
        projects it to `width`; 256 in Point-BERT and ULIP, None where there is no such layer.
      block: kind of the encoder's blocks, "point_mae" or "recon" (see `models.blocks`).
      position_input: what the position MLP reads: "xyz", the coordinates of a center, or
        "sinusoidal", sines and cosines of them (`sinusoidal_features`; PCP-MAE).
      position_every_block: whether the position is added before every block, or before the first
        one only (Uni3D).
      norm_epsilon: epsilon of the encoder's LayerNorms; 1e-6 in Uni3D.
      final_norm: tokens that the norm after the last block acts on: "all", "class" for the class
        token alone (Uni3D), or "none" if there is no such norm.
      qkv_bias: which of query, key and value have a bias: "none", "all" (Point-JEPA, point2vec),
        or "query_value" (Uni3D).
      qkv_fused: whether one matrix makes query, key and value; otherwise there are three.
      mlp: "gelu", or "swiglu" for a gated MLP (see `blocks.Block`).
      mlp_fused: whether one matrix makes gate and value of a gated MLP; otherwise there are two.
      mlp_norm: whether the hidden layer of a gated MLP is normalized.
      gate_first: whether the gate is the first half of the output of that one matrix.
      embedder_bias: whether the first layer of both halves of the mini-PointNet has a bias; False
        in Point-JEPA and point2vec.
      channel_constants: values of the input channels besides x, y, z for clouds that have none,
        (0.4, 0.4, 0.4) in Uni3D; empty if such clouds are refused.
    """

    width: int = 384
    depth: int = 12
    num_heads: int = 6
    mlp_ratio: float = 4.0
    embedder_widths: tuple[int, int, int] = (128, 256, 512)
    num_groups: int = 64
    group_size: int = 32
    decoder_depth: int = 4
    input_channels: int = 3
    class_token: bool = False
    extra_tokens: tuple[str, ...] = ()
    embedder_output: int | None = None
    block: str = "point_mae"
    position_input: str = "xyz"
    position_every_block: bool = True
    norm_epsilon: float = NORM_EPSILON
    final_norm: str = "all"
    qkv_bias: str = "none"
    qkv_fused: bool = True
    mlp: str = "gelu"
    mlp_fused: bool = True
    mlp_norm: bool = False
    gate_first: bool = True
    embedder_bias: bool = True
    channel_constants: tuple[float, ...] = ()

    def __post_init__(self):
        sizes = (self.width, self.num_heads, *self.embedder_widths, self.num_groups)
        sizes += (self.group_size, self.input_channels, self.embedder_output or 1)
        # Bounded, because a damaged file may state anything.
        whole = all(isinstance(n, int) and 0 < n < 2**20 for n in sizes)
        depths = all(isinstance(n, int) and 0 <= n < 1000 for n in (self.depth, self.decoder_depth))
        if not (whole and depths and len(self.embedder_widths) == 3 and 0 < self.mlp_ratio < 2**10):
            raise InputError(f"a backbone needs positive sizes and three embedder_widths: {self}.")
        if self.width % self.num_heads:
            raise InputError(
                f"backbone width {self.width} cannot be split into {self.num_heads} heads: "
                "choose a number of heads that divides the width."
            )
        check_variants(self)

    @property
    def global_tokens(self) -> tuple[str, ...]:
        """Names of the tokens that stand before the patches: class, then the extra ones."""
        return (("class",) if self.class_token else ()) + self.extra_tokens

    @property
    def hidden_width(self) -> int:
        """Hidden width of a block's MLP."""
        return round(self.width * self.mlp_ratio)

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-able values."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BackboneConfig:
        """Inverse of `to_dict`; `InputError` on a name that is no setting."""
        check_setting_names(cls, values, "backbone")
        read: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**read)


PRESETS: dict[str, BackboneConfig] = {
    "tiny": BackboneConfig(
        width=192,
        depth=6,
        num_heads=3,
        embedder_widths=(32, 64, 128),
        num_groups=32,
        group_size=16,
        decoder_depth=2,
    ),
    "small": BackboneConfig(),
}


def group_points(
    points: Float[Array | np.ndarray, "*batch n c"],
    num_groups: int,
    group_size: int,
    *,
    skip_radius_sq: float = 0.0,
) -> tuple[
    Float[Array, "*batch {num_groups} {group_size} c"], Float[Array, "*batch {num_groups} 3"]
]:
    """Cuts clouds into patches around farthest-point centers.

    Args:
      points: clouds; the first three columns are coordinates (unit sphere).
      num_groups: patches m of a cloud.
      group_size: points k of a patch, the nearest to its center, sorted by distance.
      skip_radius_sq: see `ops.farthest_point_sample`; 1e-3 gives the CUDA kernel's rule.

    Returns:
      Patches, with coordinates relative to the center, and centers.
    """
    xyz = points[..., :3]
    chosen = ops.farthest_point_sample(xyz, num_groups, skip_radius_sq=skip_radius_sq)
    centers = ops.gather(xyz, chosen)
    patches = ops.gather(points, ops.knn(centers, xyz, group_size))
    local = patches[..., :3] - centers[..., None, :]
    return jnp.concatenate([local, patches[..., 3:]], axis=-1), centers


class PatchEmbedder(nn.Module):
    """Mini-PointNet: one token per patch, of width `embedder_output`, or `width` without it.

    Attributes:
      config: shape of the backbone.
    """

    config: BackboneConfig

    @nn.compact
    def __call__(
        self,
        patches: Float[Array, "*batch m k {self.config.input_channels}"],
        train: bool = False,
    ) -> Float[Array, "*batch m d"]:
        """Tokens of patches.

        Args:
          patches: points relative to their center.
          train: whether BatchNorm uses batch statistics.
        """
        w0, w1, w2 = self.config.embedder_widths
        *lead, size, channels = patches.shape

        def norm(name: str):
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=BATCH_NORM_MOMENTUM,
                epsilon=NORM_EPSILON,
                name=name,
            )

        # Two-dimensional operands: XLA's CPU matmul is markedly slower on higher ranks.
        rows = patches.reshape(-1, channels)
        biased = self.config.embedder_bias
        rows = nn.Dense(w0, use_bias=biased, name="first_conv_0")(rows)
        rows = nn.relu(norm("first_norm")(rows))
        local = nn.Dense(w1, name="first_conv_1")(rows).reshape(-1, size, w1)
        pooled = jnp.broadcast_to(local.max(1, keepdims=True), local.shape)
        rows = jnp.concatenate([pooled, local], axis=-1).reshape(-1, 2 * w1)
        rows = nn.Dense(w2, use_bias=biased, name="second_conv_0")(rows)
        rows = nn.relu(norm("second_norm")(rows))
        rows = nn.Dense(self.config.embedder_output or self.config.width, name="second_conv_1")(
            rows
        )
        return rows.reshape(*lead, size, rows.shape[-1]).max(-2)


def sinusoidal_features(
    centers: Float[Array, "*batch 3"], width: int
) -> Float[Array, "*batch {width}"]:
    """Sines and cosines of coordinates, the fixed position embedding of PCP-MAE.

    Args:
      centers: coordinates.
      width: number of features, a multiple of 6.

    Returns:
      For x, then y, then z: the sines at width / 6 frequencies, then the cosines. The frequencies
      are 10000^(-6i / width) for i = 0, 1, ….
    """
    count = width // 6
    frequencies = (10000.0 ** (-np.arange(count) / count)).astype(centers.dtype)
    angles = centers[..., None] * frequencies
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-2).reshape(*centers.shape[:-1], -1)


class PositionMLP(nn.Module):
    """Position embedding of centers.

    Attributes:
      width: token width d.
      input: "xyz", or "sinusoidal" for `sinusoidal_features` of width d, with d hidden channels.
    """

    width: int
    input: str = "xyz"

    @nn.compact
    def __call__(self, centers: Float[Array, "*batch 3"]) -> Float[Array, "*batch {self.width}"]:
        """Embeds coordinates."""
        hidden_width, features = 128, centers
        if self.input == "sinusoidal":
            hidden_width, features = self.width, sinusoidal_features(centers, self.width)
        hidden = nn.gelu(nn.Dense(hidden_width, name="dense_0")(features), approximate=False)
        return nn.Dense(self.width, name="dense_1")(hidden)


class Backbone(nn.Module):
    """Point-MAE's encoder: patches, tokens, blocks, final norm.

    Submodules are attributes (`embedder`, `position`, `blocks`, `norm` or `class_norm`), so that a
    video model can hold a `Backbone` and call its parts with other layers in between. Parts that
    are never called make no parameters, and the names of the others stay those of the backbone
    file.

    Attributes:
      config: shape of the backbone.
    """

    config: BackboneConfig

    def setup(self):
        """Creates the submodules."""
        cfg = self.config
        self.embedder = PatchEmbedder(cfg)
        if cfg.embedder_output is not None:
            self.reduce_dim = nn.Dense(cfg.width)
        self.position = PositionMLP(cfg.width, cfg.position_input)
        sizes = (cfg.num_heads, cfg.hidden_width)
        if cfg.block == "recon":
            self.blocks = [ReconBlock(*sizes, len(cfg.global_tokens)) for _ in range(cfg.depth)]
        else:
            style = {f.name for f in dataclasses.fields(Block)} & VARIANTS.keys()
            chosen = {name: getattr(cfg, name) for name in sorted(style)}
            self.blocks = [Block(*sizes, **chosen) for _ in range(cfg.depth)]
        if cfg.final_norm == "all":
            self.norm = nn.LayerNorm(epsilon=cfg.norm_epsilon)
        elif cfg.final_norm == "class":
            self.class_norm = nn.LayerNorm(epsilon=cfg.norm_epsilon)
        init = nn.initializers.normal(0.02)
        self.global_vectors = [
            (
                self.param(f"{name}_token", init, (cfg.width,)),
                self.param(f"{name}_position", init, (cfg.width,)),
            )
            for name in cfg.global_tokens
        ]

    def tokens(
        self,
        patches: Float[Array, "*batch m k {self.config.input_channels}"],
        train: bool = False,
    ) -> Float[Array, "*batch m {self.config.width}"]:
        """Tokens of patches; `train` sets BatchNorm to batch statistics."""
        tokens = self.embedder(patches, train)
        return tokens if self.config.embedder_output is None else self.reduce_dim(tokens)

    def embed(
        self,
        points: Float[Array | np.ndarray, "*batch n c"],
        train: bool = False,
    ) -> tuple[
        Float[Array, "*batch {self.config.num_groups} {self.config.width}"],
        Float[Array, "*batch {self.config.num_groups} 3"],
    ]:
        """Tokens of clouds before the blocks, and their centers.

        Args:
          points: clouds in the unit sphere, with `input_channels` columns, coordinates first. With
            `channel_constants`, the coordinates are enough.
          train: whether BatchNorm uses batch statistics.

        Raises:
          InputError: another number of columns than `input_channels`.
        """
        cfg = self.config
        if points.shape[-1] == 3 and cfg.channel_constants:
            constants = jnp.asarray(cfg.channel_constants, points.dtype)
            shape = (*points.shape[:-1], len(constants))
            points = jnp.concatenate([points, jnp.broadcast_to(constants, shape)], axis=-1)
        if points.shape[-1] != cfg.input_channels:
            raise InputError(
                f"points have {points.shape[-1]} columns, but this backbone reads "
                f"{cfg.input_channels}: coordinates first, then "
                f"{cfg.input_channels - 3} further ones (colors)."
            )
        patches, centers = group_points(points, cfg.num_groups, cfg.group_size)
        return self.tokens(patches, train), centers

    def global_rows(
        self, batch: int
    ) -> (
        tuple[
            Float[Array, "{batch} globals {self.config.width}"],
            Float[Array, "{batch} globals {self.config.width}"],
        ]
        | None
    ):
        """Global tokens and their positions, repeated `batch` times; None where there are none."""
        if not self.config.global_tokens:
            return None
        shape = (batch, len(self.global_vectors), self.config.width)
        rows = (jnp.stack(column) for column in zip(*self.global_vectors, strict=True))
        tokens, positions = (jnp.broadcast_to(stacked, shape) for stacked in rows)
        return tokens, positions

    def encode(
        self,
        tokens: Float[Array, "b m {self.config.width}"],
        centers: Float[Array, "b m 3"],
        patches_only: bool = False,
    ) -> Float[Array, "b _ {self.config.width}"]:
        """Applies blocks and final norm; global tokens (class, image, text) come first.

        Args:
          tokens: tokens of the patches.
          centers: their places.
          patches_only: leave out the global tokens of the result, and the norm that acts on the
            class token alone.
        """
        cfg = self.config
        position = self.position(centers)
        rows = self.global_rows(tokens.shape[0])
        if rows is not None:
            tokens = jnp.concatenate([rows[0], tokens], axis=1)
            position = jnp.concatenate([rows[1], position], axis=1)
        for index, block in enumerate(self.blocks):
            tokens = block(tokens + position if self.adds_position(index) else tokens)
        tokens = self.normalize_patches(tokens)
        if patches_only:
            return tokens[:, len(cfg.global_tokens) :]
        if cfg.final_norm == "class":
            return jnp.concatenate([self.class_norm(tokens[:, :1]), tokens[:, 1:]], axis=1)
        return tokens

    def adds_position(self, index: int) -> bool:
        """Whether the position is added before block `index`."""
        return self.config.position_every_block or index == 0

    def normalize_patches(
        self, tokens: Float[Array, "*batch m {self.config.width}"]
    ) -> Float[Array, "*batch m {self.config.width}"]:
        """The final norm of patch tokens; the tokens themselves where it does not act on them."""
        return self.norm(tokens) if self.config.final_norm == "all" else tokens

    def __call__(
        self,
        points: Float[Array | np.ndarray, "*batch n c"],
        train: bool = False,
    ) -> Float[Array, "*batch tokens {self.config.width}"]:
        """Final tokens of clouds, global tokens (class, image, text) first.

        Args:
          points: clouds as `embed` takes them.
          train: whether BatchNorm uses batch statistics.
        """
        tokens, centers = self.embed(points, train)
        lead = tokens.shape[:-2]
        flat = self.encode(
            tokens.reshape(-1, *tokens.shape[-2:]), centers.reshape(-1, *centers.shape[-2:])
        )
        return flat.reshape(*lead, *flat.shape[-2:])


def random_backbone(config: BackboneConfig, seed: int) -> dict[str, Any]:
    """Variables of a backbone that knows nothing, {"params", "batch_stats"}."""
    points = max(config.num_groups, config.group_size)
    cloud = jnp.zeros((1, points, config.input_channels))
    return jax.jit(Backbone(config).init)(jax.random.key(seed), cloud)


def pooled_features(tokens: Float[Array, "*batch m d"]) -> Float[Array, "*batch 2*d"]:
    """One vector per cloud: mean and maximum over its tokens."""
    return jnp.concatenate([tokens.mean(-2), tokens.max(-2)], axis=-1)


class MaskedAutoencoder(nn.Module):
    """Point-MAE pre-training: reconstructs the masked patches from the visible ones.

    Attributes:
      config: shape of the backbone and its decoder.
    """

    config: BackboneConfig

    def setup(self):
        """Creates the submodules."""
        cfg = self.config
        self.backbone = Backbone(cfg)
        self.mask_token = self.param("mask_token", nn.initializers.normal(0.02), (cfg.width,))
        self.decoder_position = PositionMLP(cfg.width)
        sizes = (cfg.num_heads, cfg.hidden_width)
        self.decoder_blocks = [Block(*sizes) for _ in range(cfg.decoder_depth)]
        self.decoder_norm = nn.LayerNorm(epsilon=NORM_EPSILON)
        self.increase_dim = nn.Dense(3 * cfg.group_size)

    def __call__(
        self,
        points: Float[Array | np.ndarray, "b n {self.config.input_channels}"],
        mask: Bool[Array | np.ndarray, "b {self.config.num_groups}"],
        num_masked: int,
        train: bool = False,
    ) -> dict[str, jax.Array]:
        """Encodes the visible patches and reconstructs the masked ones.

        Args:
          points: clouds in the unit sphere.
          mask: True where a patch is masked; exactly `num_masked` per row.
          num_masked: static number of masked patches.
          train: whether the patch embedder's BatchNorm uses batch statistics.

        Returns:
          "visible": tokens of the visible patches after the encoder,
          `[b, num_groups - num_masked, d]`; "decoded": tokens of the masked patches,
          `[b, num_masked, d]`; "rebuilt" and "target": points of the masked patches relative to
          their centers, `[b, num_masked, group_size, 3]`.
        """
        patches, centers = group_points(points, self.config.num_groups, self.config.group_size)
        # A stable sort keeps the order among visible and among masked patches.
        order = jnp.argsort(mask, axis=1, stable=True)
        patches = jnp.take_along_axis(patches, order[:, :, None, None], axis=1)
        centers = jnp.take_along_axis(centers, order[:, :, None], axis=1)
        visible = self.encode_visible(patches, centers, num_masked, train)
        return {"visible": visible, **self.rebuild(visible, patches, centers, num_masked)}

    def encode_visible(
        self,
        patches: Float[Array, "b m k {self.config.input_channels}"],
        centers: Float[Array, "b m 3"],
        num_masked: int,
        train: bool = False,
    ) -> Float[Array, "b visible d"]:
        """Tokens of the visible patches after the encoder, without global tokens.

        Args:
          patches: all patches; the last `num_masked` are masked.
          centers: their places.
          num_masked: static number of masked patches.
          train: see `__call__`.
        """
        num_visible = patches.shape[1] - num_masked
        tokens = self.backbone.tokens(patches[:, :num_visible], train)
        return self.backbone.encode(tokens, centers[:, :num_visible])[
            :, len(self.config.global_tokens) :
        ]

    def rebuild(
        self,
        visible: Float[Array, "b visible d"],
        patches: Float[Array, "b m k {self.config.input_channels}"],
        centers: Float[Array, "b m 3"],
        num_masked: int,
    ) -> dict[str, jax.Array]:
        """Reconstructs the masked patches from the tokens of `encode_visible`.

        Returns:
          "decoded", "rebuilt" and "target" of `__call__`.
        """
        cfg = self.config
        num_visible = patches.shape[1] - num_masked
        hidden = jnp.broadcast_to(self.mask_token, (len(patches), num_masked, cfg.width))
        x = jnp.concatenate([visible, hidden], axis=1)
        position = self.decoder_position(centers)
        for block in self.decoder_blocks:
            x = block(x + position)
        decoded = self.decoder_norm(x[:, num_visible:])
        rebuilt = self.increase_dim(decoded).reshape(*decoded.shape[:2], cfg.group_size, 3)
        return {
            "decoded": decoded,
            "rebuilt": rebuilt,
            "target": patches[:, num_visible:, :, :3],
        }


def random_mask(
    key: Key[Array, ""], batch: int, num_groups: int, num_masked: int
) -> Bool[Array, "{batch} {num_groups}"]:
    """Random mask with exactly `num_masked` True values in each row."""
    rank = jnp.argsort(jnp.argsort(jax.random.uniform(key, (batch, num_groups)), axis=1), axis=1)
    return rank < num_masked


def chamfer_distance(
    a: Float[Array, "*batch n 3"], b: Float[Array, "*batch m 3"]
) -> Float[Array, ""]:
    """Mean squared Chamfer distance between point sets, averaged over all leading axes.

    Both directions are added, as in Point-MAE's ChamferL2.
    """
    squared = jnp.square(a[..., :, None, :] - b[..., None, :, :]).sum(-1)
    return squared.min(-1).mean() + squared.min(-2).mean()

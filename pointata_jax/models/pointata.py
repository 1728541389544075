"""PointATA: a frozen 3D point transformer that reads point-cloud videos through adapters.

The model is a reconstruction from the published abstract and captions of the method: P4D embedder,
a point-video adapter in every block, a spatial-context encoder shared by the blocks, a task head.
Time is folded into the batch, so the frozen blocks process one frame at a time, as in pre-training.
Only the tubes and the point-video adapters pass information between frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from pointata_jax.errors import InputError
from pointata_jax.models.adapters import (
    LowRank,
    PointVideoAdapter,
    SpatialContextEncoder,
    index_correspondence,
    spatial_neighbors,
    temporal_correspondence,
)
from pointata_jax.models.heads import (
    ActionSegmentationHead,
    RecognitionHead,
    SemanticSegmentationHead,
)
from pointata_jax.models.p4d import P4DConfig, P4DEmbedder
from pointata_jax.models.point_mae import PRESETS, Backbone, BackboneConfig
from pointata_jax.models.setting_names import check_setting_names
from pointata_jax.models.side import SideNetwork

KINDS = ("clip", "frame", "point")
TIME_POOLINGS = ("mean", "mean_std")
CORRESPONDENCES = ("nearest", "index", "frame")


@dataclasses.dataclass(frozen=True)
class PointATAConfig:
    """Architecture of a `PointATA`.

    Attributes:
      backbone: the frozen 3D backbone.
      num_classes: classes of the task.
      kind: what gets a label: a "clip" (action recognition), a "frame" (action segmentation) or a
        "point" (semantic segmentation).
      channels: extra channels of a point besides x, y, z.
      num_anchors: anchor frames of a clip, ceil(frames / anchor_stride).
      anchor_stride: frames from one anchor frame to the next.
      num_centers: tokens m of each anchor frame.
      neighbors: points k per center from each of the three frames of a tube.
      radius: radius of a tube in units of the normalized clip.
      embedder_normalization: "layer", or "none" for an embedder copied from the backbone, which
        also has the hidden widths of the backbone's (see `p4d`).
      bottleneck: inner width of the point-video adapters.
      sce_bottleneck: inner width of the spatial-context encoder.
      sce_neighbors: neighboring tokens that the spatial-context encoder reads.
      pva_dilations: distances in anchor frames, cycled over the blocks. Use (1, 2, 4, 8) for clips
        longer than about 25 anchor frames, which kernel 3 in 12 blocks cannot span.
      pva_correspondence: what a token meets in a neighboring frame: the token with the "nearest"
        center, the one of the same "index", or the mean of all tokens of that "frame". The last two
        are for comparison.
      adapter_scale: factor on the branch of every point-video adapter.
      adapter_dropout: rate inside the adapters.
      head_hidden: hidden width of the head.
      head_dropout: rate in the head.
      head_levels: blocks whose tokens the head of a clip reads: 1 for the last one, 3 for the last
        of each third. (The head of points reads three, that of frames one.)
      time_pooling: how the head of a clip pools frames, see `RecognitionHead`.
      use_pva: whether there are point-video adapters.
      use_sce: whether there is a spatial-context encoder.
      lora_rank: rank of the low-rank updates of every block's attention; 0: none.
      frame_wise: whether frames stay alone until the head: tubes of one frame (with three times as
        many points of it) and no temporal embedding. Needs use_pva=False.
      side_width: width of a ladder beside the backbone (`side.SideNetwork`), through which alone
        gradients then pass. There are no adapters inside and no temporal embedding but the ladder's
        own; 0: none.
      remat: recompute each block in the backward pass: less memory, about a third more time.
    """

    backbone: BackboneConfig = PRESETS["small"]
    num_classes: int = 20
    kind: str = "clip"
    channels: int = 0
    num_anchors: int = 12
    anchor_stride: int = 2
    num_centers: int = 64
    neighbors: int = 8
    radius: float = 0.2
    embedder_normalization: str = "layer"
    bottleneck: int = 64
    sce_bottleneck: int = 32
    sce_neighbors: int = 8
    pva_dilations: tuple[int, ...] = (1,)
    pva_correspondence: str = "nearest"
    adapter_scale: float = 1.0
    adapter_dropout: float = 0.0
    head_hidden: int = 256
    head_dropout: float = 0.5
    head_levels: int = 1
    time_pooling: str = "mean"
    use_pva: bool = True
    use_sce: bool = True
    lora_rank: int = 0
    frame_wise: bool = False
    side_width: int = 0
    remat: bool = False

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(
                f"a model for labels of kind {self.kind!r} is unknown: choose one of "
                f"{', '.join(KINDS)}."
            )
        if not self.pva_dilations or min(self.pva_dilations) < 1:
            raise InputError(
                f"pva_dilations is {self.pva_dilations}: give at least one positive distance."
            )
        if self.pva_correspondence not in CORRESPONDENCES:
            raise InputError(
                f"pva_correspondence is {self.pva_correspondence!r}: choose one of "
                f"{', '.join(CORRESPONDENCES)}."
            )
        inside = self.use_pva or self.use_sce or self.lora_rank
        if (self.frame_wise and self.use_pva) or (self.side_width and inside):
            raise InputError(
                "a frame_wise model has no point-video adapters and a model with side_width no "
                "adapters inside the backbone: set use_pva=False, and with side_width also "
                "use_sce=False and lora_rank=0."
            )
        if self.use_sce and self.sce_neighbors >= self.num_centers:
            raise InputError(
                f"sce_neighbors={self.sce_neighbors} needs more than that many tokens in a frame, "
                f"but num_centers={self.num_centers}: lower sce_neighbors or set use_sce=False."
            )
        if self.head_levels not in (1, 3) or self.time_pooling not in TIME_POOLINGS:
            raise InputError(
                f"head_levels is {self.head_levels} and time_pooling {self.time_pooling!r}: give 1 "
                f"or 3, and one of {', '.join(TIME_POOLINGS)}."
            )
        _ = self.p4d  # Runs the checks of P4DConfig.

    @property
    def p4d(self) -> P4DConfig:
        """The configuration of the video embedder.

        A copied embedder has the hidden widths of the backbone's, its projection (`reduce_dim`) and
        its constants for channels. A new one has a sixth, a third and two thirds of the token
        width, which are also the widths of the preset tiny. At Point-MAE's widths, twice these,
        embedding a tube costs as much as four blocks.
        """
        width = self.backbone.width
        copied = self.embedder_normalization == "none"
        widths = (max(width // 6, 1), max(width // 3, 1), max(2 * width // 3, 1))
        return P4DConfig(
            width=width,
            num_centers=self.num_centers,
            neighbors=3 * self.neighbors if self.frame_wise else self.neighbors,
            tube_frames=1 if self.frame_wise else 3,
            radius=self.radius,
            channels=self.channels,
            anchor_stride=self.anchor_stride,
            widths=self.backbone.embedder_widths if copied else widths,
            output=self.backbone.embedder_output if copied else None,
            channel_constants=self.backbone.channel_constants if copied else (),
            normalization=self.embedder_normalization,
        )

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-able values."""
        return dataclasses.asdict(self) | {
            "backbone": self.backbone.to_dict(),
            "pva_dilations": list(self.pva_dilations),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PointATAConfig:
        """Inverse of `to_dict`; `InputError` on a name that is no setting."""
        check_setting_names(cls, values, "model")
        values = dict(values)
        if "backbone" in values:
            values["backbone"] = BackboneConfig.from_dict(values["backbone"])
        if "pva_dilations" in values:
            values["pva_dilations"] = tuple(values["pva_dilations"])
        return cls(**values)


class PointATA(nn.Module):
    """The adapted model: logits of a clip, of its frames or of its points.

    Parameters: "backbone" (position MLP, blocks and norm under the names of the backbone file),
    "embedder", "pva_0" …, "sce", "sce_gates", "lora_0" …, "side", "temporal_embedding", "head".
    BatchNorm statistics exist under "head" only. Clips must be normalized: one center and one scale
    per clip, so that the clip fits the unit sphere that the position MLP was trained on.

    Attributes:
      config: architecture.
    """

    config: PointATAConfig

    def setup(self):
        """Creates the submodules."""
        cfg = self.config
        depth, width = cfg.backbone.depth, cfg.backbone.width
        zeros = nn.initializers.zeros
        self.backbone = Backbone(cfg.backbone)
        self.embedder = P4DEmbedder(cfg.p4d)
        if not (cfg.frame_wise or cfg.side_width):
            shape = (cfg.num_anchors, width)
            self.temporal_embedding = self.param("temporal_embedding", zeros, shape)
        self.dilations = [cfg.pva_dilations[i % len(cfg.pva_dilations)] for i in range(depth)]
        if cfg.use_pva:
            self.pva = [
                PointVideoAdapter(
                    cfg.bottleneck,
                    cfg.adapter_scale,
                    cfg.adapter_dropout,
                    dilation,
                    frame_pooled=cfg.pva_correspondence == "frame",
                )
                for dilation in self.dilations
            ]
        if cfg.use_sce:
            self.sce = SpatialContextEncoder(cfg.sce_bottleneck, cfg.adapter_dropout)
            self.sce_gates = self.param("sce_gates", zeros, (depth,))
        if cfg.lora_rank:
            self.lora = [LowRank(width, cfg.lora_rank) for _ in range(depth)]
        if cfg.side_width:
            outputs = 1 if self._reads_last else len(self._read_blocks)
            self.side = SideNetwork(cfg.side_width, outputs, cfg.adapter_dropout)
        size = (cfg.head_hidden, cfg.head_dropout)
        if cfg.kind == "clip":
            self.head = RecognitionHead(cfg.num_classes, *size, cfg.time_pooling)
        elif cfg.kind == "frame":
            self.head = ActionSegmentationHead(cfg.num_classes, cfg.anchor_stride, *size)
        else:
            self.head = SemanticSegmentationHead(
                cfg.num_classes, cfg.anchor_stride, cfg.radius, *size
            )

    def __call__(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"], train: bool = False
    ) -> (
        Float[Array, "b {self.config.num_classes}"]
        | Float[Array, "b t {self.config.num_classes}"]
        | Float[Array, "b t n {self.config.num_classes}"]
    ):
        """Logits of each clip, frame or point, by the configuration's `kind`.

        Args:
          clip: normalized clips.
          train: whether dropout is on (key "dropout") and the head's BatchNorm uses batch
            statistics, which then update the collection "batch_stats".

        Raises:
          InputError: the clip's shape does not fit the configuration.
        """
        if self.config.side_width:
            return self.from_levels(*self.frozen_levels(clip), clip, train)
        levels, centers = self._levels(clip, self._read_blocks, train)
        return self._read(levels, centers, jnp.asarray(clip), train)

    def from_levels(
        self,
        levels: Sequence[Float[Array, "b {self.config.num_anchors} m d"]],
        centers: Float[Array, "b {self.config.num_anchors} m 3"],
        clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"],
        train: bool = False,
    ) -> (
        Float[Array, "b {self.config.num_classes}"]
        | Float[Array, "b t {self.config.num_classes}"]
        | Float[Array, "b t n {self.config.num_classes}"]
    ):
        """Logits from the frozen tokens; only for a model with `side_width`.

        Args:
          levels: from `frozen_levels`.
          centers: from `frozen_levels`.
          clip: the clips, of which heads of clips and frames read the number of frames only.
          train: as in a call.
        """
        levels = [levels[0], *map(jax.lax.stop_gradient, levels[1:])]
        return self._read(self.side(levels, centers, train), centers, jnp.asarray(clip), train)

    def _read(
        self, levels: list[jax.Array], centers: jax.Array, clip: jax.Array, train: bool
    ) -> jax.Array:
        """The logits of the head."""
        head: Any = self.head
        if self.config.kind == "clip":
            return head(levels, train)
        if self.config.kind == "frame":
            return head(levels[-1], clip.shape[1], train)
        return head(levels, centers, clip, train)

    @property
    def _reads_last(self) -> bool:
        """Whether the head reads the tokens after the last block only."""
        cfg = self.config
        return cfg.kind == "frame" or (cfg.kind == "clip" and cfg.head_levels == 1)

    @property
    def _read_blocks(self) -> tuple[int, ...]:
        """Indices of the blocks whose tokens the head or the ladder beside the backbone reads."""
        depth = self.config.backbone.depth
        if self._reads_last and not self.config.side_width:
            return (depth - 1,)
        return tuple(sorted({-(-depth * third // 3) - 1 for third in (1, 2, 3)}))

    def frozen_levels(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"]
    ) -> tuple[
        list[Float[Array, "b {self.config.num_anchors} m {self.config.backbone.width}"]],
        Float[Array, "b {self.config.num_anchors} m 3"],
    ]:
        """Tokens that a ladder reads (`side_width`), and their centers.

        They are those of the embedder and, as constants, those of the unchanged backbone.
        """
        return self._levels(clip, self._read_blocks, False)

    def tokens(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"]
    ) -> tuple[
        Float[Array, "b {self.config.num_anchors} m {self.config.backbone.width}"],
        Float[Array, "b {self.config.num_anchors} m 3"],
    ]:
        """Tokens and centers from the embedder alone.

        Raises:
          InputError: the clip's shape does not fit the configuration.
        """
        tokens, centers = self.embedder(clip)
        if tokens.shape[1] != self.config.num_anchors:
            raise InputError(
                f"a clip of {clip.shape[1]} frames has {tokens.shape[1]} anchor frames at stride "
                f"{self.config.anchor_stride}, but the model was built for "
                f"{self.config.num_anchors}: cut clips to that length or set num_anchors."
            )
        return tokens, centers

    def features(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"], train: bool = False
    ) -> Float[Array, "b {self.config.num_anchors} m {self.config.backbone.width}"]:
        """Tokens after the adapted backbone and its final norm (`BackboneConfig.final_norm`).

        Args:
          clip: normalized clips.
          train: whether dropout is on.
        """
        return self._levels(clip, (self.config.backbone.depth - 1,), train)[0][-1]

    def _levels(
        self, clip: jax.Array | np.ndarray, blocks: tuple[int, ...], train: bool
    ) -> tuple[list[jax.Array], jax.Array]:
        """Tokens after each of `blocks`, with the final norm of patches, and the centers."""
        cfg = self.config
        x, centers = self.tokens(clip)
        levels = []
        if cfg.side_width:
            levels.append(x)
            x = jax.lax.stop_gradient(x)
        if not (cfg.frame_wise or cfg.side_width):
            x = x + self.temporal_embedding[:, None]
        position = self.backbone.position(centers)
        # One table per dilation, computed once per clip.
        tables = {}
        if cfg.use_pva and cfg.pva_correspondence == "index":
            tables = dict.fromkeys(self.dilations, index_correspondence(*centers.shape[:3]))
        elif cfg.use_pva:
            tables = {d: temporal_correspondence(centers, d) for d in sorted(set(self.dilations))}
        neighbors = spatial_neighbors(centers, cfg.sce_neighbors) if cfg.use_sce else None

        def adapted_block(
            model: PointATA, x: jax.Array, rows: jax.Array | None, index: int
        ) -> tuple[jax.Array, jax.Array | None]:
            position_added = model.backbone.adds_position(index)
            if position_added:
                x = x + position
            if cfg.use_pva:
                x = model.pva[index](x, tables[model.dilations[index]], train)
            if neighbors is not None:
                gate = model.sce_gates[index]
                x = x + gate * model.sce(x, centers, neighbors, train)
            update = (model.lora[index],) if cfg.lora_rank else ()
            block = model.backbone.blocks[index]
            if rows is None or global_rows is None:
                return block(_fold(x), *update).reshape(x.shape), None
            # Global tokens join each frame's tokens here: adapters need tokens with a center.
            if position_added:
                rows = rows + global_rows[1]
            out = block(jnp.concatenate([rows, _fold(x)], axis=1), *update)
            return out[:, rows.shape[1] :].reshape(x.shape), out[:, : rows.shape[1]]

        step = nn.remat(adapted_block, static_argnums=(3,)) if cfg.remat else adapted_block
        global_rows = self.backbone.global_rows(x.shape[0] * x.shape[1])
        rows = None if global_rows is None else global_rows[0]
        for index in range(cfg.backbone.depth):
            x, rows = step(self, x, rows, index)
            if index in blocks:
                levels.append(self.backbone.normalize_patches(x))
        return levels, centers

    def frozen_features(
        self, clip: Float[Array | np.ndarray, "b t n 3+{self.config.channels}"]
    ) -> Float[Array, "b {self.config.num_anchors} m {self.config.backbone.width}"]:
        """Tokens after the frozen backbone alone, without adapters and temporal embedding.

        `features` of an untrained model equals this bit for bit, or up to rounding where the
        backbone has global tokens.
        """
        tokens, centers = self.tokens(clip)
        final = self.backbone.encode(_fold(tokens), _fold(centers), patches_only=True)
        return final.reshape(tokens.shape)


def _fold(x: Float[Array, "b anchors m c"]) -> Float[Array, "b*anchors m c"]:
    """Joins the axes of batch and anchor frames."""
    return x.reshape(-1, *x.shape[-2:])

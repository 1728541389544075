"""Settings of a task: data, clips, the model around the backbone, both stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.schema import Kind
from pointata_jax.errors import InputError
from pointata_jax.models.p4transformer import P4TransformerConfig
from pointata_jax.models.point_mae import BackboneConfig
from pointata_jax.models.pointata import PointATAConfig
from pointata_jax.models.setting_names import check_setting_names


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        if not getattr(settings, name) > 0:
            raise InputError(f"{name} is {getattr(settings, name)}: give a positive number.")


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The fields of `PointATAConfig` that a task sets; backbone and data set the others."""

    anchor_stride: int = 2
    num_centers: int = 16
    neighbors: int = 8
    radius: float = 0.2
    bottleneck: int = 64
    sce_bottleneck: int = 32
    sce_neighbors: int = 8
    pva_dilations: tuple[int, ...] = (1,)
    adapter_dropout: float = 0.0
    head_hidden: int = 256
    head_dropout: float = 0.5
    head_levels: int = 3
    time_pooling: str = "mean_std"
    pva_correspondence: str = "nearest"
    use_pva: bool = True
    use_sce: bool = True
    lora_rank: int = 0
    frame_wise: bool = False
    side_width: int = 0


@dataclasses.dataclass(frozen=True)
class BaselineSettings:
    """The fields of `P4TransformerConfig` that a task sets besides those of `ModelSettings`.

    The published widths (1024, 8 heads of 128, 2048) have 44 M parameters. These have a quarter of
    that, because the baseline must train on a CPU too.
    """

    neighbors: int = 32
    width: int = 512
    depth: int = 5
    num_heads: int = 8
    head_width: int = 64
    mlp_width: int = 1024
    head_dropout: float = 0.5


TUNING_CHANGES: Mapping[str, Mapping[str, Any]] = {
    "lora": {"lora_rank": 16, "use_sce": False},
    "frame": {"frame_wise": True, "use_pva": False, "use_sce": False},
    "side": {"side_width": 64, "use_pva": False, "use_sce": False},
}
"""What the tunings change in the model."""

# What the embedder of a tuning starts from, where it is not the task's `embedder_init`.
_EMBEDDER_INITS: Mapping[str, str] = {"scratch": "random", "probe": "backbone"}

WITH_STAGE_1 = ("pointata", "side")
"""Tunings that start from the embedder of stage 1."""


@dataclasses.dataclass(frozen=True)
class AlignSettings:
    """Stage 1.

    Attributes:
      objective: name in `alignment.objectives`.
      steps: upper bound. Alignment stops earlier when the held-out figures get worse.
      batch_size: clips per step.
      units: clips, frames or tokens of a step that are aligned, drawn at random where there are
        more. As many source features are drawn.
      learning_rate: peak of the schedule.
      label_weight: λ, the weight of the label distance.
      pseudo_classes: for videos without labels, this many k-means clusters of the target features
        replace the labels. 0: the labels are used.
      report_every: steps between held-out reports.
      report_clips: kept-out clips in a report.
      report_units: clips, frames or tokens of them that are compared.
    """

    objective: str = "otdd"
    steps: int = 100
    batch_size: int = 32
    units: int = 64
    learning_rate: float = 3e-4
    label_weight: float = 1.0
    pseudo_classes: int = 0
    report_every: int = 10
    report_clips: int = 128
    report_units: int = 256

    def __post_init__(self):
        _check_positive(self, "steps", "batch_size", "units", "learning_rate", "report_every")
        if self.pseudo_classes < 0:
            raise InputError(
                f"pseudo_classes is {self.pseudo_classes}: give a number of clusters, or 0 for the "
                "labels."
            )


@dataclasses.dataclass(frozen=True)
class AdaptSettings:
    """Stage 2.

    Attributes:
      steps: optimizer steps.
      batch_size: clips per step.
      learning_rates: peak learning rate of each tuning, chosen on validation data.
      embedder_lr_multiplier: factor on the embedder's learning rate; None: 0.5 for a new embedder,
        0.1 for a copy of the backbone's.
      adapter_lr_multiplier: factor on the learning rate of the adapters.
      weight_decay: of matrices; biases, norms and embeddings have none.
      warmup_steps: linear warm-up before the cosine.
      clip_norm: largest global gradient norm of the trainable tree.
      label_smoothing: of the cross-entropy.
      class_weights: factor on the loss of each class; empty for equal weights.
      balanced_classes: weigh classes by the inverse of their frequency in training instead
        (`task_data.balanced_weights`).
      eval_every: steps between validations.
      cached_uses: where the frozen tokens of clips are kept (tuning side), how often a kept clip is
        trained on; with more, fewer clips are computed. 0: tokens are not kept.
    """

    steps: int = 2000
    batch_size: int = 8
    learning_rates: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {
            "pointata": 1e-3,
            "adapter": 1e-3,
            "random_frozen": 1e-3,
            "full": 1e-3,
            "scratch": 1e-3,
            "probe": 1e-3,
            "frame": 1e-3,
            "lora": 1e-3,
            "side": 1e-3,
            "p4transformer": 3e-4,
        }
    )
    embedder_lr_multiplier: float | None = None
    adapter_lr_multiplier: float = 1.0
    weight_decay: float = 0.05
    warmup_steps: int = 50
    clip_norm: float = 5.0
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] = ()
    balanced_classes: bool = False
    eval_every: int = 500
    cached_uses: int = 0

    def __post_init__(self):
        _check_positive(self, "steps", "batch_size", "eval_every")


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """One task: data set, clips, model, and the two stages.

    Attributes:
      task: its name on the command line.
      dataset: builder in `datasets.registry`.
      kind: what carries a label: "clip", "frame" or "point".
      variant: builder configuration, "" for the only one.
      options: further keyword arguments of the builder, such as protocol or partial.
      clip: how videos become clips; channel statistics are filled in from the training videos.
      model: settings around the backbone.
      baseline: settings of a `P4Transformer` for this task.
      embedder_init: what the embedder starts from, before stage 1 where there is one: "random", or
        "backbone" for a copy of the backbone's embedder.
      align: stage 1.
      adapt: stage 2.
      score: name of the score that decides between checkpoints on validation data.
      hold_out: the validation part that the user asks for: "recordings", "subjects", or names of
        subjects separated by commas. "": the next three settings decide, in this order.
      validation_subjects: training subjects that are held out.
      validation_split: split of this name, where the data set has one.
      validation_fraction: share of the subjects where three or more are named, else of the
        recordings.
      videos_per_class: training videos of each class that are used, drawn at random; 0: all.
      label_fraction: the same as a share of the videos of each class; 1: all.
      label_seed: seed of that draw.
      needs_data_dir: whether the user must provide the data.
    """

    task: str
    dataset: str
    kind: Kind = "clip"
    variant: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    clip: ClipConfig = ClipConfig()
    model: ModelSettings = ModelSettings()
    baseline: BaselineSettings = BaselineSettings()
    embedder_init: str = "random"
    align: AlignSettings = AlignSettings()
    adapt: AdaptSettings = AdaptSettings()
    score: str = "video_accuracy"
    hold_out: str = ""
    validation_subjects: tuple[str, ...] = ()
    validation_split: str = ""
    validation_fraction: float = 0.15
    videos_per_class: int = 0
    label_fraction: float = 1.0
    label_seed: int = 0
    needs_data_dir: bool = True

    def __post_init__(self):
        if self.embedder_init not in ("random", "backbone"):
            raise InputError(
                f"unknown embedder_init {self.embedder_init!r}: choose random or backbone."
            )

    def with_tuning(self, tuning: str) -> TaskConfig:
        """This task with what the tuning changes in model and embedder."""
        return dataclasses.replace(
            self,
            model=dataclasses.replace(self.model, **TUNING_CHANGES.get(tuning, {})),
            embedder_init=_EMBEDDER_INITS.get(tuning, self.embedder_init),
        )

    def baseline_config(self, num_classes: int) -> P4TransformerConfig:
        """A `P4Transformer` for this task, with as many tokens and the radius of `model`."""
        return P4TransformerConfig(
            num_classes=num_classes,
            kind=self.kind,
            channels=len(self.clip.channels),
            num_centers=self.model.num_centers,
            radius=self.model.radius,
            anchor_stride=self.model.anchor_stride,
            **dataclasses.asdict(self.baseline),
        )

    def model_config(self, backbone: BackboneConfig, num_classes: int) -> PointATAConfig:
        """The model of this task around `backbone`."""
        return PointATAConfig(
            backbone=backbone,
            num_classes=num_classes,
            kind=self.kind,
            channels=len(self.clip.channels),
            num_anchors=-(-self.clip.frames // self.model.anchor_stride),
            embedder_normalization="none" if self.embedder_init == "backbone" else "layer",
            **{f.name: getattr(self.model, f.name) for f in dataclasses.fields(self.model)},
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values."""
        values = dataclasses.asdict(self)
        values["adapt"]["learning_rates"] = dict(self.adapt.learning_rates)
        values["options"] = dict(self.options)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskConfig:
        """Inverse of `to_dict`, also after a way through JSON."""
        parts = {"clip": ClipConfig, "model": ModelSettings, "align": AlignSettings}
        parts |= {"adapt": AdaptSettings, "baseline": BaselineSettings}
        if "clip" in values and "last_window" not in values["clip"]:
            # Older versions covered all frames only where frames carried labels.
            last = "drop" if values.get("kind", "clip") == "clip" else "add"
            values = {**values, "clip": {**values["clip"], "last_window": last}}
        read = {k: _from_json(parts[k], v) if k in parts else v for k, v in values.items()}
        return _from_json(cls, read)


def _from_json(cls: type, values: Mapping[str, Any]) -> Any:
    check_setting_names(cls, values, cls.__name__)
    return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

"""Pre-training of the 3D backbone: contrast and reconstruction of views, or classes of views.

With few shapes, masked reconstruction alone teaches a small backbone little about shape classes.
Contrast between two augmented partial views of each shape teaches it more. The combination follows
the idea of ReCon (Qi et al., ICML 2023), here with one encoder, one step and two losses.

Three choices matter more than the length of the training:

- The contrast compares the pooled tokens themselves, not a projection of them. With a projection,
  the tokens keep what differs between the views.
- All views of a step are rotated about the up axis by nearly the same angle. If every view had an
  angle of its own, the features would lose the orientation of a shape.
- Pairs of procedural objects of one family are contrasted as well. Two views of one model cannot
  show what the objects of one kind have in common.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from pointata_jax.alignment.source_bank import build_source_bank, save_source_bank
from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from pointata_jax.models.backbone_file import save_backbone
from pointata_jax.models.point_mae import (
    BackboneConfig,
    MaskedAutoencoder,
    chamfer_distance,
    pooled_features,
    random_mask,
)
from pointata_jax.procedural.objects import object_families
from pointata_jax.shapes.batches import ClassBatches, PairBatches
from pointata_jax.shapes.collection import Shapes
from pointata_jax.shapes.subsets import class_factors
from pointata_jax.stages.class_objective import (
    ShapeClassifier,
    classification_loss,
    standardized_directions,
    supervised_contrast,
)
from pointata_jax.stages.probe import probe
from pointata_jax.stages.views import ViewConfig, partial_view
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.hooks import Checkpoint, Log
from pointata_jax.training.loop import BatchIterator, Hook, Training, fit
from pointata_jax.training.optimizer import (
    OptimizerConfig,
    Rule,
    make_optimizer,
    schedule_of,
)
from pointata_jax.training.partition import Params, assign_groups, count_parameters
from pointata_jax.training.run_folder import RunFolder, load_adapter, save_adapter
from pointata_jax.training.step import LossFn, TrainState, create_train_state, make_train_step

Objective = Literal["views", "classes"]


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Views, weights of the losses, and length of the training.

    Attributes:
      objective: what is learned. "views": contrast of views and reconstruction, without labels.
        "classes": the class of each view (`class_objective`).
      views: how views are made. With the objective "views", all views of a step are rotated by one
        random angle in addition.
      mask_ratio: share of the patches that are hidden from the reconstruction.
      temperature: of the contrast (InfoNCE).
      class_weight: weight of the cross-entropy of "classes".
      contrast_weight: weight of the contrast; None: 1 for "views", 0.2 for "classes".
      reconstruction_weight: weight of the Chamfer distance; None: 10 for "views" (the distance is
        some 0.005), 0 for "classes".
      num_pairs: pairs of procedural objects in a batch besides its shapes, each pair two members of
        one family.
      members: procedural objects that are made of each family.
      kept_patches: share of the patches that the objective "classes" sees of a view.
      label_smoothing: share of the target of "classes" that is spread over all classes.
      class_power: with "classes", a class is drawn with a probability proportional to its number of
        shapes to this power.
      class_factors: pairs of the name of a class, also with wildcards, and a factor on that
        probability.
      steps: optimizer steps.
      optimizer: see `OptimizerConfig.rule`; None: "adamw" for "views", "muon" for "classes".
      batch_size: shapes of a batch, besides the pairs.
      learning_rate: peak of the schedule; None: 1e-3 with AdamW, 2e-3 with Muon.
      weight_decay: of matrices; biases, norms and embeddings have none.
      snapshot_every: steps between copies of the backbone in the folder `snapshots` of the run, to
        measure its progress; 0: none.
    """

    objective: Objective = "views"
    views: ViewConfig = ViewConfig()
    mask_ratio: float = 0.6
    temperature: float = 0.2
    class_weight: float = 1.0
    contrast_weight: float | None = None
    reconstruction_weight: float | None = None
    num_pairs: int = 16
    members: int = 16
    kept_patches: float = 0.5
    label_smoothing: float = 0.1
    class_power: float = 0.5
    class_factors: tuple[tuple[str, float], ...] = ()
    steps: int = 600
    optimizer: Rule | None = None
    batch_size: int = 32
    learning_rate: float | None = None
    weight_decay: float = 0.05
    snapshot_every: int = 0

    def __post_init__(self):
        if self.objective not in get_args(Objective):
            raise InputError(
                f"unknown objective {self.objective!r}: choose one of "
                f"{', '.join(get_args(Objective))}."
            )
        if not (0 < self.kept_patches <= 1 and 0 <= self.label_smoothing < 1):
            raise InputError(
                f"kept_patches is {self.kept_patches} and label_smoothing {self.label_smoothing}: "
                "give shares from 0 to 1."
            )
        if self.snapshot_every < 0:
            raise InputError(
                f"snapshot_every is {self.snapshot_every}: give a number of steps, or 0 for none."
            )

    @property
    def rule(self) -> Rule:
        """The optimizer, with the default of the objective."""
        return self.optimizer or ("adamw" if self.objective == "views" else "muon")

    @property
    def peak_rate(self) -> float:
        """The learning rate, with the default of the optimizer."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-3 if self.rule == "adamw" else 2e-3

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of contrast and reconstruction, with the defaults of the objective."""
        contrast, reconstruction = (1.0, 10.0) if self.objective == "views" else (0.2, 0.0)
        return (
            contrast if self.contrast_weight is None else self.contrast_weight,
            reconstruction if self.reconstruction_weight is None else self.reconstruction_weight,
        )


class Pretrainer(nn.Module):
    """A masked autoencoder whose backbone also describes whole views for the contrast."""

    config: BackboneConfig

    def setup(self):
        """Makes the submodules."""
        self.autoencoder = MaskedAutoencoder(self.config)

    def describe(self, points: jax.Array, train: bool = False) -> jax.Array:
        """Unit vectors `[B, 2D]` of views `[B, N, 3]`: pooled tokens, standardized by the batch."""
        pooled = pooled_features(self.autoencoder.backbone(points, train))
        return standardized_directions(pooled)

    def __call__(self, view_a, view_b, mask, num_masked: int, train: bool = False):
        """Descriptions of both views `[2B, 2D]` and the reconstruction of the first."""
        both = self.describe(jnp.concatenate([view_a, view_b]), train)
        return both, self.autoencoder(view_a, mask, num_masked, train)


def contrast_loss(descriptions: jax.Array, temperature: float) -> jax.Array:
    """InfoNCE over `[2B, K]` unit vectors; row i and row i + B are views of one shape.

    Every other row is a negative ("A Simple Framework for Contrastive Learning", Chen et al. 2020).
    """
    total = descriptions.shape[0]
    scores = descriptions @ descriptions.T / temperature
    scores = jnp.where(jnp.eye(total, dtype=bool), -jnp.inf, scores)
    partner = (jnp.arange(total) + total // 2) % total
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), partner[:, None], axis=1).mean()


def make_loss(model: Pretrainer, config: PretrainConfig) -> LossFn:
    """The loss of a `Pretrainer`: contrast and reconstruction, weighted."""
    num_groups = model.config.num_groups
    num_masked = int(config.mask_ratio * num_groups)
    contrast_weight, reconstruction_weight = config.weights

    def loss_fn(params, model_state, batch, key, train=True):
        size = batch["points"].shape[0]
        keys = jax.random.split(key, 4)
        angle = jax.random.uniform(keys[3], maxval=2 * jnp.pi)
        view = jax.vmap(lambda k, p: partial_view(k, p, angle, config.views))
        views = [
            view(jax.random.split(keys[0], size), batch["points"]),
            view(jax.random.split(keys[1], size), batch["partners"]),
        ]
        mask = random_mask(keys[2], size, num_groups, num_masked)
        variables = {"params": params, **model_state}
        (both, rebuilt), new_state = model.apply(
            variables, *views, mask, num_masked, train, mutable=["batch_stats"]
        )
        contrast = contrast_loss(both, config.temperature)
        chamfer = chamfer_distance(rebuilt["rebuilt"], rebuilt["target"])
        loss = contrast_weight * contrast + reconstruction_weight * chamfer
        return loss, (new_state, {"contrast": contrast, "chamfer": chamfer})

    return loss_fn


def make_class_loss(model: ShapeClassifier, config: PretrainConfig) -> LossFn:
    """The loss of a `ShapeClassifier`: cross-entropy, supervised contrast and reconstruction."""
    contrast_weight, reconstruction_weight = config.weights

    def loss_fn(params, model_state, batch, key, train=True):
        view_key, patch_key = jax.random.split(key)
        keys = jax.random.split(view_key, batch["points"].shape[0])
        views = jax.vmap(lambda k, p: partial_view(k, p, 0.0, config.views))(keys, batch["points"])
        variables = {"params": params, **model_state}
        (logits, features, chamfer), new_state = model.apply(
            variables, views, patch_key, train, mutable=["batch_stats"]
        )
        labels = jnp.asarray(batch["label"])
        entropy = classification_loss(logits, labels, config.label_smoothing)
        directions = standardized_directions(features)
        contrast = supervised_contrast(directions, labels, config.temperature)
        loss = config.class_weight * entropy + contrast_weight * contrast
        accuracy = 100.0 * (logits.argmax(-1) == labels).mean()
        metrics = {"cross_entropy": entropy, "contrast": contrast, "accuracy": accuracy}
        if model.reconstruct:
            loss, metrics = loss + reconstruction_weight * chamfer, metrics | {"chamfer": chamfer}
        return loss, (new_state, metrics)

    return loss_fn


class _Task(NamedTuple):
    """What an objective trains: variables, loss and batches of so many rows."""

    variables: Params
    loss: LossFn
    batches: BatchIterator
    rows: int


_BACKBONE = ("autoencoder", "backbone")
"""Where the backbone is in the parameters of both models."""


def _make_task(
    backbone: BackboneConfig, config: PretrainConfig, shapes: Shapes, seed: int
) -> _Task:
    points = shapes.points
    view = jnp.asarray(points[:2, : config.views.num_points])
    key = jax.random.key(seed)
    if config.objective == "classes":
        num_kept = max(1, round(config.kept_patches * backbone.num_groups))
        reconstruct = config.weights[1] > 0
        classifier = ShapeClassifier(backbone, len(shapes.class_names), num_kept, reconstruct)
        factors = class_factors(shapes, dict(config.class_factors))
        batches = ClassBatches(
            points, shapes.labels, config.batch_size, seed, config.class_power, factors
        )
        variables = classifier.init(key, view)
        loss = make_class_loss(classifier, config)
        return _Task(variables, loss, batches, config.batch_size)
    families = None
    if config.num_pairs:
        families = object_families(np.random.default_rng(seed), config.members, points.shape[1])
    model = Pretrainer(backbone)
    num_masked = int(config.mask_ratio * backbone.num_groups)
    mask = random_mask(jax.random.key(0), 2, backbone.num_groups, num_masked)
    variables = model.init(key, view, view, mask, num_masked)
    batches = PairBatches(points, config.batch_size, seed, families, config.num_pairs)
    rows = config.batch_size + config.num_pairs
    return _Task(variables, make_loss(model, config), batches, rows)


def _backbone_of(state: TrainState) -> dict[str, Params]:
    """Variables of the backbone in the state of either model."""
    trained = {"params": state.trainable, "batch_stats": state.model_state["batch_stats"]}
    for name in _BACKBONE:
        trained = {collection: tree[name] for collection, tree in trained.items()}
    return trained


class Snapshot(Hook):
    """Writes the backbone of the moment, so that its progress can be measured.

    Args:
      folder: gets `<step>.safetensors`.
      backbone: architecture.
      described: what the files say about themselves.
      every: steps between files.
    """

    def __init__(
        self, folder: Path, backbone: BackboneConfig, described: dict[str, str], every: int
    ):
        self._folder, self._backbone, self._described = folder, backbone, described
        self._every = every

    def due(self, training: Training) -> bool:
        """Every `every` steps."""
        return training.step % self._every == 0

    def act(self, training: Training) -> None:
        """Writes a file where one is due."""
        if not self.due(training) or jax.process_index() != 0:
            return
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{training.step}.safetensors"
        variables = _backbone_of(jax.device_get(training.state))
        save_backbone(path, self._backbone, variables, self._described)


def pretrain(
    backbone: BackboneConfig,
    config: PretrainConfig,
    shapes: Shapes,
    run: RunFolder,
    *,
    held_out: Shapes | None = None,
    start: str | None = None,
    seed: int = 0,
    resume: bool = False,
) -> dict[str, Any]:
    """Trains a backbone and writes backbone, source bank, gate and result into the run folder.

    Args:
      backbone: architecture.
      config: views, losses, optimization.
      shapes: to train on. The objective "views" does not use their labels; the source bank and
        the gate do.
      held_out: labeled shapes for the gate; None: those that it was trained on.
      run: the run folder.
      start: run folder of an earlier pre-training; its weights are the initial ones.
      seed: of initialization, order and views.
      resume: continue a killed run.
    """
    task = _make_task(backbone, config, shapes, seed)
    variables = task.variables
    groups = assign_groups(variables["params"], ((".+", "backbone"),))
    optimizer_config = OptimizerConfig(
        rule=config.rule,
        learning_rate=config.peak_rate,
        weight_decay=config.weight_decay,
        total_steps=config.steps,
        warmup_steps=min(50, config.steps - 1),
    )
    optimizer = make_optimizer(optimizer_config, groups)
    mesh = sharding.make_mesh()
    sharding.check_batch_size(task.rows, mesh)
    if start is not None:
        params, collections, _ = load_adapter(RunFolder.open(start).adapter_path)
        if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, variables["params"]):
            raise InputError(
                f"the run in {start} trained a backbone of another size or with another objective: "
                "give the same --preset and --objective."
            )
        variables = {"params": params, "batch_stats": collections["batch_stats"]}
    state = create_train_state(
        variables["params"], {"batch_stats": variables["batch_stats"]}, optimizer, mesh=mesh
    )
    step = make_train_step(task.loss, optimizer, mesh=mesh)
    described = {
        "made_by": "experiments.pretrain",
        "shapes": str(len(shapes.points)),
        "seed": str(seed),
    }
    hooks: list[Hook] = [Log(20, run, schedule_of(optimizer_config))]
    if config.snapshot_every:
        hooks.append(Snapshot(run.path / "snapshots", backbone, described, config.snapshot_every))
    with Checkpoints(run.checkpoints_path) as checkpoints:
        hooks.append(Checkpoint(checkpoints, 200, resume=resume))
        fitted = fit(
            state,
            {},
            step,
            task.batches,
            jax.random.key(seed + 1),
            config.steps,
            hooks,
            mesh=mesh,
        )
    state = jax.device_get(fitted.state)
    save_adapter(run.adapter_path, state.trainable, state.model_state, {"task": run.task})
    trained = _backbone_of(state)
    path = run.path / "backbone.safetensors"
    save_backbone(path, backbone, trained, described)
    result: dict[str, Any] = {
        "steps": fitted.step,
        "objective": config.objective,
        "num_shapes": len(shapes.points),
        "parameters": count_parameters(trained["params"]),
        "backbone_sha256": file_sha256(path),
    }
    labeled = shapes.labeled()
    if shapes.class_names:
        used = labeled.points[:, : config.views.num_points]
        provenance = {"backbone_sha256": result["backbone_sha256"], "shapes": len(used)}
        bank = build_source_bank(
            backbone, trained, used, labeled.labels, labeled.class_names, provenance=provenance
        )
        save_source_bank(run.path / "source_bank.npz", bank)
        result["gate"] = probe(backbone, trained, held_out or labeled, config.views.num_points)
    return run.write_result(result, seed=seed)

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
from collections.abc import Sequence
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
from pointata_jax.stages.class_objective import (
    ShapeClassifier,
    classification_loss,
    standardized_directions,
    supervised_contrast,
)
from pointata_jax.stages.probe import probe
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.hooks import Checkpoint, Log
from pointata_jax.training.loop import BatchIterator, fit
from pointata_jax.training.optimizer import (
    OptimizerConfig,
    learning_rate_schedule,
    make_optimizer,
)
from pointata_jax.training.partition import Params, assign_groups, count_parameters
from pointata_jax.training.run_folder import RunFolder, load_adapter, save_adapter
from pointata_jax.training.step import LossFn, create_train_state, make_train_step

Objective = Literal["views", "classes"]


@dataclasses.dataclass(frozen=True)
class PretrainConfig:
    """Views, weights of the two losses, and length of the training.

    Attributes:
      objective: what is learned. "views": contrast of views and reconstruction, without labels.
        "classes": the class of each view (`class_objective`).
      num_points: points of a view.
      crop_probability: share of the views from which a half-space cut removes a part.
      min_kept: smallest share of the points that a cut leaves.
      yaw_jitter: in radians, the largest rotation of a view about the up axis. With the objective
        "views", all views of a step are rotated by one random angle in addition.
      scale_range: range of the per-axis scale.
      jitter_std: standard deviation of the noise on coordinates (unit-sphere units).
      mask_ratio: share of the patches that are hidden from the reconstruction.
      temperature: of the contrast (InfoNCE).
      contrast_weight: weight of the contrast.
      reconstruction_weight: weight of the Chamfer distance; some 0.005, hence the value.
      num_pairs: pairs of procedural objects in a batch besides its shapes, each pair two members of
        one family.
      members: procedural objects that are made of each family.
      kept_patches: share of the patches that the objective "classes" sees of a view.
      label_smoothing: share of the target of "classes" that is spread over all classes.
      class_power: with "classes", a class is drawn with a probability proportional to its number of
        shapes to this power.
      steps: optimizer steps.
      batch_size: shapes of a batch, besides the pairs.
      learning_rate: peak of the schedule.
      weight_decay: of matrices; biases, norms and embeddings have none.
    """

    objective: Objective = "views"
    num_points: int = 1024
    crop_probability: float = 0.7
    min_kept: float = 0.5
    yaw_jitter: float = 0.26
    scale_range: tuple[float, float] = (0.7, 1.2)
    jitter_std: float = 0.005
    mask_ratio: float = 0.6
    temperature: float = 0.2
    contrast_weight: float = 1.0
    reconstruction_weight: float = 10.0
    num_pairs: int = 16
    members: int = 16
    kept_patches: float = 0.5
    label_smoothing: float = 0.1
    class_power: float = 0.5
    steps: int = 600
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05

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


def partial_view(
    key: jax.Array, points: jax.Array, angle: jax.Array | float, config: PretrainConfig
) -> jax.Array:
    """One augmented view of a shape, `[N, 3] -> [num_points, 3]`, back in the unit sphere.

    A half-space cut leaves a random part of the shape, as a single depth camera or a crowded scene
    would. Then come scale per axis, mirror, a rotation about the up axis (y) by `angle` and up to
    `config.yaw_jitter` more, and noise.
    """
    keys = jax.random.split(key, 8)
    normal = jax.random.normal(keys[0], (3,))
    height = points @ (normal / jnp.linalg.norm(normal))
    kept = jax.random.uniform(keys[1], minval=config.min_kept, maxval=1.0)
    kept = jnp.where(jax.random.uniform(keys[2]) < config.crop_probability, kept, 1.0)
    inside = height >= jnp.quantile(height, 1.0 - kept)
    noise = jnp.where(inside, jax.random.uniform(keys[3], height.shape), -1.0)
    view = points[jax.lax.top_k(noise, config.num_points)[1]]
    low, high = config.scale_range
    scale = jax.random.uniform(keys[4], (3,), minval=low, maxval=high)
    scale = scale.at[0].multiply(jnp.where(jax.random.bernoulli(keys[5]), 1.0, -1.0))
    angle = angle + jax.random.uniform(keys[6], minval=-config.yaw_jitter, maxval=config.yaw_jitter)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    view = (view * scale) @ rotation
    view = view + config.jitter_std * jax.random.normal(keys[7], view.shape)
    view = view - view.mean(0)
    return view / jnp.sqrt(jnp.square(view).sum(-1).max())


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

    def loss_fn(params, model_state, batch, key, train=True):
        size = batch["points"].shape[0]
        keys = jax.random.split(key, 4)
        angle = jax.random.uniform(keys[3], maxval=2 * jnp.pi)
        view = jax.vmap(lambda k, p: partial_view(k, p, angle, config))
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
        loss = config.contrast_weight * contrast + config.reconstruction_weight * chamfer
        return loss, (new_state, {"contrast": contrast, "chamfer": chamfer})

    return loss_fn


def make_class_loss(model: ShapeClassifier, config: PretrainConfig) -> LossFn:
    """The loss of a `ShapeClassifier`: cross-entropy and supervised contrast, weighted."""

    def loss_fn(params, model_state, batch, key, train=True):
        view_key, patch_key = jax.random.split(key)
        keys = jax.random.split(view_key, batch["points"].shape[0])
        views = jax.vmap(lambda k, p: partial_view(k, p, 0.0, config))(keys, batch["points"])
        variables = {"params": params, **model_state}
        (logits, features), new_state = model.apply(
            variables, views, patch_key, train, mutable=["batch_stats"]
        )
        labels = jnp.asarray(batch["label"])
        entropy = classification_loss(logits, labels, config.label_smoothing)
        directions = standardized_directions(features)
        contrast = supervised_contrast(directions, labels, config.temperature)
        loss = entropy + config.contrast_weight * contrast
        accuracy = 100.0 * (logits.argmax(-1) == labels).mean()
        metrics = {"cross_entropy": entropy, "contrast": contrast, "accuracy": accuracy}
        return loss, (new_state, metrics)

    return loss_fn


class _Task(NamedTuple):
    """What an objective trains: variables, loss, batches, and where its backbone is in them."""

    variables: Params
    loss: LossFn
    batches: BatchIterator
    rows: int
    backbone: Sequence[str]


def _make_task(
    backbone: BackboneConfig, config: PretrainConfig, shapes: Shapes, seed: int
) -> _Task:
    points = shapes.points
    view = jnp.asarray(points[:2, : config.num_points])
    key = jax.random.key(seed)
    if config.objective == "classes":
        num_kept = max(1, round(config.kept_patches * backbone.num_groups))
        classifier = ShapeClassifier(backbone, len(shapes.class_names), num_kept)
        batches = ClassBatches(points, shapes.labels, config.batch_size, seed, config.class_power)
        variables = classifier.init(key, view)
        loss = make_class_loss(classifier, config)
        return _Task(variables, loss, batches, config.batch_size, ("backbone",))
    families = None
    if config.num_pairs:
        families = object_families(np.random.default_rng(seed), config.members, points.shape[1])
    model = Pretrainer(backbone)
    num_masked = int(config.mask_ratio * backbone.num_groups)
    mask = random_mask(jax.random.key(0), 2, backbone.num_groups, num_masked)
    variables = model.init(key, view, view, mask, num_masked)
    batches = PairBatches(points, config.batch_size, seed, families, config.num_pairs)
    rows = config.batch_size + config.num_pairs
    return _Task(variables, make_loss(model, config), batches, rows, ("autoencoder", "backbone"))


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
        learning_rate=config.learning_rate,
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
    step = make_train_step(
        task.loss,
        optimizer,
        mesh=mesh,
        schedule=learning_rate_schedule(optimizer_config),
    )
    with Checkpoints(run.checkpoints_path) as checkpoints:
        fitted = fit(
            state,
            {},
            step,
            task.batches,
            jax.random.key(seed + 1),
            config.steps,
            [Log(20, run), Checkpoint(checkpoints, 200, resume=resume)],
            mesh=mesh,
        )
    state = jax.device_get(fitted.state)
    save_adapter(run.adapter_path, state.trainable, state.model_state, {"task": run.task})
    trained = {"params": state.trainable, "batch_stats": state.model_state["batch_stats"]}
    for name in task.backbone:
        trained = {collection: tree[name] for collection, tree in trained.items()}
    path = run.path / "backbone.safetensors"
    described = {
        "made_by": "experiments.pretrain",
        "shapes": str(len(shapes.points)),
        "seed": str(seed),
    }
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
        used = labeled.points[:, : config.num_points]
        provenance = {"backbone_sha256": result["backbone_sha256"], "shapes": len(used)}
        bank = build_source_bank(
            backbone, trained, used, labeled.labels, labeled.class_names, provenance=provenance
        )
        save_source_bank(run.path / "source_bank.npz", bank)
        result["gate"] = probe(backbone, trained, held_out or labeled, config.num_points)
    return run.write_result(result, seed=seed)

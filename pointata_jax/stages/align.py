"""Stage 1: trains the P4D embedder so that its tokens are distributed like those of 3D shapes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax import ops
from pointata_jax.alignment import (
    OBJECTIVES,
    Objective,
    OTDDConfig,
    SourceBank,
    StoppingRule,
    alignment_report,
    feature_moments,
    kmeans,
    match_last_layer,
    nearest_center,
    sample_source,
    standardize,
    warn_if_unconverged,
)
from pointata_jax.errors import InputError
from pointata_jax.metrics.probes import ridge_explained
from pointata_jax.models.batches import in_batches
from pointata_jax.models.heads import frame_features
from pointata_jax.models.p4d import P4DConfig, P4DEmbedder, embedder_from_backbone
from pointata_jax.models.point_mae import Backbone, BackboneConfig
from pointata_jax.stages.config import AlignSettings
from pointata_jax.stages.task_data import TaskData, spread_clips
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.hooks import Checkpoint, Evaluate, Log, Stop
from pointata_jax.training.loop import BatchIterator, fit
from pointata_jax.training.optimizer import (
    OptimizerConfig,
    make_optimizer,
    schedule_of,
)
from pointata_jax.training.partition import Params, assign_groups, count_parameters
from pointata_jax.training.run_folder import RunFolder, save_adapter
from pointata_jax.training.step import LossFn, TrainState, create_train_state, make_train_step

_BATCH = 32


def label_units(
    config: P4DConfig,
    params: Params,
    clips: jax.Array,
    labels: jax.Array,
    encode: Callable[[jax.Array, jax.Array], jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """One vector for each unit that carries a label.

    Args:
      config: architecture of the embedder.
      params: its parameters.
      clips: `[B, T, N, 3+C]`.
      labels: of the clips `[B]`, the frames `[B, T]` or the points `[B, T, N]`.
      encode: what follows the embedder; takes tokens `[B, T', n, D]` and their centers. None: the
        units of the embedder itself, which stage 1 aligns.

    Returns:
      Vectors `[B, U, D]` and labels `[B, U]`. By the kind of label, a vector is the mean over the
      tokens of a clip (U = 1), the mean over those of an anchor frame (U = T'), or a token
      (U = T'n) with the label of the point nearest to its center. With `encode`, a frame is
      described as for the heads (`frame_features`, 2D).
    """
    apply: Any = P4DEmbedder(config).apply
    tokens, centers = apply({"params": params}, clips)
    frames = tokens.mean(2)
    if encode is not None:
        tokens = encode(tokens, centers)
        frames = frame_features(tokens)
    if labels.ndim == 1:
        return frames.mean(1)[:, None], labels[:, None]
    labels = labels[:, :: config.anchor_stride]
    if labels.ndim == 2:
        return frames, labels
    points = ops.knn(centers, clips[:, :: config.anchor_stride, :, :3], 1)[..., 0]
    labels = jnp.take_along_axis(labels, points, axis=-1)
    batch, width = len(clips), tokens.shape[-1]
    return tokens.reshape(batch, -1, width), labels.reshape(batch, -1)


def draw_units(
    key: jax.Array, features: jax.Array, labels: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """`count` units at random, `[n, D]` and `[n]`, of `[B, U, D]` and `[B, U]`; all if fewer.

    Units with the label -1 are not drawn. Other units are repeated in their place.
    """
    units = labels.shape[1]
    features, labels = features.reshape(-1, features.shape[-1]), labels.reshape(-1)
    if units == 1 and len(labels) <= count:
        return features, labels
    count = min(count, len(labels))
    labeled = labels >= 0
    chosen = jnp.argsort(-1.0 * labeled - jax.random.uniform(key, labels.shape))[:count]
    chosen = chosen[jnp.arange(count) % jnp.clip(labeled.sum(), 1, count)]
    return features[chosen], labels[chosen]


def compared_units(
    key: jax.Array,
    features: jax.Array,
    labels: jax.Array,
    count: int,
    bank: SourceBank,
    centers: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """The units that stage 1 compares with the bank: `draw_units`, standardized by the bank.

    With `centers` `[k, D]` the label of a unit is its nearest center instead of its own label.
    """
    if centers is not None:
        labels = jnp.zeros_like(labels)  # so that units without a label are drawn too
    features, labels = draw_units(key, features, labels, count)
    features = standardize(features, bank)
    return features, labels if centers is None else nearest_center(features, centers)


def _frozen(
    backbone: BackboneConfig, variables: Params, tokens: jax.Array, centers: jax.Array
) -> jax.Array:
    """Tokens `[B, T', n, D]` after the frozen backbone alone."""
    apply: Any = Backbone(backbone).apply
    flat = (x.reshape(-1, *x.shape[2:]) for x in (tokens, centers))
    final = apply(variables, *flat, patches_only=True, method="encode")
    return final.reshape(tokens.shape)


@functools.partial(jax.jit, static_argnums=(0, 4))
def _embed(
    config: P4DConfig,
    params: Params,
    clips: jax.Array,
    labels: jax.Array,
    backbone: BackboneConfig | None = None,
    variables: Params | None = None,
) -> tuple[jax.Array, jax.Array]:
    encode = None
    if backbone is not None and variables is not None:
        encode = functools.partial(_frozen, backbone, variables)
    return label_units(config, params, clips, labels, encode)


def units_of(
    config: P4DConfig, params: Params, clips: np.ndarray, labels: np.ndarray, *frozen: Any
) -> tuple[np.ndarray, np.ndarray]:
    """`label_units` of any number of clips, a batch at a time.

    With a backbone and its variables, the units of the frozen backbone.
    """
    rows = np.arange(len(clips))
    return in_batches(lambda i: _embed(config, params, clips[i], labels[i], *frozen), rows, _BATCH)


def match_moments(
    config: P4DConfig,
    params: Params,
    clips: np.ndarray,
    labels: np.ndarray,
    bank: SourceBank,
) -> dict[str, Any]:
    """The embedder with its last layer moved to the bank's mean and deviation on `clips`."""
    features = units_of(config, params, clips, labels)[0]
    moments = feature_moments(jnp.asarray(features.reshape(-1, features.shape[-1])))
    last = "reduce_dim" if "reduce_dim" in params else "out"
    return {**params, last: match_last_layer(params[last], *moments, *bank.standardization())}


def make_loss(
    embedder: P4DConfig,
    objective: Objective,
    bank: SourceBank,
    source: tuple[jax.Array, jax.Array],
    centers: jax.Array | None,
    count: int,
    mesh: jax.sharding.Mesh,
) -> LossFn:
    """The objective between up to `count` units of a batch and as many rows of the bank.

    The parameters are `{"embedder": …}`. `source` holds the standardized features of the bank and
    their labels; `centers` is that of `compared_units`.
    """

    def loss_fn(tree, model_state, batch, step_key, train):
        units = label_units(embedder, tree["embedder"], batch["points"], batch["label"])
        # The transport problem couples all rows of the global batch, so every device needs them.
        features, labels = jax.lax.with_sharding_constraint(units, sharding.replicated(mesh))
        draw_key = jax.random.fold_in(step_key, 1)
        features, labels = compared_units(draw_key, features, labels, count, bank, centers)
        chosen = sample_source(bank, step_key, features.shape[0])
        loss, logs = objective.loss(source[0][chosen], source[1][chosen], features, labels)
        logs = {name: jnp.asarray(value, jnp.float32) for name, value in logs.items()}
        return loss, (model_state, logs | {"deviation": features.std(0).mean()})

    return loss_fn


def align(
    embedder: P4DConfig,
    settings: AlignSettings,
    data: TaskData,
    bank: SourceBank,
    backbone: tuple[BackboneConfig, Params],
    run: RunFolder,
    *,
    embedder_init: str = "random",
    seed: int = 0,
    resume: bool = False,
) -> dict[str, Any]:
    """Aligns an embedder and writes it, with before/after figures, to `run`.

    Each report also tells `label_fit`: how much of the labels of held-out units a ridge classifier
    explains (`ridge_explained`) that was fitted on training units, both as the frozen backbone sees
    them. That is what stage 1 is for, so it decides which embedder is kept and when to stop. With
    pseudo-labels the gap decides.

    Args:
      embedder: architecture of the P4D embedder.
      settings: objective, length and rate of stage 1.
      data: training videos; the reports come from the held-out ones.
      bank: what to align to.
      backbone: configuration and variables of the 3D backbone.
      run: the run folder's stage "align".
      embedder_init: "random", or "backbone" to start from a copy of the backbone's embedder.
      seed: of initialization, batches and source samples.
      resume: continue a killed run.

    Returns:
      The content of `result.json`: objective, steps, why it stopped, and the held-out reports
      (`alignment_report`) of the initial embedder, of the moment-matched one (a copy that trains
      on is not matched), and of the kept one.
    """
    if settings.objective not in OBJECTIVES:
        raise InputError(
            f"unknown objective {settings.objective!r}: choose one of {', '.join(OBJECTIVES)}."
        )
    if data.validation is None:
        raise InputError("alignment needs held-out recordings to stop by: keep a validation part.")
    bank.check_width(embedder.width)
    objective = Objective(
        settings.objective,
        bank.num_classes,
        settings.pseudo_classes or data.train.num_classes,
        OTDDConfig(label_weight=settings.label_weight),
    )
    init_key, report_key, step_key = jax.random.split(jax.random.key(seed), 3)
    train_clips, train_labels = spread_clips(
        data.train, data.clip, settings.report_clips, training=True
    )
    held_clips, held_labels = spread_clips(
        data.validation, data.clip, settings.report_clips, training=False
    )
    source = standardize(bank.features, bank), jnp.asarray(bank.labels)

    def cluster_centers(params: Params) -> jax.Array | None:
        if not settings.pseudo_classes:
            return None
        features = units_of(embedder, params, train_clips, train_labels)[0]
        features = standardize(jnp.asarray(features.reshape(-1, features.shape[-1])), bank)
        return kmeans(features, report_key, settings.pseudo_classes).centers

    def report(params: Params, centers: jax.Array | None) -> dict[str, float]:
        features, labels = (
            jnp.asarray(part) for part in units_of(embedder, params, held_clips, held_labels)
        )
        features, labels = compared_units(
            report_key, features, labels, settings.report_units, bank, centers
        )
        shown = sample_source(bank, report_key, len(labels))
        found = alignment_report(
            objective, source[0][shown], source[1][shown], features, labels, report_key
        )
        warn_if_unconverged(found, f"the held-out report of {run.path}")
        return found if settings.pseudo_classes else found | {"label_fit": label_fit(params)}

    def label_fit(params: Params) -> float:
        def drawn(clips: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            features, unit_labels = units_of(embedder, params, clips, labels, *backbone)
            chosen = draw_units(
                report_key, jnp.asarray(features), jnp.asarray(unit_labels), settings.report_units
            )
            return np.asarray(chosen[0]), np.asarray(chosen[1])

        fitted, held = drawn(train_clips, train_labels), drawn(held_clips, held_labels)
        return ridge_explained(*fitted, *held)

    if embedder_init == "backbone":
        params = embedder_from_backbone(backbone[1], embedder, data.clip.colors)
    else:
        params = jax.jit(P4DEmbedder(embedder).init)(init_key, train_clips[:1])["params"]
    initial = params
    centers = cluster_centers(params)
    reports = {"initial": report(params, centers)}
    # A copy's tokens are already those of shapes. Videos of one kind of thing (people) vary less
    # than shapes of many kinds, so matching the deviation would blow the copy's tokens up.
    is_copy = embedder_init == "backbone"
    if objective.matches_moments and not (is_copy and objective.trains):
        params = match_moments(embedder, params, train_clips, train_labels, bank)
        centers = cluster_centers(params)
        reports["moments"] = report(params, centers)
    rule = StoppingRule(watched="gap" if settings.pseudo_classes else "label_fit")
    result: dict[str, Any] = {"objective": settings.objective, "steps": 0, "stopped": None}
    if objective.trains:
        mesh = sharding.make_mesh()
        sharding.check_batch_size(settings.batch_size, mesh)
        before = list(reports.values())[-1]["deviation"]

        def evaluate(state: TrainState) -> dict[str, float]:
            found = report(state.trainable["embedder"], centers)
            # What features that have shrunk score is not worth keeping.
            shrunk = found["deviation"] < rule.min_deviation * before
            return found | {"score": float("nan") if shrunk else found[rule.watched]}

        params, trained = _train(
            params,
            make_loss(embedder, objective, bank, source, centers, settings.units, mesh),
            settings,
            data.train_batches(settings.batch_size, seed),
            step_key,
            run,
            evaluate,
            rule,
            mesh=mesh,
            resume=resume,
        )
        result |= trained
    reports["kept"] = report(params, centers)
    result["kept_initial"] = reports["initial"][rule.watched] > reports["kept"][rule.watched]
    if result["kept_initial"]:
        params, reports["kept"] = initial, reports["initial"]
    save_adapter(run.adapter_path, {"embedder": params}, {}, {"task": run.task, "stage": "align"})
    result |= {
        "held_out": reports,
        "num_train_videos": data.train.num_videos,
        "num_held_out_videos": data.validation.num_videos,
        "num_held_out_clips": len(held_clips),
        "num_source_shapes": len(bank.labels),
        "trainable_parameters": count_parameters(params),
    }
    return run.write_result(result, seed=seed)


def _train(
    params: Params,
    loss_fn: LossFn,
    settings: AlignSettings,
    batches: BatchIterator,
    key: jax.Array,
    run: RunFolder,
    evaluate: Callable[[TrainState], Mapping[str, float]],
    rule: StoppingRule,
    *,
    mesh: jax.sharding.Mesh,
    resume: bool,
) -> tuple[Params, dict[str, Any]]:
    """Takes the gradient steps; returns the embedder of the best report, and figures for people."""
    tree = {"embedder": params}
    optimizer_config = OptimizerConfig(
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        total_steps=settings.steps,
        group_multipliers={},
    )
    optimizer = make_optimizer(
        optimizer_config, assign_groups(tree, (("embedder/.+", "embedder"),))
    )
    with Checkpoints(run.checkpoints_path) as checkpoints:
        fitted = fit(
            create_train_state(tree, {}, optimizer, mesh=mesh),
            {},
            make_train_step(loss_fn, optimizer, mesh=mesh),
            batches,
            key,
            settings.steps,
            [
                Log(min(5, settings.report_every), run, schedule_of(optimizer_config)),
                Evaluate(
                    evaluate,
                    settings.report_every,
                    metric="score",
                    first=True,
                    run=run,
                    shown=("otdd", "gap", "label_fit"),
                ),
                Checkpoint(checkpoints, resume=resume),
                Stop(rule.reason),
            ],
            mesh=mesh,
        )
        kept = fitted.best_step or 0
        trained = checkpoints.restore(fitted.state, kept).state.trainable if kept else tree
    return trained["embedder"], {
        "steps": fitted.step,
        "kept_step": kept,
        "stopped": fitted.stopped,
        "history": fitted.history,
    }

"""Stage 1: trains the P4D embedder so that its tokens are distributed like those of 3D shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax.alignment import (
    OBJECTIVES,
    Objective,
    OTDDConfig,
    SourceBank,
    StoppingRule,
    alignment_report,
    feature_moments,
    match_last_layer,
    sample_source,
    standardise,
    warn_if_unconverged,
)
from pointata_jax.errors import InputError
from pointata_jax.models.batches import in_batches
from pointata_jax.models.p4d import P4DConfig, P4DEmbedder
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.config import AlignSettings
from pointata_jax.training.loop import LoopConfig, fit
from pointata_jax.training.optimizer import (
    OptimizerConfig,
    learning_rate_schedule,
    make_optimizer,
)
from pointata_jax.training.partition import assign_groups, count_parameters
from pointata_jax.training.run_folder import RunFolder, save_adapter
from pointata_jax.training.step import create_train_state, make_train_step
from pointata_jax.training.task_data import TaskData, spread_clips

_BATCH = 32


def clip_features(config: P4DConfig, params: Mapping[str, Any], clips: jax.Array) -> jax.Array:
    """What is aligned, one vector per clip `[B, D]`: the mean over its tokens."""
    tokens, _ = P4DEmbedder(config).apply({"params": params}, clips)  # type: ignore[misc]
    return tokens.mean((1, 2))


def _features_of(config: P4DConfig, params: Mapping[str, Any], clips: np.ndarray) -> np.ndarray:
    """`clip_features` of any number of clips, a batch at a time."""
    return in_batches(lambda batch: _embed(config, params, batch), clips, _BATCH)


_embed = jax.jit(clip_features, static_argnums=0)


def match_moments(
    config: P4DConfig, params: Mapping[str, Any], clips: np.ndarray, bank: SourceBank
) -> dict[str, Any]:
    """The embedder with its last layer moved to the bank's mean and deviation on `clips`."""
    moments = feature_moments(jnp.asarray(_features_of(config, params, clips)))
    return {**params, "out": match_last_layer(params["out"], *moments, *bank.standardisation())}


def align(
    embedder: P4DConfig,
    settings: AlignSettings,
    data: TaskData,
    bank: SourceBank,
    run: RunFolder,
    *,
    seed: int = 0,
    resume: bool = False,
) -> dict[str, Any]:
    """Aligns a freshly initialised embedder and writes it, with before/after figures, to `run`.

    Args:
      embedder: architecture of the P4D embedder.
      settings: objective, length and rate of stage 1.
      data: training videos; the reports come from the held-out ones.
      bank: what to align to.
      run: the run folder's stage "align".
      seed: of initialisation, batches and source samples.
      resume: continue a killed run.

    Returns:
      The content of `result.json`: objective, steps, why it stopped, and the held-out reports
      (`alignment_report`) of the random embedder, of the moment-matched one, and of the kept one.
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
        data.train.num_classes,
        OTDDConfig(label_weight=settings.label_weight),
    )
    init_key, report_key, step_key = jax.random.split(jax.random.key(seed), 3)
    train_clips, _ = spread_clips(data.train, data.clip, settings.report_clips, training=True)
    held_clips, held_labels = spread_clips(
        data.validation, data.clip, settings.report_clips, training=False
    )
    source_features, source_labels = standardise(bank.features, bank), jnp.asarray(bank.labels)
    shown = sample_source(bank, report_key, len(held_labels))

    def report(params: Mapping[str, Any]) -> dict[str, float]:
        features = standardise(_features_of(embedder, params, held_clips), bank)
        found = alignment_report(
            objective,
            source_features[shown],
            source_labels[shown],
            features,
            jnp.asarray(held_labels),
            report_key,
        )
        warn_if_unconverged(found, f"the held-out report of {run.path}")
        return found

    params = jax.jit(P4DEmbedder(embedder).init)(init_key, train_clips[:1])["params"]
    reports = {"random": report(params)}
    if objective.matches_moments:
        params = match_moments(embedder, params, train_clips, bank)
        reports["moments"] = report(params)
    result: dict[str, Any] = {"objective": settings.objective, "steps": 0, "stopped": None}
    if objective.trains:
        params, trained = _train(
            embedder,
            settings,
            objective,
            data,
            bank,
            run,
            params,
            report,
            list(reports.values())[-1],
            step_key,
            seed,
            resume,
        )
        result |= trained
    reports["kept"] = report(params)
    save_adapter(run.adapter_path, {"embedder": params}, {}, {"task": run.task, "stage": "align"})
    result |= {
        "held_out": reports,
        "num_train_videos": data.train.num_videos,
        "num_held_out_videos": data.validation.num_videos,
        "num_held_out_clips": len(held_labels),
        "num_source_shapes": len(bank.labels),
        "trainable_parameters": count_parameters(params),
    }
    return run.write_result(result, seed=seed)


def _train(
    embedder: P4DConfig,
    settings: AlignSettings,
    objective: Objective,
    data: TaskData,
    bank: SourceBank,
    run: RunFolder,
    params: Mapping[str, Any],
    report: Callable[[Mapping[str, Any]], dict[str, float]],
    before: dict[str, float],
    key: jax.Array,
    seed: int,
    resume: bool,
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Takes the gradient steps; returns the embedder of the best report and what happened."""
    source_features, source_labels = standardise(bank.features, bank), jnp.asarray(bank.labels)

    def loss_fn(tree, model_state, batch, step_key, train):
        features = standardise(clip_features(embedder, tree["embedder"], batch["points"]), bank)
        chosen = sample_source(bank, step_key, features.shape[0])
        loss, logs = objective.loss(
            source_features[chosen], source_labels[chosen], features, batch["label"]
        )
        logs = {name: jnp.asarray(value, jnp.float32) for name, value in logs.items()}
        return loss, (model_state, logs | {"deviation": features.std(0).mean()})

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
    mesh = sharding.make_mesh()
    sharding.check_batch_size(settings.batch_size, mesh)
    rule = StoppingRule()

    def evaluate(state: Any) -> dict[str, float]:
        found = report(state.trainable["embedder"])
        # A wide gap of features that have shrunk is not worth keeping.
        shrunk = found["deviation"] < rule.min_deviation * before["deviation"]
        return found | {"score": float("nan") if shrunk else found["gap"]}

    with Checkpoints(run.checkpoints_path) as checkpoints:
        fitted = fit(
            create_train_state(tree, {}, optimizer, mesh=mesh),
            {},
            make_train_step(
                loss_fn, optimizer, mesh=mesh, schedule=learning_rate_schedule(optimizer_config)
            ),
            data.train_batches(settings.batch_size, seed),
            key,
            LoopConfig(
                steps_total=settings.steps,
                log_every=min(5, settings.report_every),
                eval_every=settings.report_every,
                best_metric="score",
                evaluate_first=True,
            ),
            mesh=mesh,
            evaluate=evaluate,
            run=run,
            checkpoints=checkpoints,
            resume=resume,
            should_stop=rule.reason,
        )
        kept = fitted.best_step or 0
        trained = checkpoints.restore(fitted.state, kept).state.trainable if kept else tree
    return trained["embedder"], {
        "steps": fitted.step,
        "kept_step": kept,
        "stopped": fitted.stopped,
        "history": fitted.history,
    }

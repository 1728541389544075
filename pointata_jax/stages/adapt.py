"""Stage 2: trains embedder, adapters and head on the task around the frozen backbone."""

from __future__ import annotations

import dataclasses
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np

from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.videos import VideoSource
from pointata_jax.errors import InputError
from pointata_jax.models.architectures import VideoModelConfig, build
from pointata_jax.models.p4d import embedder_from_backbone
from pointata_jax.models.pointata import PointATA, PointATAConfig
from pointata_jax.progress import show, track
from pointata_jax.stages.cached_features import (
    FeatureBatches,
    FromLevels,
    cache_evaluation,
    cache_features,
    token_reader,
)
from pointata_jax.stages.config import AdaptSettings
from pointata_jax.stages.task_data import (
    TaskData,
    balanced_weights,
    evaluation_batches,
    num_batches,
)
from pointata_jax.tasks import SCORES
from pointata_jax.tasks.losses import make_loss
from pointata_jax.tasks.predictions import Predictions
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.hooks import Checkpoint, Evaluate, Log
from pointata_jax.training.loop import Hook, fit
from pointata_jax.training.optimizer import (
    OptimizerConfig,
    make_optimizer,
    schedule_of,
)
from pointata_jax.training.partition import (
    Params,
    assign_groups,
    count_parameters,
    split,
    trainable_groups,
    tuning_rules,
)
from pointata_jax.training.run_folder import RunFolder, save_adapter
from pointata_jax.training.step import (
    TrainState,
    create_train_state,
    make_eval_step,
    make_train_step,
)

SHOWN_SCORES = ("video_accuracy", "window_accuracy", "frame_accuracy", "f1@50", "mean_iou")
"""Scores that tell a person how a run does, of those that its kind of label has."""


@dataclasses.dataclass(frozen=True)
class Start:
    """The initial parameters of stage 2.

    Attributes:
      tuning: name in `partition.TUNINGS`, of which "scratch" leaves the backbone random, or
        `partition.P4TRANSFORMER` for that model, of which all is random.
      backbone: {"params", "batch_stats"} of the backbone, random for "random_frozen".
      embedder: parameters of the embedder that stage 1 aligned; None without stage 1.
      embedder_init: without stage 1, "random" or "backbone" (a copy of the backbone's embedder).
    """

    tuning: str
    backbone: Params
    embedder: Params | None = None
    embedder_init: str = "random"


def initial_variables(
    config: VideoModelConfig, start: Start, form: ClipConfig, seed: int
) -> dict[str, Params]:
    """Variables of the model before stage 2: "params" and, with BatchNorm, "batch_stats".

    Args:
      config: the model.
      start: what is not random.
      form: of the clips; a copied embedder of a backbone that knows colors reads theirs.
      seed: of all that is random.

    Raises:
      InputError: backbone or embedder do not fit the model.
    """
    clip = np.zeros((1, form.frames, form.points, 3 + config.channels), np.float32)
    variables = jax.jit(build(config).init)(jax.random.key(seed), clip)
    if not isinstance(config, PointATAConfig):
        return variables
    params = dict(variables["params"])
    if start.tuning != "scratch":
        own = start.backbone["params"]
        params["backbone"] = {name: own[name] for name in params["backbone"]}
    embedder = start.embedder
    if embedder is None and start.embedder_init == "backbone":
        embedder = embedder_from_backbone(start.backbone, config.p4d, form.colors)
    if embedder is not None:
        params["embedder"] = embedder
    shapes = jax.tree.map(np.shape, variables["params"])
    if shapes != jax.tree.map(np.shape, params):
        raise InputError(
            "the backbone or the embedder of stage 1 has other shapes than this model: use the "
            "backbone that the run was aligned with, or align again in another --workdir."
        )
    return {"params": params, "batch_stats": variables["batch_stats"]}


def adapt(
    config: VideoModelConfig,
    settings: AdaptSettings,
    start: Start,
    data: TaskData,
    run: RunFolder,
    *,
    score: str,
    test: VideoSource | None,
    learning_rate: float | None = None,
    seed: int = 0,
    resume: bool = False,
    measure_memory: bool = False,
) -> dict[str, Any]:
    """Trains, keeps the checkpoint that is best on validation data, scores the test videos once.

    Args:
      config: the model.
      settings: length, rates, batch.
      start: tuning and initial parameters.
      data: training videos. Without a validation part the last step is kept.
      run: folder of log, checkpoints, `adapter.safetensors` and `result.json`.
      score: name of the score that decides between checkpoints.
      test: the test videos, scored once after training; None: no test score.
      learning_rate: replaces that of the tuning in `settings`.
      seed: of initialization, data and dropout.
      resume: continue a killed run.
      measure_memory: note `step_temporary_bytes`, XLA's count for one training step. The step is
        compiled once more for it.

    Returns:
      The content of `result.json`.
    """
    begun = time.monotonic()
    model = build(config)
    variables = initial_variables(config, start, data.clip, seed)
    model_state = {name: tree for name, tree in variables.items() if name != "params"}
    rules = tuning_rules(start.tuning, freeze_embedder=bool(settings.cached_uses))
    groups = assign_groups(variables["params"], rules)
    trainable, frozen = split(variables["params"], groups)
    rate = settings.learning_rates[start.tuning] if learning_rate is None else learning_rate
    embedder_factor = settings.embedder_lr_multiplier
    if embedder_factor is None:
        # What a copy knows is soon lost at the rate of new parts.
        copied = isinstance(config, PointATAConfig) and config.embedder_normalization == "none"
        embedder_factor = 0.1 if copied else 0.5
    optimizer_config = OptimizerConfig(
        learning_rate=rate,
        weight_decay=settings.weight_decay,
        total_steps=settings.steps,
        warmup_steps=min(settings.warmup_steps, settings.steps - 1),
        clip_norm=settings.clip_norm,
        group_multipliers={
            "embedder": embedder_factor,
            "adapters": settings.adapter_lr_multiplier,
        },
    )
    optimizer = make_optimizer(optimizer_config, trainable_groups(groups))
    mesh = sharding.make_mesh()
    sharding.check_batch_size(settings.batch_size, mesh)

    def evaluation(evaluated: Any) -> Callable[..., Any]:
        return make_eval_step(
            lambda params, collections, points: evaluated.apply(
                {"params": params, **collections}, points
            ),
            mesh=mesh,
        )

    forward = evaluation(model)
    trained: Any = model
    validation_tokens: list[dict[str, Any]] | None = None
    if settings.cached_uses:
        if not (isinstance(model, PointATA) and model.config.side_width):
            raise InputError(
                "tokens can be kept only where the backbone and the embedder are frozen and "
                "nothing is added inside: --cache_features goes with --tuning=side."
            )
        trained = FromLevels(model)
        read = token_reader(model, variables["params"])
        rows = cache_features(
            read,
            data,
            batch_size=settings.batch_size,
            clips=-(-settings.steps * settings.batch_size // settings.cached_uses),
            seed=seed,
        )
        batches = FeatureBatches(rows, settings.batch_size, seed)
        if data.validation is not None:
            windows = evaluation_batches(data.validation, data.clip, settings.batch_size)
            validation_tokens = cache_evaluation(
                read, windows, num_batches(data.validation, data.clip, settings.batch_size)
            )
    else:
        batches = data.train_batches(settings.batch_size, seed)
    frozen = sharding.replicate(frozen, mesh)
    parts = {name: count_parameters(tree) for name, tree in trainable.items()}
    total = count_parameters(variables["params"])
    listed = ", ".join(f"{name} {count:,}" for name, count in _joined(parts).items())
    show(f"{start.tuning} trains {sum(parts.values()):,} of {total:,} parameters: {listed}.")

    def scores(
        state: TrainState,
        videos: VideoSource,
        *,
        tokens: list[dict[str, Any]] | None = None,
        predictions: Predictions | None = None,
    ) -> dict[str, Any]:
        run_model = forward if tokens is None else forward_tokens

        def predict(batch: dict[str, Any]) -> np.ndarray:
            logits = np.asarray(run_model(state, frozen, batch["points"]))
            # Every host gets the logits of the global batch, in which its own rows are one block.
            return np.split(logits, jax.process_count())[jax.process_index()]

        windows = tokens
        if windows is None:
            windows = evaluation_batches(videos, data.clip, settings.batch_size)
        return SCORES[config.kind](
            predict if predictions is None else predictions.keep(predict),
            track(
                windows,
                num_batches(videos, data.clip, settings.batch_size),
                f"scoring {videos.name}",
            ),
            videos.label_names,
            data.train.present_labels,
        )

    forward_tokens = evaluation(trained)
    hooks: list[Hook] = [Log(min(10, settings.steps), run, schedule_of(optimizer_config))]
    if (validation := data.validation) is not None:
        hooks.append(
            Evaluate(
                lambda state: scores(state, validation, tokens=validation_tokens),
                settings.eval_every,
                metric=score,
                run=run,
                shown=SHOWN_SCORES,
            )
        )
    weights = balanced_weights(data.train) if settings.balanced_classes else settings.class_weights
    step = make_train_step(
        make_loss(
            trained,
            label_smoothing=settings.label_smoothing,
            class_weights=weights,
        ),
        optimizer,
        mesh=mesh,
    )
    with Checkpoints(run.checkpoints_path) as checkpoints:
        hooks.append(Checkpoint(checkpoints, settings.eval_every, resume=resume))
        fitted = fit(
            create_train_state(trainable, model_state, optimizer, mesh=mesh),
            frozen,
            step,
            batches,
            jax.random.key(seed + 1),
            settings.steps,
            hooks,
            mesh=mesh,
        )
        state = fitted.state
        if fitted.best_step is not None and fitted.best_step != fitted.step:
            state = checkpoints.restore(state, fitted.best_step).state
    state = sharding.replicate(state, mesh)
    # The frozen backbone is stored in its own file. A random one and other frozen parts (tuning
    # "probe") are not, so they go into the adapter's file.
    in_file = start.tuning != "random_frozen"
    kept = {name: tree for name, tree in frozen.items() if name != "backbone" or not in_file}
    save_adapter(
        run.adapter_path,
        jax.device_get({**kept, **state.trainable}),
        jax.device_get(state.model_state),
        {"task": run.task, "tuning": start.tuning},
    )
    log = [row for row in run.read_log() if row.get("kind") == "train"]
    rates = [row["steps_per_second"] for row in log if row.get("steps_per_second")]
    backbone_size = count_parameters(start.backbone["params"])
    result: dict[str, Any] = {
        "tuning": start.tuning,
        "stage_1": start.embedder is not None,
        "embedder_init": start.embedder_init,
        "steps": fitted.step,
        "kept_step": fitted.best_step or fitted.step,
        "batch_size": settings.batch_size,
        "learning_rate": optimizer_config.learning_rate,
        "validation": fitted.best,
        "chosen_by": score if validation is not None else None,
        # In training mode (dropout, augmentation), over the last tenth of the steps.
        "train_accuracy": float(
            np.mean([row["accuracy"] for row in log if row["step"] > 0.9 * fitted.step])
        ),
        "num_train_videos": data.train.num_videos,
        "classes_not_in_training": [
            name
            for label, name in enumerate(data.train.label_names)
            if label not in data.train.present_labels
        ],
        "parameters": {
            "trainable": sum(parts.values()),
            "trainable_without_head": sum(parts.values()) - parts.get("head", 0),
            "total": total,
            "backbone": backbone_size,
        },
        "optimizer_state_bytes": sum(x.nbytes for x in jax.tree.leaves(fitted.state.opt_state)),
        "seconds_per_step": 1 / rates[-1] if rates else None,
        "peak_memory_mb": _peak_memory_mb(),
    }
    if measure_memory:
        example = sharding.shard_batch(next(batches), mesh)
        key = sharding.replicate(jax.random.key(seed + 1), mesh)
        compiled = cast(Any, step).lower(state, frozen, example, key).compile()
        result["step_temporary_bytes"] = compiled.memory_analysis().temp_size_in_bytes
    if test is not None:
        show(f"scoring {len(test)} test videos")
        predictions = Predictions(test.kind, test.num_classes)
        result["test"] = scores(state, test, predictions=predictions)
        if jax.process_count() == 1:
            run.write_predictions({**predictions.arrays(), "names": np.array(test.index.video_ids)})
    result["seconds"] = time.monotonic() - begun
    return run.write_result(result, seed=seed)


def _joined(parts: Mapping[str, int]) -> dict[str, int]:
    """Numbers by kind of part: those of pva_0, pva_1, … are one."""
    joined: dict[str, int] = {}
    for name, count in parts.items():
        kind = name.split("_")[0]
        joined[kind] = joined.get(kind, 0) + count
    return joined


def _peak_memory_mb() -> float:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

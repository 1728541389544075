"""The training loop of every stage: steps, log, evaluation, checkpoints, resuming, stopping.

The host never waits for a single step: metrics stay on the device until the next line of the log,
where all steps since the last one are fetched together. The first step that is not finite is thus
known exactly, and nothing is saved or evaluated before that look.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from pointata_jax.errors import InputError
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.run_folder import RunFolder, as_json
from pointata_jax.training.step import TrainingDiverged, TrainState

MOST_PENDING = 100  # steps whose metrics may wait on the device

log = logging.getLogger(__name__)

Scores = Mapping[str, Any]


class BatchIterator(Protocol):
    """An endless stream of host batches whose position is a JSON value, as grain makes them."""

    def __next__(self) -> Any: ...

    def get_state(self) -> Any: ...

    def set_state(self, state: Any, /) -> None: ...


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """When the loop does what.

    Attributes:
      steps_total: steps of the whole run, also when it is resumed.
      log_every: steps between lines of the log (each holds the means of its steps).
      eval_every: steps between evaluations; None: only after the last step.
      checkpoint_every: steps between checkpoints, besides those that every evaluation makes.
      checkpoint_minutes: a checkpoint also after that many minutes (looked at when a line is
        logged; not in runs of several processes, whose clocks differ). None: never.
      best_metric: metric of the evaluation that decides which checkpoint is the best.
      best_mode: whether more ("max") or less ("min") of it is better.
      evaluate_first: evaluate before the first step as well.
    """

    steps_total: int
    log_every: int = 10
    eval_every: int | None = None
    checkpoint_every: int | None = None
    checkpoint_minutes: float | None = 10.0
    best_metric: str | None = None
    best_mode: Literal["max", "min"] = "max"
    evaluate_first: bool = False

    def __post_init__(self):
        for name in ("steps_total", "log_every", "eval_every", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: give a positive number of steps.")
        if self.best_mode not in ("max", "min"):
            raise InputError(f"best_mode is '{self.best_mode}': it is 'max' or 'min'.")


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Attributes:
      state: after the last step (not of the best checkpoint: restore that one by `best_step`).
      step: the last step.
      history: results of all evaluations, `{"step": …, metric: …}`, also from before a resume.
      best_step: step of the best evaluation, None without `best_metric`.
      stopped: why training ended early, None if it did not.
      resumed_from: step that training went on from, 0 for a fresh run.
    """

    state: TrainState
    step: int
    history: list[dict[str, Any]]
    best_step: int | None
    stopped: str | None
    resumed_from: int

    @property
    def best(self) -> dict[str, Any] | None:
        """The best evaluation, None without `best_metric`."""
        return next((row for row in self.history if row["step"] == self.best_step), None)


@dataclasses.dataclass
class _Interval:
    """Sums of the metrics since the last line of the log; part of the checkpoint."""

    count: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, metrics: Mapping[str, float]) -> None:
        self.count += 1
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        return {name: value / self.count for name, value in self.sums.items()}


def fit(
    state: TrainState,
    frozen: Any,
    train_step: Callable[[TrainState, Any, Any, jax.Array], tuple[TrainState, Any]],
    batches: BatchIterator,
    key: jax.Array,
    config: LoopConfig,
    *,
    mesh: Mesh | None = None,
    evaluate: Callable[[TrainState], Scores] | None = None,
    run: RunFolder | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    should_stop: Callable[[list[dict[str, Any]]], str | None] | None = None,
    show_progress: bool = True,
) -> FitResult:
    """Trains until `steps_total`, or until `should_stop` says why not.

    A run that is killed at any moment and resumed ends with the numbers of one that was not.

    Args:
      state: from `step.create_train_state`. Its buffers are used up.
      frozen: the frozen parameters.
      train_step: from `step.make_train_step`, made with the same `mesh`.
      batches: host batches (this process's rows); its position goes into the checkpoints.
      key: randomness of all steps.
      config: when to log, evaluate and save.
      mesh: devices to put state and batches on; None: the default device.
      evaluate: state → numbers. Called between steps; it must not keep the state.
      run: where to log; None: nowhere.
      checkpoints: where to save; None: nowhere.
      resume: continue from the newest checkpoint, if there is one.
      should_stop: sees the history of evaluations after each of them (and when resuming) and
        returns the reason to stop, or None. Must depend on the history alone.
      show_progress: a progress bar on a terminal, else a plain line now and then.

    Raises:
      TrainingDiverged: a loss or gradient was not finite. The newest checkpoint is of before.
      InputError: checkpoints exist and `resume` is off; the data ended; the evaluation lacks
        `best_metric`.
    """
    start, interval, history = 0, _Interval(), []
    restored = None
    if checkpoints is not None and checkpoints.latest_step is not None:
        if not resume:
            raise InputError(
                f"{checkpoints.directory} already holds checkpoints: pass --resume to continue "
                "that run, or give another --workdir."
            )
        restored = checkpoints.restore_latest(state)
        assert restored is not None
        # A copy: NumPy memory must not be donated to the step.
        state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), restored.state)
        start = restored.step
        interval = _Interval(**restored.meta["interval"])
        history = restored.meta["history"]
        batches.set_state(restored.meta["iterator"])
        log.info("resumed from step %d", start)
    if run is not None and resume:
        run.drop_log_after(restored.step if restored else None)
    if mesh is not None:
        state, frozen, key = sharding.replicate((state, frozen, key), mesh)

    def evaluated(step: int) -> float | None:
        """Evaluates, logs, extends the history; returns the score, higher is better."""
        assert evaluate is not None
        scores = as_json(evaluate(state))
        # Tables and names go to the log only: the history is part of every checkpoint.
        row = {name: value for name, value in scores.items() if not isinstance(value, list | dict)}
        row = {"step": step, **row}
        history.append(row)
        if run is not None:
            run.log({"kind": "eval", **row, **scores})
        progress.say(f"step {step}: " + _readable(row))
        return _score(row, config)

    def save(score: float | None) -> None:
        if checkpoints is not None:
            record = {
                "iterator": batches.get_state(),
                "interval": dataclasses.asdict(interval),
                "history": history,
            }
            checkpoints.save(state, record, score=score)

    progress = _Progress(start, config.steps_total, show_progress and jax.process_index() == 0)
    pending: list[tuple[int, Any]] = []
    stopped = should_stop(history) if should_stop is not None and history else None
    saved_at = time.monotonic()
    step = start
    try:
        if evaluate is not None and config.evaluate_first and restored is None:
            save(evaluated(0))
        while step < config.steps_total and stopped is None:
            step += 1
            batch = _next_batch(batches, step)
            if mesh is not None:
                batch = sharding.shard_batch(batch, mesh)
            state, metrics = train_step(state, frozen, batch, key)
            pending.append((step, metrics))

            last = step == config.steps_total
            log_due = last or step % config.log_every == 0
            eval_due = evaluate is not None and (last or _due(step, config.eval_every))
            save_due = last or eval_due or _due(step, config.checkpoint_every)
            if log_due and config.checkpoint_minutes is not None and jax.process_count() == 1:
                save_due |= time.monotonic() - saved_at > 60.0 * config.checkpoint_minutes
            if not (log_due or save_due or len(pending) >= MOST_PENDING):
                continue

            _collect(pending, interval, checkpoints)
            if log_due:
                means = interval.means()
                line = {"step": step, "loss": means.pop("loss"), **means}
                interval = _Interval()
                if run is not None:
                    run.log({"kind": "train", **line, "steps_per_second": progress.rate(step)})
                progress.show(step, line)
            score = evaluated(step) if eval_due else None
            if save_due:
                save(score)
                saved_at = time.monotonic()
            if eval_due and should_stop is not None:
                stopped = should_stop(history)
    finally:
        progress.close()
        if checkpoints is not None:
            checkpoints.wait()
    if stopped is not None:
        log.info("stopped at step %d: %s", step, stopped)
    return FitResult(
        state=state,
        step=step,
        history=history,
        best_step=_best_step(history, config),
        stopped=stopped,
        resumed_from=start,
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def _next_batch(batches: BatchIterator, step: int) -> Any:
    try:
        return next(batches)
    except StopIteration:
        raise InputError(
            f"the training data ended before step {step}: let the stream of batches repeat."
        ) from None


def _collect(
    pending: list[tuple[int, Any]], interval: _Interval, checkpoints: Checkpoints | None
) -> None:
    """Fetches the metrics of the pending steps; raises at the first that is not finite."""
    fetched = jax.device_get(pending)
    pending.clear()
    for step, metrics in fetched:
        if bool(metrics["finite"]):
            values = {name: float(value) for name, value in metrics.items() if name != "finite"}
            interval.add(values)
            continue
        saved, where = None, "no checkpoint was written before"
        if checkpoints is not None:
            checkpoints.wait()
            saved = checkpoints.latest_step
            if saved is not None:
                where = f"the last good checkpoint is of step {saved} in {checkpoints.directory}"
        raise TrainingDiverged(
            f"training diverged at step {step}: the loss is {float(metrics['loss']):.4g} and the "
            f"norm of its gradient {float(metrics['grad_norm']):.4g}; {where}. Lower the learning "
            "rate or the clip, or look at the data of that step.",
            step=step,
            last_good_checkpoint=saved,
        )


def _score(row: Mapping[str, Any], config: LoopConfig) -> float | None:
    if config.best_metric is None:
        return None
    if config.best_metric not in row:
        raise InputError(
            f"the evaluation gives no '{config.best_metric}' to choose the best checkpoint by: it "
            f"gives {', '.join(name for name in row if name != 'step')}."
        )
    value = row[config.best_metric]
    if value is None or not np.isfinite(value):
        return None
    return float(value) if config.best_mode == "max" else -float(value)


def _best_step(history: list[dict[str, Any]], config: LoopConfig) -> int | None:
    if config.best_metric is None:
        return None
    scores = {row["step"]: _score(row, config) for row in history}
    scored = {step: score for step, score in scores.items() if score is not None}
    return max(scored, key=lambda step: scored[step], default=None)


def _readable(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in row.items()
        if name != "step" and isinstance(value, int | float)
    )


class _Progress:
    """Tells a person how far training is: a bar on a terminal, else a line every few seconds."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, start: int, total: int, visible: bool):
        self._total = total
        self._visible = visible and start < total
        self._bar = None
        self._clock: tuple[int, float] | None = None  # after the first line: without compilation
        self._spoke = 0.0
        if not self._visible:
            return
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, initial=start, unit="step", dynamic_ncols=True)
        self.say("compiling the step; the first one takes longest")

    def rate(self, step: int) -> float | None:
        """Steps per second since the first line; None before."""
        now = time.monotonic()
        if self._clock is None:
            self._clock = (step, now)
            return None
        return (step - self._clock[0]) / max(now - self._clock[1], 1e-9)

    def show(self, step: int, line: Mapping[str, Any]) -> None:
        rate = self.rate(step)
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss {line['loss']:.4g}", refresh=False)
            self._bar.update(step - self._bar.n)
            return
        now = time.monotonic()
        if now - self._spoke < self.SECONDS_BETWEEN_LINES and step < self._total:
            return
        self._spoke = now
        pace = ""
        if rate:
            left = (self._total - step) / rate
            pace = f"  {rate:.2f} steps/s  {left / 60:.1f} min left"
        self.say(f"step {step}/{self._total}  loss {line['loss']:.4g}{pace}")

    def say(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._visible:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

"""Hooks of the training loop: log, evaluate, checkpoint, stop.

Give them to `loop.fit` in this order. A checkpoint then holds the evaluation of its step, and a
stopped run has a checkpoint of its last step.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from pointata_jax.errors import InputError
from pointata_jax.progress import show
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.loop import Hook, Row, Training
from pointata_jax.training.optimizer import Schedule
from pointata_jax.training.run_folder import RunFolder, as_json
from pointata_jax.training.step import TrainState

log = logging.getLogger(__name__)


class Log(Hook):
    """Writes the means of the metrics to the log of the run, and shows the progress.

    On a terminal the progress is a bar. Elsewhere it is a line for every tenth of the steps, and
    for every minute where that takes longer.

    Args:
      every: steps between lines; each line holds the means of its steps.
      run: where to log; None: only the progress is shown.
      schedule: of the learning rate; a line holds that of its last step.
    """

    key = "interval"
    LEAST_SECONDS, MOST_SECONDS = 10.0, 60.0  # between lines without a terminal

    def __init__(
        self, every: int = 10, run: RunFolder | None = None, schedule: Schedule | None = None
    ):
        _check_steps("log_every", every)
        self._schedule = schedule
        self._every = every
        self._run = run
        self._count = 0
        self._sums: dict[str, float] = {}
        self._bar: tqdm | None = None
        # Step and time of the first line, so that compilation does not count in the speed.
        self._first_line: tuple[int, float] | None = None
        self._shown_at = (0, 0.0)  # step and time

    def start(self, training: Training) -> None:
        """Drops lines after the step that the run resumes from, and opens the progress bar."""
        if self._run is not None:
            self._run.drop_log_after(training.step if training.resumed else None)
        if training.at_end or jax.process_index() != 0:
            return
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=training.num_steps, initial=training.step, unit="step", dynamic_ncols=True
            )
        show("compiling the step; the first one takes longest")

    def due(self, training: Training) -> bool:
        """Every `every` steps, and at the end."""
        return training.at_end or training.step % self._every == 0

    def observe(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of a step to the sums of the present line."""
        self._count += 1
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value

    def act(self, training: Training) -> None:
        """Writes a line where one is due."""
        if not self.due(training):
            return
        means = {name: value / self._count for name, value in self._sums.items()}
        line = {"step": training.step, "loss": means.pop("loss"), **means}
        if self._schedule is not None:
            line["learning_rate"] = float(self._schedule.rate(training.step - 1))
        self._count, self._sums = 0, {}
        rate = self._steps_per_second(training.step)
        if self._run is not None:
            self._run.log({"kind": "train", **line, "steps_per_second": rate})
        text = f"loss {line['loss']:.4g}"
        if "accuracy" in means:
            text += f", training accuracy {means['accuracy']:.1f} %"
        self._show_progress(training, text, rate)

    def end(self) -> None:
        """Closes the progress bar."""
        if self._bar is not None:
            self._bar.close()

    def get_state(self) -> dict[str, Any]:
        """The sums of the present line."""
        return {"count": self._count, "sums": dict(self._sums)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on with sums that `get_state` gave."""
        self._count, self._sums = state["count"], dict(state["sums"])

    def _steps_per_second(self, step: int) -> float | None:
        now = time.monotonic()
        if self._first_line is None:
            self._first_line = (step, now)
            return None
        first, then = self._first_line
        return (step - first) / max(now - then, 1e-9)

    def _show_progress(self, training: Training, text: str, rate: float | None) -> None:
        step, total = training.step, training.num_steps
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update(step - self._bar.n)
            return
        shown, then = self._shown_at
        now = time.monotonic()
        waited = now - then
        tenth = step * 10 // total > shown * 10 // total
        due = waited >= (self.LEAST_SECONDS if tenth else self.MOST_SECONDS)
        if not (due or training.at_end):
            return
        self._shown_at = (step, now)
        pace = ""
        if rate:
            left = "" if training.at_end else f", {(total - step) / rate / 60:.1f} min left"
            pace = f"  ({rate:.2f} steps/s{left})"
        show(f"step {step}/{total}  {text}{pace}")


class Evaluate(Hook):
    """Evaluates the state now and then, and after the last step.

    Args:
      evaluate: state → numbers. It must not keep the state.
      every: steps between evaluations; None: only after the last step.
      metric: the number that scores an evaluation and so decides which step is the best.
      mode: whether more ("max") or less ("min") of it is better.
      first: evaluate before the first step as well.
      run: where to log; None: nowhere.
      shown: names of the numbers to show, where an evaluation has them; empty for all.
    """

    def __init__(
        self,
        evaluate: Callable[[TrainState], Mapping[str, Any]],
        every: int | None = None,
        *,
        metric: str | None = None,
        mode: Literal["max", "min"] = "max",
        first: bool = False,
        run: RunFolder | None = None,
        shown: Sequence[str] = (),
    ):
        _check_steps("eval_every", every)
        if mode not in ("max", "min"):
            raise InputError(f"mode is '{mode}': it is 'max' or 'min'.")
        self._evaluate = evaluate
        self._every = every
        self._metric = metric
        self._sign = 1.0 if mode == "max" else -1.0
        self._first = first
        self._run = run
        self._shown = shown

    def start(self, training: Training) -> None:
        """Scores the evaluations from before a resume; evaluates the initial state if asked to."""
        for row in training.history:
            self._score(training, row)
        if self._first and not training.resumed:
            self._add(training)

    def due(self, training: Training) -> bool:
        """Every `every` steps, and at the end."""
        return training.at_end or _every(self._every, training.step)

    def act(self, training: Training) -> None:
        """Evaluates where that is due."""
        if self.due(training):
            self._add(training)

    def _add(self, training: Training) -> None:
        scores = as_json(self._evaluate(training.state))
        # Tables and names go to the log only, since every checkpoint holds the history.
        numbers = {k: value for k, value in scores.items() if not isinstance(value, list | dict)}
        row = {"step": training.step, **numbers}
        training.history.append(row)
        if self._run is not None:
            self._run.log({"kind": "eval", **row, **scores})
        self._score(training, row)
        shown = {name: numbers[name] for name in self._shown or numbers if name in numbers}
        show(f"step {training.step}: {_readable(shown)}{self._best(training)}")

    def _best(self, training: Training) -> str:
        """Which step is the best so far, where that is another one."""
        best = max(training.scores, key=lambda step: training.scores[step], default=training.step)
        if best == training.step:
            return ""
        return f" (best so far: {self._sign * training.scores[best]:.4g} at step {best})"

    def _score(self, training: Training, row: Row) -> None:
        if self._metric is None:
            return
        if self._metric not in row:
            raise InputError(
                f"the evaluation gives no '{self._metric}' to choose the best checkpoint by: it "
                f"gives {', '.join(name for name in row if name != 'step')}."
            )
        value = row[self._metric]
        if value is not None and np.isfinite(value):
            training.scores[row["step"]] = self._sign * float(value)


class Checkpoint(Hook):
    """Saves the run, so that it can be resumed to the same numbers, and restores it.

    A checkpoint is written after every evaluation and after the last step.

    Args:
      checkpoints: where to save.
      every: further steps to save after; None: none.
      minutes: also save after that many minutes. This is looked at when another hook is due, and
        not in runs of several processes, whose clocks differ. None: never.
      resume: continue from the newest checkpoint, if there is one.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every: int | None = None,
        *,
        minutes: float | None = 10.0,
        resume: bool = False,
    ):
        _check_steps("checkpoint_every", every)
        self._checkpoints = checkpoints
        self._every = every
        self._minutes = minutes
        self._resume = resume
        self._saved_at = 0.0

    def restore(self, training: Training) -> None:
        """Goes on from the newest checkpoint.

        Raises:
          InputError: there are checkpoints and `resume` is off.
        """
        if self._checkpoints.latest_step is None:
            return
        if not self._resume:
            raise InputError(
                f"{self._checkpoints.directory} already holds checkpoints: pass --resume to "
                "continue that run, or give another --workdir."
            )
        restored = self._checkpoints.restore_latest(training.state)
        assert restored is not None
        # A copy: NumPy memory must not be donated to the step.
        training.state = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), restored.state)
        training.step, training.resumed = restored.step, True
        training.history = restored.meta["history"]
        training.batches.set_state(restored.meta["iterator"])
        for hook in training.hooks:
            if hook.key in restored.meta:
                hook.set_state(restored.meta[hook.key])
        training.checkpoint = self._checkpoints.directory / str(restored.step)
        log.info("resumed from step %d", restored.step)

    def start(self, training: Training) -> None:
        """Saves an evaluation of the initial state, if there is one."""
        self._saved_at = time.monotonic()
        if training.evaluated and not training.resumed:
            self._save(training)

    def due(self, training: Training) -> bool:
        """Every `every` steps, and at the end."""
        return training.at_end or _every(self._every, training.step)

    def act(self, training: Training) -> None:
        """Saves where that is due, after an evaluation, and after `minutes`."""
        if self.due(training) or training.evaluated or self._late():
            self._save(training)

    def end(self) -> None:
        """Blocks until everything is on disk."""
        self._checkpoints.wait()

    def _late(self) -> bool:
        if self._minutes is None or jax.process_count() > 1:
            return False
        return time.monotonic() - self._saved_at > 60.0 * self._minutes

    def _save(self, training: Training) -> None:
        record = {
            "iterator": training.batches.get_state(),
            "history": training.history,
            **{hook.key: hook.get_state() for hook in training.hooks if hook.key},
        }
        score = training.scores.get(training.step)
        self._checkpoints.save(training.state, record, score=score)
        training.checkpoint = self._checkpoints.directory / str(training.step)
        self._saved_at = time.monotonic()


class Stop(Hook):
    """Ends the training early.

    Args:
      reason: history of evaluations → why to stop, or None. It is called after each evaluation and
        when resuming, and must depend on the history alone, so that a resumed run stops alike.
    """

    def __init__(self, reason: Callable[[list[Row]], str | None]):
        self._reason = reason

    def start(self, training: Training) -> None:
        """A run that had stopped before it was resumed stops again."""
        if training.resumed and training.history:
            training.stopped = self._reason(training.history)

    def act(self, training: Training) -> None:
        """Asks for the reason after an evaluation."""
        if training.evaluated:
            training.stopped = self._reason(training.history)


def _every(every: int | None, step: int) -> bool:
    return every is not None and step % every == 0


def _check_steps(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise InputError(f"{name} is {value}: give a positive number of steps.")


def _readable(numbers: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in numbers.items()
        if isinstance(value, int | float)
    )

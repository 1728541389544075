"""The training loop of every stage: it takes steps, and hooks do everything else.

Logging, evaluation, checkpoints and early stopping are hooks (`training.hooks`). To add behavior,
write another `Hook`; the loop stays as it is.

The host does not wait for single steps. Metrics stay on the device until a hook is due; then those
of all steps since the last look are fetched together. The first step that is not finite is found in
them, and no hook acts on a state after it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
from jax.sharding import Mesh

from pointata_jax.errors import InputError
from pointata_jax.training import sharding
from pointata_jax.training.partition import Params
from pointata_jax.training.step import Batch, Metrics, TrainingDiverged, TrainState, TrainStep

MAX_PENDING = 100
"""Largest number of steps whose metrics wait on the device."""

Row = dict[str, Any]
"""One evaluation: `step`, and JSON values by name."""

log = logging.getLogger(__name__)


class BatchIterator(Protocol):
    """An endless stream of host batches whose position is a JSON value, like a grain iterator."""

    def __next__(self) -> Batch:
        """The next batch."""
        ...

    def get_state(self) -> Any:
        """The position."""
        ...

    def set_state(self, state: Any, /) -> None:
        """Goes to a position that `get_state` gave."""
        ...


class Hook:
    """Something that happens besides the steps. A subclass overrides what it needs.

    The hooks of a loop are called in the order in which they were given. A hook that acts on what
    another one found (a checkpoint of an evaluation) therefore comes after it.

    Attributes:
      key: name of this hook's state in a checkpoint; "" where it has none.
    """

    key = ""

    def restore(self, training: Training) -> None:
        """Brings `training` to where an earlier process left it; before all other calls."""

    def start(self, training: Training) -> None:
        """Called before the first step, when all hooks have restored."""

    def due(self, training: Training) -> bool:
        """Whether the hook must act after `training.step`; may depend on that number only."""
        del training
        return False

    def observe(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes the metrics of one step; called for every step, in order, before `act`."""

    def act(self, training: Training) -> None:
        """Called after a step for which this or another hook was due."""

    def end(self) -> None:
        """Called after the last step, and also after an error."""

    def get_state(self) -> Any:
        """JSON value that a checkpoint keeps under `key`."""

    def set_state(self, state: Any) -> None:
        """Takes back what `get_state` gave."""


@dataclasses.dataclass
class Training:
    """A running training, as its hooks see it.

    Attributes:
      state: after `step`. It must not be kept: the next step uses up its buffers.
      batches: the stream of host batches.
      num_steps: steps of the whole run, also when it is resumed.
      hooks: in their order.
      step: the last step taken.
      resumed: whether a checkpoint was restored.
      history: one row per evaluation, also from before a resume.
      scores: by step, the score of its evaluation, higher is better.
      checkpoint: folder of the newest checkpoint, named by its step; None where there is none.
      stopped: why training ends early. A hook ends the training by setting it.
    """

    state: TrainState
    batches: BatchIterator
    num_steps: int
    hooks: Sequence[Hook] = ()
    step: int = 0
    resumed: bool = False
    history: list[Row] = dataclasses.field(default_factory=list)
    scores: dict[int, float] = dataclasses.field(default_factory=dict)
    checkpoint: Path | None = None
    stopped: str | None = None

    @property
    def at_end(self) -> bool:
        """Whether the last step of the run has been taken."""
        return self.step == self.num_steps

    @property
    def evaluated(self) -> bool:
        """Whether the state has been evaluated after this step."""
        return bool(self.history) and self.history[-1]["step"] == self.step


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Attributes:
      state: after the last step. (The state of `best_step` must be restored from its checkpoint.)
      step: the last step.
      history: all evaluations, `{"step": …, metric: …}`, also from before a resume.
      best_step: step of the best evaluation, None where evaluations have no score.
      stopped: why training ended early, None if it did not.
      resumed_from: step that training went on from, 0 for a fresh run.
    """

    state: TrainState
    step: int
    history: list[Row]
    best_step: int | None
    stopped: str | None
    resumed_from: int

    @property
    def best(self) -> Row | None:
        """The best evaluation, None where evaluations have no score."""
        return next((row for row in self.history if row["step"] == self.best_step), None)


def fit(
    state: TrainState,
    frozen: Params,
    train_step: TrainStep,
    batches: BatchIterator,
    key: jax.Array,
    num_steps: int,
    hooks: Sequence[Hook] = (),
    *,
    mesh: Mesh | None = None,
) -> FitResult:
    """Trains for `num_steps` steps, or until a hook stops the training.

    With the hook `Checkpoint`, a run that is killed at any moment and resumed ends with the numbers
    of a run that was not killed.

    Args:
      state: from `step.create_train_state`. Its buffers are used up.
      frozen: the frozen parameters.
      train_step: from `step.make_train_step`, made with the same `mesh`.
      batches: host batches (this process's rows).
      key: randomness of all steps.
      num_steps: steps of the whole run, also when it is resumed.
      hooks: what happens besides the steps, in this order.
      mesh: devices to put state and batches on; None: the default device.

    Raises:
      TrainingDiverged: a loss or gradient was not finite. No checkpoint was written after it.
      InputError: the data ended, or a hook refused to start.
    """
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: give a positive number of steps.")
    training = Training(state, batches, num_steps, tuple(hooks))
    for hook in hooks:
        hook.restore(training)
    resumed_from = training.step
    if mesh is not None:
        training.state, frozen, key = sharding.replicate((training.state, frozen, key), mesh)
    pending: list[tuple[int, Metrics]] = []
    try:
        for hook in hooks:
            hook.start(training)
        while not training.at_end and training.stopped is None:
            training.step += 1
            batch = _next_batch(batches, training.step)
            if mesh is not None:
                batch = sharding.shard_batch(batch, mesh)
            training.state, metrics = train_step(training.state, frozen, batch, key)
            pending.append((training.step, metrics))
            due = training.at_end or any(hook.due(training) for hook in hooks)
            if due or len(pending) >= MAX_PENDING:
                _fetch(pending, training)
            if due:
                for hook in hooks:
                    hook.act(training)
    finally:
        for hook in hooks:
            hook.end()
    if training.stopped is not None:
        log.info("stopped at step %d: %s", training.step, training.stopped)
    scores = training.scores
    return FitResult(
        state=training.state,
        step=training.step,
        history=training.history,
        best_step=max(scores, key=lambda step: scores[step], default=None),
        stopped=training.stopped,
        resumed_from=resumed_from,
    )


def _next_batch(batches: BatchIterator, step: int) -> Batch:
    try:
        return next(batches)
    except StopIteration:
        raise InputError(
            f"the training data ended before step {step}: let the stream of batches repeat."
        ) from None


def _fetch(pending: list[tuple[int, Metrics]], training: Training) -> None:
    """Shows the metrics of the pending steps to the hooks; raises at the first not finite."""
    fetched = jax.device_get(pending)
    pending.clear()
    for step, metrics in fetched:
        if not bool(metrics["finite"]):
            saved = training.checkpoint
            where = "no checkpoint was written before"
            if saved is not None:
                where = f"the last good checkpoint is of step {saved.name} in {saved.parent}"
            raise TrainingDiverged(
                f"training diverged at step {step}: the loss is {float(metrics['loss']):.4g} and "
                f"the norm of its gradient {float(metrics['grad_norm']):.4g}; {where}. Lower the "
                "learning rate or clip_norm, or check the data of that step.",
                step=step,
                last_good_checkpoint=None if saved is None else int(saved.name),
            )
        values = {name: float(value) for name, value in metrics.items() if name != "finite"}
        for hook in training.hooks:
            hook.observe(step, values)

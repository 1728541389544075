"""Checkpoints of a run: the two latest and the best, written atomically, checked when read.

A checkpoint holds the trainable parameters, the model state and the optimizer state. Each is an
item of its own, so that one can be read without the others. A checkpoint also holds a JSON record:
step, state of the data iterator, score, layout and checksums. The frozen backbone is not stored.

The layout shows that a checkpoint belongs to another model before anything is restored. The
checksums find a damaged file that still decodes.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
import math
import os
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from pointata_jax.errors import InputError
from pointata_jax.training.step import TrainState

Json = dict[str, Any]
"""JSON values by name."""

ITEMS = ("trainable", "model_state", "opt_state")
KEEP_LATEST = 2
"""Newest checkpoints that are kept: one to continue from, one in case the first is damaged."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Restored:
    """A checkpoint that was read.

    Attributes:
      state: NumPy leaves.
      step: of the checkpoint.
      meta: its JSON record.
    """

    state: TrainState
    step: int
    meta: Json


class _Damaged(Exception):
    """A checkpoint cannot be read. The message gives the cause."""


class _LatestAndBest:
    """Preservation policy for orbax: `KEEP_LATEST` newest checkpoints and the best one.

    orbax's own BestN reads the scores from a file. If that file is damaged, the manager cannot open
    the folder. The scores are therefore kept here.
    """

    def __init__(self, scores: dict[int, float]):
        self.scores = scores

    def should_preserve(self, checkpoints: Sequence[Any], *, context: object) -> list[bool]:
        """Which of orbax' checkpoint records, oldest first, are kept."""
        del context
        steps = [checkpoint.step for checkpoint in checkpoints]
        kept = {*steps[-KEEP_LATEST:], _best(self.scores, steps)}
        return [step in kept for step in steps]


def _best(scores: Mapping[int, float], steps: Iterable[int]) -> int | None:
    """The first step with the highest score, None where no step has one."""
    scored = [step for step in sorted(steps) if step in scores]
    return max(scored, key=lambda step: scores[step]) if scored else None


class Checkpoints:
    """The checkpoints of one run folder.

    Args:
      directory: folder of the checkpoints; made if missing.
      read_only: for evaluation. Nothing is made, moved or deleted.
    """

    def __init__(self, directory: str | os.PathLike, *, read_only: bool = False):
        import orbax.checkpoint as ocp

        self.directory = Path(directory).resolve()
        self._read_only = read_only
        self._scores: dict[int, float] = {}
        if read_only and not self.directory.is_dir():
            raise InputError(
                f"{self.directory} holds no checkpoints: give the folder of a run that has trained."
            )
        self._manager = ocp.CheckpointManager(
            self.directory,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=None if read_only else _LatestAndBest(self._scores),
                read_only=read_only,
                save_interval_steps=0 if read_only else 1,
                create=not read_only,
            ),
        )
        for step in self._manager.all_steps():
            try:
                score = self._meta(step).get("score")
            except _Damaged:
                continue  # `restore` reports the damage when this checkpoint is needed
            if score is not None:
                self._scores[step] = score

    @property
    def steps(self) -> list[int]:
        """Steps of the stored checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, None if there is none."""
        return max(self.steps, default=None)

    @property
    def best_step(self) -> int | None:
        """Step of the (first) checkpoint with the highest score, None if none has a score."""
        return _best(self._scores, self.steps)

    def save(self, state: TrainState, meta: Json, *, score: float | None = None) -> None:
        """Starts writing a checkpoint of `state.step`; returns when the values are copied.

        Args:
          state: all of it is stored.
          meta: JSON values to store with it (data-iterator state, metrics …).
          score: decides which checkpoint is kept as the best; higher is better. NaN counts as no
            score.
        """
        import orbax.checkpoint as ocp

        step = int(state.step)
        if step in self.steps:
            return
        # Host copies: the next step donates the buffers of this state.
        trees = {
            item: jax.tree.map(lambda leaf: np.array(leaf), getattr(state, item)) for item in ITEMS
        }
        score = None if score is None or not math.isfinite(score) else float(score)
        record = {
            **meta,
            "step": step,
            "score": score,
            "layout": {item: _layout(tree) for item, tree in trees.items()},
            "checksum": {item: _checksum(tree) for item, tree in trees.items()},
        }
        if score is not None:
            self._scores[step] = score
        arguments = {
            item: ocp.args.StandardSave(tree)  # pyright: ignore[reportCallIssue]
            for item, tree in trees.items()
            if jax.tree.leaves(tree)  # orbax refuses an empty item
        }
        self._manager.save(
            step,
            args=ocp.args.Composite(
                **arguments,
                meta=ocp.args.JsonSave(record),  # pyright: ignore[reportCallIssue]
            ),
        )

    def restore(self, template: TrainState, step: int) -> Restored:
        """Reads the checkpoint of one step into the structure of `template`.

        Raises:
          InputError: there is no such checkpoint, it is damaged, or it belongs to another model or
            optimizer.
        """
        if step not in self.steps:
            stored = ", ".join(map(str, self.steps)) or "none"
            raise InputError(
                f"{self.directory} holds no checkpoint of step {step}: stored are {stored}."
            )
        try:
            return self._restore(template, step)
        except _Damaged as damage:
            raise InputError(
                f"checkpoint {self.directory / str(step)} is damaged ({damage}): delete that "
                "folder and use another checkpoint or start again."
            ) from damage

    def restore_latest(self, template: TrainState) -> Restored | None:
        """Reads the newest intact checkpoint; None where the folder holds none at all.

        A damaged checkpoint is reported and moved aside, since its step will be written again. Then
        the one before it is tried.

        Raises:
          InputError: every checkpoint is damaged, or they belong to another model.
        """
        steps = self.steps
        for step in reversed(steps):
            try:
                return self._restore(template, step)
            except _Damaged as damage:
                log.warning(
                    "checkpoint %s is damaged (%s): using the one before it",
                    self.directory / str(step),
                    damage,
                )
                if not self._read_only:
                    self._move_aside(step)
        if not steps:
            return None
        raise InputError(
            f"every checkpoint in {self.directory} is damaged (steps "
            f"{', '.join(map(str, steps))}): start again in a new run folder."
        )

    def wait(self) -> None:
        """Blocks until everything that was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then ends the threads of the writer."""
        self._manager.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    def _meta(self, step: int) -> Json:
        import orbax.checkpoint as ocp

        try:
            meta = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    meta=ocp.args.JsonRestore()  # pyright: ignore[reportCallIssue]
                ),
            )["meta"]
            if not isinstance(meta, dict) or not {"layout", "checksum"} <= meta.keys():
                raise ValueError("its record is not one of this library")
            return meta
        except Exception as error:  # orbax and its JSON reader raise many kinds
            raise _Damaged(_first_line(error)) from error

    def _restore(self, template: TrainState, step: int) -> Restored:
        import orbax.checkpoint as ocp

        meta = self._meta(step)
        # With a template of arrays orbax returns NumPy arrays, which are not bound to the devices
        # they were saved from. Only the shapes of the template are read.
        wanted = {
            item: jax.tree.map(
                lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape),
                getattr(template, item),
            )
            for item in ITEMS
        }
        for item in ITEMS:
            self._check_layout(step, item, meta["layout"].get(item, {}), _layout(wanted[item]))
        arguments = {
            item: ocp.args.StandardRestore(tree)  # pyright: ignore[reportCallIssue]
            for item, tree in wanted.items()
            if jax.tree.leaves(tree)
        }
        read, damage = {}, None
        try:
            read = self._manager.restore(step, args=ocp.args.Composite(**arguments))
        except Exception as error:
            damage = _first_line(error)
        if damage is not None:
            _drop_failed_futures()
            raise _Damaged(damage)
        trees = {item: read[item] if item in arguments else wanted[item] for item in ITEMS}
        for item, tree in trees.items():
            if _checksum(tree) != meta["checksum"].get(item):
                raise _Damaged(f"the checksum of {item} is wrong")
        return Restored(TrainState(step=np.int32(step), **trees), step, meta)

    def _check_layout(
        self, step: int, item: str, stored: dict[str, str], wanted: dict[str, str]
    ) -> None:
        if stored == wanted:
            return
        name = min(
            name for name in stored.keys() | wanted.keys() if stored.get(name) != wanted.get(name)
        )
        raise InputError(
            f"checkpoint {self.directory / str(step)} belongs to another model or tuning: its "
            f"{item} '{name}' is {stored.get(name, 'missing')}, this run wants "
            f"{wanted.get(name, 'no such entry')}. Use the settings of that run, or a new run "
            "folder."
        )

    def _move_aside(self, step: int) -> None:
        if jax.process_index() == 0:
            folder = self.directory / str(step)
            target = self.directory / f"damaged-{step}"
            number = 1
            while target.exists():
                number += 1
                target = self.directory / f"damaged-{step}-{number}"
            folder.rename(target)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(f"checkpoint {step} moved aside")
        self._scores.pop(step, None)
        self._manager.reload()


def _layout(tree: PyTree) -> dict[str, str]:
    """Path → "dtype[shape]" of every leaf."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): (
            f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def _checksum(tree: PyTree) -> int:
    """CRC-32 over all leaves, in the order of the tree."""
    value = 0
    for leaf in jax.tree.leaves(tree):
        # As bytes: NumPy gives no buffer of bfloat16.
        value = zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data, value)
    return value


def _drop_failed_futures() -> None:
    """Collects the futures of a failed restore without the tracebacks that Python prints for them.

    orbax does not await the futures of the arrays after the first damaged one. Each of them would
    print a traceback when it is collected, long after the error that the user has seen.
    """
    asyncio_log, hook = logging.getLogger("asyncio"), sys.unraisablehook
    was_disabled = asyncio_log.disabled
    asyncio_log.disabled = True
    sys.unraisablehook = lambda unraisable: None
    try:
        gc.collect()
    finally:
        asyncio_log.disabled = was_disabled
        sys.unraisablehook = hook


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__

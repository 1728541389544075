"""Tokens of the frozen backbone, computed once and then trained on (models with `side_width`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.models.pointata import PointATA
from pointata_jax.stages.task_data import TaskData
from pointata_jax.training.partition import Params
from pointata_jax.training.step import Batch

LARGEST_GB = 16.0
"""More than this is refused: the tokens are kept in memory."""


class FromLevels:
    """A `PointATA` that takes `{"levels", "centers", "points"}` in place of clips.

    Args:
      model: must have `side_width`.
    """

    def __init__(self, model: PointATA):
        self._model = model

    def apply(self, variables: Params, cached: Any, **options: Any) -> Any:
        """What `PointATA.apply` gives for the clips that the tokens were made of."""
        levels = jnp.moveaxis(cached["levels"], 1, 0).astype(jnp.float32)
        return self._model.apply(
            variables,
            list(levels),
            cached["centers"],
            cached["points"],
            method=PointATA.from_levels,
            **options,
        )


class FeatureBatches:
    """Endless shuffled batches of rows; the position can be saved, as that of grain's iterators.

    Args:
      rows: tree of arrays with the same first axis.
      batch_size: rows of a batch.
      seed: of the order.

    Raises:
      ValueError: fewer rows than a batch.
    """

    def __init__(self, rows: Any, batch_size: int, seed: int):
        self._rows, self._batch_size, self._seed = rows, batch_size, seed
        self._count = len(jax.tree.leaves(rows)[0])
        self._per_epoch = self._count // batch_size
        if not self._per_epoch:
            raise ValueError(f"{self._count} rows do not fill a batch of {batch_size}.")
        self._taken = 0
        self._order = self._epoch_order(0)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        epoch, place = divmod(self._taken, self._per_epoch)
        if place == 0:
            self._order = self._epoch_order(epoch)
        self._taken += 1
        chosen = self._order[place * self._batch_size : (place + 1) * self._batch_size]
        return jax.tree.map(lambda array: array[chosen], self._rows)

    def get_state(self) -> dict[str, int]:
        """The number of batches taken."""
        return {"taken": self._taken}

    def set_state(self, state: dict[str, int]) -> None:
        """Goes to a position that `get_state` gave."""
        self._taken = state["taken"]
        self._order = self._epoch_order(self._taken // self._per_epoch)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self._seed, epoch)).permutation(self._count)


def token_reader(model: PointATA, params: Params) -> Callable[[Batch], dict[str, Any]]:
    """A function from a batch of clips to the same batch with frozen tokens in their place.

    Its "points" are `levels` float16 `[b, levels, anchors, m, d]`, `centers` `[b, anchors, m, 3]`
    and, where the head reads them, the clips `points`.

    Args:
      model: must have `side_width`.
      params: of the model; only the frozen ones are read.
    """
    compute = jax.jit(
        lambda params, clips: model.apply({"params": params}, clips, method=PointATA.frozen_levels)
    )
    read_clips = model.config.kind == "point"

    def read(batch: Batch) -> dict[str, Any]:
        levels, centers = jax.device_get(compute(params, batch["points"]))
        clips = np.asarray(batch["points"])
        points = clips if read_clips else clips[:, :, :0]
        row = {"levels": np.stack(levels, 1).astype(np.float16), "centers": centers}
        return {**batch, "points": row | {"points": points}}

    return read


def cache_features(
    read: Callable[[Batch], dict[str, Any]],
    data: TaskData,
    *,
    batch_size: int,
    clips: int,
    seed: int,
) -> dict[str, Any]:
    """Frozen tokens of training clips, drawn, sampled and augmented as in training.

    Args:
      read: of `token_reader`.
      data: training videos.
      batch_size: clips at a time.
      clips: how many, rounded up to whole batches.
      seed: of the clips.

    Returns:
      "points" as `read` gives them, and "label", their labels.

    Raises:
      InputError: the tokens would take more memory than `LARGEST_GB`.
    """
    batches = data.train_batches(batch_size, seed)
    steps = -(-clips // batch_size)
    kept: list[dict[str, Any]] = []
    for _ in range(steps):
        batch = read(next(batches))
        kept.append({"points": batch["points"], "label": batch["label"]})
        size = _gigabytes(kept[0], steps)
        if size > LARGEST_GB:
            raise InputError(
                f"the tokens of {steps * batch_size} clips take {size:.0f} GB, more than the "
                f"{LARGEST_GB:.0f} GB that may be kept in memory: train without --cache_features, "
                "or raise adapt.cached_uses."
            )
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *kept)


def cache_evaluation(
    read: Callable[[Batch], dict[str, Any]], batches: Iterable[Batch], count: int
) -> list[dict[str, Any]] | None:
    """The `count` batches of an evaluation with frozen tokens; None if memory is too small."""
    kept: list[dict[str, Any]] = []
    for batch in batches:
        kept.append(read(batch))
        if _gigabytes(kept[0], count) > LARGEST_GB:
            return None
    return kept


def _gigabytes(batch: dict[str, Any], count: int) -> float:
    return count * sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(batch)) / 1e9

"""Endless batches of shapes whose position can be saved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from pointata_jax.errors import InputError


class NumberedBatches:
    """Endless batches, each a function of its number; the state is the number of batches drawn."""

    _next = 0

    def batch(self, index: int) -> dict[str, np.ndarray]:
        """The batch of this number, from 0."""
        raise NotImplementedError

    def get_state(self) -> dict[str, int]:
        """The state, which can be stored as JSON."""
        return {"next_index": self._next}

    def set_state(self, state: dict[str, int]) -> None:
        """Continues from a state that `get_state` returned."""
        self._next = int(state["next_index"])

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        self._next += 1
        return self.batch(self._next - 1)


class PairBatches(NumberedBatches):
    """Endless shuffled batches of pairs of shapes.

    A batch is `{"points", "partners"}`, both float32 `[B + P, N, 3]`. The first B shapes are their
    own partners. Then come P pairs of two members of one family, each pair of another family. Epoch
    e of the shapes is a permutation drawn from (seed, e). A batch may contain the end of one epoch
    and the start of the next, so all batches are full.

    Args:
      points: the shapes.
      batch_size: number B of shapes in a batch.
      seed: seed of the order and of the pairs.
      families: the members of each family.
      num_pairs: number P of pairs in a batch, at most the number of families.

    Raises:
      InputError: too few shapes for a batch, or too few families or members for the pairs.
    """

    def __init__(
        self,
        points: Float[np.ndarray, "shapes n c"],
        batch_size: int,
        seed: int,
        families: Float[np.ndarray, "families members n c"] | None = None,
        num_pairs: int = 0,
    ):
        if len(points) < batch_size:
            raise InputError(
                f"{len(points)} shapes cannot fill a batch of {batch_size}; lower --batch_size."
            )
        if num_pairs and (families is None or len(families) < num_pairs or families.shape[1] < 2):
            raise InputError(
                f"{num_pairs} pairs need {num_pairs} families with at least two members; there are "
                f"{0 if families is None else len(families)} families with "
                f"{0 if families is None else families.shape[1]} members."
            )
        self._points, self._batch_size, self._seed = points, batch_size, seed
        self._families, self._num_pairs = families, num_pairs

    def batch(self, index: int) -> dict[str, np.ndarray]:
        """The batch of this number, from 0."""
        size = len(self._points)
        positions = index * self._batch_size + np.arange(self._batch_size)
        epochs = (positions // size).tolist()
        orders = {e: np.random.default_rng((self._seed, e)).permutation(size) for e in set(epochs)}
        chosen = [orders[e][p % size] for e, p in zip(epochs, positions, strict=True)]
        points = partners = self._points[chosen]
        if self._families is not None and self._num_pairs:
            rng = np.random.default_rng((self._seed, index, self._num_pairs))
            kinds = rng.choice(len(self._families), self._num_pairs, replace=False)
            count = self._families.shape[1]
            pairs = [self._families[kind][rng.choice(count, 2, replace=False)] for kind in kinds]
            first, second = np.stack(pairs, axis=1)
            points, partners = np.concatenate([points, first]), np.concatenate([points, second])
        return {"points": points, "partners": partners}


class ClassBatches(NumberedBatches):
    """Endless batches of labeled shapes, drawn by class.

    A batch is `{"points", "label"}`, float32 `[B, N, 3]` and int32 `[B]`. A class is drawn with a
    probability proportional to `factor * count ** power`, then one of its shapes. With power 1 all
    shapes are equally likely, with 0 all classes. Shapes without a class (label -1) are not drawn.

    Args:
      points: the shapes.
      labels: their classes.
      batch_size: number B of shapes in a batch.
      seed: seed of the draws.
      power: from 0 to 1.
      factors: of each class; None: 1 for all.

    Raises:
      InputError: fewer than two classes.
    """

    def __init__(
        self,
        points: Float[np.ndarray, "shapes n c"],
        labels: Int[np.ndarray, " shapes"],
        batch_size: int,
        seed: int,
        power: float = 0.5,
        factors: Float[np.ndarray, " classes"] | None = None,
    ):
        counts = np.bincount(labels[labels >= 0], minlength=1)
        if np.count_nonzero(counts) < 2:
            raise InputError(
                f"{np.count_nonzero(counts)} classes cannot be told apart: give shapes of two "
                "classes or more."
            )
        # Empty classes are never looked up; 1 keeps the power of zero out of the way.
        weights = np.maximum(counts, 1) ** (power - 1.0)
        if factors is not None:
            weights = weights * factors[: len(weights)]
        probabilities = np.where(labels >= 0, weights[labels], 0.0)
        self._cumulative = np.cumsum(probabilities / probabilities.sum())
        self._points, self._labels = points, labels.astype(np.int32)
        self._batch_size, self._seed = batch_size, seed

    def batch(self, index: int) -> dict[str, np.ndarray]:
        """The batch of this number, from 0."""
        rng = np.random.default_rng((self._seed, index))
        # The last sum may be below 1 by rounding.
        drawn = rng.random(self._batch_size) * self._cumulative[-1]
        chosen = np.searchsorted(self._cumulative, drawn, side="right")
        return {"points": self._points[chosen], "label": self._labels[chosen]}

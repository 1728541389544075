"""Parts of a set of shapes: a balanced part to measure with, and the rest to train on."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from pointata_jax.errors import InputError
from pointata_jax.shapes.collection import Shapes

_NUMBERING = re.compile(r"([ _.-]*(\d+|(?<=[ _.-])[a-z]))+$")


def stem(name: str) -> str:
    """The name of an item without the numbers and single letters at its end.

    Variants of one model are often named so: "palm_03_b" and "palm_11" have the stem "palm".
    """
    short = _NUMBERING.sub("", name.lower())
    return short or name.lower()


def balanced_subset(
    shapes: Shapes, per_class: int, *, except_classes: Sequence[str] = (), seed: int = 0
) -> Int[np.ndarray, " chosen"]:
    """Draws the same number of shapes of each class that has enough.

    Args:
      shapes: labeled shapes.
      per_class: shapes of each class. Classes with fewer are left out.
      except_classes: names of classes that are left out, also with wildcards ("part_*").
      seed: of the draw.

    Returns:
      Indices of the shapes, ascending.

    Raises:
      InputError: a name matches no class, or fewer than two classes remain.
    """
    left_out = _classes_named(shapes, except_classes)
    rng = np.random.default_rng(seed)
    chosen = []
    for label in range(len(shapes.class_names)):
        members = np.flatnonzero(shapes.labels == label)
        if len(members) >= per_class and label not in left_out:
            chosen.append(rng.choice(members, per_class, replace=False))
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} classes have {per_class} shapes or more, at least two are needed: give "
            "a smaller number."
        )
    return np.sort(np.concatenate(chosen))


def related(shapes: Shapes, chosen: Int[np.ndarray, " chosen"]) -> Bool[np.ndarray, " shapes"]:
    """Whether a shape is one of `chosen`, or its name has the stem of one of them.

    Names that are empty have no stem.
    """
    mask = np.zeros(len(shapes.labels), bool)
    mask[chosen] = True
    if shapes.names:
        stems = {stem(shapes.names[index]) for index in chosen.tolist() if shapes.names[index]}
        mask |= np.array([stem(name) in stems if name else False for name in shapes.names])
    return mask


def without_labels(shapes: Shapes, classes: Sequence[str]) -> Shapes:
    """The shapes, with the label -1 for those of some classes.

    Args:
      shapes: any.
      classes: names, also with wildcards. They stay in `class_names`.

    Raises:
      InputError: a name matches no class.
    """
    named = np.isin(shapes.labels, list(_classes_named(shapes, classes)))
    return dataclasses.replace(shapes, labels=np.where(named, -1, shapes.labels).astype(np.int32))


def class_factors(shapes: Shapes, factors: Mapping[str, float]) -> Float[np.ndarray, " classes"]:
    """A factor for each class: that of the last pattern that matches its name, else 1.

    Args:
      shapes: whose classes.
      factors: by name, also with wildcards ("part_*").

    Raises:
      InputError: a name matches no class, or a factor is not positive.
    """
    found = np.ones(len(shapes.class_names))
    for pattern, factor in factors.items():
        if not factor > 0:
            raise InputError(f"the factor of {pattern!r} is {factor}: give a positive number.")
        found[list(_classes_named(shapes, [pattern]))] = factor
    return found


def _classes_named(shapes: Shapes, patterns: Sequence[str]) -> set[int]:
    found: set[int] = set()
    for pattern in patterns:
        names = fnmatch.filter(shapes.class_names, pattern)
        if not names:
            raise InputError(f"no class is named {pattern!r}: check the list of classes.")
        found |= {shapes.class_names.index(name) for name in names}
    return found

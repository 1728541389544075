"""Procedural everyday objects: families of static shapes whose members differ as real ones do.

A family (chair, lamp, bicycle …) is a function that draws proportions, styles and optional parts
and returns primitives: boxes, frustums, ellipsoids and rings. They make a few hundred models of a
pre-training set go further: two members of a family are two different things of one kind, which no
augmentation of a single model is.

Objects are roughly in meters, y up, facing positive z; points are uniform over the surfaces of the
parts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pointata_jax.procedural import figures
from pointata_jax.procedural.objects import furniture, household, outdoors
from pointata_jax.procedural.objects.primitives import Part, Rng
from pointata_jax.shapes.collection import unit_sphere

FAMILIES: dict[str, Callable[[Rng], list[Part]]] = dict(
    sorted((furniture.FAMILIES | household.FAMILIES | outdoors.FAMILIES).items())
)
"""What each family is made by, in alphabetical order."""


def procedural_object(family: str, rng: Rng, num_points: int) -> np.ndarray:
    """A random member of a family of `FAMILIES`, `[N, 3]` float32, uniform over its parts."""
    parts = FAMILIES[family](rng)
    areas = np.array([part.area for part in parts])
    counts = rng.multinomial(num_points, areas / areas.sum())
    points = [part.draw(rng, int(n)) for part, n in zip(parts, counts, strict=True) if n]
    return rng.permutation(np.concatenate(points)).astype(np.float32)


def object_families(rng: Rng, members: int, num_points: int) -> np.ndarray:
    """`members` of every family of `FAMILIES` and of human figures, float32 `[F, members, N, 3]`.

    Each in the unit sphere around its centroid.
    """
    families = [
        [procedural_object(family, rng, num_points) for _ in range(members)] for family in FAMILIES
    ]
    families.append([figures.static_shape(rng, num_points) for _ in range(members)])
    return unit_sphere(np.array(families)).astype(np.float32)

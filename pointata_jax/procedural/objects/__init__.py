"""Procedural everyday objects: families of static shapes with random members.

A family (chair, lamp, bicycle …) is a function that samples proportions, styles and optional
parts, and returns primitives: boxes, frustums, ellipsoids and rings. The families extend a
pre-training set of a few hundred models: two members of a family are different objects of one kind,
which augmentation of a single model cannot produce.

Objects are roughly in meters, y up, and face positive z. Points are uniform over the surfaces of
the parts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from pointata_jax.procedural import figures
from pointata_jax.procedural.objects import furniture, household, outdoors
from pointata_jax.procedural.objects.primitives import Part, Rng
from pointata_jax.shapes.collection import unit_sphere

FAMILIES: dict[str, Callable[[Rng], list[Part]]] = dict(
    sorted((furniture.FAMILIES | household.FAMILIES | outdoors.FAMILIES).items())
)
"""The function of each family, in alphabetical order."""


def procedural_object(family: str, rng: Rng, num_points: int) -> Float[np.ndarray, "n 3"]:
    """Points of a random member of a family of `FAMILIES`, float32, uniform over its parts."""
    parts = FAMILIES[family](rng)
    areas = np.array([part.area for part in parts])
    counts = rng.multinomial(num_points, areas / areas.sum())
    points = [part.draw(rng, int(n)) for part, n in zip(parts, counts, strict=True) if n]
    return rng.permutation(np.concatenate(points)).astype(np.float32)


def object_families(
    rng: Rng, members: int, num_points: int
) -> Float[np.ndarray, "families members n 3"]:
    """Random members of all `FAMILIES` and of human figures, the last family; float32.

    Each member is in the unit sphere around its centroid.

    Args:
      rng: random generator.
      members: number of members of each family.
      num_points: number N of points of each member.
    """
    families = [
        [procedural_object(family, rng, num_points) for _ in range(members)] for family in FAMILIES
    ]
    families.append([figures.static_shape(rng, num_points) for _ in range(members)])
    return unit_sphere(np.array(families)).astype(np.float32)

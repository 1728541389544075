"""Surfaces to sample points from: boxes, frustums, ellipsoids, rings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pointata_jax.data.rotations import axis_rotation

Rng = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Part:
    """A surface.

    Attributes:
      area: its area.
      draw: function that samples `n` points `[n, 3]` of it.
    """

    area: float
    draw: Callable[[Rng, int], np.ndarray]


def box(center: ArrayLike, size: ArrayLike, yaw: float = 0.0, tilt: float = 0.0) -> Part:
    """Box with edge lengths `size` along the axes, rotated about x by `tilt`, then y by `yaw`."""
    center, half = np.asarray(center, float), np.asarray(size, float) / 2
    rotation = axis_rotation(yaw, 1) @ axis_rotation(tilt, 0)
    faces = 4 * half[[1, 0, 0]] * half[[2, 2, 1]]

    def draw(rng: Rng, n: int) -> np.ndarray:
        points = rng.uniform(-1, 1, (n, 3))
        axis = rng.choice(3, n, p=faces / faces.sum())
        points[np.arange(n), axis] = rng.choice((-1.0, 1.0), n)
        return points * half @ rotation.T + center

    return Part(2 * float(faces.sum()), draw)


def frustum(
    start: ArrayLike,
    end: ArrayLike,
    radius: float,
    end_radius: float | None = None,
    capped: bool = True,
) -> Part:
    """Frustum of a cone, cylinder or disc between two points.

    Args:
      start: center of the first end.
      end: center of the second end.
      radius: radius at the first end.
      end_radius: radius at the second end, None for `radius`.
      capped: include the discs at both ends.
    """
    start, end = np.asarray(start, float), np.asarray(end, float)
    end_radius = radius if end_radius is None else end_radius
    along = end - start
    length = float(np.linalg.norm(along))
    slant = float(np.hypot(length, radius - end_radius))
    areas = np.pi * np.array([(radius + end_radius) * slant, radius**2, end_radius**2])
    if not capped:
        areas[1:] = 0.0
    axis = along / max(length, 1e-9)
    side = np.cross(axis, (1.0, 0.0, 0.0) if abs(axis[0]) < 0.9 else (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    other = np.cross(axis, side)

    def draw(rng: Rng, n: int) -> np.ndarray:
        surface = rng.choice(3, n, p=areas / areas.sum())
        # The area of the mantle is linear in the squared radius, which is sampled uniformly.
        low, high = sorted((radius, end_radius))
        reach = np.sqrt(rng.uniform(low**2, max(high**2, low**2 + 1e-12), n))
        even = rng.uniform(size=n)
        height = even if high - low < 1e-6 else (reach - radius) / (end_radius - radius)
        reach = np.where(surface == 1, radius * np.sqrt(even), reach)
        reach = np.where(surface == 2, end_radius * np.sqrt(even), reach)
        height = np.where(surface == 0, height, surface == 2)
        angle = rng.uniform(0, 2 * np.pi, n)[:, None]
        around = np.cos(angle) * side + np.sin(angle) * other
        return start + height[:, None] * along + reach[:, None] * around

    return Part(float(areas.sum()), draw)


def ellipsoid(center: ArrayLike, radii: ArrayLike) -> Part:
    """Ellipsoid with half axes `radii`; its points are slightly denser at the tips than uniform."""
    center, radii = np.asarray(center, float), np.asarray(radii, float)
    powers = (radii[[0, 0, 1]] * radii[[1, 2, 2]]) ** 1.6

    def draw(rng: Rng, n: int) -> np.ndarray:
        points = rng.normal(size=(n, 3))
        return center + radii * points / np.linalg.norm(points, axis=1, keepdims=True)

    return Part(4 * np.pi * float(powers.mean()) ** (1 / 1.6), draw)


def ring(center: ArrayLike, normal_axis: int, radius: float, thickness: float) -> Part:
    """Torus around coordinate axis `normal_axis`."""
    center = np.asarray(center, float)

    def draw(rng: Rng, n: int) -> np.ndarray:
        around, across = rng.uniform(0, 2 * np.pi, (2, n))
        reach = radius + thickness * np.cos(across)
        points = np.stack(
            [reach * np.cos(around), reach * np.sin(around), thickness * np.sin(across)], axis=1
        )
        return np.roll(points, normal_axis - 2, axis=1) + center

    return Part(4 * np.pi**2 * radius * thickness, draw)


def profile(
    heights: Sequence[float] | np.ndarray,
    radii: Sequence[float] | np.ndarray,
    x: float = 0.0,
    z: float = 0.0,
) -> list[Part]:
    """Solid of revolution about the vertical axis at (x, z): frustums between pairs of heights."""
    points = [(x, float(h), z) for h in heights]
    last = len(points) - 1
    return [
        frustum(points[i], points[i + 1], radii[i], radii[i + 1], capped=i in (0, last - 1))
        for i in range(last)
    ]

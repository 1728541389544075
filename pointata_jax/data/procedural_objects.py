"""Procedural everyday objects: families of static shapes whose members differ as real ones do.

A family (chair, lamp, bicycle …) is a function that draws proportions, styles and optional parts
and returns primitives: boxes, frustums, ellipsoids and rings. They make a few hundred models of a
pre-training set go further: two members of a family are two different things of one kind, which no
augmentation of a single model is.

Objects are roughly in metres, y up, facing positive z; points are uniform over the surfaces of the
parts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from pointata_jax.data import figures
from pointata_jax.data.rotations import turn
from pointata_jax.data.shapes import unit_sphere

Rng = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Part:
    """A surface: its area and how to draw `n` points `[n, 3]` of it."""

    area: float
    draw: Callable[[Rng, int], np.ndarray]


def box(centre, size, yaw: float = 0.0, tilt: float = 0.0) -> Part:
    """Box of edge lengths `size` along the axes, then turned about x by `tilt` and y by `yaw`."""
    half = np.asarray(size, float) / 2
    rotation = turn(yaw, 1) @ turn(tilt, 0)
    faces = 4 * half[[1, 0, 0]] * half[[2, 2, 1]]

    def draw(rng: Rng, n: int) -> np.ndarray:
        points = rng.uniform(-1, 1, (n, 3))
        axis = rng.choice(3, n, p=faces / faces.sum())
        points[np.arange(n), axis] = rng.choice((-1.0, 1.0), n)
        return points * half @ rotation.T + centre

    return Part(2 * float(faces.sum()), draw)


def frustum(start, end, radius: float, end_radius: float | None = None, capped=True) -> Part:
    """Cone, cylinder or disc between two points."""
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
        # On the mantle the radius is linear in height, so height is drawn by its square.
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


def ellipsoid(centre, radii) -> Part:
    """Ellipsoid with half axes `radii`; a little denser at its tips than uniform."""
    radii = np.asarray(radii, float)
    powers = (radii[[0, 0, 1]] * radii[[1, 2, 2]]) ** 1.6

    def draw(rng: Rng, n: int) -> np.ndarray:
        points = rng.normal(size=(n, 3))
        return centre + radii * points / np.linalg.norm(points, axis=1, keepdims=True)

    return Part(4 * np.pi * float(powers.mean()) ** (1 / 1.6), draw)


def ring(centre, normal_axis: int, radius: float, thickness: float) -> Part:
    """Torus around coordinate axis `normal_axis`."""

    def draw(rng: Rng, n: int) -> np.ndarray:
        around, across = rng.uniform(0, 2 * np.pi, (2, n))
        reach = radius + thickness * np.cos(across)
        points = np.stack(
            [reach * np.cos(around), reach * np.sin(around), thickness * np.sin(across)], axis=1
        )
        return np.roll(points, normal_axis - 2, axis=1) + centre

    return Part(4 * np.pi**2 * radius * thickness, draw)


def _legs(rng: Rng, width: float, depth: float, height: float, splay: float = 0.0) -> list[Part]:
    """Four legs, round or square, under a plate of the given size at the given height."""
    thick = rng.uniform(0.015, 0.04)
    round_legs = rng.random() < 0.5
    parts = []
    for x in (-1, 1):
        for z in (-1, 1):
            top = np.array([x * (width / 2 - thick), height, z * (depth / 2 - thick)])
            foot = top * (1 + splay, 0, 1 + splay)
            if round_legs or splay:
                parts.append(frustum(foot, top, thick * rng.uniform(0.5, 1.0), thick))
            else:
                parts.append(box((foot + top) / 2, (2 * thick, height, 2 * thick)))
    return parts


def _profile(heights, radii, x: float = 0.0, z: float = 0.0) -> list[Part]:
    """A turned body: frustums along a profile of heights and radii."""
    points = [(x, float(h), z) for h in heights]
    last = len(points) - 1
    return [
        frustum(points[i], points[i + 1], radii[i], radii[i + 1], capped=i in (0, last - 1))
        for i in range(last)
    ]


def _chair(rng: Rng) -> list[Part]:
    width, depth, seat = rng.uniform(0.36, 0.5), rng.uniform(0.36, 0.5), rng.uniform(0.4, 0.5)
    back = rng.uniform(0.3, 0.6)
    parts = [box((0, seat, 0), (width, rng.uniform(0.02, 0.08), depth))]
    style = rng.integers(3)
    if style == 2:
        parts += [frustum((0, 0, 0), (0, seat, 0), 0.03)]
        for angle in np.arange(5) * 2 * np.pi / 5:
            foot = (0.3 * np.cos(angle), 0.04, 0.3 * np.sin(angle))
            parts += [frustum((0, 0.08, 0), foot, 0.02), ellipsoid(foot, (0.03, 0.03, 0.03))]
    else:
        parts += _legs(rng, width, depth, seat, splay=rng.choice((0.0, 0.15)))
    lean = rng.uniform(0.0, 0.2)
    if rng.random() < 0.5:
        middle = (0, seat + back / 2, -depth / 2 - lean * back / 2)
        parts.append(box(middle, (width, back, rng.uniform(0.02, 0.06)), tilt=-lean))
    else:
        count = rng.integers(2, 6)
        for x in np.linspace(-width / 2 + 0.02, width / 2 - 0.02, count):
            foot, top = (x, seat, -depth / 2), (x, seat + back, -depth / 2 - lean * back)
            parts.append(frustum(foot, top, 0.015))
        parts.append(box((0, seat + back, -depth / 2 - lean * back), (width, 0.08, 0.03)))
    return parts


def _upholstered(rng: Rng, width: float) -> list[Part]:
    depth, seat = rng.uniform(0.7, 1.0), rng.uniform(0.35, 0.48)
    back, arm = rng.uniform(0.35, 0.6), rng.uniform(0.1, 0.22)
    arm_height = seat + rng.uniform(0.1, 0.25)
    low = rng.choice((0.0, 0.08))
    inner = width - 2 * arm
    parts = [box((0, (seat + low) / 2, 0), (inner, seat - low, depth))]
    middle = (seat + back + low) / 2
    thick = rng.uniform(0.12, 0.25)
    parts.append(box((0, middle, -depth / 2 + thick / 2), (width, seat + back - low, thick)))
    rounded = rng.random() < 0.4
    for side in (-1, 1):
        x = side * (width - arm) / 2
        parts.append(box((x, (arm_height + low) / 2, 0), (arm, arm_height - low, depth)))
        if rounded:
            ends = (x, arm_height, -depth / 2), (x, arm_height, depth / 2)
            parts.append(frustum(*ends, arm * 0.6))
    if low:
        parts += _legs(rng, width, depth, low)
    cushions = max(1, round(inner / 0.65))
    if rng.random() < 0.7:
        for i in range(cushions):
            x = (i + 0.5) * inner / cushions - inner / 2
            size = (inner / cushions * 0.96, 0.14, depth * 0.8)
            parts.append(box((x, seat + 0.07, thick / 2), size))
    return parts


def _armchair(rng: Rng) -> list[Part]:
    return _upholstered(rng, rng.uniform(0.7, 1.0))


def _sofa(rng: Rng) -> list[Part]:
    return _upholstered(rng, rng.uniform(1.5, 2.6))


def _stool(rng: Rng) -> list[Part]:
    height, radius = rng.uniform(0.4, 0.8), rng.uniform(0.14, 0.22)
    thick = rng.uniform(0.02, 0.08)
    if rng.random() < 0.5:
        top = frustum((0, height, 0), (0, height + thick, 0), radius)
    else:
        top = box((0, height, 0), (2 * radius, thick, 2 * radius))
    parts = [top, *_legs(rng, 1.4 * radius, 1.4 * radius, height, splay=rng.uniform(0, 0.4))]
    if rng.random() < 0.5:
        parts.append(ring((0, height / 3, 0), 1, radius * 0.9, 0.01))
    return parts


def _bench(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(1.0, 1.8), rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.5)
    slats = rng.integers(1, 5)
    parts = _legs(rng, width, depth, height)
    for i in range(slats):
        z = (i + 0.5) * depth / slats - depth / 2
        parts.append(box((0, height, z), (width, 0.03, depth / slats * 0.9)))
        if slats > 1:
            place = (0, height + 0.1 + 0.1 * i, -depth / 2)
            parts.append(box(place, (width, 0.08, 0.03), tilt=-0.15))
    return parts


def _table(rng: Rng) -> list[Part]:
    low = rng.random() < 0.25
    height = rng.uniform(0.35, 0.5) if low else rng.uniform(0.68, 0.8)
    width, depth = rng.uniform(0.6, 2.0), rng.uniform(0.5, 1.0)
    parts = [box((0, height, 0), (width, rng.uniform(0.02, 0.06), depth))]
    if rng.random() < 0.75:
        parts += _legs(rng, width, depth, height)
        if rng.random() < 0.4:
            parts.append(box((0, height - 0.08, 0), (width * 0.9, 0.1, depth * 0.9)))
    else:
        for side in (-1, 1):
            parts.append(box((side * width * 0.4, height / 2, 0), (0.04, height, depth * 0.8)))
    return parts


def _round_table(rng: Rng) -> list[Part]:
    radius, height = rng.uniform(0.3, 0.8), rng.uniform(0.4, 0.8)
    parts = [frustum((0, height, 0), (0, height + rng.uniform(0.02, 0.05), 0), radius)]
    if rng.random() < 0.6:
        parts.append(frustum((0, 0.03, 0), (0, height, 0), rng.uniform(0.03, 0.08)))
        parts.append(frustum((0, 0, 0), (0, 0.04, 0), radius * rng.uniform(0.4, 0.7), 0.05))
    else:
        parts += _legs(rng, radius * 1.3, radius * 1.3, height, splay=rng.uniform(0, 0.2))
    return parts


def _desk(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(1.0, 1.7), rng.uniform(0.5, 0.8), rng.uniform(0.7, 0.78)
    parts = [box((0, height, 0), (width, 0.04, depth))]
    drawers = rng.integers(2, 5)
    sides = (-1, 1) if rng.random() < 0.4 else (1,)
    for side in sides:
        x = side * width * 0.35
        for i in range(drawers):
            step = (height - 0.06) / drawers
            parts.append(box((x, 0.04 + (i + 0.5) * step, 0), (width * 0.28, step * 0.94, depth)))
            parts.append(box((x, 0.04 + (i + 0.5) * step, depth / 2), (0.1, 0.02, 0.03)))
    if len(sides) == 1:
        parts.append(box((-width * 0.48, height / 2, 0), (0.04, height, depth)))
    return parts


def _bed(rng: Rng) -> list[Part]:
    width, length, height = rng.uniform(0.8, 1.9), rng.uniform(1.8, 2.2), rng.uniform(0.3, 0.55)
    low = rng.choice((0.0, 0.12))
    parts = [box((0, (height + low) / 2, 0), (width, height - low, length))]
    board = height + rng.uniform(0.15, 0.7)
    parts.append(box((0, board / 2, -length / 2), (width * rng.uniform(1.0, 1.1), board, 0.05)))
    if rng.random() < 0.4:
        parts.append(box((0, board * 0.4, length / 2), (width, board * 0.8, 0.05)))
    if low:
        parts += _legs(rng, width, length, low)
    for x in (0.0,) if width < 1.2 else (-width / 4, width / 4):
        place = (x, height + 0.05, -length / 2 + 0.25)
        if rng.random() < 0.85:
            parts.append(ellipsoid(place, (min(width, 1.0) * 0.32, 0.08, 0.2)))
    return parts


def _cabinet(rng: Rng) -> list[Part]:
    width, height, depth = rng.uniform(0.4, 1.8), rng.uniform(0.5, 2.2), rng.uniform(0.3, 0.65)
    low = rng.choice((0.0, 0.06, 0.12))
    parts = [box((0, low + height / 2, 0), (width, height, depth))]
    columns, rows = rng.integers(1, 4), rng.integers(1, 5)
    for i in range(columns):
        for j in range(rows):
            x = (i + 0.5) * width / columns - width / 2
            y = low + (j + 0.5) * height / rows
            size = (width / columns * 0.94, height / rows * 0.94, 0.02)
            parts.append(box((x, y, depth / 2 + 0.01), size))
            knob = (x + rng.choice((0.0, 0.35)) * width / columns, y, depth / 2 + 0.03)
            parts.append(box(knob, (0.08, 0.02, 0.04)))
    if low:
        parts += _legs(rng, width, depth, low)
    return parts


def _shelf(rng: Rng) -> list[Part]:
    width, height, depth = rng.uniform(0.5, 1.6), rng.uniform(0.6, 2.2), rng.uniform(0.2, 0.45)
    boards = rng.integers(3, 8)
    parts = [box((x, height / 2, 0), (0.03, height, depth)) for x in (-width / 2, width / 2)]
    for y in np.linspace(0.02, height, boards):
        parts.append(box((0, y, 0), (width, 0.03, depth)))
    if rng.random() < 0.5:
        parts.append(box((0, height / 2, -depth / 2), (width, height, 0.01)))
    return parts


def _crate(rng: Rng) -> list[Part]:
    width, height, depth = rng.uniform(0.2, 1.0), rng.uniform(0.15, 0.6), rng.uniform(0.2, 0.6)
    parts = [box((0, 0.01, 0), (width, 0.02, depth))]
    for side in (-1, 1):
        parts.append(box((side * width / 2, height / 2, 0), (0.02, height, depth)))
        parts.append(box((0, height / 2, side * depth / 2), (width, height, 0.02)))
    style = rng.integers(3)
    if style == 0:  # A lid, shut or raised.
        tilt = rng.choice((0.0, -0.7, -1.4))
        reach = depth / 2 * np.array([np.sin(-tilt), np.cos(tilt)])
        place = (0, height + reach[0], -depth / 2 + reach[1])
        parts.append(box(place, (width, 0.02, depth), tilt=tilt))
    elif style == 1:  # Four flaps of a carton.
        for side in (-1, 1):
            place = (side * width * 0.65, height * 1.05, 0)
            parts.append(box(place, (width * 0.35, 0.01, depth)))
            parts.append(box((0, height * 1.05, side * depth * 0.65), (width, 0.01, depth * 0.35)))
    return parts


def _door(rng: Rng) -> list[Part]:
    width, height = rng.uniform(0.7, 1.0), rng.uniform(1.9, 2.2)
    leaves = rng.choice((1, 1, 2))
    parts = []
    for i in range(leaves):
        x = (i - (leaves - 1) / 2) * width
        parts.append(box((x, height / 2, 0), (width, height, rng.uniform(0.03, 0.06))))
        for y in np.linspace(0.2, 0.8, rng.integers(1, 4)):
            if rng.random() < 0.7:
                parts.append(box((x, y * height, 0), (width * 0.6, height * 0.2, 0.08)))
        for z in (-0.06, 0.06):
            parts.append(ellipsoid((x + width * 0.42, 1.0, z), (0.05, 0.03, 0.03)))
    full = leaves * width
    if rng.random() < 0.7:
        thick = rng.uniform(0.06, 0.14)
        for side in (-1, 1):
            parts.append(box((side * full / 2, height / 2, 0), (0.08, height, thick)))
        parts.append(box((0, height, 0), (full + 0.08, 0.08, thick)))
    return parts


def _window(rng: Rng) -> list[Part]:
    width, height = rng.uniform(0.5, 2.0), rng.uniform(0.6, 1.6)
    bar, thick = rng.uniform(0.04, 0.08), rng.uniform(0.05, 0.15)
    columns, rows = rng.integers(1, 4), rng.integers(1, 4)
    parts = []
    for x in np.linspace(-width / 2, width / 2, columns + 1):
        parts.append(box((x, height / 2, 0), (bar, height + bar, thick)))
    for y in np.linspace(0, height, rows + 1):
        parts.append(box((0, y, 0), (width + bar, bar, thick)))
    if rng.random() < 0.6:
        parts.append(box((0, height / 2, 0), (width, height, 0.01)))
    if rng.random() < 0.4:
        parts.append(box((0, -bar, thick / 2), (width * 1.15, 0.03, thick * 2)))
    return parts


def _shade(rng: Rng, height: float, radius: float) -> list[Part]:
    if rng.random() < 0.7:
        top = height + radius * rng.uniform(0.8, 1.6)
        upper = radius * rng.uniform(0.4, 1.0)
        return [frustum((0, height, 0), (0, top, 0), radius, upper, capped=False)]
    return [ellipsoid((0, height + radius, 0), (radius, radius, radius))]


def _floor_lamp(rng: Rng) -> list[Part]:
    height = rng.uniform(1.1, 1.7)
    parts = [frustum((0, 0, 0), (0, 0.03, 0), rng.uniform(0.1, 0.2))]
    parts.append(frustum((0, 0, 0), (0, height + 0.1, 0), rng.uniform(0.01, 0.03)))
    return parts + _shade(rng, height, rng.uniform(0.12, 0.28))


def _table_lamp(rng: Rng) -> list[Part]:
    height = rng.uniform(0.2, 0.45)
    radii = rng.uniform(0.02, 0.12, 5)
    radii[0] = rng.uniform(0.06, 0.12)
    radii[-1] = 0.02
    parts = _profile(np.linspace(0, height, 5), radii)
    return parts + _shade(rng, height, rng.uniform(0.1, 0.2))


def _hanging_lamp(rng: Rng) -> list[Part]:
    cord = rng.uniform(0.3, 0.9)
    parts = [
        frustum((0, 0, 0), (0, cord, 0), 0.01),
        frustum((0, cord, 0), (0, cord + 0.04, 0), 0.06),
    ]
    radius = rng.uniform(0.1, 0.3)
    arms = rng.choice((0, 0, 3, 5))
    for angle in np.arange(arms) * 2 * np.pi / max(arms, 1):
        tip = (2 * radius * np.cos(angle), 0.05, 2 * radius * np.sin(angle))
        parts.append(frustum((0, 0, 0), tip, 0.012))
        parts.append(ellipsoid(tip, (0.06, 0.08, 0.06)))
    if not arms:
        parts += [
            Part(p.area, lambda r, n, p=p: p.draw(r, n) - (0, radius, 0))
            for p in _shade(rng, 0.0, radius)
        ]
    return parts


def _potted_plant(rng: Rng) -> list[Part]:
    height, radius = rng.uniform(0.15, 0.4), rng.uniform(0.1, 0.22)
    parts = _profile((0, height), (radius * rng.uniform(0.6, 0.9), radius))
    reach = rng.uniform(0.2, 0.7)
    leaf = rng.uniform(0.03, 0.1)
    for _ in range(rng.integers(8, 30)):
        direction = rng.normal(size=3)
        direction[1] = abs(direction[1]) + rng.uniform(0.2, 1.5)
        tip = direction / np.linalg.norm(direction) * reach * rng.uniform(0.5, 1.0)
        tip[1] += height
        parts.append(frustum((0, height, 0), tip, 0.006, 0.003))
        parts.append(ellipsoid(tip, leaf * rng.uniform(0.3, 1.5, 3)))
    return parts


def _tree(rng: Rng) -> list[Part]:
    trunk = rng.uniform(0.6, 2.0)
    parts = [frustum((0, 0, 0), (0, trunk * 1.3, 0), rng.uniform(0.06, 0.15), 0.05)]
    if rng.random() < 0.4:
        for i in range(rng.integers(1, 4)):
            low = trunk * (0.4 + 0.5 * i)
            parts.append(
                frustum((0, low, 0), (0, low + trunk, 0), trunk * 0.6 / (1 + 0.4 * i), 0.02)
            )
    else:
        for _ in range(rng.integers(1, 9)):
            centre = rng.normal(size=3) * trunk * 0.25 + (0, trunk * 1.5, 0)
            parts.append(ellipsoid(centre, trunk * rng.uniform(0.25, 0.6, 3)))
    return parts


def _bottle(rng: Rng) -> list[Part]:
    radius, body = rng.uniform(0.03, 0.06), rng.uniform(0.1, 0.25)
    neck = radius * rng.uniform(0.25, 0.5)
    shoulder = body + rng.uniform(0.02, 0.08)
    top = shoulder + rng.uniform(0.03, 0.12)
    parts = _profile((0, body, shoulder, top), (radius, radius, neck, neck))
    parts.append(frustum((0, top, 0), (0, top + 0.02, 0), neck * 1.2))
    return parts


def _vessel(rng: Rng) -> list[Part]:
    height, count = rng.uniform(0.06, 0.4), 6
    radii = np.clip(np.cumsum(rng.normal(0, 0.02, count)) + rng.uniform(0.05, 0.12), 0.02, 0.3)
    parts = _profile(np.linspace(0, height, count), radii)[:-1]
    if rng.random() < 0.4:
        parts.append(ring((radii.max() * 1.1, height / 2, 0), 2, height * 0.25, 0.008))
    return parts


def _pan(rng: Rng) -> list[Part]:
    radius, height = rng.uniform(0.08, 0.16), rng.uniform(0.04, 0.2)
    parts = [
        frustum((0, 0, 0), (0, height, 0), radius, capped=False),
        frustum((0, 0, 0), (0, 0.01, 0), radius),
    ]
    if rng.random() < 0.5:
        parts.append(box((0, height * 0.8, radius * 1.8), (0.03, 0.02, radius * 1.6)))
    else:
        for side in (-1, 1):
            parts.append(ring((side * radius * 1.1, height * 0.8, 0), 1, 0.03, 0.006))
    if rng.random() < 0.4:
        parts.append(ellipsoid((0, height, 0), (radius, 0.03, radius)))
        parts.append(ellipsoid((0, height + 0.04, 0), (0.02, 0.02, 0.02)))
    return parts


def _switch(rng: Rng) -> list[Part]:
    width = 0.08 * rng.choice((1, 1, 2, 3))
    parts = [box((0, 0, 0), (width, 0.08 * rng.choice((1.0, 1.5)), 0.01))]
    buttons = rng.integers(1, 4)
    for i in range(buttons):
        x = (i + 0.5) * width / buttons - width / 2
        size = (width / buttons * rng.uniform(0.4, 0.9), rng.uniform(0.02, 0.06), 0.012)
        parts.append(box((x, 0, 0.01), size, tilt=rng.uniform(-0.2, 0.2)))
    return parts


def _socket(rng: Rng) -> list[Part]:
    count = rng.choice((1, 1, 2, 3))
    parts = []
    for i in range(count):
        x = 0.08 * i
        parts.append(box((x, 0, 0), (0.08, 0.08, 0.01)))
        if rng.random() < 0.6:
            parts.append(ring((x, 0, 0.006), 2, 0.02, 0.003))
        parts += [frustum((x + d, 0, 0), (x + d, 0, 0.012), 0.003) for d in (-0.01, 0.01)]
    return parts


def _plug(rng: Rng) -> list[Part]:
    length, radius = rng.uniform(0.03, 0.06), rng.uniform(0.01, 0.025)
    parts = [frustum((0, 0, 0), (0, 0, length), radius * rng.uniform(0.5, 1.0), radius)]
    for x in (-0.4, 0.4):
        pin = (x * radius, 0, length)
        parts.append(frustum(pin, (x * radius, 0, length + 0.02), 0.002))
    if rng.random() < 0.6:
        bend = np.cumsum(rng.normal(0, 0.012, (6, 3)) - (0, 0, 0.02), axis=0)
        cable = np.concatenate([[(0.0, 0.0, 0.0)], bend])
        parts += [frustum(a, b, 0.004) for a, b in zip(cable[:-1], cable[1:], strict=True)]
    return parts


def _screen(rng: Rng) -> list[Part]:
    width = rng.uniform(0.4, 1.4)
    height = width * rng.uniform(0.5, 0.75)
    lift = rng.uniform(0.05, 0.2)
    parts = [box((0, lift + height / 2, 0), (width, height, rng.uniform(0.02, 0.1)))]
    parts.append(box((0, lift / 2, -0.02), (width * 0.15, lift, 0.03)))
    parts.append(box((0, 0.01, 0), (width * rng.uniform(0.3, 0.7), 0.02, width * 0.25)))
    return parts


def _appliance(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(0.5, 0.7), rng.uniform(0.5, 0.7), rng.uniform(0.8, 0.95)
    parts = [box((0, height / 2, 0), (width, height, depth))]
    if rng.random() < 0.5:  # Washing machine.
        parts.append(ring((0, height * 0.5, depth / 2), 2, 0.16, 0.025))
        parts.append(box((0, height * 0.92, depth / 2), (width * 0.9, 0.08, 0.02)))
    else:  # Oven with a hob.
        parts.append(box((0, height * 0.4, depth / 2), (width * 0.85, height * 0.5, 0.03)))
        parts.append(box((0, height * 0.7, depth / 2 + 0.03), (width * 0.7, 0.02, 0.02)))
        for x in (-0.13, 0.13):
            for z in (-0.13, 0.13):
                parts.append(ring((x, height, z), 1, 0.07, 0.01))
    return parts


def _fridge(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(0.5, 0.9), rng.uniform(0.55, 0.75), rng.uniform(1.4, 2.0)
    parts = [box((0, height / 2, 0), (width, height, depth))]
    cut = rng.uniform(0.25, 0.75) * height
    for low, high in ((0.0, cut), (cut, height)):
        middle = (low + high) / 2
        parts.append(box((0, middle, depth / 2 + 0.02), (width * 0.97, (high - low) * 0.96, 0.03)))
        grip = (width * 0.4, middle, depth / 2 + 0.06)
        parts.append(box(grip, (0.03, (high - low) * 0.4, 0.03)))
    return parts


def _basin(rng: Rng) -> list[Part]:
    width, depth, height = rng.uniform(0.4, 1.8), rng.uniform(0.4, 0.8), rng.uniform(0.15, 0.5)
    lift = rng.choice((0.0, 0.7))
    parts = [box((0, lift, 0), (width * 0.8, 0.02, depth * 0.8))]
    for side in (-1, 1):
        wall = (side * width * 0.45, lift + height / 2, 0)
        parts.append(box(wall, (width * 0.1, height, depth)))
        parts.append(box((0, lift + height / 2, side * depth * 0.45), (width, height, depth * 0.1)))
    tap = (0, lift + height, -depth * 0.45)
    over = (0, lift + height + 0.15, -depth * 0.45)
    parts += [frustum(tap, over, 0.015), frustum(over, (0, over[1], -depth * 0.2), 0.012)]
    if lift:
        parts.append(frustum((0, 0, 0), (0, lift, 0), rng.uniform(0.05, 0.12)))
    return parts


def _toilet(rng: Rng) -> list[Part]:
    seat, depth = rng.uniform(0.36, 0.44), rng.uniform(0.4, 0.5)
    parts = [frustum((0, 0, 0), (0, seat, 0.08), rng.uniform(0.1, 0.15), 0.2)]
    parts.append(ring((0, seat, 0.08), 1, 0.17, 0.03))
    parts.append(box((0, seat + 0.18, -depth / 2), (rng.uniform(0.34, 0.45), 0.36, 0.18)))
    if rng.random() < 0.5:
        parts.append(box((0, seat + 0.2, -0.12), (0.36, 0.4, 0.03), tilt=-0.1))
    return parts


def _stairs(rng: Rng) -> list[Part]:
    count, width = rng.integers(4, 14), rng.uniform(0.7, 1.3)
    rise, run = rng.uniform(0.15, 0.2), rng.uniform(0.22, 0.3)
    solid = rng.random() < 0.5
    parts = []
    for i in range(count):
        height = (i + 1) * rise
        if solid:
            parts.append(box((0, height / 2, -i * run), (width, height, run)))
        else:
            parts.append(box((0, height, -i * run), (width, 0.04, run * 1.1)))
    if not solid or rng.random() < 0.3:
        for x in (-width / 2, width / 2):
            lift = rise + (0.9 if solid else 0.0)
            end = (x, lift + (count - 1) * rise, -(count - 1) * run)
            parts.append(frustum((x, lift, 0), end, 0.03))
    return parts


def _fence(rng: Rng) -> list[Part]:
    count, height = rng.integers(4, 14), rng.uniform(0.6, 1.5)
    pitch = rng.uniform(0.12, 0.3)
    length = count * pitch
    wide = rng.uniform(0.02, 0.1)
    parts = []
    for i in range(count):
        x = (i + 0.5) * pitch - length / 2
        parts.append(box((x, height / 2, 0), (wide, height, 0.02)))
    for y in np.linspace(0.2, 0.85, rng.integers(2, 4)):
        parts.append(box((0, y * height, 0.02), (length, 0.06, 0.02)))
    return parts


def _ladder(rng: Rng) -> list[Part]:
    height, width = rng.uniform(1.2, 3.0), rng.uniform(0.35, 0.5)
    lean = rng.choice((0.0, 0.25))
    parts = []
    for side in (-1, 1) if lean else (1,):
        for x in (-width / 2, width / 2):
            parts.append(frustum((x, 0, side * lean * height), (x, height, 0), 0.025))
        for y in np.arange(0.25, height, 0.3):
            if side == 1 or rng.random() < 0.2:
                z = side * lean * (height - y)
                parts.append(frustum((-width / 2, y, z), (width / 2, y, z), 0.018))
    return parts


def _car(rng: Rng) -> list[Part]:
    length, width = rng.uniform(3.2, 5.0), rng.uniform(1.5, 1.9)
    body, cabin = rng.uniform(0.5, 0.8), rng.uniform(0.4, 0.7)
    parts = [box((0, 0.3 + body / 2, 0), (width, body, length))]
    start = length * rng.uniform(-0.5, -0.3)
    end = length * rng.uniform(0.1, 0.35)
    parts.append(
        box((0, 0.3 + body + cabin / 2, (start + end) / 2), (width * 0.85, cabin, end - start))
    )
    for x in (-width / 2, width / 2):
        for z in (-length * 0.32, length * 0.32):
            parts.append(frustum((x - 0.1, 0.32, z), (x + 0.1, 0.32, z), 0.32))
    return parts


def _bicycle(rng: Rng) -> list[Part]:
    radius, base = rng.uniform(0.28, 0.36), rng.uniform(0.9, 1.1)
    rear, front = (0, radius, -base / 2), (0, radius, base / 2)
    crank, seat, head = (0, radius * 0.9, -0.05), (0, 0.9, -0.2), (0, 0.85, base / 2 - 0.15)
    parts = [ring(rear, 0, radius, 0.02), ring(front, 0, radius, 0.02)]
    for a, b in (
        (crank, seat),
        (crank, head),
        (seat, head),
        (rear, crank),
        (rear, seat),
        (front, head),
    ):
        parts.append(frustum(a, b, 0.018))
    parts.append(ellipsoid((0, 0.95, -0.2), (0.07, 0.03, 0.13)))
    grip = (0, 1.0, base / 2 - 0.2)
    parts += [
        frustum(head, grip, 0.015),
        frustum((-0.28, 1.0, grip[2]), (0.28, 1.0, grip[2]), 0.015),
    ]
    return parts


def _books(rng: Rng) -> list[Part]:
    parts, place = [], 0.0
    upright = rng.random() < 0.5
    for _ in range(rng.integers(2, 10)):
        thick = rng.uniform(0.01, 0.05)
        size = np.array([rng.uniform(0.12, 0.18), rng.uniform(0.18, 0.28)])
        if upright:
            parts.append(box((place + thick / 2, size[1] / 2, 0), (thick, size[1], size[0])))
        else:
            centre = (0, place + thick / 2, 0)
            parts.append(box(centre, (size[0], thick, size[1]), yaw=rng.normal(0, 0.2)))
        place += thick
    return parts


def _wall_clock(rng: Rng) -> list[Part]:
    radius = rng.uniform(0.1, 0.2)
    parts = [frustum((0, 0, 0), (0, 0, 0.03), radius), ring((0, 0, 0.03), 2, radius, 0.012)]
    for length in (0.5, 0.8):
        angle = rng.uniform(0, 2 * np.pi)
        tip = (length * radius * np.cos(angle), length * radius * np.sin(angle), 0.04)
        parts.append(frustum((0, 0, 0.04), tip, 0.006))
    return parts


def _picture(rng: Rng) -> list[Part]:
    width, height, bar = rng.uniform(0.3, 1.2), rng.uniform(0.3, 1.0), rng.uniform(0.02, 0.08)
    parts = [box((0, 0, 0), (width, height, 0.01))]
    for side in (-1, 1):
        parts.append(box((side * width / 2, 0, 0.01), (bar, height + bar, 0.03)))
        parts.append(box((0, side * height / 2, 0.01), (width + bar, bar, 0.03)))
    return parts


def _fan(rng: Rng) -> list[Part]:
    blades, reach = rng.integers(3, 6), rng.uniform(0.3, 0.7)
    drop = rng.uniform(0.1, 0.4)
    parts = [frustum((0, 0, 0), (0, drop, 0), 0.015), frustum((0, -0.05, 0), (0, 0.05, 0), 0.08)]
    for i in range(blades):
        angle = 2 * np.pi * i / blades
        middle = (0.6 * reach * np.cos(angle), 0, -0.6 * reach * np.sin(angle))
        parts.append(box(middle, (reach, 0.01, 0.12), yaw=angle))
    return parts


def _house(rng: Rng) -> list[Part]:
    width, depth, wall = rng.uniform(4, 9), rng.uniform(4, 9), rng.uniform(2.4, 6.0)
    roof = rng.uniform(0.8, 3.0)
    parts = [box((0, wall / 2, 0), (width, wall, depth))]
    pitch = np.arctan2(roof, depth / 2)
    slope = np.hypot(roof, depth / 2)
    for side in (-1, 1):
        place = (0, wall + roof / 2, side * depth / 4)
        parts.append(box(place, (width, 0.15, slope), tilt=side * pitch))
    if rng.random() < 0.5:
        parts.append(box((width * 0.25, wall + roof * 0.8, 0), (0.5, roof, 0.5)))
    return parts


def _aircraft(rng: Rng) -> list[Part]:
    length, span = rng.uniform(6, 12), rng.uniform(6, 12)
    radius = length * rng.uniform(0.05, 0.09)
    parts = [ellipsoid((0, 0, 0), (radius, radius, length / 2))]
    sweep = rng.uniform(0, 0.25) * span
    for side in (-1, 1):
        tip = (side * span / 2, 0.1, -sweep)
        parts.append(frustum((0, 0, 0), tip, length * 0.05, length * 0.02))
        parts.append(
            frustum((0, 0.2, -length * 0.45), (side * span * 0.18, 0.2, -length * 0.5), 0.15)
        )
        if rng.random() < 0.6:
            engine = np.array([side * span * 0.2, -0.3, -sweep * 0.4])
            parts.append(frustum(engine - (0, 0, 0.5), engine + (0, 0, 0.5), 0.3))
    parts.append(box((0, radius + 0.5, -length * 0.46), (0.1, 1.4, 0.8)))
    return parts


FAMILIES: dict[str, Callable[[Rng], list[Part]]] = {
    "aircraft": _aircraft,
    "appliance": _appliance,
    "armchair": _armchair,
    "basin": _basin,
    "bed": _bed,
    "bench": _bench,
    "bicycle": _bicycle,
    "books": _books,
    "bottle": _bottle,
    "cabinet": _cabinet,
    "car": _car,
    "chair": _chair,
    "crate": _crate,
    "desk": _desk,
    "door": _door,
    "fan": _fan,
    "fence": _fence,
    "floor_lamp": _floor_lamp,
    "fridge": _fridge,
    "hanging_lamp": _hanging_lamp,
    "house": _house,
    "ladder": _ladder,
    "pan": _pan,
    "picture": _picture,
    "plug": _plug,
    "potted_plant": _potted_plant,
    "round_table": _round_table,
    "screen": _screen,
    "shelf": _shelf,
    "socket": _socket,
    "sofa": _sofa,
    "stairs": _stairs,
    "stool": _stool,
    "switch": _switch,
    "table": _table,
    "table_lamp": _table_lamp,
    "toilet": _toilet,
    "tree": _tree,
    "vessel": _vessel,
    "wall_clock": _wall_clock,
    "window": _window,
}


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

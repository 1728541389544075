"""Families of buildings, parts of buildings, vehicles and outdoor objects."""

from __future__ import annotations

import numpy as np

from pointata_jax.procedural.objects.primitives import Part, Rng, box, ellipsoid, frustum, ring


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
            center = rng.normal(size=3) * trunk * 0.25 + (0, trunk * 1.5, 0)
            parts.append(ellipsoid(center, trunk * rng.uniform(0.25, 0.6, 3)))
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


FAMILIES = {
    "aircraft": _aircraft,
    "bicycle": _bicycle,
    "car": _car,
    "door": _door,
    "fence": _fence,
    "house": _house,
    "ladder": _ladder,
    "stairs": _stairs,
    "tree": _tree,
    "window": _window,
}

"""Families of furniture."""

from __future__ import annotations

import numpy as np

from pointata_jax.procedural.objects.primitives import Part, Rng, box, ellipsoid, frustum, ring


def _legs(rng: Rng, width: float, depth: float, height: float, splay: float = 0.0) -> list[Part]:
    """Four legs, round or square, under a plate of this size at this height."""
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


FAMILIES = {
    "armchair": _armchair,
    "bed": _bed,
    "bench": _bench,
    "cabinet": _cabinet,
    "chair": _chair,
    "crate": _crate,
    "desk": _desk,
    "round_table": _round_table,
    "shelf": _shelf,
    "sofa": _sofa,
    "stool": _stool,
    "table": _table,
}

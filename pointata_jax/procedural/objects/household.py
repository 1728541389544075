"""Families of lamps, plants, vessels, appliances and other household objects."""

from __future__ import annotations

import numpy as np

from pointata_jax.procedural.objects.primitives import (
    Part,
    Rng,
    box,
    ellipsoid,
    frustum,
    profile,
    ring,
)


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
    parts = profile(np.linspace(0, height, 5), radii)
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
    parts = profile((0, height), (radius * rng.uniform(0.6, 0.9), radius))
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


def _bottle(rng: Rng) -> list[Part]:
    radius, body = rng.uniform(0.03, 0.06), rng.uniform(0.1, 0.25)
    neck = radius * rng.uniform(0.25, 0.5)
    shoulder = body + rng.uniform(0.02, 0.08)
    top = shoulder + rng.uniform(0.03, 0.12)
    parts = profile((0, body, shoulder, top), (radius, radius, neck, neck))
    parts.append(frustum((0, top, 0), (0, top + 0.02, 0), neck * 1.2))
    return parts


def _vessel(rng: Rng) -> list[Part]:
    height, count = rng.uniform(0.06, 0.4), 6
    radii = np.clip(np.cumsum(rng.normal(0, 0.02, count)) + rng.uniform(0.05, 0.12), 0.02, 0.3)
    parts = profile(np.linspace(0, height, count), radii)[:-1]
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


def _books(rng: Rng) -> list[Part]:
    parts, place = [], 0.0
    upright = rng.random() < 0.5
    for _ in range(rng.integers(2, 10)):
        thick = rng.uniform(0.01, 0.05)
        size = np.array([rng.uniform(0.12, 0.18), rng.uniform(0.18, 0.28)])
        if upright:
            parts.append(box((place + thick / 2, size[1] / 2, 0), (thick, size[1], size[0])))
        else:
            center = (0, place + thick / 2, 0)
            parts.append(box(center, (size[0], thick, size[1]), yaw=rng.normal(0, 0.2)))
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


FAMILIES = {
    "appliance": _appliance,
    "basin": _basin,
    "books": _books,
    "bottle": _bottle,
    "fan": _fan,
    "floor_lamp": _floor_lamp,
    "fridge": _fridge,
    "hanging_lamp": _hanging_lamp,
    "pan": _pan,
    "picture": _picture,
    "plug": _plug,
    "potted_plant": _potted_plant,
    "screen": _screen,
    "socket": _socket,
    "switch": _switch,
    "table_lamp": _table_lamp,
    "toilet": _toilet,
    "vessel": _vessel,
    "wall_clock": _wall_clock,
}

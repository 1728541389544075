"""A room around a figure: floor and furniture of boxes, and what one depth camera sees of it all.

Boxes hide what is behind them exactly, as capsules do (`procedural.capsules`): a ray meets a box
where it is between all three pairs of faces at once.

Coordinates are meters in the camera's frame: x to the right, y up, z away from the camera.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules

FLOOR = -1
"""Source of a point of the floor (`view`)."""

FURNITURE = -2
"""Source of a point of a piece of furniture (`view`)."""

# A ray that meets a box in the last part of its way meets the surface that the point is on.
_ON_SURFACE = 1e-4
_OVERSAMPLE = 12
_MAX_ROUNDS = 10
_MAX_PIECES = 3
_TRIES = 40
_CLEARANCE = 0.12  # Between furniture and the axes of the body's bones, more than any radius.


@dataclasses.dataclass(frozen=True)
class Boxes:
    """B boxes that stand upright.

    Attributes:
      centers: float32 `[B, 3]`.
      halves: float32 `[B, 3]`, half of each side.
      yaws: float32 `[B]`, turn about the vertical, radians.
    """

    centers: np.ndarray
    halves: np.ndarray
    yaws: np.ndarray

    def to_local(self, vectors: np.ndarray) -> np.ndarray:
        """Turns directions `[..., B, 3]` into the axes of each box."""
        cos, sin = np.cos(self.yaws), np.sin(self.yaws)
        x, y, z = np.moveaxis(vectors, -1, 0)
        return np.stack([cos * x - sin * z, y, sin * x + cos * z], axis=-1)


@dataclasses.dataclass(frozen=True)
class Room:
    """What is around the figure.

    Attributes:
      floor: height y of the floor.
      middle: `(x, z)` of the middle of the piece of floor that the sensor reports.
      half: `(x, z)` half of its sides.
      boxes: the furniture.
    """

    floor: float
    middle: tuple[float, float]
    half: tuple[float, float]
    boxes: Boxes


def furnish(joints: np.ndarray, floor: float, rng: np.random.Generator) -> Room:
    """A room with one to three pieces of furniture that the figure does not touch.

    Tables, chairs, cupboards and crates of random size stand anywhere around the figure; between it
    and the camera only low ones, so that the figure stays in view.

    Args:
      joints: `[T, J, 3]`, the figure over time, before a camera at the origin.
      floor: height y of the floor.
      rng: source of randomness.
    """
    points = joints.reshape(-1, 3)
    middle = np.median(points[:, [0, 2]], axis=0)
    half = rng.uniform((0.7, 0.6), (1.1, 0.9))
    parts: list[tuple[np.ndarray, np.ndarray, float]] = []
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(int(rng.integers(1, _MAX_PIECES + 1))):
        centers, halves = _piece(rng)
        reach = float(np.hypot(halves[:, 0] + abs(centers[:, 0]), halves[:, 2]).max())
        height = float((centers[:, 1] + halves[:, 1]).max())
        for _ in range(_TRIES):
            place = middle + rng.uniform(-1.0, 1.0, 2) * (half + 0.4)
            yaw = rng.uniform(-np.pi, np.pi)
            before = place[1] < middle[1] + 0.3 and abs(place[0] - middle[0]) < 0.6
            if place[1] - reach < 1.0 or (before and height > 0.6):
                continue
            if any(np.hypot(*(place - other)) < reach + far for other, far in placed):
                continue
            here = _stand(centers, halves, place, floor, yaw)
            if _distance(points, here) < _CLEARANCE:
                continue
            placed.append((place, reach))
            parts.extend(zip(here.centers, here.halves, here.yaws, strict=True))
            break
    boxes = Boxes(
        np.array([part[0] for part in parts], np.float32).reshape(-1, 3),
        np.array([part[1] for part in parts], np.float32).reshape(-1, 3),
        np.array([part[2] for part in parts], np.float32),
    )
    return Room(
        floor, (float(middle[0]), float(middle[1])), (float(half[0]), float(half[1])), boxes
    )


def view(
    joints: np.ndarray,
    parents: np.ndarray,
    radii: np.ndarray,
    room: Room,
    num_points: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """What a depth camera at the origin sees of a body in a room, as `capsules.depth_view` does.

    Args:
      joints, parents, radii: the body, one frame, in the camera's frame.
      room: floor and furniture.
      num_points: number N of points returned.
      rng: source of randomness.
      noise: deviation of the depth at one meter, meters.

    Returns:
      points float32 `[N, 3]` in random order, and the source of each, int32 `[N]`: the joint that
      ends the bone (as in `capsules.Surface`), `FLOOR` or `FURNITURE`.

    Raises:
      InputError: the camera sees hardly anything.
    """
    bones = np.flatnonzero(parents >= 0)
    lengths = np.linalg.norm(joints[bones] - joints[parents[bones]], axis=-1)
    sides = 8.0 * room.boxes.halves[:, [1, 0, 0]] * room.boxes.halves[:, [2, 2, 1]]
    areas = np.array(
        [
            2.0 * np.pi * ((lengths + 2.0 * radii[bones]) * radii[bones]).sum(),
            4.0 * room.half[0] * room.half[1],
            float(sides.sum()),
        ]
    )
    kept_points, kept_sources, missing = [], [], num_points
    for _ in range(_MAX_ROUNDS):
        counts = rng.multinomial(_OVERSAMPLE * missing + 64, areas / areas.sum())
        body = capsules.surface_points(joints, parents, radii, int(counts[0]), rng)
        floor = _floor_points(room, int(counts[1]), rng)
        furniture, faces = _box_points(room.boxes, sides, int(counts[2]), rng)
        up = np.broadcast_to(np.array([0, 1, 0], np.float32), floor.shape)
        points = np.concatenate([body.points, floor, furniture])
        normals = np.concatenate([body.normals, up, faces])
        sources = np.concatenate(
            [body.bones, np.full(counts[1], FLOOR), np.full(counts[2], FURNITURE)]
        )
        squared = np.square(points).sum(-1)
        weight = -(normals * points).sum(-1) / squared**1.5 * squared.min()
        chosen = np.flatnonzero(rng.random(len(weight)) < weight)
        seen = capsules.visible_from(points[chosen], joints, parents, radii)
        chosen = chosen[seen & ~hidden_by_boxes(points[chosen], room.boxes)]
        chosen = rng.permutation(chosen)[:missing]
        kept_points.append(points[chosen])
        kept_sources.append(sources[chosen])
        missing -= len(chosen)
        if not missing:
            break
    if missing:
        raise InputError(
            f"The camera at the origin sees only {num_points - missing} of {num_points} points of "
            "this room; place the figure and the room before the camera."
        )
    points = np.concatenate(kept_points).astype(np.float32)
    if noise:
        points = capsules.with_depth_noise(points, noise, rng)
    return points, np.concatenate(kept_sources).astype(np.int32)


def hidden_by_boxes(points: np.ndarray, boxes: Boxes) -> np.ndarray:
    """Bool `[M]`: a box is met on the way from a camera at the origin to the point `[M, 3]`."""
    if not len(boxes.centers):
        return np.zeros(len(points), bool)
    ray = boxes.to_local(np.repeat(points[:, None], len(boxes.centers), axis=1))
    camera = boxes.to_local(-boxes.centers)
    # Slabs: the ray camera + s * ray is between two faces from one s to another.
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (-boxes.halves - camera) / ray, (boxes.halves - camera) / ray
    enter = np.fmax.reduce(np.minimum(one, two), axis=-1)
    leave = np.fmin.reduce(np.maximum(one, two), axis=-1)
    return ((enter < leave) & (leave > 0.0) & (enter < 1.0 - _ON_SURFACE)).any(axis=1)


def _floor_points(room: Room, count: int, rng: np.random.Generator) -> np.ndarray:
    spread = rng.uniform(-1.0, 1.0, (count, 2)) * room.half + room.middle
    height = np.full(count, room.floor)
    return np.stack([spread[:, 0], height, spread[:, 1]], axis=-1).astype(np.float32)


def _box_points(
    boxes: Boxes, sides: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals [M, 3], uniform over faces whose pairs have areas `sides` [B, 3]."""
    if not count:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    which, axis = np.divmod(rng.choice(sides.size, count, p=(sides / sides.sum()).ravel()), 3)
    local = rng.uniform(-1.0, 1.0, (count, 3))
    sign = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    rows = np.arange(count)
    local[rows, axis] = sign
    normals = np.zeros((count, 3))
    normals[rows, axis] = sign
    chosen = Boxes(boxes.centers[which], boxes.halves[which], -boxes.yaws[which])
    points = chosen.to_local(local * chosen.halves) + chosen.centers
    return points.astype(np.float32), chosen.to_local(normals).astype(np.float32)


def _piece(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Centers and half sides [B, 3] of one piece of furniture, standing on y = 0 at the origin."""
    kind = rng.choice(["table", "chair", "cupboard", "crate"])
    if kind == "cupboard":
        width, height, depth = rng.uniform((0.25, 0.8, 0.18), (0.5, 1.7, 0.28))
        return np.array([[0.0, height / 2, 0.0]]), np.array([[width, height / 2, depth]])
    if kind == "crate":
        width, height, depth = rng.uniform((0.15, 0.2, 0.15), (0.35, 0.5, 0.35))
        return np.array([[0.0, height / 2, 0.0]]), np.array([[width, height / 2, depth]])
    if kind == "table":
        width, height, depth = rng.uniform((0.35, 0.4, 0.25), (0.6, 0.78, 0.4))
    else:
        width, height, depth = rng.uniform((0.18, 0.4, 0.18), (0.25, 0.5, 0.25))
    leg, top = 0.025, 0.02
    centers = [[0.0, height - top, 0.0]]
    halves = [[width, top, depth]]
    for x in (leg - width, width - leg):
        for z in (leg - depth, depth - leg):
            centers.append([x, height / 2 - top, z])
            halves.append([leg, height / 2 - top, leg])
    if kind == "chair":
        back = rng.uniform(0.4, 0.5)
        centers.append([0.0, height + back / 2, depth - top])
        halves.append([width, back / 2, top])
    return np.array(centers), np.array(halves)


def _stand(
    centers: np.ndarray, halves: np.ndarray, place: np.ndarray, floor: float, yaw: float
) -> Boxes:
    """The boxes of a piece, turned and put on the floor."""
    yaws = np.full(len(centers), yaw)
    turned = Boxes(centers, halves, -yaws).to_local(centers)
    return Boxes(turned + np.array([place[0], floor, place[1]]), halves, yaws)


def _distance(points: np.ndarray, boxes: Boxes) -> float:
    """Distance of the nearest of points [M, 3] to the boxes, 0 inside."""
    local = boxes.to_local(points[:, None] - boxes.centers)
    return float(np.linalg.norm(np.maximum(np.abs(local) - boxes.halves, 0.0), axis=-1).min())

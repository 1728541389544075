"""Rooms with a floor and furniture of boxes around a figure, rendered with a depth camera.

Occlusion by boxes is exact, as for capsules (`procedural.capsules`): a ray is inside a box where it
is between all three pairs of faces.

Coordinates are meters in the camera's frame: x to the right, y up, z away from the camera.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int

from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules

FLOOR = -1
"""Source of points on the floor (`view`)."""

FURNITURE = -2
"""Source of points on furniture (`view`)."""

# A box that a ray enters in this last part of its way is the one that the point itself is on.
_ON_SURFACE = 1e-4
_OVERSAMPLE = 12
_MAX_ROUNDS = 10
_MAX_PIECES = 3
_MAX_TRIES = 40
_CLEARANCE = 0.12  # Between furniture and bones in meters, more than any radius of a capsule.


@dataclasses.dataclass(frozen=True)
class Boxes:
    """B upright boxes.

    Attributes:
      centers: float32 `[B, 3]`, centers of the boxes.
      halves: float32 `[B, 3]`, half of the length of each side.
      yaws: float32 `[B]`, rotation about the vertical axis, radians.
    """

    centers: np.ndarray
    halves: np.ndarray
    yaws: np.ndarray

    def to_local(self, vectors: np.ndarray) -> np.ndarray:
        """Rotates vectors `[..., B, 3]` into the frame of each box."""
        cos, sin = np.cos(self.yaws), np.sin(self.yaws)
        x, y, z = np.moveaxis(vectors, -1, 0)
        return np.stack([cos * x - sin * z, y, sin * x + cos * z], axis=-1)


@dataclasses.dataclass(frozen=True)
class Room:
    """Floor and furniture around the figure.

    Attributes:
      floor: height y of the floor.
      middle: center `(x, z)` of the visible rectangle of the floor.
      half: half of the lengths of its sides along x and z.
      boxes: the furniture.
    """

    floor: float
    middle: tuple[float, float]
    half: tuple[float, float]
    boxes: Boxes


def furnish(
    joints: Float[np.ndarray, "t joints 3"], floor: float, rng: np.random.Generator
) -> Room:
    """A room with up to three pieces of furniture that the figure does not touch.

    Tables, chairs, cupboards and crates of random size are placed around the figure. Only low ones
    are placed between the figure and the camera, so that the figure stays in view.

    Args:
      joints: positions of the joints over time, with the camera at the origin.
      floor: height y of the floor.
      rng: random generator.
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
        for _ in range(_MAX_TRIES):
            place = middle + rng.uniform(-1.0, 1.0, 2) * (half + 0.4)
            yaw = rng.uniform(-np.pi, np.pi)
            in_front = place[1] < middle[1] + 0.3 and abs(place[0] - middle[0]) < 0.6
            if place[1] - reach < 1.0 or (in_front and height > 0.6):
                continue
            if any(np.hypot(*(place - other)) < reach + radius for other, radius in placed):
                continue
            boxes = _place_on_floor(centers, halves, place, floor, yaw)
            if _distance(points, boxes) < _CLEARANCE:
                continue
            placed.append((place, reach))
            parts.extend(zip(boxes.centers, boxes.halves, boxes.yaws, strict=True))
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
    joints: Float[np.ndarray, "joints 3"],
    parents: Int[np.ndarray, " joints"],
    radii: Float[np.ndarray, " joints"],
    room: Room,
    num_points: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """A frame of a depth camera at the origin, of a body in a room; see `capsules.depth_view`.

    Args:
      joints: positions of the joints in the frame of the camera.
      parents: parents of the joints, as in `capsules.surface_points`.
      radii: radii of the capsules.
      room: floor and furniture.
      num_points: number N of points returned.
      rng: random generator.
      noise: standard deviation of the depth at one meter, in meters.

    Returns:
      points float32, in random order, and the source of each, int32: the joint where the bone ends
      (as in `capsules.Surface`), `FLOOR` or `FURNITURE`.

    Raises:
      InputError: the camera sees too few points.
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
            "this room; place the figure and the room in front of the camera."
        )
    points = np.concatenate(kept_points).astype(np.float32)
    if noise:
        points = capsules.with_depth_noise(points, noise, rng)
    return points, np.concatenate(kept_sources).astype(np.int32)


def hidden_by_boxes(points: Float[np.ndarray, "m 3"], boxes: Boxes) -> Bool[np.ndarray, " m"]:
    """Whether a box intersects the segment from a camera at the origin to each point."""
    if not len(boxes.centers):
        return np.zeros(len(points), bool)
    ray = boxes.to_local(np.repeat(points[:, None], len(boxes.centers), axis=1))
    camera = boxes.to_local(-boxes.centers)
    # Slab test: the ray camera + s * ray is between two opposite faces for an interval of s.
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
    """Points and normals [M, 3], uniform over the faces; `sides` [B, 3] are areas of face pairs."""
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
    """Centers and half sides [B, 3] of the boxes of a piece of furniture, at the origin, y >= 0."""
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


def _place_on_floor(
    centers: np.ndarray, halves: np.ndarray, place: np.ndarray, floor: float, yaw: float
) -> Boxes:
    """The boxes of a piece of furniture, rotated and placed on the floor."""
    yaws = np.full(len(centers), yaw)
    rotated = Boxes(centers, halves, -yaws).to_local(centers)
    return Boxes(rotated + np.array([place[0], floor, place[1]]), halves, yaws)


def _distance(points: np.ndarray, boxes: Boxes) -> float:
    """Distance of the nearest of points [M, 3] from the boxes, 0 inside."""
    local = boxes.to_local(points[:, None] - boxes.centers)
    return float(np.linalg.norm(np.maximum(np.abs(local) - boxes.halves, 0.0), axis=-1).min())

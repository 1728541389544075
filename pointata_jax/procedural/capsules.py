"""A body of capsules, and what one depth camera sees of it.

A capsule is all that lies within a radius of a bone, the segment from a joint to its parent. Its
surface can be sampled exactly, and whether a ray meets it has a closed form. So occlusion here is
exact geometry: there is no depth buffer whose cells would leak or need tuning.

Coordinates are meters in the camera's frame: x to the right, y up, z away from the camera.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pointata_jax.errors import InputError

# Rays that touch a capsule no deeper than this share of its radius still count as free, so that a
# point is not hidden by the rounding of its own surface.
_GRAZE = 0.01
# A camera keeps about a ninth of uniform surface samples (half face away, foreshortening thins the
# rest, limbs hide some), so this many samples per wanted point mostly suffice in one round.
_OVERSAMPLE = 10
_MAX_ROUNDS = 8


class Surface(NamedTuple):
    """Points on capsules.

    Attributes:
      points: float32 `[M, 3]`, meters.
      normals: float32 `[M, 3]`, unit, outward.
      bones: int32 `[M]`, the joint at whose end of the bone the capsule lies (the child joint).
    """

    points: np.ndarray
    normals: np.ndarray
    bones: np.ndarray


def surface_points(
    joints: ArrayLike,
    parents: ArrayLike,
    radii: ArrayLike,
    num_points: int,
    rng: np.random.Generator,
    *,
    outer: bool = False,
) -> Surface:
    """Draws points uniformly over the area of the capsules around all bones.

    Args:
      joints: `[J, 3]` joint positions.
      parents: int `[J]` index of each joint's parent, negative for a joint that ends no bone.
      radii: `[J]` radius of the capsule that ends at the joint (ignored without a parent).
      num_points: number M of points.
      rng: source of randomness.
      outer: only points of the body's outer surface, none inside another capsule.

    Raises:
      InputError: shapes that do not fit, no bone at all, non-finite joints, or radii that are not
        positive.
    """
    start, end, radius, bones = _capsules(joints, parents, radii)
    if not outer:
        return _sample(start, end, radius, bones, num_points, rng)
    kept: list[Surface] = []
    missing = num_points
    while missing > 0:
        draw = _sample(start, end, radius, bones, 2 * missing + 16, rng)
        depth = _distance_squared_to_axes(draw.points, start, end) / radius**2
        free = np.flatnonzero((depth > (1.0 - _GRAZE) ** 2).all(axis=1))[:missing]
        kept.append(Surface(*(part[free] for part in draw)))
        missing -= len(free)
    return Surface(*(np.concatenate(parts) for parts in zip(*kept, strict=True)))


def visible_from(
    points: ArrayLike,
    joints: ArrayLike,
    parents: ArrayLike,
    radii: ArrayLike,
    camera: ArrayLike = (0.0, 0.0, 0.0),
) -> np.ndarray:
    """Tells which points the camera sees: those whose ray to it meets no capsule on the way.

    A ray meets a capsule when it passes the bone closer than the radius, so this is the distance
    between two segments (Ericson, Real-Time Collision Detection, 2005, section 5.1.9). Points on
    the far side of their own capsule and points inside another are hidden by the same rule.

    Args:
      points: `[M, 3]`.
      joints, parents, radii: the body, as in `surface_points`.
      camera: `[3]` position of the camera.

    Returns:
      bool `[M]`.
    """
    start, end, radius, _ = _capsules(joints, parents, radii)
    return _unhidden(np.asarray(points, np.float32), start, end, radius, camera)


def depth_view(
    joints: ArrayLike,
    parents: ArrayLike,
    radii: ArrayLike,
    num_points: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """What a depth camera at the origin sees of one frame, sampled to a fixed number of points.

    The density is that of the camera's pixels on the surface: it falls with the slant of the
    surface and with the square of the distance. `noise` moves each point along its ray by a normal
    deviate that grows with the square of the depth, as for triangulating sensors (Khoshelham and
    Elberink, Sensors 12, 2012).

    Args:
      joints, parents, radii: the body, as in `surface_points`, in the camera's frame.
      num_points: number N of points returned.
      rng: source of randomness; see `frame_rng`.
      noise: standard deviation at one meter, in meters (0.0014 for the first Kinect).

    Returns:
      points float32 `[N, 3]` and bones int32 `[N]` (as in `Surface`).

    Raises:
      InputError: as `surface_points`, or when the camera sees nothing of the body.
    """
    start, end, radius, bones = _capsules(joints, parents, radii)
    kept_points, kept_bones = [], []
    missing, oversample = num_points, _OVERSAMPLE
    for _ in range(_MAX_ROUNDS):
        draw = _sample(start, end, radius, bones, oversample * missing + 64, rng)
        squared = np.einsum("mi,mi->m", draw.points, draw.points)
        toward = -np.einsum("mi,mi->m", draw.normals, draw.points)
        # cos(slant) / distance^2, at most 1 after scaling by the nearest point's distance.
        weight = toward / squared**1.5 * squared.min()
        chosen = np.flatnonzero(rng.random(len(weight), dtype=np.float32) < weight)
        origin = np.zeros(3, np.float32)
        seen = _unhidden(draw.points[chosen], start, end, radius, origin)
        chosen = chosen[seen]
        oversample = min(2 * len(weight) // max(len(chosen), 1), 100)
        chosen = chosen[:missing]
        kept_points.append(draw.points[chosen])
        kept_bones.append(draw.bones[chosen])
        missing -= len(chosen)
        if missing <= 0:
            break
    points, labels = np.concatenate(kept_points), np.concatenate(kept_bones)
    if not len(points):
        raise InputError(
            "The camera at the origin sees nothing of this body (joints within "
            f"{np.abs(np.asarray(joints)).max():.2f} m); place the body in front of the camera."
        )
    if missing > 0:  # Hardly anything is in view: repeat points rather than search for ever.
        again = rng.integers(len(points), size=missing)
        points = np.concatenate([points, points[again]])
        labels = np.concatenate([labels, labels[again]])
    if noise:
        points = with_depth_noise(points, noise, rng)
    return points, labels


def with_depth_noise(points: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Moves points `[N, 3]` along their rays as `depth_view` describes, float32."""
    depth = points[:, 2:]
    error = noise * depth**2 * rng.standard_normal((len(points), 1), dtype=np.float32)
    return points * (1.0 + error / np.maximum(np.abs(depth), 1e-6)).astype(np.float32)


def frame_rng(*key: int) -> np.random.Generator:
    """The generator of one frame by its key, such as (seed, video, frame)."""
    return np.random.default_rng(key)


def _capsules(
    joints: ArrayLike, parents: ArrayLike, radii: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Start [S, 3], end [S, 3], radius [S] and child joint [S] of the S bones, checked."""
    joints, radii = np.asarray(joints, np.float32), np.asarray(radii, np.float32)
    parents = np.asarray(parents)
    if joints.ndim != 2 or joints.shape[1] != 3 or not len(joints):
        raise InputError(f"Joints have shape {joints.shape}, expected [J, 3] of one frame.")
    if parents.shape != joints.shape[:1] or radii.shape != joints.shape[:1]:
        raise InputError(
            f"Parents {parents.shape} and radii {radii.shape} must have one entry for each of the "
            f"{len(joints)} joints."
        )
    bones = np.flatnonzero(parents >= 0).astype(np.int32)
    if not len(bones):
        raise InputError("The body has no bone: every entry of `parents` is negative.")
    if parents.max() >= len(joints):
        raise InputError(f"Parent {parents.max()} is not one of the {len(joints)} joints.")
    if not (radii[bones] > 0).all():
        raise InputError("Every joint that ends a bone needs a positive radius.")
    if not np.isfinite(joints).all():
        raise InputError("Joints hold NaN or infinite coordinates; skip such frames.")
    return joints[parents[bones]], joints[bones], radii[bones], bones


def _sample(
    start: np.ndarray,
    end: np.ndarray,
    radius: np.ndarray,
    bones: np.ndarray,
    num_points: int,
    rng: np.random.Generator,
) -> Surface:
    """Uniform samples of the capsules' whole surfaces, also where capsules overlap."""
    along = end - start
    length = np.sqrt(np.square(along).sum(-1))
    axis = along / np.maximum(length, 1e-9)[:, None]
    first, second = _normals_of(axis)
    area = (length + 2 * radius) * radius
    share = np.cumsum(area / area.sum())
    draws = rng.random((3, num_points), dtype=np.float32)
    which = np.minimum(np.searchsorted(share, draws[0], side="right"), len(area) - 1)
    # A sphere's area is uniform along its axis (Archimedes), so one uniform coordinate along the
    # bone, from cap to cap, covers the cylinder and both half spheres with equal density.
    length, radius = length[which], radius[which]
    height = draws[1] * (length + 2 * radius) - radius
    on_bone = np.clip(height, 0.0, length)
    axial = (height - on_bone) / radius
    radial = np.sqrt(np.maximum(1.0 - axial**2, 0.0))
    angle = draws[2] * np.float32(2 * np.pi)
    across = (radial * np.cos(angle))[:, None] * first[which]
    across += (radial * np.sin(angle))[:, None] * second[which]
    axis = axis[which]
    normals = across + axial[:, None] * axis
    points = start[which] + on_bone[:, None] * axis + radius[:, None] * normals
    return Surface(points, normals, bones[which])


def _normals_of(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [S, 3] that complete each unit axis [S, 3] to a right-handed frame.

    A zero axis (a bone without length, whose capsule is a sphere) is replaced in place by y.
    """
    axis[np.square(axis).sum(-1) < 0.5] = (0.0, 1.0, 0.0)
    x, y, z = axis.T
    # Duff et al., Building an Orthonormal Basis, Revisited (JCGT 6(1), 2017): no case is singular.
    sign = np.where(z < 0, np.float32(-1), np.float32(1))
    a = -1.0 / (sign + z)
    b = x * y * a
    first = np.stack([1.0 + sign * x * x * a, sign * b, -sign * x], axis=-1)
    second = np.stack([b, sign + y * y * a, -y], axis=-1)
    return first, second


def _distance_squared_to_axes(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Squared distance [M, S] of every point to every bone."""
    along = end - start
    offset = points[:, None] - start
    place = np.einsum("msi,si->ms", offset, along) / np.maximum(np.square(along).sum(-1), 1e-12)
    nearest = np.clip(place, 0.0, 1.0)[..., None] * along
    return np.square(offset - nearest).sum(-1)


def _unhidden(
    points: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    radius: np.ndarray,
    camera: ArrayLike,
) -> np.ndarray:
    """Bool [M]: no capsule comes within its radius of the segment from the camera to the point."""
    # Ray: camera + s * ray, bone: start + t * along, s and t in [0, 1]; all products are [M, S].
    camera = np.asarray(camera, np.float32)
    ray, along, gap = points - camera, end - start, camera - start
    ray_ray = np.maximum(np.square(ray).sum(-1), 1e-12)[:, None]
    along_along = np.maximum(np.square(along).sum(-1), 1e-12)
    along_gap = np.einsum("si,si->s", along, gap)
    gap_gap = np.square(gap).sum(-1)
    ray_along, ray_gap = ray @ along.T, ray @ gap.T
    determinant = np.maximum(ray_ray * along_along - ray_along**2, 1e-12)
    s = np.clip((ray_along * along_gap - ray_gap * along_along) / determinant, 0.0, 1.0)
    t = np.clip((ray_along * s + along_gap) / along_along, 0.0, 1.0)
    # Where t was cut off, s has to follow; where it was not, this changes nothing.
    s = np.clip((ray_along * t - ray_gap) / ray_ray, 0.0, 1.0)
    squared = gap_gap + s * (s * ray_ray + 2 * ray_gap) + t * (t * along_along - 2 * along_gap)
    squared -= 2 * s * t * ray_along
    return (squared >= ((1.0 - _GRAZE) * radius) ** 2).all(axis=1)

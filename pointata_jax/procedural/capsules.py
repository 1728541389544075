"""Samples the surface of a body of capsules, and renders it with a depth camera.

A capsule contains all points within a radius of a bone, the segment from a joint to its parent. Its
surface can be sampled exactly, and its intersection with a ray has a closed form. Occlusion is
therefore exact, without the resolution limits of a depth buffer.

Coordinates are meters in the camera's frame: x to the right, y up, z away from the camera.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike

from pointata_jax.errors import InputError

# Rays that enter a capsule by less than this share of its radius are not occluded, so that rounding
# does not let a capsule hide its own surface.
_OCCLUSION_TOLERANCE = 0.01
# About one of nine uniform surface samples is kept (half face away, foreshortening removes more,
# limbs hide some), so one round with this many samples per point is usually enough.
_OVERSAMPLE = 10
_MAX_ROUNDS = 8


class Surface(NamedTuple):
    """Points on capsules.

    Attributes:
      points: float32 `[M, 3]`, meters.
      normals: float32 `[M, 3]`, unit, outward.
      bones: int32 `[M]`, the joint where the bone of the capsule ends (the child joint).
    """

    points: Float[np.ndarray, "m 3"]
    normals: Float[np.ndarray, "m 3"]
    bones: Int[np.ndarray, " m"]


def surface_points(
    joints: ArrayLike,
    parents: ArrayLike,
    radii: ArrayLike,
    num_points: int,
    rng: np.random.Generator,
    *,
    outer: bool = False,
) -> Surface:
    """Samples points uniformly over the area of all capsules.

    Args:
      joints: `[J, 3]`, joint positions.
      parents: int `[J]`, index of each joint's parent, negative for a joint without a bone.
      radii: `[J]`, radius of the capsule that ends at each joint, ignored without a parent.
      num_points: number M of points.
      rng: random generator.
      outer: sample the outer surface of the body alone, without points inside other capsules.

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
        depth = _squared_distances(draw.points, start, end) / radius**2
        limit = (1.0 - _OCCLUSION_TOLERANCE) ** 2
        outside = np.flatnonzero((depth > limit).all(axis=1))[:missing]
        kept.append(Surface(*(part[outside] for part in draw)))
        missing -= len(outside)
    return Surface(*(np.concatenate(parts) for parts in zip(*kept, strict=True)))


def visible_from(
    points: ArrayLike,
    joints: ArrayLike,
    parents: ArrayLike,
    radii: ArrayLike,
    camera: ArrayLike = (0.0, 0.0, 0.0),
) -> Bool[np.ndarray, " m"]:
    """Whether the camera sees each point: no capsule intersects the segment between the two.

    A segment intersects a capsule if its distance from the bone is less than the radius. This is
    the distance of two segments (Ericson, Real-Time Collision Detection, 2005, section 5.1.9). The
    same rule hides points on the far side of their own capsule and points inside other capsules.

    Args:
      points: `[M, 3]`.
      joints: `[J, 3]`, joint positions.
      parents: int `[J]`, parents of the joints, as in `surface_points`.
      radii: `[J]`, radii of the capsules.
      camera: `[3]`, position of the camera.
    """
    start, end, radius, _ = _capsules(joints, parents, radii)
    return _visible(np.asarray(points, np.float32), start, end, radius, camera)


def depth_view(
    joints: ArrayLike,
    parents: ArrayLike,
    radii: ArrayLike,
    num_points: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> tuple[Float[np.ndarray, "n 3"], Int[np.ndarray, " n"]]:
    """A frame of a depth camera at the origin, sampled to a fixed number of points.

    The density is that of the camera's pixels on the surface: it decreases with the slant of the
    surface and with the square of the distance. The noise moves each point along its ray. Its
    standard deviation grows with the square of the depth, as for triangulating sensors (Khoshelham
    and Elberink, Sensors 12, 2012).

    Args:
      joints: `[J, 3]`, joint positions in the frame of the camera.
      parents: int `[J]`, parents of the joints, as in `surface_points`.
      radii: `[J]`, radii of the capsules.
      num_points: number N of points returned.
      rng: random generator (`frame_rng`).
      noise: standard deviation at one meter, in meters (0.0014 for the first Kinect).

    Returns:
      points float32 and bones int32 (as in `Surface`).

    Raises:
      InputError: as in `surface_points`, or the camera does not see the body.
    """
    start, end, radius, bones = _capsules(joints, parents, radii)
    kept_points, kept_bones = [], []
    missing, oversample = num_points, _OVERSAMPLE
    for _ in range(_MAX_ROUNDS):
        draw = _sample(start, end, radius, bones, oversample * missing + 64, rng)
        squared = np.einsum("mi,mi->m", draw.points, draw.points)
        toward = -np.einsum("mi,mi->m", draw.normals, draw.points)
        # cos(slant) / distance^2, scaled by the distance of the nearest point to be at most 1.
        weight = toward / squared**1.5 * squared.min()
        chosen = np.flatnonzero(rng.random(len(weight), dtype=np.float32) < weight)
        origin = np.zeros(3, np.float32)
        seen = _visible(draw.points[chosen], start, end, radius, origin)
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
            "The camera at the origin sees nothing of this body (its coordinates are at most "
            f"{np.abs(np.asarray(joints)).max():.2f} m); place the body in front of the camera."
        )
    if missing > 0:  # Little of the body is in view, so points are repeated.
        repeated = rng.integers(len(points), size=missing)
        points = np.concatenate([points, points[repeated]])
        labels = np.concatenate([labels, labels[repeated]])
    if noise:
        points = with_depth_noise(points, noise, rng)
    return points, labels


def with_depth_noise(
    points: Float[np.ndarray, "n 3"], noise: float, rng: np.random.Generator
) -> Float[np.ndarray, "n 3"]:
    """Adds the depth noise that `depth_view` describes, float32."""
    depth = points[:, 2:]
    error = noise * depth**2 * rng.standard_normal((len(points), 1), dtype=np.float32)
    return points * (1.0 + error / np.maximum(np.abs(depth), 1e-6)).astype(np.float32)


def frame_rng(*key: int) -> np.random.Generator:
    """The random generator of one frame, seeded by a key such as (seed, video, frame)."""
    return np.random.default_rng(key)


def _capsules(
    joints: ArrayLike, parents: ArrayLike, radii: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Start [S, 3], end [S, 3], radius [S] and child joint [S] of each bone, after checks."""
    joints, radii = np.asarray(joints, np.float32), np.asarray(radii, np.float32)
    parents = np.asarray(parents)
    if joints.ndim != 2 or joints.shape[1] != 3 or not len(joints):
        raise InputError(f"Joints have shape {joints.shape}, expected [J, 3] of one frame.")
    if parents.shape != joints.shape[:1] or radii.shape != joints.shape[:1]:
        raise InputError(
            f"Parents have shape {parents.shape} and radii {radii.shape}; both must have one entry "
            f"for each of the {len(joints)} joints."
        )
    bones = np.flatnonzero(parents >= 0).astype(np.int32)
    if not len(bones):
        raise InputError("The body has no bone, because every entry of `parents` is negative.")
    if parents.max() >= len(joints):
        raise InputError(f"Parent {parents.max()} is not an index of the {len(joints)} joints.")
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
    """Uniform samples of the whole surfaces of all capsules, also inside other capsules."""
    along = end - start
    length = np.sqrt(np.square(along).sum(-1))
    axis = along / np.maximum(length, 1e-9)[:, None]
    first, second = _normals_of(axis)
    area = (length + 2 * radius) * radius
    share = np.cumsum(area / area.sum())
    draws = rng.random((3, num_points), dtype=np.float32)
    which = np.minimum(np.searchsorted(share, draws[0], side="right"), len(area) - 1)
    # The area of a sphere is uniform along its axis (Archimedes). A uniform coordinate along the
    # bone, from cap to cap, therefore samples the cylinder and both half spheres uniformly.
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
    """Two unit vectors [S, 3] that form a right-handed frame with each unit axis [S, 3].

    A zero axis (of a bone without length, whose capsule is a sphere) is replaced in place by y.
    """
    axis[np.square(axis).sum(-1) < 0.5] = (0.0, 1.0, 0.0)
    x, y, z = axis.T
    # Duff et al., Building an Orthonormal Basis, Revisited (JCGT 6(1), 2017), has no singular case.
    sign = np.where(z < 0, np.float32(-1), np.float32(1))
    a = -1.0 / (sign + z)
    b = x * y * a
    first = np.stack([1.0 + sign * x * x * a, sign * b, -sign * x], axis=-1)
    second = np.stack([b, sign + y * y * a, -y], axis=-1)
    return first, second


def _squared_distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Squared distance [M, S] of each point from each bone."""
    along = end - start
    offset = points[:, None] - start
    place = np.einsum("msi,si->ms", offset, along) / np.maximum(np.square(along).sum(-1), 1e-12)
    nearest = np.clip(place, 0.0, 1.0)[..., None] * along
    return np.square(offset - nearest).sum(-1)


def _visible(
    points: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    radius: np.ndarray,
    camera: ArrayLike,
) -> np.ndarray:
    """Bool [M]: no capsule intersects the segment from the camera to the point."""
    # Ray: camera + s * ray. Bone: start + t * along. s and t are in [0, 1], products are [M, S].
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
    # If t was clipped, s has to be computed again; otherwise this does not change it.
    s = np.clip((ray_along * t - ray_gap) / ray_ray, 0.0, 1.0)
    squared = gap_gap + s * (s * ray_ray + 2 * ray_gap) + t * (t * along_along - 2 * along_gap)
    squared -= 2 * s * t * ray_along
    return (squared >= ((1.0 - _OCCLUSION_TOLERANCE) * radius) ** 2).all(axis=1)

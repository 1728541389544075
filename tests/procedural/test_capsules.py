"""Capsule surfaces against their areas, and visibility against marching along rays."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules, figures

# One bone of length 2 along a slanted axis, radius 0.5, in front of the camera.
AXIS = np.array([2.0, 1.0, -2.0]) / 3.0
BONE = np.stack([np.array([1.0, -2.0, 9.0]), np.array([1.0, -2.0, 9.0]) + 2.0 * AXIS])
PARENTS, RADII = [-1, 0], [0.0, 0.5]


def distance_to_segments(points, start, end):
    """Distances [M, S] of points from segments, in a loop over the segments."""
    out = np.empty((len(points), len(start)))
    for s, (a, b) in enumerate(zip(start, end, strict=True)):
        t = np.clip((points - a) @ (b - a) / max((b - a) @ (b - a), 1e-12), 0, 1)
        out[:, s] = np.linalg.norm(points - (a + t[:, None] * (b - a)), axis=1)
    return out


def body():
    who = figures.subject(3)
    pose = figures.animate("sit_down", who, 7, 12)[9].astype(np.float64)
    bones = np.flatnonzero(figures.PARENTS >= 0)
    return pose, who.radii, pose[figures.PARENTS[bones]], pose[bones], who.radii[bones]


def test_surface_is_uniform_over_the_area_of_a_capsule():
    surface = capsules.surface_points(BONE, PARENTS, RADII, 20_000, np.random.default_rng(0))
    points = surface.points.astype(np.float64)
    distance = distance_to_segments(points, BONE[:1], BONE[1:])[:, 0]
    np.testing.assert_allclose(distance, 0.5, atol=2e-6)
    height = (points - BONE[0]) @ AXIS
    # Areas: cylinder 2 pi r L = 2 pi, both half spheres 4 pi r^2 = pi.
    assert np.mean((height < 0) | (height > 2)) == pytest.approx(1 / 3, abs=0.012)
    # Heights of a sphere's area are uniform, so those of the whole capsule are uniform too.
    shares = np.histogram(height, bins=6, range=(-0.5, 2.5))[0] / len(height)
    np.testing.assert_allclose(shares, 1 / 6, atol=0.012)
    np.testing.assert_allclose(points.mean(0), BONE.mean(0), atol=0.03)
    outwards = points + 0.1 * surface.normals
    np.testing.assert_allclose(
        distance_to_segments(outwards, BONE[:1], BONE[1:])[:, 0], 0.6, atol=1e-5
    )
    assert set(surface.bones) == {1}


def test_bones_get_points_by_area_and_outer_surface_has_none_inside():
    pose, radii, start, end, radius = body()
    rng = np.random.default_rng(1)
    surface = capsules.surface_points(pose, figures.PARENTS, radii, 30_000, rng)
    length = np.linalg.norm(end - start, axis=1)
    area = 2 * np.pi * radius * length + 4 * np.pi * radius**2
    counts = np.bincount(surface.bones, minlength=len(pose))[figures.PARENTS >= 0]
    np.testing.assert_allclose(counts / 30_000, area / area.sum(), atol=0.006)
    depth = distance_to_segments(surface.points, start, end) / radius
    assert (depth.min(1) < 0.9).mean() > 0.1, "the test needs overlapping capsules"
    outer = capsules.surface_points(pose, figures.PARENTS, radii, 3_000, rng, outer=True)
    assert outer.points.shape == (3_000, 3)
    assert (distance_to_segments(outer.points, start, end) / radius).min() > 0.985


def test_visible_from_agrees_with_marching_along_each_ray():
    pose, radii, start, end, radius = body()
    camera = np.array([0.4, 0.6, 0.2])
    points = capsules.surface_points(
        pose, figures.PARENTS, radii, 500, np.random.default_rng(2)
    ).points.astype(np.float64)
    seen = capsules.visible_from(points, pose, figures.PARENTS, radii, camera)
    depth = np.full(len(points), np.inf)  # Smallest distance from a bone along the ray, in radii.
    for share in np.linspace(0.0, 1.0, 1_001):
        on_ray = camera + share * (points - camera)
        depth = np.minimum(depth, (distance_to_segments(on_ray, start, end) / radius).min(1))
    clear = np.abs(depth - 0.99) > 0.006  # Marching is inexact at the boundary.
    assert clear.sum() > 440
    np.testing.assert_array_equal(seen[clear], depth[clear] > 0.99)
    assert 0.15 < seen.mean() < 0.5


def test_a_capsule_hides_the_one_behind_it_from_one_side_only():
    joints = [[-1, 0, 2], [1, 0, 2], [-0.3, 0, 3], [0.3, 0, 3]]
    parents, radii = [-1, 0, -1, 2], [0, 0.5, 0, 0.2]
    rng = np.random.default_rng(3)
    points, bones = capsules.depth_view(joints, parents, radii, 500, rng)
    assert set(bones) == {1}
    assert points[:, 2].max() <= 2.0
    small = capsules.surface_points(joints, parents, radii, 2_000, rng)
    small = small.points[small.bones == 3]
    seen = capsules.visible_from(small, joints, parents, radii, camera=(0, 0, 6))
    np.testing.assert_array_equal(seen[small[:, 2] > 3.02], True)
    np.testing.assert_array_equal(seen[small[:, 2] < 2.98], False)


def test_density_of_a_view_is_that_of_pixels():
    # A distant sphere: pixels see cos(slant) of the area, so cos(slant)^2 is uniform on [0, 1].
    joints, parents = [[0, 0, 200.0], [0, 0, 200.0]], [-1, 0]
    rng = np.random.default_rng(4)
    points, _ = capsules.depth_view(joints, parents, [0, 1.0], 8_000, rng)
    slant = 200.0 - points[:, 2]
    shares = np.histogram(slant**2, bins=5, range=(0, 1))[0] / len(points)
    np.testing.assert_allclose(shares, 0.2, atol=0.02)


def test_a_view_depends_on_its_key_and_noise_is_along_the_ray():
    pose, radii, *_ = body()

    def view(frame, noise=0.0):
        rng = capsules.frame_rng(5, frame)
        return capsules.depth_view(pose, figures.PARENTS, radii, 700, rng, noise=noise)

    points, bones = view(0)
    again, bones_again = view(0)
    np.testing.assert_array_equal(points, again)
    np.testing.assert_array_equal(bones, bones_again)
    assert points.shape == (700, 3)
    assert points.dtype == np.float32
    assert bones.shape == (700,)
    assert not np.array_equal(points, view(1)[0])
    assert capsules.visible_from(points, pose, figures.PARENTS, radii).mean() > 0.99
    noisy = view(0, noise=0.01)[0]
    np.testing.assert_allclose(
        noisy[:, :2] / noisy[:, 2:], points[:, :2] / points[:, 2:], atol=1e-5
    )
    error = (noisy - points)[:, 2] / points[:, 2] ** 2
    assert error.std() == pytest.approx(0.01, rel=0.12)
    assert abs(error.mean()) < 0.002


@pytest.mark.parametrize(
    ("joints", "parents", "radii", "message"),
    [
        (np.zeros((4, 2, 3)), [-1, 0], [0, 1], "expected .J, 3. of one frame"),
        (BONE, [-1, 0, 1], [0, 1, 1], "one entry for each of the 2 joints"),
        (BONE, [-1, -1], [0, 1], "no bone"),
        (BONE, [-1, 5], [0, 1], "Parent 5 is not an index"),
        (BONE, [-1, 0], [0, 0], "positive radius"),
        (BONE * np.nan, [-1, 0], [0, 1], "NaN"),
        (np.zeros((2, 3)), [-1, 0], [0, 1], "sees nothing"),
    ],
)
def test_invalid_bodies(joints, parents, radii, message):
    with pytest.raises(InputError, match=message):
        capsules.depth_view(joints, parents, radii, 10, np.random.default_rng(0))

"""Primitives against their equations, and the diversity of families."""

import numpy as np
import pytest

from pointata_jax.procedural import objects as objects
from pointata_jax.procedural.objects import primitives


def rng(seed=0):
    return np.random.default_rng(seed)


def test_box_points_lie_on_faces_in_proportion_to_their_areas():
    part = primitives.box((1, 2, 3), (1.0, 2.0, 4.0))
    assert part.area == pytest.approx(2 * (2 + 4 + 8))
    local = np.abs(part.draw(rng(), 20000) - (1, 2, 3)) / (0.5, 1, 2)
    assert local.max() <= 1 + 1e-9
    on = np.isclose(local, 1)
    assert (on.sum(1) == 1).all()
    np.testing.assert_allclose(on.mean(0), np.array([8, 4, 2]) / 14, atol=0.02)


def test_rotations_of_a_box():
    edge = primitives.box((0, 0, 0), (1e-9, 2.0, 1e-9), tilt=-0.3).draw(rng(), 500)
    top = edge[edge[:, 1].argmax()]
    np.testing.assert_allclose(top / np.linalg.norm(top), (0, np.cos(0.3), -np.sin(0.3)), atol=1e-6)
    edge = primitives.box((0, 0, 0), (1e-9, 1e-9, 2.0), yaw=0.3).draw(rng(), 500)
    front = edge[edge[:, 2].argmax()]
    np.testing.assert_allclose(front[0] / front[2], np.tan(0.3), atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (0.6, 0.2), (0.1, 0.7), (0.3, 0.0)])
def test_frustum_points_lie_on_its_surface_uniformly(low, high):
    start, end = np.array([0.2, 0.1, -0.3]), np.array([1.0, 1.4, 0.5])
    length = np.linalg.norm(end - start)
    part = primitives.frustum(start, end, low, high)
    slant = np.pi * (low + high) * np.hypot(length, low - high)
    areas = np.array([slant, np.pi * low**2, np.pi * high**2])
    assert part.area == pytest.approx(areas.sum())
    local = part.draw(rng(), 40000) - start
    height = local @ (end - start) / length
    radius = np.linalg.norm(local - height[:, None] * (end - start) / length, axis=1)
    bottom, top = np.isclose(height, 0), np.isclose(height, length)
    mantle = ~(bottom | top)
    reach = low + (high - low) * height / length
    np.testing.assert_allclose(radius[mantle], reach[mantle], atol=1e-6)
    assert (radius[bottom] <= low + 1e-4).all()
    assert (radius[top] <= high + 1e-4).all()
    np.testing.assert_allclose(
        [mantle.mean(), bottom.mean(), top.mean()], areas / areas.sum(), atol=0.01
    )
    # Half of the mantle's area lies below the height that halves it.
    middle = np.median(height[mantle]) / length
    below = middle * (low + low + (high - low) * middle) / (low + high)
    assert below == pytest.approx(0.5, abs=0.02)
    open_part = primitives.frustum(start, end, low, high, capped=False)
    assert open_part.area == pytest.approx(slant)


def test_ellipsoid_and_ring_satisfy_their_equations():
    radii = np.array([0.3, 0.5, 0.9])
    points = primitives.ellipsoid((1, 0, 0), radii).draw(rng(), 1000) - (1, 0, 0)
    np.testing.assert_allclose(np.square(points / radii).sum(1), 1, atol=1e-9)
    # A sphere's area is exact.
    assert primitives.ellipsoid((0, 0, 0), (2, 2, 2)).area == pytest.approx(16 * np.pi)
    for axis in range(3):
        points = np.roll(
            primitives.ring((0, 0, 0), axis, 1.0, 0.1).draw(rng(), 1000), 2 - axis, axis=1
        )
        tube = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 1.0, points[:, 2])
        np.testing.assert_allclose(tube, 0.1, atol=1e-9)


@pytest.mark.parametrize("family", objects.FAMILIES)
def test_members_of_a_family_differ_and_stay_finite(family):
    members = [objects.procedural_object(family, rng(seed), 256) for seed in range(12)]
    for member in members:
        assert member.shape == (256, 3)
        assert member.dtype == np.float32
        assert np.isfinite(member).all()
        assert np.ptp(member, axis=0).max() > 0.01
    sizes = np.array([np.ptp(member, axis=0) for member in members])
    assert len(np.unique(sizes.round(3), axis=0)) > 3
    again = objects.procedural_object(family, rng(3), 256)
    np.testing.assert_array_equal(again, members[3])


def test_simple_features_distinguish_the_families():
    families = objects.object_families(rng(), 12, 512)
    assert families.shape == (len(objects.FAMILIES) + 1, 12, 512, 3)
    np.testing.assert_allclose(np.linalg.norm(families, axis=-1).max(-1), 1, atol=1e-5)
    # Histograms of height and of distance from the axis, nearest other member: chance is 2 %.
    radius = np.hypot(families[..., 0], families[..., 2])
    rows = [
        np.r_[np.histogram(h, 8, (-1, 1))[0], np.histogram(r, 8, (0, 1))[0]]
        for h, r in zip(families[..., 1].reshape(-1, 512), radius.reshape(-1, 512), strict=True)
    ]
    rows = np.array(rows, float)
    distance = np.abs(rows[:, None] - rows[None]).sum(-1)
    np.fill_diagonal(distance, np.inf)
    label = np.repeat(np.arange(len(families)), 12)
    assert np.mean(label[distance.argmin(1)] == label) > 0.4

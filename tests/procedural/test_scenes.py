"""Rooms: exact occlusion by boxes, furniture away from the figure, views of surfaces."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.procedural import capsules, figures, scenes

WHO = figures.subject(4)
JOINTS = figures.animate("march", WHO, 3)
FLOOR = float(JOINTS[..., 1].min()) - 0.05


def boxes(count=4, seed=0):
    rng = np.random.default_rng(seed)
    return scenes.Boxes(
        rng.uniform((-1, -1, 1.5), (1, 1, 3.5), (count, 3)),
        rng.uniform(0.1, 0.5, (count, 3)),
        rng.uniform(-np.pi, np.pi, count),
    )


def inside(points, some):
    """Whether points are inside a box: the rotated offset is below the half sides."""
    result = np.zeros(points.shape[:-1], bool)
    for center, half, yaw in zip(some.centers, some.halves, some.yaws, strict=True):
        turn = np.array([[np.cos(yaw), 0, -np.sin(yaw)], [0, 1, 0], [np.sin(yaw), 0, np.cos(yaw)]])
        result |= (np.abs((points - center) @ turn.T) < half).all(-1)
    return result


def test_occlusion_by_boxes_agrees_with_marching_along_each_ray():
    some = boxes()
    points = np.random.default_rng(1).uniform((-2, -2, 0.5), (2, 2, 5), (600, 3))
    steps = np.linspace(0.0, 1.0, 2001)[:-1, None, None] * points
    marched = inside(steps, some).any(axis=0)
    hidden = scenes.hidden_by_boxes(points, some)
    assert 0.2 < hidden.mean() < 0.9
    assert (hidden != marched).sum() <= 3, "only rays that touch an edge may differ"
    assert not scenes.hidden_by_boxes(points, boxes(0)).any()


def test_a_view_shows_the_nearest_surfaces_of_body_floor_and_furniture():
    some = boxes(2, seed=5)
    room = scenes.Room(FLOOR, (0.0, 3.0), (1.0, 1.0), some)
    points, sources = scenes.view(
        JOINTS[0], figures.PARENTS, WHO.radii, room, 1500, np.random.default_rng(0)
    )
    assert points.shape == (1500, 3)
    assert points.dtype == np.float32
    assert {scenes.FLOOR, scenes.FURNITURE} < set(sources.tolist())
    floor = points[sources == scenes.FLOOR]
    np.testing.assert_allclose(floor[:, 1], FLOOR, atol=1e-6)
    furniture = points[sources == scenes.FURNITURE]
    assert not inside(furniture * 0.998, some).any(), "only faces toward the camera"
    assert inside(furniture * 1.002, some).mean() > 0.95
    assert not scenes.hidden_by_boxes(points, some).any()
    assert capsules.visible_from(points, JOINTS[0], figures.PARENTS, WHO.radii).all()
    bodies = sources[sources >= 0]
    assert len(bodies) > 100
    assert (figures.PARENTS[bodies] >= 0).all()
    # The order is random, so the first points of a frame are a fair sample of it.
    halves = [np.mean(part == scenes.FLOOR) for part in np.array_split(sources, 2)]
    assert abs(halves[0] - halves[1]) < 0.1


@pytest.mark.parametrize("seed", range(12))
def test_furniture_stands_on_the_floor_and_does_not_touch_the_figure(seed):
    room = scenes.furnish(JOINTS, FLOOR, np.random.default_rng(seed))
    assert len(room.boxes.centers)
    bottoms = room.boxes.centers[:, 1] - room.boxes.halves[:, 1]
    assert bottoms.min() == pytest.approx(FLOOR, abs=1e-5)
    surface = capsules.surface_points(
        JOINTS[0], figures.PARENTS, WHO.radii, 500, np.random.default_rng(0)
    ).points
    assert not inside(surface, room.boxes).any()


def test_a_room_above_the_camera_is_an_error():
    room = scenes.Room(1.0, (0.0, 3.0), (1.0, 1.0), boxes(0))
    rng, overhead = np.random.default_rng(0), JOINTS[0] + np.array([0, 9, 0], np.float32)
    with pytest.raises(InputError, match=r"sees only \d+ of 50 points"):
        scenes.view(overhead, figures.PARENTS, WHO.radii, room, 50, rng)

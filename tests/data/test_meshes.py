"""OFF files and points uniform over a surface."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.data.meshes import read_off, surface_points
from pointata_jax.errors import InputError

SQUARE = "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"


def write(folder, text):
    path = folder / "m.off"
    path.write_text(text)
    return path


@pytest.mark.parametrize("head", ["OFF\n4 1 0\n", "OFF4 1 0\n", "OFF 4 1 0\n", "OFF\n# two\n4 1\n"])
def test_polygons_become_triangles_whatever_the_head(head, tmp_path):
    vertices, triangles = read_off(write(tmp_path, SQUARE.replace("OFF\n4 1 0\n", head)))
    np.testing.assert_array_equal(vertices[2], [1, 1, 0])
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_points_are_uniform_over_area_not_over_triangles():
    rectangle = [[0, 0, 0], [4, 0, 0], [4, 1, 0], [0, 1, 0]]
    vertices = np.array([*rectangle, [0, 0, 5], [1, 0, 5], [0, 1, 5]], float)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]])  # Areas 2, 2 and 1/2.
    points = surface_points(vertices, triangles, 9000, np.random.default_rng(0))
    small = points[points[:, 2] > 4]
    assert len(small) / 9000 == pytest.approx(0.5 / 4.5, abs=0.01)
    assert (small[:, :2].sum(1) <= 1).all()
    np.testing.assert_allclose(small[:, :2].mean(0), 1 / 3, atol=0.02)
    rectangle = points[points[:, 2] < 1]
    counts, *_ = np.histogram2d(rectangle[:, 0], rectangle[:, 1], bins=(8, 2))
    np.testing.assert_allclose(counts, len(rectangle) / 16, rtol=0.2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("PLY\n", "is not an OFF file"),
        ("", "is not an OFF file"),
        ("OFF\n", "is damaged"),
        (SQUARE.replace("1 1 0", "1 one 0"), "is damaged"),
        (SQUARE[:-10], "announces 4 vertices and 1 faces and holds 4 and 0: it is cut off"),
        (SQUARE.replace("4 0 1 2 3", "4 0 1 2"), "a face that lacks corners"),
        (SQUARE.replace("4 0 1 2 3", "4 0 1 2 9"), "a face with the vertex 9, there are 4"),
        ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "has no faces"),
    ],
)
def test_damaged_meshes_are_named(text, sentence, tmp_path):
    with pytest.raises(InputError, match=rf"m\.off.*{sentence}"):
        read_off(write(tmp_path, text))


def test_a_surface_without_area():
    with pytest.raises(InputError, match="no area"):
        surface_points(np.zeros((3, 3)), np.array([[0, 1, 2]]), 5, np.random.default_rng(0))

"""OFF files, and points sampled uniformly over a surface."""

from __future__ import annotations

import codecs
import itertools
import warnings

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes.meshes import read_off, surface_points

SQUARE = "OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"


def write(folder, text):
    path = folder / "m.off"
    path.write_text(text)
    return path


@pytest.mark.parametrize("head", ["OFF\n4 1 0\n", "OFF4 1 0\n", "OFF 4 1 0\n", "OFF\n# two\n4 1\n"])
def test_polygons_become_triangles_with_any_header(head, tmp_path):
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
        (SQUARE[:-10], "announces 4 vertices and 1 faces and holds 4 and 0; it is cut off"),
        (SQUARE.replace("4 0 1 2 3", "4 0 1 2"), "a face that lacks corners"),
        (SQUARE.replace("4 0 1 2 3", "4 0 1 2 9"), "a face with the vertex 9, but only 4 vertices"),
        ("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "has no faces"),
    ],
)
def test_damaged_meshes_are_named(text, sentence, tmp_path):
    with pytest.raises(InputError, match=rf"m\.off.*{sentence}"):
        read_off(write(tmp_path, text))


def test_a_surface_without_area():
    with pytest.raises(InputError, match="no area"):
        surface_points(np.zeros((3, 3)), np.array([[0, 1, 2]]), 5, np.random.default_rng(0))


CORNERS = [[0.5, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1e-3], [7, 7, 7]]
FACES = [
    [0, 1, 2],
    [0, 1, 3, 2],
    [1, 4],
    [2, 3, 3],
]  # The last three: a polygon, an edge, a face without area.
TRIANGLES = [[0, 1, 2], [0, 1, 3], [0, 3, 2], [2, 3, 3]]
NORMAL, COLOR, PLACE = ["0", "0", "1"], ["255", "0", "10", "128"], ["0.25", "0.75"]
FORMS = {
    "OFF": [],
    "off": [],
    "Off": COLOR[:3],  # Colors without a prefix.
    "COFF": COLOR,
    "coff": ["0.1", "0.2", "0.3"],
    "NOFF": NORMAL,
    "noff": NORMAL,
    "CNOFF": NORMAL + COLOR,
    "NCOFF": NORMAL + COLOR[:3],
    "STOFF": PLACE,
    "STCNOFF": NORMAL + COLOR + PLACE,
}
COLORS = ([], ["7"], ["255", "0", "0"], ["0.5", "0.5", "1.0"], ["1", "0", "0", "0.5"])
HEADS = (
    "{form}\n5 4 0\n",
    "{form} 5 4 0\n",
    "{form}5 4\n",
    "# a mesh\n\n {form} # here\n\n5 4 # no\n",
)


@pytest.mark.parametrize(("form", "head"), [*itertools.product(FORMS, HEADS)])
def test_every_variant_of_the_format_is_read(form, head, tmp_path):
    path = tmp_path / "m.off"
    for color, ends, spread in itertools.product(COLORS, ("\n", "\r\n"), (False, True)):
        rows = [[*map(str, corner), *FORMS[form]] for corner in CORNERS]
        rows += [[str(len(face)), *map(str, face), *color] for face in FACES]
        lines = ["  ".join(row) for row in rows]
        if spread:  # Comments and empty lines in every place.
            lines = [part for line in lines for part in (f" {line}\t# 1 2 3", "# 4", "", "  ")]
        text = head.format(form=form) + "\n".join(lines) + "\n" * spread
        path.write_bytes(text.replace("\n", ends).encode())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            vertices, triangles = read_off(path)
        np.testing.assert_array_equal(vertices, CORNERS)
        np.testing.assert_array_equal(triangles, TRIANGLES)


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("latin-1", b""),
    ],
)
def test_encodings(encoding, mark, tmp_path):
    path = tmp_path / "m.off"
    path.write_bytes(mark + f"# größe\n{SQUARE}".encode(encoding))
    assert len(read_off(path)[1]) == 2


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("4OFF\n1 1 0\n0 0 0 1\n1 0\n", "is a 4OFF file, whose vertices are not 3D"),
        ("C4OFF\n", "is a C4OFF file"),
        ("nOFF\n4\n1 1 0\n", "is a nOFF file, whose vertices are not 3D"),
        ("OFF BINARY\n\0\0\0\4", "is a binary OFF file, which is not supported; convert it"),
        ("coff  binary\n", "is a binary OFF file"),
        (SQUARE.replace("1 1 0", "1,5 1 0"), "has the number '1,5'; write decimal points"),
        ("OFFICE\n1 2 3\n", "is not an OFF file"),
        ("XOFF\n1 2 3\n", "is not an OFF file"),
        (SQUARE.replace("4 1 0\n", "4\n"), "is damaged .1 numbers of vertices and faces"),
        (SQUARE.replace("4 1 0\n", "4 1 0 7\n"), "is damaged .4 numbers"),
        (SQUARE.replace("4 1 0\n", "-4 1 0\n"), "is damaged .a negative number"),
        (SQUARE.replace("4 0 1", "-4 0 1"), "is damaged .a face of -4 corners"),
        (
            SQUARE.replace("4 0 1 2 3", "4 0 1 2 -1"),
            "a face with the vertex -1, but only 4 vertices",
        ),
        (SQUARE.replace("1 1 0", "1 1"), "is damaged"),
        (SQUARE.replace("2 3\n", "2 3 red\n"), "is damaged"),
        ("OFF\n2 1 0\n0 0 0\n1 0 0\n2 0 1\n", "has no faces, so there is no surface"),
        ("OFF\n\0", "is not a text file"),
    ],
)
def test_unsupported_meshes_are_named(text, sentence, tmp_path):
    with pytest.raises(InputError, match=rf"m\.off.*{sentence}"):
        read_off(write(tmp_path, text))


def test_lines_after_the_last_face_are_reported(tmp_path):
    path = write(tmp_path, SQUARE + "3 0 1 2\n3 1 2 3\n")
    with pytest.warns(
        UserWarning, match="m.off has 2 lines after its 1 faces, which were left out"
    ):
        assert len(read_off(path)[1]) == 2
    with pytest.raises(InputError, match="is a folder or device"):
        read_off(tmp_path)


def test_a_surface_far_from_the_origin_and_in_half_precision():
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    triangles, far = np.array([[0, 1, 2], [0, 2, 3]]), np.array([388096.0, 3948996.0, 40.0])
    near = surface_points(square, triangles, 500, np.random.default_rng(0))
    moved = surface_points(square + far, triangles, 500, np.random.default_rng(0))
    np.testing.assert_allclose(moved - far, near, atol=1e-8)
    narrow = surface_points(square.astype(np.float16), triangles, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(narrow, near)

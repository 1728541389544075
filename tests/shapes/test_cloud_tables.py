"""Clouds in text files: headers, separators, encodings and line ends."""

from __future__ import annotations

import codecs
import itertools

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes.cloud_tables import read_table
from pointata_jax.shapes.collection import load_shapes

POINTS = np.random.default_rng(0).normal(size=(7, 3)).round(4) / [1, 128, 1024]
EXTRA = np.arange(14).reshape(7, 2)
HEADS = {
    "none": "",
    "count": "7\n",
    "count and width": "7 5\n",
    "names": "x{0}y{0}z{0}r{0}g\n",
    "large names after a comment": "# made today\n\nX{0}Y{0}Z{0}R{0}G\n",
    "quoted names with units": '"x"{0}"y"{0}"z"{0}"r"{0}"g"\n',
    "CloudCompare": "//X{0}Y{0}Z{0}R{0}G\n",
    "count and names": "7\nx{0}y{0}z{0}r{0}g\n",
    "CloudCompare with count": "//X{0}Y{0}Z{0}R{0}G\n7\n",
    "comments": "# x y z\n% seven points\n",
}
SEPARATORS = (" ", "  \t ", "\t", ",", ", ", ";", " ; ")


def rows(separator, order=(0, 1, 2, 3, 4)):
    values = np.concatenate([POINTS, EXTRA], axis=1)[:, order]
    return [separator.join(repr(float(value)) for value in row) for row in values]


@pytest.mark.parametrize(("head", "separator"), [*itertools.product(HEADS, SEPARATORS)])
def test_headers_and_separators(head, separator, tmp_path):
    path = tmp_path / "c.xyz"
    text = HEADS[head].format(separator) + "\n".join(rows(separator)) + "\n"
    path.write_text(text)
    np.testing.assert_array_equal(read_table(path), POINTS)
    # Windows line ends, a byte order mark, comments and empty lines change nothing.
    lines = text.splitlines()
    lines[-2:-2] = ["", "# 1 2 3", "  "]
    lines[-1] += separator.strip() or " # the last"
    for encoding, mark in (("utf-16-le", codecs.BOM_UTF16_LE), ("utf-8", codecs.BOM_UTF8)):
        path.write_bytes(mark + "\r\n".join(lines).encode(encoding))
        if separator.strip():  # A trailing separator must stand in every line or in none.
            lines = [line.rstrip() for line in lines]
        np.testing.assert_array_equal(read_table(path), POINTS)


@pytest.mark.parametrize("separator", [" ", ","])
def test_named_columns_are_read_in_any_order(separator, tmp_path):
    path = tmp_path / "c.txt"
    order = (3, 2, 0, 4, 1)
    body = "\n".join(rows(separator, order))
    for head in ("time{0}z{0}x{0}id{0}y\n", "# time{0}Z{0}X{0}id{0}Y\n"):
        path.write_text(head.format(separator) + body)
        np.testing.assert_array_equal(read_table(path), POINTS)
    # A comment with another number of words does not name the columns.
    path.write_text("# x y z are the last ones\n" + body)
    np.testing.assert_array_equal(read_table(path), np.stack([EXTRA[:, 0], *POINTS.T[[2, 0]]], 1))


def test_mixed_separators_and_columns_of_text(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("0.5, 1.5 2.5;red\n1.0;2.0\t3.0 , blue\n")
    np.testing.assert_array_equal(read_table(path), [[0.5, 1.5, 2.5], [1, 2, 3]])
    path.write_text("x,y,z,name,\n1,2,3,,\n4,5,6,cat,\n")
    np.testing.assert_array_equal(read_table(path), [[1, 2, 3], [4, 5, 6]])
    path.write_bytes("1 2 3 größe\n4 5 6 groß\n".encode("latin-1"))
    np.testing.assert_array_equal(read_table(path), [[1, 2, 3], [4, 5, 6]])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0,5 1,2 3,4\n", "line 1: '0,5' has a decimal comma, write a point"),
        ("1.0;2.0;3.0\n0,5;1,2;3,4\n", "line 2: '0,5' has a decimal comma"),
        ("x\ty\tz\n0,5\t1,2\t3,4\n", "line 2: '0,5' has a decimal comma"),
        ("8\n1 2 3\n4 5 6\n", "line 1 announces 8, there are 2 points of 3 values"),
        ("2 6\n1 2 3\n4 5 6\n", "line 1 announces 2 x 6, there are 2 points of 3 values"),
        ("2\nwater\nO 1 2 3\n", "line 2, 'water', is neither a point nor does it name columns"),
        ("a,b,c\n1,2,3\n", "line 1, 'a,b,c', is neither a point nor"),
        ("x y z\nx y z\n1 2 3\n", "line 2, 'x y z', is not a point"),
        ("x y z\n1 2 3 4\n", "3 columns are named, there are 4"),
        ("x y z x\n1 2 3 4\n", "named twice"),
        ("1 2 3\n4 5\n", "line 2 has 2 values, others have 3"),
        ("1 2\n3 4\n", "line 2 has 2 values, points have three"),
        ("1 2 3\n4 five 6\n", "line 2: 'five' is not a number"),
        ("1,,3\n4,,6\n", "line 1: '' is not a number"),
        ("1_0 2 3\n", "line 1: '1_0' is not a number"),
        ("", "must hold points .N, 3., found none"),
        ("# nothing\n5\n", "must hold points"),
        ("\0\0\0", "is not a text file"),
    ],
)
def test_errors_name_the_line(text, sentence, tmp_path):
    path = tmp_path / "c.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"c\.txt.*{sentence}"):
        read_table(path)


def test_notes_beside_clouds_are_skipped(tmp_path):
    np.savetxt(tmp_path / "a.XYZ", POINTS)
    (tmp_path / "README.txt").write_text("Made by hand.")
    assert load_shapes(tmp_path, num_points=7).points.shape == (1, 7, 3)
    (tmp_path / "b.txt").write_text("Made by hand.")
    with pytest.raises(InputError, match="b.txt cannot be read .line 1, 'Made by hand.'"):
        load_shapes(tmp_path)

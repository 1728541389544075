"""Frames in every format, written by the libraries of the formats, and damaged files."""

from __future__ import annotations

import struct
import sys
import time
import warnings

import numpy as np
import pytest

from pointata_jax.data.sensor_files import SUFFIXES, read_columns, read_frame
from pointata_jax.errors import InputError

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-5, 5, (40, 3)).astype(np.float32)
COLORS = RNG.integers(0, 256, (40, 3)).astype(np.uint8)
RING = RNG.integers(0, 64, 40).astype(np.uint16)
PACKED = (COLORS.astype(np.uint32) << np.array([16, 8, 0], np.uint32)).sum(1, dtype=np.uint32)

PCD_HEADER = "VERSION .7\nFIELDS x y z rgb ring\nSIZE 4 4 4 4 2\nTYPE F F F F U\nCOUNT 1 1 1 1 1\n"


def table(**columns):
    """A structured array of columns."""
    types = [(name, values.dtype) for name, values in columns.items()]
    array = np.empty(len(POINTS), types)
    for name, values in columns.items():
        array[name] = values
    return array


def coordinates(dtype=np.float32):
    return {name: POINTS[:, i].astype(dtype) for i, name in enumerate("xyz")}


def write_ply(path, *, text=False, order="<"):
    plyfile = pytest.importorskip("plyfile")
    colors = dict(zip(("red", "green", "blue"), COLORS.T, strict=True))
    vertices = plyfile.PlyElement.describe(table(**coordinates(), **colors), "vertex")
    cameras = plyfile.PlyElement.describe(np.ones(2, [("id", "u1"), ("f", "f8")]), "camera")
    faces = plyfile.PlyElement.describe(
        np.array([([0, 1, 2],)], [("vertex_indices", "i4", (3,))]), "face"
    )
    elements = [cameras, vertices, faces]
    plyfile.PlyData(elements, text=text, byte_order=order, comments=["by a sensor"]).write(path)


def write_text_pcd(path):
    """By hand, because pypcd4 writes packed colors with ten decimals, which makes them zeros."""
    rows = zip(*POINTS.T, PACKED.view(np.float32), RING, strict=True)
    lines = ["{:.9g} {:.9g}  {:.9g} {:.9g} {}\n".format(*row) for row in rows]
    header = f"{PCD_HEADER}POINTS {len(POINTS)}\nDATA ascii\n"
    path.write_text(header + "".join(lines))


def write_pcd(path, encoding):
    pypcd4 = pytest.importorskip("pypcd4")
    cloud = pypcd4.PointCloud.from_points(
        [*POINTS.T, PACKED.view(np.float32), RING],
        ("x", "y", "z", "rgb", "ring"),
        (np.float32,) * 4 + (np.uint16,),
    )
    cloud.save(path, pypcd4.Encoding(encoding))


def write_las(path):
    laspy = pytest.importorskip("laspy")
    pytest.importorskip("lazrs")
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = [0.001] * 3, [500_000, 5_000_000, 100]
    header.add_extra_dim(laspy.ExtraBytesParams("velocity", np.float32))
    las = laspy.LasData(header)
    las.x, las.y, las.z = POINTS.T.astype(np.float64) + np.array(header.offsets)[:, None]
    las.red, las.intensity = COLORS[:, 0].astype(np.uint16) * 256, RING
    las.velocity = POINTS[:, 0]
    las.write(path)


WRITERS = {
    "points.npy": lambda path: np.save(path, np.column_stack([POINTS, RING]).astype(np.float32)),
    "fields.npy": lambda path: np.save(path, table(**coordinates(), ring=RING)),
    "points.npz": lambda path: np.savez_compressed(
        path, points=np.column_stack([POINTS, RING]), columns=["x", "y", "z", "ring"], labels=RING
    ),
    "only.npz": lambda path: np.savez(path, scan=POINTS),
    "kitti.bin": lambda path: np.column_stack([POINTS, RING]).astype("<f4").tofile(path),
    "text.ply": lambda path: write_ply(path, text=True),
    "little.ply": lambda path: write_ply(path),
    "big.PLY": lambda path: write_ply(path, order=">"),
    "text.pcd": write_text_pcd,
    "binary.pcd": lambda path: write_pcd(path, "binary"),
    "compressed.pcd": lambda path: write_pcd(path, "binary_compressed"),
    "blanks.xyz": lambda path: np.savetxt(path, POINTS, fmt="%.9g"),
    "header.csv": lambda path: np.savetxt(
        path,
        np.column_stack([RING, POINTS]),
        fmt="%.9g",
        delimiter=",",
        header='"ring",X,Y,Z',
        comments="",
    ),
    "tabs.txt": lambda path: np.savetxt(
        path, np.column_stack([POINTS, RING]), fmt="%.9g", delimiter="\t", header="X Y Z ring"
    ),
    "tile.las": write_las,
    "tile.laz": write_las,
}
RINGS = {"fields.npy", "points.npz", "header.csv", "tabs.txt"}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_each_format(name, tmp_path):
    path = tmp_path / name
    WRITERS[name](path)
    frame = read_frame(path)
    assert frame.columns == read_columns(path)
    assert (frame.time, frame.dropped, len(frame.values)) == (None, 0, len(POINTS))
    found = dict(zip(frame.columns, frame.values.T, strict=True))
    assert frame.columns[:3] == ("x", "y", "z")
    if name.startswith("tile"):
        assert frame.values.dtype == np.float64
        expected = POINTS.astype(np.float64) + [500_000, 5_000_000, 100]
        np.testing.assert_allclose(frame.values[:, :3], expected, rtol=0, atol=5.1e-4)
        np.testing.assert_array_equal(found["red"], COLORS[:, 0] * 256.0)
        np.testing.assert_array_equal(found["intensity"], RING)
        np.testing.assert_array_equal(found["velocity"], POINTS[:, 0])
        return
    narrow = not name.endswith((".xyz", ".csv", ".txt"))
    assert frame.values.dtype == (np.float32 if narrow else np.float64)
    np.testing.assert_allclose(frame.values[:, :3], POINTS, rtol=0 if narrow else 1e-8)
    if name.lower().endswith((".ply", ".pcd")):
        np.testing.assert_array_equal(
            np.column_stack([found["red"], found["green"], found["blue"]]), COLORS
        )
    ring = "ring" if name in RINGS or name.endswith(".pcd") else None
    ring = {"points.npy": "column_3", "kitti.bin": "intensity"}.get(name, ring)
    if ring:
        np.testing.assert_array_equal(found[ring], RING)


def test_names_of_columns_and_points_that_are_dropped(tmp_path):
    path = tmp_path / "radar.bin"
    values = np.column_stack([RING, POINTS, RING]).astype(np.float32)
    values[3, 2], values[7, 1], values[9, 0] = np.nan, np.inf, np.nan
    values.tofile(path)
    frame = read_frame(path, ("doppler", "X", "y", "z", "power"))
    assert frame.columns == ("x", "y", "z", "doppler", "power")
    assert frame.dropped == 2
    kept = np.delete(values, [3, 7], axis=0)
    np.testing.assert_array_equal(frame.values, kept[:, [1, 2, 3, 0, 4]])
    with pytest.raises(InputError, match="no whole points of 3 float32"):
        read_frame(path, ("x", "y", "z"))
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match="has 5 columns, but 3 are named"):
        read_frame(tmp_path / "a.npy", ("x", "y", "z"))
    with pytest.raises(InputError, match="has two columns 'x'"):
        read_frame(tmp_path / "a.npy", ("x", "X", "y", "z", "power"))
    with pytest.raises(InputError, match="lacks z; its columns are x, y, a, b, c"):
        read_frame(tmp_path / "a.npy", ("x", "y", "a", "b", "c"))
    (tmp_path / "empty.bin").touch()
    assert read_frame(tmp_path / "empty.bin").values.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("x [m];y [m];z (m)\r\n1;2;3;\r\n4;5;6;\r\n", "x y z", 2),
        ("2\n1, 2, 3\n4, 5, 6\n", "x y z", 2),
        ("# a scan\n// X Y Z Intensity\n\n1 2  3\t4\n", "x y z Intensity", 1),
        ("// X Y Z\n1 2 3 4 5\n", "x y z column_3 column_4", 1),
        ("nan 2 3\n1 2 inf\n1e0 -2 .3\n", "x y z", 1),
        ("", "x y z", 0),
    ],
)
def test_tables(text, columns, rows, tmp_path):
    path = tmp_path / "scan.txt"
    path.write_text(text)
    frame = read_frame(path)
    assert frame.columns == tuple(columns.split())
    assert len(frame.values) == rows


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 2 3\n1 2\n", "line 2 has 2 values, others have 3"),
        ("x,y,z,who\n1,2,3,Ann\n", "line 2 holds 'Ann', expected numbers with a decimal point"),
        ("1,5;2,5;3,5\n", "line 1 holds '1,5', expected numbers with a decimal point"),
        ("1,,3\n", "line 1 holds ''"),
        ("3\n1 2 3\n", "it announces 3 points and holds 1"),
        ("a,b,c\n1,2,3\n", "lacks x, y, z; its columns are a, b, c"),
        ("x,y,z\n1,2,3,4\n", "has 4 columns, but 3 are named"),
        ("1 2\n", "has 2 columns, points have x, y and z"),
    ],
)
def test_wrong_tables(text, sentence, tmp_path):
    path = tmp_path / "scan.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_frame(path)


def test_a_pcd_file_with_padding_vectors_and_few_header_lines(tmp_path):
    path = tmp_path / "cloud.pcd"
    body = b"".join(
        struct.pack("<fB3xffI2h", i, 0, i + 0.5, -i, 0x80010203 + i, i, -i) for i in range(3)
    )
    header = (
        "# .PCD v0.6\nFIELDS x _ _ y z rgba range\nSIZE 4 1 1 4 4 4 2\nTYPE F U U F F U I\n"
        "COUNT 1 1 3 1 1 1 2\nWIDTH 1\nHEIGHT 3\nVIEWPOINT 9 9 9 1 0 0 0\nDATA binary\n"
    )
    path.write_bytes(header.encode() + body)
    frame = read_frame(path)
    assert frame.columns == tuple("x y z red green blue alpha range_0 range_1".split())
    np.testing.assert_array_equal(frame.values[2], [2, 2.5, -2, 1, 2, 5, 128, 2, -2])


def test_lost_digits_are_not_hidden_by_a_wide_column(tmp_path):
    points = POINTS / 10 + np.array([500_000, 5_000_000, 0], np.float32)
    wide = table(**{name: points[:, i] for i, name in enumerate("xyz")}, t=RING.astype(np.int64))
    np.save(tmp_path / "utm.npy", wide)
    with pytest.raises(InputError, match="digits were lost"):
        read_frame(tmp_path / "utm.npy")


PLY = "ply\nformat {}\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n{}"
PCD = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 1\nHEIGHT 1\nPOINTS {}\nDATA {}\n"
HUGE = 10**12


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.ply", PLY.format("ascii 1.0", HUGE, "end_header\n1 2 3\n")),
        ("a.ply", PLY.format("binary_big_endian 1.0", HUGE, "end_header\n123456789012")),
        ("a.ply", PLY.format("binary_little_endian 1.0", 1, "")),
        ("a.pcd", PCD.format(HUGE, "ascii") + "1 2 3\n"),
        ("a.pcd", PCD.format(HUGE, "binary") + "123456789012"),
        ("a.pcd", PCD.format(HUGE, "binary_compressed") + "\x01\0\0\0\x7f\x7f\x7f\x7f\0"),
        ("a.pcd", PCD.format(9, "binary_compressed") + "\x05\0\0\0\x6c\0\0\0\x20\x01\0\0\0"),
        ("a.pcd", PCD.format(1, "binary").replace("TYPE", "COUNT 1 1 999999999\nTYPE")),
    ],
)
def test_headers_that_announce_more_than_there_is(name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    for read in (read_frame, read_columns):
        start = time.perf_counter()
        if read is read_frame or "compressed" not in content:
            with pytest.raises(InputError, match=rf"{name} is cut off or damaged"):
                read(path)
        assert time.perf_counter() - start < 1


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_raise_input_errors_only(name, tmp_path):
    path = tmp_path / name
    WRITERS[name](path)
    original, rng, outcomes = path.read_bytes(), np.random.default_rng(1), set()
    for trial in range(80):
        content = bytearray(original)
        if trial % 4 == 0:
            content = content[: rng.integers(len(content))]
        # Most changes hit the header, which the rest depends on.
        reach = min(len(content), 400 if trial % 2 else len(content))
        for place in rng.integers(0, max(reach, 1), rng.integers(1, 9)):
            content[place : place + 1] = rng.bytes(1)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for read in (read_frame, read_columns):
                try:
                    read(path)
                    outcomes.add("")
                except InputError as error:
                    outcomes.add(str(error))
    assert len(outcomes) > 1
    assert all(name in sentence for sentence in outcomes if sentence)


def test_missing_libraries_and_other_files(tmp_path, monkeypatch):
    for name in ("a.las", "a.laz"):
        (tmp_path / name).write_bytes(b"LASF")
    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(InputError, match=r"reading \.las needs laspy: pip install 'pointata-jax\["):
        read_frame(tmp_path / "a.las")
    monkeypatch.undo()
    pytest.importorskip("laspy")
    monkeypatch.setitem(sys.modules, "lazrs", None)
    with pytest.raises(InputError, match=r"reading \.laz needs lazrs"):
        read_frame(tmp_path / "a.laz")
    with pytest.raises(InputError, match=r"a\.e57 is no file of a frame; these end in \.npy"):
        read_frame(tmp_path / "a.e57")
    with pytest.raises(InputError, match=r"none\.pcd does not exist"):
        read_frame(tmp_path / "none.pcd")
    np.savez(tmp_path / "two.npz", a=POINTS, b=POINTS)
    with pytest.raises(InputError, match="holds the arrays a, b; call that of the points"):
        read_frame(tmp_path / "two.npz")
    assert {suffix.lower() for suffix in SUFFIXES} == set(SUFFIXES)

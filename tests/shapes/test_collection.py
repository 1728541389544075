"""Shapes from packed files and folders."""

import os
import warnings

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes.collection import load_shapes, unit_sphere


def test_packed_fixed_point_file(tmp_path):
    points = np.random.default_rng(0).integers(-32767, 32768, (3, 40, 3)).astype(np.int16)
    np.savez(tmp_path / "s.npz", points=points, label=[1, -1, 0], classes=["bed", "chair"])
    shapes = load_shapes(tmp_path / "s.npz", num_points=30)
    assert shapes.points.shape == (3, 30, 3)
    np.testing.assert_allclose(shapes.points, unit_sphere(points[:, :30] / 32767), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(shapes.points, axis=-1).max(1), 1, atol=1e-6)
    assert shapes.class_names == ("bed", "chair")
    assert shapes.labeled().labels.tolist() == [1, 0]


def test_folder_of_clouds(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "chair").mkdir()
    (tmp_path / "bed").mkdir()
    np.save(tmp_path / "chair" / "a.npy", rng.normal(size=(20, 3)))
    np.savetxt(tmp_path / "bed" / "b.txt", rng.normal(size=(50, 6)))
    np.savez(tmp_path / "c.npz", points=rng.normal(size=(25, 3)))
    shapes = load_shapes(tmp_path, num_points=25)
    assert shapes.points.shape == (3, 25, 3)
    assert shapes.class_names == ("bed", "chair")
    assert shapes.labels.tolist() == [0, -1, 1]  # Files in the order of their paths.


@pytest.mark.parametrize("case", ["missing", "empty", "truncated", "nan"])
def test_invalid_input_is_an_input_error(tmp_path, case):
    path = tmp_path / "s.npz"
    match = {
        "missing": "do not exist",
        "empty": "holds no shapes",
        "truncated": "truncated",
        "nan": "shape 1 .* NaN",
    }[case]
    if case == "empty":
        path = tmp_path
    if case in ("truncated", "nan"):
        points = np.random.default_rng(0).normal(size=(2, 30, 3))
        points[1, 4] = np.nan
        np.savez(path, points=points)
    if case == "truncated":
        path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=match):
        load_shapes(path)


FAR = np.array([388096.0, 3948996.0, 40.0])


def reference(points):
    """One cloud in the unit sphere, computed in extended precision."""
    points = points.astype(np.longdouble)
    points = points - points.mean(0)
    return points / np.sqrt((points**2).sum(1)).max()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16, np.int64, ">f4"])
def test_arithmetic_is_in_float64_for_every_type(dtype):
    rng = np.random.default_rng(0)
    clouds = (rng.normal(size=(4, 2000, 3)) * 300 + [900, 0, -50]).astype(dtype)
    found = unit_sphere(clouds)
    assert found.dtype == np.float64
    for cloud, wanted in zip(found, clouds, strict=True):
        np.testing.assert_allclose(cloud, reference(wanted).astype(float), atol=1e-13)


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1.0, 1e200])
def test_any_unit_and_any_origin(unit):
    cloud = np.random.default_rng(0).normal(size=(100, 3))
    np.testing.assert_allclose(unit_sphere(cloud * unit), unit_sphere(cloud), atol=1e-12)
    np.testing.assert_allclose(unit_sphere(cloud + FAR), unit_sphere(cloud), atol=1e-8)
    assert not unit_sphere(np.tile(FAR + 0.3, (10, 1))).any()


def test_shapes_far_from_the_origin(tmp_path):
    cloud = np.random.default_rng(0).normal(size=(50, 3))
    (tmp_path / "f").mkdir()
    np.save(tmp_path / "f" / "a.npy", cloud + FAR)
    np.savetxt(tmp_path / "f" / "b.xyz", cloud + FAR, fmt="%.17g")
    np.savez(tmp_path / "p.npz", points=[cloud + FAR])
    for path in (tmp_path / "f", tmp_path / "p.npz"):
        for found in load_shapes(path, num_points=50).points:
            wanted = unit_sphere(cloud)
            order = [part[:, 0].argsort() for part in (found, wanted)]
            np.testing.assert_allclose(found[order[0]], wanted[order[1]], atol=1e-6)
    # float32 is too coarse there, so the cloud is damaged.
    np.save(tmp_path / "f" / "a.npy", (cloud + FAR).astype(np.float32))
    with pytest.raises(InputError, match="a.npy: its points lie near .* in float32"):
        load_shapes(tmp_path / "f")


def test_half_precision_packs_and_label_columns(tmp_path):
    points = np.random.default_rng(0).normal(size=(600, 16, 3)).astype(np.float16)
    labels = np.arange(600)[:, None] % 3 - 1
    np.savez(tmp_path / "p.npz", points=points, label=labels, classes=[b"bed", b"sofa"])
    shapes = load_shapes(tmp_path / "p.npz")
    assert shapes.class_names == ("bed", "sofa")
    np.testing.assert_array_equal(shapes.labels, labels[:, 0])
    for found, cloud in zip(shapes.points[::97], points[::97], strict=True):
        np.testing.assert_allclose(found, reference(cloud).astype(float), atol=1e-6)


def test_links_hidden_entries_and_upper_case_endings(tmp_path):
    folder, cloud = tmp_path / "s", np.random.default_rng(0).normal(size=(20, 3))
    for name in ("s/chair", "s/.ipynb_checkpoints", "s/chair/.old", "store", "s/lamp"):
        (tmp_path / name).mkdir(parents=True)
    np.savetxt(folder / "chair" / "a.XYZ", cloud)
    np.savetxt(folder / "chair" / "._a.xyz", cloud)
    np.savetxt(folder / "chair" / ".old" / "a.xyz", cloud)
    np.savetxt(folder / ".ipynb_checkpoints" / "a.xyz", cloud)
    np.save(tmp_path / "store" / "b.npy", cloud)
    (folder / "table").symlink_to(tmp_path / "store")
    (folder / "lamp" / "scan.ply").write_bytes(b"")
    (folder / "chair" / "up").symlink_to(folder)
    with pytest.warns(UserWarning, match="Left out below") as caught:
        shapes = load_shapes(folder, num_points=20)
    assert shapes.class_names == ("chair", "table")
    assert shapes.labels.tolist() == [0, 1]
    assert len(caught) == 1
    assert str(caught[0].message) == (
        f"Left out below {folder} were hidden entries: 3, such as .ipynb_checkpoints; links to "
        "folders that are read under another name or lie around this one: 1, such as chair/up; "
        "files of kinds that are not read here (.ply): 1, such as lamp/scan.ply."
    )
    (folder / "chair" / "gone.npy").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match="gone.npy is a link that leads nowhere"):
        load_shapes(folder)
    with pytest.raises(InputError, match=r"holds no shapes .*not read here \(.ply\): 1"):
        load_shapes(folder / "lamp")


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"cloud": np.zeros((2, 3))}, "x.npz lacks the array `points`; it holds cloud"),
        ({"points": np.float64(3)}, r"x.npz must hold points \[N, 3\], found shape \(\)"),
        ({"points": np.zeros((4, 2))}, r"found shape \(4, 2\)"),
        ({"points": np.zeros((4, 3), complex)}, "holds complex128, expected numbers"),
        ({"points": np.array([[{}, 1, 2]], object)}, "x.npz cannot be read .*allow_pickle"),
        ({"points": np.ones((4, 3))}, "x.npz has only equal points"),
        ({}, "lacks the array `points`; it holds nothing"),
    ],
)
def test_invalid_cloud_files_are_named(arrays, sentence, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(InputError, match=sentence):
        load_shapes(tmp_path)


def test_fields_x_y_z_are_coordinates(tmp_path):
    cloud = np.random.default_rng(0).normal(size=(9, 3))
    fields = np.zeros(9, [("intensity", "f4"), ("z", "f8"), ("x", "f8"), ("y", "f8")])
    for axis, name in enumerate("xyz"):
        fields[name] = cloud[:, axis]
    np.save(tmp_path / "x.npy", fields)
    found = load_shapes(tmp_path, num_points=9).points[0]
    wanted = unit_sphere(cloud)
    np.testing.assert_allclose(
        found[found[:, 0].argsort()], wanted[wanted[:, 0].argsort()], atol=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": [0, 1]}, "`label` must be integers"),
        ({"label": [0, 1, 2]}, "`label` must be integers"),
        ({"label": [0, 1, -2]}, "`label` must be integers"),
        ({"label": ["a", "b", "a"]}, "`label` must be integers"),
        ({"classes": "bed"}, "`classes` must be a list of names"),
        ({"points": np.full((3, 4, 3), "a")}, "needs an array `points` of numbers"),
        ({"points": np.zeros((3, 0, 3))}, "needs an array `points` of numbers"),
        ({"points": np.zeros(())}, "needs an array `points` of numbers"),
        ({"points": np.zeros((3, 4, 3))}, "shape 0 of .*s.npz has only equal points"),
    ],
)
def test_invalid_packed_files_are_named(changes, sentence, tmp_path):
    arrays = {"points": np.random.default_rng(0).normal(size=(3, 4, 3)), "label": [0, 1, 1]}
    np.savez(tmp_path / "s.npz", **(arrays | {"classes": ["bed", "sofa"]} | changes))
    with pytest.raises(InputError, match=rf"s\.npz.*{sentence}|{sentence}"):
        load_shapes(tmp_path / "s.npz")


def error_of(path):
    """The message of the InputError that `load_shapes` raises, None if it raises none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load_shapes(path, num_points=5)
    except InputError as error:
        return str(error)
    return None


def test_random_damage_never_ends_in_another_exception(tmp_path):
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(20, 3))
    np.save(tmp_path / "a.npy", cloud)
    np.savez_compressed(tmp_path / "b.npz", points=cloud)
    np.savetxt(tmp_path / "c.xyz", cloud, header="x y z", comments="")
    (tmp_path / "d.off").write_text("OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 3\n3 0 1 2\n4 0 1 3 2\n")
    np.savez(tmp_path / "e.npz", points=[cloud], label=[0], classes=["a"])
    for path in sorted(tmp_path.iterdir()):
        whole, refused = path.read_bytes(), 0
        place = tmp_path / f"only_{path.stem}"
        place.mkdir()
        target = place / path.name
        for _ in range(150):
            content = bytearray(whole[: rng.integers(len(whole) // 2, len(whole) + 1)])
            for _ in range(rng.integers(3)):
                content[rng.integers(len(content))] = rng.integers(256)
            target.write_bytes(bytes(content))
            message = error_of(target if path.stem == "e" else place)
            if message is not None:
                assert path.name in message
                assert os.linesep not in message
                refused += 1
        assert refused > 50, path

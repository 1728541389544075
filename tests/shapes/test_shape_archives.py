"""ModelNet40 and ShapeNet-55: small archives in their public layouts."""

from __future__ import annotations

import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.shapes import shape_archives
from pointata_jax.shapes.collection import load_shapes, unit_sphere

h5py = pytest.importorskip("h5py")

CLASSES = ("airplane", "night_stand")
TETRAHEDRON = "OFF\n4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 3\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


def cloud(seed, size=12):
    return np.random.default_rng(seed).normal(size=(size, 3)).astype(np.float32)


def write_h5(path, labels, seed=0, **changes):
    points = np.stack([cloud(seed + index) for index in range(len(labels))])
    arrays = {"data": points, "label": np.array(labels, np.uint8)[:, None]} | changes
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            if value is not None:
                file[key] = value


def write_modelnet_h5(folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shape_names.txt").write_text("\n".join(CLASSES) + "\n")
    where = "data/modelnet40_ply_hdf5_2048"
    (folder / "train_files.txt").write_text(
        f"{where}/ply_data_train0.h5\n{where}/ply_data_train1.h5\n"
    )
    (folder / "test_files.txt").write_text(f"{where}/ply_data_test0.h5\n")
    write_h5(folder / "ply_data_train0.h5", [0, 1, 1])
    write_h5(folder / "ply_data_train1.h5", [1], seed=10)
    write_h5(folder / "ply_data_test0.h5", [0], seed=20)
    return folder


def write_modelnet_txt(folder):
    (folder / "airplane").mkdir(parents=True)
    (folder / "night_stand").mkdir()
    (folder / "modelnet40_shape_names.txt").write_text("\n".join(CLASSES))
    (folder / "modelnet40_train.txt").write_text("airplane_0001\nnight_stand_0001\n")
    (folder / "modelnet40_test.txt").write_text("night_stand_0002\n")
    for index, name in enumerate(("airplane_0001", "night_stand_0001", "night_stand_0002")):
        rows = np.concatenate([cloud(index), cloud(9)], axis=1)
        np.savetxt(folder / name[:-5] / f"{name}.txt", rows, delimiter=",", fmt="%.6f")
    return folder


def write_modelnet_off(folder):
    for name in ("train/airplane_0001", "train/airplane_0002", "test/airplane_0003"):
        path = folder / "airplane" / f"{name}.off"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TETRAHEDRON)
    (folder / "night_stand" / "train").mkdir(parents=True)
    (folder / "night_stand" / "train" / "n.off").write_text(TETRAHEDRON.replace("OFF\n4", "OFF4"))
    return folder


def write_shapenet(folder):
    (folder / "ShapeNet-55").mkdir(parents=True)
    (folder / "shapenet_pc").mkdir()
    names = ["02691156-1a04.npy", "04554684-ff-2.npy", "03001627-aa.npy"]
    (folder / "ShapeNet-55" / "train.txt").write_text("\n".join(names[:2]))
    (folder / "ShapeNet-55" / "test.txt").write_text(names[2])
    for seed, name in enumerate(names):
        np.save(folder / "shapenet_pc" / name, cloud(seed, 30))
    return folder


def assert_same_points(found, wanted):
    """The same set of points, in any order."""
    found, wanted = (part[np.lexsort(part.T)] for part in (found, unit_sphere(wanted)))
    np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_modelnet40_as_hdf5(tmp_path):
    shapes = load_shapes(write_modelnet_h5(tmp_path), num_points=12, partial=True)
    assert shapes.class_names == CLASSES
    assert shapes.labels.tolist() == [0, 1, 1, 1]
    assert shapes.points.dtype == np.float32
    for found, seed in zip(shapes.points, (0, 1, 2, 10), strict=True):
        assert_same_points(found, cloud(seed))
    test = load_shapes(tmp_path, num_points=8, split="test", partial=True)
    assert test.points.shape == (1, 8, 3)
    assert test.labels.tolist() == [0]


def test_modelnet40_as_text(tmp_path):
    shapes = load_shapes(write_modelnet_txt(tmp_path), num_points=12, partial=True)
    assert shapes.class_names == CLASSES
    assert shapes.labels.tolist() == [0, 1]
    assert_same_points(shapes.points[1], cloud(1))
    assert load_shapes(tmp_path, split="test", partial=True).labels.tolist() == [1]


def test_modelnet40_as_meshes_is_rotated_y_up(tmp_path):
    shapes = load_shapes(write_modelnet_off(tmp_path), num_points=500, partial=True)
    assert shapes.class_names == CLASSES
    assert shapes.labels.tolist() == [0, 0, 1]
    # The tetrahedron is three times as high along z of the file as along the others.
    assert np.ptp(shapes.points[0], axis=0).argmax() == 1
    assert shapes.points[0, :, 1].max() > -shapes.points[0, :, 1].min(), "the tip points up"
    assert len(load_shapes(tmp_path, split="test", partial=True).points) == 1
    # A plain folder of meshes is not rotated.
    plain = load_shapes(tmp_path / "airplane" / "train", num_points=500)
    assert np.ptp(plain.points[0], axis=0).argmax() == 2
    assert plain.class_names == ()


@pytest.mark.parametrize("inside", [False, True])
def test_shapenet55(inside, tmp_path):
    folder = write_shapenet(tmp_path)
    folder = folder / "ShapeNet-55" if inside else folder
    shapes = load_shapes(folder, num_points=30, partial=True)
    assert len(shapes.class_names) == 55
    assert [shapes.class_names[label] for label in shapes.labels] == ["airplane", "washer"]
    assert_same_points(shapes.points[0], cloud(0, 30))
    test = load_shapes(folder, num_points=64, split="test", partial=True)
    assert test.class_names[test.labels[0]] == "chair"
    assert test.points.shape == (1, 64, 3)


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (write_modelnet_h5, "has 2 classes, ModelNet40 has 40"),
        (write_modelnet_txt, "has 2 classes, ModelNet40 has 40"),
        (write_modelnet_off, "has 2 classes, ModelNet40 has 40"),
        (write_shapenet, r"holds 2 train shapes, the complete archive \(shapenet55\) has 41952"),
    ],
)
def test_published_counts_are_asserted(write, sentence, tmp_path):
    folder = write(tmp_path)
    with pytest.raises(InputError, match=sentence):
        load_shapes(folder)
    with pytest.raises(InputError, match="splits train and test, not 'val'"):
        load_shapes(folder, split="val", partial=True)


def test_the_number_of_shapes_is_asserted_for_modelnet40(tmp_path):
    names = [f"class{number}" for number in range(40)]
    write_modelnet_h5(tmp_path)
    (tmp_path / "shape_names.txt").write_text("\n".join(names))
    with pytest.raises(InputError, match=r"holds 1 test shapes, .*\(modelnet40_h5\) has 2468"):
        load_shapes(tmp_path, split="test")


def test_a_missing_list_or_file_is_named(tmp_path):
    folder = write_modelnet_h5(tmp_path / "a")
    (folder / "test_files.txt").unlink()
    with pytest.raises(InputError, match=r"list .*test_files\.txt is missing"):
        load_shapes(folder, split="test", partial=True)
    folder = write_shapenet(tmp_path / "b")
    (folder / "shapenet_pc" / "02691156-1a04.npy").unlink()
    with pytest.raises(InputError, match=r"train\.txt names 02691156-1a04\.npy, .* does not exist"):
        load_shapes(folder)
    with pytest.warns(UserWarning, match="train.txt names 1 files that do not exist"):
        assert len(load_shapes(folder, partial=True).points) == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": None}, r"train0\.h5 lacks the data set 'label'"),
        (
            {"label": np.array([0.0, 1.0, 1.0])},
            r"train0\.h5: label is float64 \(3,\), expected int",
        ),
        ({"label": np.array([0, 1])}, r"label is int64 \(2,\), expected integers, one for each"),
        ({"label": np.array([0, 2, 1])}, r"train0\.h5: label 2 is outside 0\.\.1"),
        ({"data": np.zeros((3, 12, 3), int)}, r"train0\.h5: data is int64 .* expected floats"),
        ({"data": np.zeros((3, 12))}, r"data is float64 \(3, 12\), expected floats \[S, points, 3"),
        (
            {"data": np.full((3, 12, 3), np.nan)},
            r"shape 0 of .*train0\.h5 has coordinates that are",
        ),
    ],
)
def test_invalid_hdf5_is_named(changes, sentence, tmp_path):
    folder = write_modelnet_h5(tmp_path)
    write_h5(folder / "ply_data_train0.h5", [0, 1, 1], **changes)
    with pytest.raises(InputError, match=sentence):
        load_shapes(folder, partial=True)


def test_truncated_files_are_named(tmp_path):
    folder = write_modelnet_h5(tmp_path / "a")
    path = folder / "ply_data_train1.h5"
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(InputError, match=r"train1\.h5 cannot be read"):
        load_shapes(folder, partial=True)
    folder = write_shapenet(tmp_path / "b")
    path = folder / "shapenet_pc" / "04554684-ff-2.npy"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"04554684-ff-2\.npy cannot be read"):
        load_shapes(folder, partial=True)
    folder = write_modelnet_txt(tmp_path / "c")
    path = folder / "airplane" / "airplane_0001.txt"
    path.write_text(path.read_text()[:130] + "\n0.1,0.\n")
    with pytest.raises(InputError, match=r"airplane_0001\.txt cannot be read"):
        load_shapes(folder, partial=True)


def test_invalid_names_and_types_are_named(tmp_path):
    folder = write_shapenet(tmp_path / "b")
    listed = folder / "ShapeNet-55" / "train.txt"
    np.save(folder / "shapenet_pc" / "02691156-1a04.npy", np.array(["a", "b"]))
    with pytest.raises(InputError, match=r"1a04\.npy must hold points \[N, 3\]"):
        load_shapes(folder, partial=True)
    np.save(folder / "shapenet_pc" / "02691156-1a04.npy", np.zeros((5, 3), int))
    with pytest.raises(InputError, match=r"1a04\.npy holds int64, expected floats"):
        load_shapes(folder, partial=True)
    listed.write_text("02691156-1a04.npy\n02691156-1a04.npy\n")
    with pytest.raises(InputError, match=r"train\.txt lists '02691156-1a04\.npy' twice"):
        load_shapes(folder, partial=True)
    listed.write_text("02691156-1a04.npy\n99999999-a.npy\n")
    with pytest.raises(InputError, match=r"'99999999-a\.npy' is not <taxonomy>-<id>\.npy"):
        load_shapes(folder, partial=True)
    folder = write_modelnet_txt(tmp_path / "c")
    (folder / "modelnet40_train.txt").write_text("rocket_0001\n")
    with pytest.raises(InputError, match="'rocket_0001' belongs to none of the classes"):
        load_shapes(folder, partial=True)


def test_the_taxonomy_is_complete_and_in_order():
    assert len(shape_archives.SHAPENET55) == len(set(shape_archives.SHAPENET55.values())) == 55
    assert list(shape_archives.SHAPENET55) == sorted(shape_archives.SHAPENET55)


def test_the_published_list_names_two_shapes_without_an_id(tmp_path):
    (tmp_path / "ShapeNet-55").mkdir()
    (tmp_path / "shapenet_pc").mkdir()
    names = ["04379243-.npy", "02828884-3d2e.npy", "02747177-.npy", "03001627-u6028f63e-4111.npy"]
    for seed, name in enumerate(names):
        np.save(tmp_path / "shapenet_pc" / name, cloud(seed, 30))
    for encoding, ends in (("utf-8", "\n"), ("utf-8-sig", "\r\n\r\n"), ("utf-16", "\n")):
        text = ends.join(names) + 2 * ends
        (tmp_path / "ShapeNet-55" / "train.txt").write_bytes(text.encode(encoding))
        shapes = load_shapes(tmp_path, num_points=30, partial=True)
        found = [shapes.class_names[label] for label in shapes.labels]
        assert found == ["table", "bench", "trash bin", "chair"]
        assert_same_points(shapes.points[2], cloud(2, 30))


@pytest.mark.parametrize(
    "write", [write_modelnet_h5, write_modelnet_txt, write_modelnet_off, write_shapenet]
)
def test_an_archive_in_the_only_sub_folder_is_the_same_archive(write, tmp_path):
    write(tmp_path / "a" / "unpacked")
    # Entries that macOS creates are ignored.
    (tmp_path / "a" / "__MACOSX" / "unpacked").mkdir(parents=True)
    (tmp_path / "a" / "._unpacked").write_bytes(b"")
    for split in ("train", "test"):
        inside = load_shapes(tmp_path / "a" / "unpacked", num_points=16, split=split, partial=True)
        above = load_shapes(tmp_path / "a", num_points=16, split=split, partial=True)
        np.testing.assert_array_equal(above.points, inside.points)
        assert (above.labels == inside.labels).all()
        assert above.class_names == inside.class_names


def test_modelnet40_as_meshes_with_links_hidden_and_misplaced_files(tmp_path):
    folder = write_modelnet_off(tmp_path / "m")
    (folder / "airplane").rename(tmp_path / "store")
    (folder / "airplane").symlink_to(tmp_path / "store")
    train = tmp_path / "store" / "train"
    (train / "airplane_0002.off").rename(train / "airplane_0002.OFF")
    (train / "._airplane_0001.off").write_bytes(b"\0")
    (folder / "stray.off").write_text(TETRAHEDRON)
    with pytest.warns(UserWarning, match="hidden entries|are not in <class>") as caught:
        shapes = load_shapes(folder, num_points=50, partial=True)
    assert shapes.class_names == CLASSES
    assert shapes.labels.tolist() == [0, 0, 1]
    texts = " ".join(str(warning.message) for warning in caught)
    assert "hidden entries: 1, such as airplane/train/._airplane_0001.off" in texts
    assert f"1 files below {folder} are not in <class>/train or <class>/test" in texts
    assert "stray.off" in texts


def test_lists_with_windows_paths_and_groups_instead_of_arrays(tmp_path):
    folder = write_modelnet_h5(tmp_path)
    (folder / "train_files.txt").write_bytes(b"data\\ply_data_train0.h5\r\nply_data_train1.h5\r\n")
    assert load_shapes(folder, num_points=4, partial=True).labels.tolist() == [0, 1, 1, 1]
    with h5py.File(folder / "ply_data_train1.h5", "w") as file:
        file.create_group("data")
        file["label"] = np.zeros((1, 1), int)
    with pytest.raises(InputError, match="train1.h5 cannot be read .*data is a group"):
        load_shapes(folder, num_points=4, partial=True)
    (folder / "ply_data_train1.h5").unlink()
    with pytest.warns(UserWarning, match="train_files.txt names 1 files that do not exist .*1.h5"):
        assert load_shapes(folder, num_points=4, partial=True).labels.tolist() == [0, 1, 1]

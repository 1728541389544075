import numpy as np
import pytest

from pointata_jax.data.shapes import PairBatches, load_shapes, unit_sphere
from pointata_jax.errors import InputError


def test_packed_fixed_point_file(tmp_path):
    points = np.random.default_rng(0).integers(-32767, 32768, (3, 40, 3)).astype(np.int16)
    np.savez(tmp_path / "s.npz", points=points, label=[1, -1, 0], classes=["bed", "chair"])
    shapes = load_shapes(tmp_path / "s.npz", num_points=30)
    assert shapes.points.shape == (3, 30, 3)
    np.testing.assert_allclose(shapes.points, unit_sphere(points[:, :30] / 32767), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(shapes.points, axis=-1).max(1), 1, atol=1e-6)
    assert shapes.class_names == ("bed", "chair")
    assert shapes.labelled().labels.tolist() == [1, 0]


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
def test_bad_input_is_a_sentence(tmp_path, case):
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


def test_batches_cover_every_epoch_and_resume():
    points = np.arange(10, dtype=np.float32)[:, None, None]
    batches = PairBatches(points, 4, seed=1)
    drawn = [next(batches)["points"].ravel().tolist() for _ in range(5)]
    flat = sum(drawn, [])
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10] != flat[10:]
    again = PairBatches(points, 4, seed=1)
    again.set_state({"next_index": 3})
    assert next(again)["points"].ravel().tolist() == drawn[3]
    with pytest.raises(InputError, match="batch of 11"):
        PairBatches(points, 11, seed=0)


def test_pairs_are_two_members_of_one_family():
    points = -np.ones((10, 1, 1), np.float32)
    families = np.arange(30, dtype=np.float32).reshape(6, 5, 1, 1)  # value // 5 is the family
    batches = PairBatches(points, 4, 0, families, num_pairs=6)
    seen = set()
    for _ in range(40):
        batch = next(batches)
        first, second = (batch[key].ravel() for key in ("points", "partners"))
        np.testing.assert_array_equal(first[:4], second[:4])
        np.testing.assert_array_equal(first[4:] // 5, second[4:] // 5)
        assert (first[4:] != second[4:]).all()
        assert sorted(first[4:] // 5) == list(range(6))  # all of different families
        seen |= set(zip(first[4:].tolist(), second[4:].tolist(), strict=True))
    assert len(seen) > 80  # of 120
    again = PairBatches(points, 4, 0, families, num_pairs=6)
    again.set_state({"next_index": 39})
    np.testing.assert_array_equal(next(again)["partners"], batch["partners"])
    with pytest.raises(InputError, match="7 pairs"):
        PairBatches(points, 4, 0, families, num_pairs=7)

import numpy as np
import pytest

from experiments import runs, source_bank
from pointata_jax.alignment import load_source_bank
from pointata_jax.errors import InputError


def test_a_bank_is_made_beside_its_backbone_and_found_there(make_backbone, tmp_path):
    backbone = make_backbone(tmp_path)
    (tmp_path / "source_bank.npz").unlink()
    rng = np.random.default_rng(0)
    shapes = tmp_path / "shapes.npz"
    np.savez(
        shapes,
        points=rng.normal(size=(9, 100, 3)),
        label=np.arange(9) % 3 - 1,
        classes=["cup", "fan"],
    )
    args = source_bank.Args(backbone=backbone, shapes=str(shapes), points=64)
    source_bank.main(args)
    bank = load_source_bank(tmp_path / "source_bank.npz", width=24)
    assert bank.class_names == ("cup", "fan")
    assert len(bank.labels) == 6
    found = runs.open_source_bank("", runs.open_backbone(backbone))
    np.testing.assert_array_equal(found.features, bank.features)
    with pytest.raises(InputError, match="exists already"):
        source_bank.main(args)
    with pytest.raises(InputError, match="--shapes"):
        source_bank.main(source_bank.Args(backbone=backbone))


def test_a_balanced_bank_leaves_out_what_was_measured(make_backbone, tmp_path):
    backbone = make_backbone(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), (9, 8, 7, 3))
    shapes = tmp_path / "shapes.npz"
    np.savez(
        shapes,
        points=rng.normal(size=(len(labels), 100, 3)),
        label=labels,
        classes=["cup", "fan", "part_a", "rare"],
    )
    flags = {"backbone": backbone, "shapes": str(shapes), "points": 64, "except_classes": "part_*"}
    banks = {}
    for name, more in (("open", {"per_class": 9}), ("kept", {"per_class": 5, "held_out": 3})):
        path = tmp_path / f"{name}.npz"
        if name == "open":
            with pytest.raises(InputError, match="1 classes have 9 shapes"):
                source_bank.main(source_bank.Args(output=str(path), **flags, **more))
            more = {"per_class": 3}
        source_bank.main(source_bank.Args(output=str(path), **flags, **more))
        banks[name] = load_source_bank(path, width=24)
    assert np.bincount(banks["open"].labels).tolist() == [3, 3, 3]
    # Three of each class were measured: of nine cups and eight fans, six and five are left.
    assert banks["kept"].class_names == ("cup", "fan")
    assert np.bincount(banks["kept"].labels).tolist() == [5, 5]
    measured = runs.keep_out(runs.open_shapes(str(shapes)), 3, "part_*")[1]
    assert len(measured.labels) == 9

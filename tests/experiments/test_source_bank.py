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

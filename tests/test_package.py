"""The façade: light to import, and every name on it is there."""

import subprocess
import sys

import pytest

import pointata_jax


def modules_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_the_package_imports_no_library():
    heavy = {"jax", "flax", "numpy", "ott", "tensorflow_datasets", "grain", "orbax", "matplotlib"}
    assert not heavy & modules_after("import pointata_jax")


def test_models_need_neither_the_data_libraries_nor_optimal_transport():
    loaded = modules_after("from pointata_jax import PointATA, load_backbone")
    assert "jax" in loaded
    assert not {"ott", "tensorflow_datasets", "grain", "matplotlib", "plotly"} & loaded


@pytest.mark.parametrize("name", pointata_jax.__all__)
def test_every_public_name_is_there(name):
    assert getattr(pointata_jax, name) is not None
    assert name in dir(pointata_jax)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'PointAta'"):
        _ = pointata_jax.PointAta

"""The façade: light to import, and every name on it is there."""

import pathlib
import runpy
import subprocess
import sys

import pytest

import pointata_jax

ROOT = pathlib.Path(__file__).resolve().parent.parent


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


def test_changelog_and_citation_know_the_version():
    assert f"## [{pointata_jax.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {pointata_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_lowest_versions_are_the_lower_bounds_of_pyproject():
    script = runpy.run_path(str(ROOT / ".ci" / "lowest_versions.py"))
    project = {
        "requires-python": ">=3.11",
        "dependencies": ["a>=2.3", "b_c[x,y]>=1.13,<2", "d", "e<3,>=0.5 ; python_version > '3'"],
        "optional-dependencies": {"own": ["project[viz]", "f-g>=6"], "more": ["a>=2.3"]},
    }
    assert script["constraints"](project) == ["a==2.3", "b_c==1.13", "e==0.5", "f-g==6"]
    assert script["oldest_python"](project) == "3.11"

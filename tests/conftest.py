"""Settings and fixtures of all tests."""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
import types
from collections.abc import Iterator

# Before the first import of jax: eight simulated devices for the tests of sharding (all others run
# on the first one). Child processes inherit what is set here.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
_EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_EIGHT_DEVICES}".strip()

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402
from absl import flags  # noqa: E402
from beartype import BeartypeConf, beartype  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Types, dtypes and shapes in the signatures of these packages are checked on every call, and the
# types of their dataclasses on construction. Only modules imported after this line are checked.
# POINTATA_TYPECHECK=0 turns the check off.
if os.environ.get("POINTATA_TYPECHECK", "1") != "0":
    # The hook takes the checker by the name of its module. As in Python's own typing rules, an int
    # may stand where a float is annotated.
    checker = types.ModuleType("pointata_signature_checker")
    vars(checker)["check"] = beartype(conf=BeartypeConf(is_pep484_tower=True))
    sys.modules[checker.__name__] = checker
    packages = ("ops", "models", "alignment", "metrics", "tasks")
    jaxtyping.install_import_hook(
        [f"pointata_jax.{package}" for package in packages], f"{checker.__name__}.check"
    )

# grain refuses to start worker processes while absl's flags are unparsed, which they are without
# app.run.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()

# The first call of a function compiles it, so a deadline for each example means nothing.
hypothesis.settings.register_profile("jax", deadline=None, derandomize=True)
hypothesis.settings.load_profile("jax")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled functions between runs and share them between the processes of one run."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if folder is None:
        cache = getattr(config, "cache", None)  # absent with -p no:cacheprovider
        folder = str(cache.mkdir("jax")) if cache else tempfile.mkdtemp(prefix="pointata-jax-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    config.addinivalue_line(
        "markers",
        "wrong_arguments: calls a checked signature with arguments that contradict it and expects "
        "the function's own error; signatures are not checked during the test",
    )


@pytest.fixture(autouse=True)
def _signature_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Switch the signature check off during tests marked `wrong_arguments`.

    Otherwise a call with a wrong shape raises jaxtyping.TypeCheckError before the function itself
    can raise its InputError. The switch holds for the process, and tests of one process run one
    after the other.
    """
    if request.node.get_closest_marker("wrong_arguments") is None:
        yield
        return
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real data packs, which lie beside the repository and not in it."""
    folder = pathlib.Path(
        os.environ.get("POINTATA_SHARED_DATA", ROOT.parent / "shared" / "data")
    ).resolve()
    if not folder.is_dir():
        pytest.skip(f"no data packs at {folder}; set POINTATA_SHARED_DATA to run this test")
    return folder

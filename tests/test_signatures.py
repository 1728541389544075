"""The check of signatures that tests/conftest.py installs."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import pytest

from pointata_jax.errors import InputError
from pointata_jax.models.adapters import PointVideoAdapter, spatial_neighbors
from pointata_jax.models.p4d import P4DConfig
from pointata_jax.models.point_mae import BackboneConfig
from pointata_jax.ops import knn

CLOUD, WRONG = jnp.zeros((8, 3)), jnp.zeros((8, 2))
TEXT: Any = "wide"
TOKENS, TABLE = jnp.zeros((1, 2, 4, 6)), jnp.zeros((1, 2, 5, 2), jnp.int32)

checked = pytest.mark.skipif(
    os.environ.get("POINTATA_TYPECHECK", "1") == "0", reason="POINTATA_TYPECHECK=0"
)


@checked
@pytest.mark.parametrize(
    "call",
    [
        lambda: knn(CLOUD, WRONG, 1),
        lambda: knn(CLOUD, CLOUD, TEXT),
        lambda: jax.jit(lambda points: knn(CLOUD, points, 1))(WRONG),
        lambda: spatial_neighbors(jnp.zeros((1, 1, 4, 2)), 2),
        lambda: PointVideoAdapter().init(jax.random.key(0), TOKENS, TABLE),
        lambda: PointVideoAdapter(bottleneck=TEXT),
        lambda: BackboneConfig(width=TEXT),
    ],
)
def test_a_call_that_contradicts_the_signature_fails(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()


@checked
def test_an_int_may_stand_for_a_float():
    assert P4DConfig(radius=1).radius == 1


@pytest.mark.wrong_arguments
def test_marked_tests_reach_the_functions_own_error():
    with pytest.raises(InputError, match="points must have shape"):
        knn(CLOUD, WRONG, 1)

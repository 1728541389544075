import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pointata_jax.ops.selection import argmax, top_k

ROWS = npst.arrays(
    np.float32, (3, 17), elements=st.sampled_from([-np.inf, -3.0, -1.0, 0.0, 2.5, 1e30, np.inf])
)


@given(values=ROWS)
@settings(max_examples=50)
def test_the_lowest_index_wins_among_equals(values):
    np.testing.assert_array_equal(argmax(jnp.asarray(values)), np.argmax(values, axis=-1))
    value, index = top_k(jnp.asarray(values), 5)
    expected = np.argsort(-values, axis=-1, kind="stable")[:, :5]
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_array_equal(value, np.take_along_axis(values, expected, -1))


def test_argmax_of_nan_is_an_index():
    assert 0 <= int(argmax(jnp.full(9, jnp.nan))) < 9


def test_top_k_stays_a_top_k_when_its_result_is_sliced():
    """Without the barrier XLA would compile it to a sort of all values."""
    compiled = jax.jit(lambda v: top_k(v, 8)[1][..., :1]).lower(jnp.zeros((64, 512))).compile()
    assert "TopK" in (compiled.as_text() or "")

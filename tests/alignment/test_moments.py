"""Moment matching is exact although maxima and means follow the layer."""

import jax.numpy as jnp
import numpy as np
import pytest

from pointata_jax.alignment import feature_moments, match_last_layer
from pointata_jax.errors import InputError

RNG = np.random.default_rng(0)
HIDDEN = RNG.standard_normal((40, 6, 5, 8)).astype(np.float32)  # units, tokens, tube, hidden
DENSE = {
    "kernel": jnp.asarray(RNG.standard_normal((8, 4)), jnp.float32),
    "bias": jnp.asarray(RNG.standard_normal(4) + 30, jnp.float32),
}
BANK = (jnp.array([9.0, -3.0, 0.0, 100.0]), jnp.array([0.05, 2.0, 1.0, 0.5]))


def unit_features(dense):
    return (HIDDEN @ dense["kernel"] + dense["bias"]).max(2).mean(1)


def test_matched_features_have_the_moments_of_the_bank():
    matched = match_last_layer(DENSE, *feature_moments(unit_features(DENSE)), *BANK)
    features = np.asarray(unit_features(matched))
    np.testing.assert_allclose(features.mean(0), BANK[0], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(features.std(0), BANK[1], rtol=1e-3)
    assert matched["kernel"].dtype == DENSE["kernel"].dtype


def test_constant_channels_are_not_amplified():
    features = np.concatenate([RNG.standard_normal((50, 3)), np.full((50, 1), 7.0)], axis=1)
    _, deviation = feature_moments(jnp.asarray(features))
    np.testing.assert_allclose(deviation[:3], features[:, :3].std(0), rtol=1e-4)
    assert 0.005 < float(deviation[3]) < 0.02


@pytest.mark.wrong_arguments
def test_errors_are_sentences():
    mean, std = jnp.zeros(4), jnp.ones(4)
    with pytest.raises(InputError, match="kernel and bias"):
        match_last_layer({"kernel": DENSE["kernel"]}, mean, std, *BANK)
    with pytest.raises(InputError, match="bank mean has shape"):
        match_last_layer(DENSE, mean, std, jnp.zeros(6), jnp.ones(6))
    with pytest.raises(InputError, match="positive deviations"):
        match_last_layer(DENSE, mean, 0 * std, *BANK)

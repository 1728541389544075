"""Pseudo-classes for targets without labels: k-means."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pointata_jax.alignment.costs import Array, as_float, squared_distances
from pointata_jax.errors import InputError


class Clusters(NamedTuple):
    """k-means result: centres `[k, D]`, labels int32 `[n]`, mean squared distance to the centre."""

    centres: jax.Array
    labels: jax.Array
    inertia: jax.Array


def nearest_centre(features: Array, centres: Array) -> jax.Array:
    """Pseudo-labels int32 `[n]` of features `[n, D]` under given centres `[k, D]`."""
    return squared_distances(features, centres).argmin(1).astype(jnp.int32)


def _seed_centres(key: jax.Array, features: jax.Array, num_clusters: int) -> jax.Array:
    """k-means++: each next centre is drawn with probability proportional to its distance²."""
    keys = jax.random.split(key, num_clusters)
    first = features[jax.random.randint(keys[0], (), 0, features.shape[0])]
    centres = jnp.tile(first, (num_clusters, 1))

    def draw(i, centres):
        # Rows not yet drawn repeat the first centre, and so do not change the minimum.
        distance = squared_distances(features, centres).min(1)
        return centres.at[i].set(features[jax.random.categorical(keys[i], jnp.log(distance))])

    return jax.lax.fori_loop(1, num_clusters, draw, centres)


def _lloyd(features: jax.Array, centres: jax.Array, max_iterations: int) -> Clusters:
    def update(state):
        step, centres, _ = state
        member = jax.nn.one_hot(nearest_centre(features, centres), len(centres), axis=0)
        count = member.sum(1, keepdims=True)
        # A cluster that lost all its members stays where it is.
        moved = jnp.where(count > 0, member @ features / jnp.maximum(count, 1), centres)
        return step + 1, moved, jnp.any(moved != centres)

    start = (jnp.zeros((), jnp.int32), centres, jnp.array(True))
    _, centres, _ = jax.lax.while_loop(lambda s: s[2] & (s[0] < max_iterations), update, start)
    distance = squared_distances(features, centres)
    return Clusters(centres, distance.argmin(1).astype(jnp.int32), distance.min(1).mean())


@functools.partial(jax.jit, static_argnames=("num_clusters", "restarts", "max_iterations"))
def _fit(features, key, num_clusters, restarts, max_iterations) -> Clusters:
    def run(key):
        return _lloyd(features, _seed_centres(key, features, num_clusters), max_iterations)

    runs = jax.lax.map(run, jax.random.split(key, restarts))
    return jax.tree.map(lambda leaf: leaf[runs.inertia.argmin()], runs)


def kmeans(
    features: Array,
    key: jax.Array,
    num_clusters: int = 10,
    *,
    restarts: int = 4,
    max_iterations: int = 100,
) -> Clusters:
    """Clusters features `[n, D]`; the same key gives the same labels.

    Ten pseudo-classes are ORCA's choice for unlabelled targets (Shen et al., ICML 2023).

    Args:
      features: `[n, D]`, standardised.
      key: seeds k-means++.
      num_clusters: number of pseudo-classes k.
      restarts: runs from different seeds; the one with the lowest inertia is kept.
      max_iterations: bound on Lloyd's iterations.

    Raises:
      InputError: fewer features than clusters.
    """
    rows = as_float(features)
    if rows.ndim != 2 or rows.shape[0] < num_clusters or num_clusters < 1:
        raise InputError(
            f"k-means cannot make {num_clusters} pseudo-classes from features of shape "
            f"{rows.shape}: give [n, D] with at least as many features as classes."
        )
    return _fit(rows, key, num_clusters, restarts, max_iterations)

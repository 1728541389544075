"""Pseudo-classes for targets without labels: k-means."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pointata_jax.alignment.costs import Array, as_float, squared_distances
from pointata_jax.errors import InputError


class Clusters(NamedTuple):
    """k-means result: centers `[k, D]`, labels int32 `[n]`, mean squared distance to the center."""

    centers: jax.Array
    labels: jax.Array
    inertia: jax.Array


def nearest_center(features: Array, centers: Array) -> jax.Array:
    """Pseudo-labels int32 `[n]` of features `[n, D]` under given centers `[k, D]`."""
    return squared_distances(features, centers).argmin(1).astype(jnp.int32)


def _seed_centers(key: jax.Array, features: jax.Array, num_clusters: int) -> jax.Array:
    """k-means++: each next center is drawn with probability proportional to its distance²."""
    keys = jax.random.split(key, num_clusters)
    first = features[jax.random.randint(keys[0], (), 0, features.shape[0])]
    centers = jnp.tile(first, (num_clusters, 1))

    def draw(i, centers):
        # Rows not yet drawn repeat the first center, and so do not change the minimum.
        distance = squared_distances(features, centers).min(1)
        return centers.at[i].set(features[jax.random.categorical(keys[i], jnp.log(distance))])

    return jax.lax.fori_loop(1, num_clusters, draw, centers)


def _lloyd(features: jax.Array, centers: jax.Array, max_iterations: int) -> Clusters:
    def update(state):
        step, centers, _ = state
        member = jax.nn.one_hot(nearest_center(features, centers), len(centers), axis=0)
        count = member.sum(1, keepdims=True)
        # A cluster that lost all its members stays where it is.
        moved = jnp.where(count > 0, member @ features / jnp.maximum(count, 1), centers)
        return step + 1, moved, jnp.any(moved != centers)

    start = (jnp.zeros((), jnp.int32), centers, jnp.array(True))
    _, centers, _ = jax.lax.while_loop(lambda s: s[2] & (s[0] < max_iterations), update, start)
    distance = squared_distances(features, centers)
    return Clusters(centers, distance.argmin(1).astype(jnp.int32), distance.min(1).mean())


@functools.partial(jax.jit, static_argnames=("num_clusters", "restarts", "max_iterations"))
def _fit(features, key, num_clusters, restarts, max_iterations) -> Clusters:
    def run(key):
        return _lloyd(features, _seed_centers(key, features, num_clusters), max_iterations)

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

    Ten pseudo-classes are ORCA's choice for unlabeled targets (Shen et al., ICML 2023).

    Args:
      features: `[n, D]`, standardized.
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

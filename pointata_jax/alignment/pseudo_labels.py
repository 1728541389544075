"""Pseudo-classes for targets without labels, by k-means."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Num, PRNGKeyArray

from pointata_jax.alignment.costs import AnyArray, as_float, squared_distances
from pointata_jax.errors import InputError


class Clusters(NamedTuple):
    """Result of k-means.

    Attributes:
      centers: the mean of each cluster.
      labels: index of the nearest center of each feature.
      inertia: mean squared distance of the features to their centers.
    """

    centers: Float[Array, "clusters d"]
    labels: Int32[Array, " n"]
    inertia: Float[Array, ""]


def nearest_center(
    features: Num[AnyArray, "n d"], centers: Num[AnyArray, "clusters d"]
) -> Int32[Array, " n"]:
    """Pseudo-labels: the index of the nearest center of each feature."""
    return squared_distances(features, centers).argmin(1).astype(jnp.int32)


def _seed_centers(
    key: PRNGKeyArray, features: Float[Array, "n d"], num_clusters: int
) -> Float[Array, "clusters d"]:
    """k-means++: each next center is drawn with probability proportional to its distance²."""
    keys = jax.random.split(key, num_clusters)
    first = features[jax.random.randint(keys[0], (), 0, features.shape[0])]
    centers = jnp.tile(first, (num_clusters, 1))

    def draw(i, centers):
        # Rows that are not drawn yet repeat the first center, so they do not change the minimum.
        distance = squared_distances(features, centers).min(1)
        return centers.at[i].set(features[jax.random.categorical(keys[i], jnp.log(distance))])

    return jax.lax.fori_loop(1, num_clusters, draw, centers)


def _lloyd(
    features: Float[Array, "n d"], centers: Float[Array, "clusters d"], max_iterations: int
) -> Clusters:
    """Lloyd's iterations from given centers until no center moves."""

    def update(state):
        step, centers, _ = state
        member = jax.nn.one_hot(nearest_center(features, centers), len(centers), axis=0)
        count = member.sum(1, keepdims=True)
        # The center of a cluster without members does not move.
        moved = jnp.where(count > 0, member @ features / jnp.maximum(count, 1), centers)
        return step + 1, moved, jnp.any(moved != centers)

    start = (jnp.zeros((), jnp.int32), centers, jnp.array(True))
    _, centers, _ = jax.lax.while_loop(lambda s: s[2] & (s[0] < max_iterations), update, start)
    distance = squared_distances(features, centers)
    return Clusters(centers, distance.argmin(1).astype(jnp.int32), distance.min(1).mean())


@functools.partial(jax.jit, static_argnames=("num_clusters", "restarts", "max_iterations"))
def _fit(
    features: Float[Array, "n d"],
    key: PRNGKeyArray,
    num_clusters: int,
    restarts: int,
    max_iterations: int,
) -> Clusters:
    def run(key):
        return _lloyd(features, _seed_centers(key, features, num_clusters), max_iterations)

    runs = jax.lax.map(run, jax.random.split(key, restarts))
    return jax.tree.map(lambda leaf: leaf[runs.inertia.argmin()], runs)


def kmeans(
    features: Num[AnyArray, "n d"],
    key: PRNGKeyArray,
    num_clusters: int = 10,
    *,
    restarts: int = 4,
    max_iterations: int = 100,
) -> Clusters:
    """Clusters features by k-means. The same key gives the same labels.

    Ten pseudo-classes are ORCA's choice for unlabeled targets (Shen et al., ICML 2023).

    Args:
      features: standardized features.
      key: randomness of k-means++.
      num_clusters: number of pseudo-classes.
      restarts: runs from different seeds; the one with the lowest inertia is kept.
      max_iterations: bound on Lloyd's iterations.

    Raises:
      InputError: fewer features than clusters.
    """
    rows = as_float(features)
    if rows.ndim != 2 or rows.shape[0] < num_clusters or num_clusters < 1:
        raise InputError(
            f"k-means cannot make {num_clusters} pseudo-classes from features of shape "
            f"{rows.shape}: give [n, d] with at least as many features as classes."
        )
    return _fit(rows, key, num_clusters, restarts, max_iterations)

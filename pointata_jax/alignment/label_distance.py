"""Distances between labels: 2-Wasserstein distances between the Gaussians of the classes.

The optimal-transport dataset distance (OTDD, Alvarez-Melis & Fusi, NeurIPS 2020) replaces a label
by the distribution of the features that carry it. With Gaussian classes,

  W² = |μ - μ'|² + Bures²,   Bures² = tr Σ + tr Σ' - 2 tr (Σ^½ Σ' Σ^½)^½.

A class in a batch has far fewer samples than features have dimensions. Σ is then singular, and its
matrix root is slow and numerically unsafe. With the centered samples over √n as rows of A and B
(Σ = AᵀA, Σ' = BᵀB) the last trace is the nuclear norm of the small matrix A Bᵀ, which needs no
matrix root.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from pointata_jax.alignment.costs import PRECISION, AnyArray, as_float, squared_distances
from pointata_jax.errors import InputError

Covariance = Literal["full", "diagonal", "none"]
"""The part of Σ that is compared, besides the class mean."""

COVARIANCES: tuple[Covariance, ...] = ("full", "diagonal", "none")


class ClassGaussians(NamedTuple):
    """Gaussians of a set of classes.

    Attributes:
      mean: zero where a class is absent; the only part that carries gradients.
      rows: centered samples over √n; zero rows where a class has fewer samples than rows.
      deviation: standard deviation of every channel.
      count: samples of each class; 0 where it is absent.
    """

    mean: Float[Array, "classes d"]
    rows: Float[Array, "classes rows d"]
    deviation: Float[Array, "classes d"]
    count: Float[Array, " classes"]


def class_capacity(num_samples: int, num_classes: int) -> int:
    """Default for `max_per_class`: twice the number of samples of a class in a balanced set.

    All samples are used unless classes are very unequal, and the cost of a table of label distances
    stays bounded for any number of samples.
    """
    return min(num_samples, 2 * math.ceil(num_samples / num_classes))


def class_gaussians(
    features: Num[AnyArray, "n d"],
    labels: Int[AnyArray, " n"],
    num_classes: int,
    max_per_class: int | None = None,
) -> ClassGaussians:
    """Fits a Gaussian to every class, with static shapes.

    Args:
      features: one row per sample.
      labels: classes in `[0, num_classes)`.
      num_classes: static number of classes; any of them may be absent.
      max_per_class: static number of samples of a class, its first ones, that its covariance is
        computed from; None for `class_capacity`. Means and deviations use all samples.
    """
    features, labels = as_float(features), jnp.asarray(labels)
    capacity = max_per_class or class_capacity(features.shape[0], num_classes)
    capacity = min(capacity, features.shape[0])
    member = jax.nn.one_hot(labels, num_classes, dtype=features.dtype)
    count = member.sum(0)
    share = member / jnp.maximum(count, 1)
    mean = jnp.einsum("nk,nd->kd", share, features, precision=PRECISION)

    # Covariances carry no gradient. The gradient of an SVD is unbounded where singular values
    # repeat, and classes with few samples have repeated zeros.
    frozen, center = jax.lax.stop_gradient((features, mean))
    centered = frozen - center[labels]
    deviation = jnp.sqrt(jnp.einsum("nk,nd->kd", share, centered**2, precision=PRECISION))
    order = jnp.argsort(labels, stable=True)
    start = jnp.searchsorted(labels[order], jnp.arange(num_classes))
    position = jnp.arange(capacity)
    picked = order[jnp.minimum(start[:, None] + position, features.shape[0] - 1)]
    used = jnp.clip(count, 1, capacity)[:, None]
    rows = jnp.where((position < count[:, None])[..., None], centered[picked], 0)
    rows = rows / jnp.sqrt(used)[..., None]
    return ClassGaussians(mean, rows, deviation, count)


def _squared_bures(a: ClassGaussians, b: ClassGaussians) -> Float[Array, "classes_a classes_b"]:
    rows_a, rows_b = (_compress(rows) for rows in (a.rows, b.rows))
    trace_a, trace_b = (jnp.square(rows).sum((1, 2)) for rows in (rows_a, rows_b))
    cross = jnp.einsum("apd,bqd->abpq", rows_a, rows_b, precision=PRECISION)
    nuclear = _nuclear_norms(cross)
    return jnp.maximum(trace_a[:, None] + trace_b[None, :] - 2 * nuclear, 0)


def _nuclear_norms(matrices: Float[Array, "*batch p q"]) -> Float[Array, "*batch"]:
    """Sums of singular values."""
    return _decompose(lambda m: jnp.linalg.svd(m, compute_uv=False).sum(-1), matrices)


def _decompose(function: Callable[[jax.Array], jax.Array], matrices: jax.Array) -> jax.Array:
    """`function` of each matrix, applied one after the other on a CPU.

    A batched decomposition on a CPU waits for the thread pool that it runs in. Where several
    (simulated) devices decompose at once, all of them deadlock (jaxlib 0.10.2).
    """

    def one_by_one(matrices):
        found = jax.lax.map(function, matrices.reshape(-1, *matrices.shape[-2:]))
        return found.reshape(*matrices.shape[:-2], *found.shape[1:])

    return jax.lax.platform_dependent(matrices, cpu=one_by_one, default=function)


def _compress(rows: Float[Array, "classes rows d"]) -> Float[Array, "classes compressed d"]:
    # With more samples than dimensions, the triangular factor of a QR decomposition has the same
    # AᵀA in D rows, and so the same singular values in A Bᵀ.
    if rows.shape[1] <= rows.shape[2]:
        return rows
    return _decompose(lambda m: jnp.linalg.qr(m, mode="r"), rows)


def gaussian_distances(
    a: ClassGaussians, b: ClassGaussians, covariance: Covariance = "full"
) -> Float[Array, "classes_a classes_b"]:
    """Squared 2-Wasserstein distances between two sets of class Gaussians.

    Gradients flow through the means only. Entries of an absent class are 0.
    """
    if covariance == "full":
        bures = _squared_bures(a, b)
    elif covariance == "diagonal":
        bures = squared_distances(a.deviation, b.deviation)
    elif covariance == "none":
        bures = jnp.zeros(())
    else:
        raise InputError(
            f"Unknown covariance {covariance!r} of the label distance: use one of "
            f"{', '.join(COVARIANCES)}."
        )
    distances = squared_distances(a.mean, b.mean) + jax.lax.stop_gradient(bures)
    present = (a.count[:, None] > 0) & (b.count[None, :] > 0)
    return jnp.where(present, distances, 0)


def gaussian_label_distances(
    features_a: Num[AnyArray, "n d"],
    labels_a: Int[AnyArray, " n"],
    num_a: int,
    features_b: Num[AnyArray, "m d"],
    labels_b: Int[AnyArray, " m"],
    num_b: int,
    *,
    covariance: Covariance = "full",
    max_per_class: int | None = None,
) -> Float[Array, "{num_a} {num_b}"]:
    """Squared 2-Wasserstein distances between the classes of two labeled sets.

    Source: Gaussian label term of OTDD (Alvarez-Melis & Fusi, NeurIPS 2020).

    Args:
      features_a: features of the first set.
      labels_a: its classes, in `[0, num_a)`.
      num_a: static number of classes of the first set; classes may be absent.
      features_b: features of the second set.
      labels_b: its classes, in `[0, num_b)`.
      num_b: static number of classes of the second set; classes may be absent.
      covariance: "full" (nuclear-norm Bures), "diagonal", or "none" (means only).
      max_per_class: see `class_gaussians`.

    Returns:
      Distances in squared units of the features; gradients flow through the means only.

    Raises:
      InputError: an unknown `covariance`.
    """
    return gaussian_distances(
        class_gaussians(features_a, labels_a, num_a, max_per_class),
        class_gaussians(features_b, labels_b, num_b, max_per_class),
        covariance,
    )

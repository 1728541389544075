"""The source bank: features of labeled 3D shapes, made once by the frozen 3D embedder."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pointata_jax.alignment.costs import Array, as_float
from pointata_jax.alignment.moments import feature_moments
from pointata_jax.data.array_files import read_arrays
from pointata_jax.errors import InputError

if TYPE_CHECKING:
    from pointata_jax.models.point_mae import BackboneConfig

FORMAT = "pointata_jax.source_bank/1"
MIN_PER_CLASS = 2
"""Samples a class needs to have a covariance (OTDD's own limit)."""


@dataclasses.dataclass(frozen=True, eq=False)
class SourceBank:
    """Labeled features of 3D shapes that a target is aligned to.

    Attributes:
      features: float32 `[S, D]`, one row per shape: the mean of its tokens before the blocks.
      labels: int32 `[S]` in `[0, len(class_names))`; every class has two shapes or more.
      class_names: names of the classes.
      provenance: where features come from (shapes, backbone, license …); JSON values only.

    Raises:
      InputError: if any of this does not hold.
    """

    features: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        features = np.asarray(self.features, np.float32)
        labels = np.asarray(self.labels)
        names = tuple(str(name) for name in self.class_names)
        if features.ndim != 2 or labels.shape != features.shape[:1] or not features.size:
            raise InputError(
                f"A source bank needs features [S, D] and labels [S]; it got {features.shape} and "
                f"{labels.shape}."
            )
        if not np.isfinite(features).all():
            raise InputError(
                "The source bank holds features that are not finite: check the shapes and the "
                "backbone that made them."
            )
        if not np.issubdtype(labels.dtype, np.integer):
            raise InputError(f"Labels of a source bank are integers, not {labels.dtype}.")
        if labels.min() < 0 or labels.max() >= len(names):
            raise InputError(
                f"Labels of the source bank run from {labels.min()} to {labels.max()}, but it "
                f"names {len(names)} classes."
            )
        counts = np.bincount(labels, minlength=len(names))
        small = [names[i] for i in np.flatnonzero(counts < MIN_PER_CLASS)]
        if small:
            raise InputError(
                f"Classes of a source bank need at least {MIN_PER_CLASS} shapes; too few in: "
                f"{', '.join(small)}. Drop them or add shapes."
            )
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "labels", labels.astype(np.int32))
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "provenance", dict(self.provenance))

    @property
    def width(self) -> int:
        """Feature width D."""
        return self.features.shape[1]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def standardization(self) -> tuple[jax.Array, jax.Array]:
        """The fixed mean `[D]` and deviation `[D]` that both sides are standardized by.

        Deviations are floored (see `moments.feature_moments`), so they are never zero.
        """
        return feature_moments(self.features)

    def check_width(self, width: int) -> None:
        """InputError unless the bank's features are `width` wide."""
        if self.width != width:
            raise InputError(
                f"The source bank has features of width {self.width} but the model has width "
                f"{width}: use the bank made by the same backbone."
            )


def standardize(features: Array, bank: SourceBank) -> jax.Array:
    """Features `[..., D]` in units of the bank: less its mean, over its deviation; float32."""
    bank.check_width(features.shape[-1])
    mean, deviation = bank.standardization()
    return (as_float(features) - mean) / deviation


@functools.partial(jax.jit, static_argnames=("num_classes", "n"))
def _balanced_indices(key, labels, num_classes: int, n: int) -> jax.Array:
    key_member, key_class = jax.random.split(key)
    # Shapes sorted by class, in random order inside each.
    order = jnp.lexsort((jax.random.uniform(key_member, labels.shape), labels))
    bounds = jnp.searchsorted(labels[order], jnp.arange(num_classes + 1))
    start, count = bounds[:-1], bounds[1:] - bounds[:-1]
    turn = jnp.arange(math.ceil(n / num_classes))[:, None]
    picked = order[start + turn % count]
    # Which classes are served in the last, incomplete turn is random.
    picked = picked[:, jax.random.permutation(key_class, num_classes)]
    return picked.reshape(-1)[:n].astype(jnp.int32)


def sample_source(bank: SourceBank, key: jax.Array, n: int) -> jax.Array:
    """Class-balanced indices int32 `[n]` into the bank.

    Class counts differ by one at most; a shape repeats only where its class has fewer shapes than
    the class has to give.
    """
    if n < 1:
        raise InputError(f"A sample of the source bank needs at least one shape, not {n}.")
    return _balanced_indices(key, jnp.asarray(bank.labels), bank.num_classes, n)


def build_source_bank(
    backbone_config: BackboneConfig,
    variables: Mapping[str, Any],
    shapes: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    batch_size: int = 32,
    provenance: Mapping[str, Any] | None = None,
) -> SourceBank:
    """Embeds labeled shapes with the frozen 3D embedder; a row is the mean over a shape's tokens.

    Args:
      backbone_config: architecture of the backbone.
      variables: its {"params", "batch_stats"}.
      shapes: float32 `[S, N, 3]`, centered, in the unit sphere as in pre-training.
      labels: int `[S]` in `[0, len(class_names))`.
      class_names: names; classes with fewer than two shapes are dropped, the others keep their
        order, and the names of the dropped ones go to `provenance["dropped_classes"]`.
      batch_size: shapes embedded at a time.
      provenance: what to record about the shapes and the backbone; JSON values.

    Raises:
      InputError: shapes of another form, not finite, or far from unit size.
    """
    from pointata_jax.models.batches import in_batches
    from pointata_jax.models.point_mae import Backbone

    shapes = np.asarray(shapes, np.float32)
    labels = np.asarray(labels)
    channels = backbone_config.input_channels
    if shapes.ndim != 3 or shapes.shape[2] != channels or labels.shape != shapes.shape[:1]:
        raise InputError(
            f"A source bank is built from shapes [S, N, {channels}] and labels [S]; it got "
            f"{shapes.shape} and {labels.shape}."
        )
    fewest = max(backbone_config.num_groups, backbone_config.group_size)
    if shapes.shape[1] < fewest:
        raise InputError(
            f"Shapes have {shapes.shape[1]} points, but the backbone cuts them into "
            f"{backbone_config.num_groups} groups of {backbone_config.group_size}: sample at least "
            f"{fewest}."
        )
    if labels.size and (labels.min() < 0 or labels.max() >= len(class_names)):
        raise InputError(
            f"Labels of the shapes run from {labels.min()} to {labels.max()}, but there are "
            f"{len(class_names)} class names."
        )
    counts = np.bincount(labels, minlength=len(class_names))
    kept = np.flatnonzero(counts >= MIN_PER_CLASS).tolist()
    if not kept:
        raise InputError(f"No class has {MIN_PER_CLASS} shapes: a source bank cannot be built.")
    chosen = np.isin(labels, kept)
    shapes, labels = shapes[chosen], np.searchsorted(kept, labels[chosen])
    if not np.isfinite(shapes).all():
        raise InputError("Shapes hold coordinates that are not finite: clean them first.")
    radius = float(np.median(np.linalg.norm(shapes[..., :3], axis=-1).max(1)))
    if not 0.5 <= radius <= 2.0:
        raise InputError(
            f"Shapes have a median radius of {radius:.3g}, but the backbone was trained in the "
            "unit sphere: center every shape and divide it by its largest radius."
        )

    @jax.jit
    def embed(points):
        tokens, _ = Backbone(backbone_config).apply(variables, points, method="embed")
        return tokens.astype(jnp.float32).mean(-2)

    features = in_batches(embed, shapes, batch_size)
    record = dict(provenance or {}) | {"backbone": backbone_config.to_dict()}
    dropped = [str(class_names[i]) for i in range(len(counts)) if 0 < counts[i] < MIN_PER_CLASS]
    if dropped:
        record["dropped_classes"] = dropped
    return SourceBank(features, labels, tuple(class_names[i] for i in kept), record)


def save_source_bank(path: str | os.PathLike, bank: SourceBank) -> None:
    """Writes a bank as one `.npz` (no pickled objects), atomically."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            format=np.array(FORMAT),
            features=bank.features,
            labels=bank.labels,
            class_names=np.array(bank.class_names),
            provenance=np.array(json.dumps(dict(bank.provenance))),
        )
    os.replace(partial, path)


def load_source_bank(path: str | os.PathLike, width: int | None = None) -> SourceBank:
    """Reads a bank; never unpickles.

    Args:
      path: the `.npz` file.
      width: the model's token width, to be checked against the bank's; None to skip.

    Raises:
      InputError: the file is missing, damaged, of another kind, or of another width.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"Source bank {path} does not exist: give the path of a bank, or make one with "
            "`python -m experiments.pretrain`."
        )
    names = ("format", "features", "labels", "class_names", "provenance")
    arrays = read_arrays(
        path,
        names,
        damaged="Source bank {path} cannot be read ({why}): it is damaged or cut short; make or "
        "fetch it again.",
    )
    if len(arrays) < len(names) or str(arrays["format"]) != FORMAT:
        raise InputError(
            f"{path} is not a source bank of this library (expected the arrays {', '.join(names)} "
            f"and the format '{FORMAT}')."
        )
    try:
        provenance = json.loads(str(arrays["provenance"]))
    except ValueError as error:
        raise InputError(
            f"Source bank {path} is damaged: its provenance is no JSON ({error}); make or fetch "
            "it again."
        ) from None
    features, labels, class_names = (arrays[name] for name in names[1:4])
    if (
        features.dtype.kind not in "fiu"
        or class_names.ndim != 1
        or not isinstance(provenance, dict)
    ):
        raise InputError(
            f"Source bank {path} is damaged: features are {features.dtype}, class names have shape "
            f"{class_names.shape} and the provenance is a {type(provenance).__name__}; make or "
            "fetch it again."
        )
    try:
        bank = SourceBank(features, labels, tuple(class_names.tolist()), provenance)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if width is not None:
        bank.check_width(width)
    return bank

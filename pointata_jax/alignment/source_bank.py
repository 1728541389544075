"""The source bank: features of labeled 3D shapes, computed once by the frozen 3D embedder."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int32, Num, PRNGKeyArray

from pointata_jax.alignment.costs import AnyArray, as_float
from pointata_jax.alignment.moments import feature_moments
from pointata_jax.data.array_files import read_arrays
from pointata_jax.errors import InputError
from pointata_jax.models.batches import in_batches
from pointata_jax.models.point_mae import Backbone, BackboneConfig

FORMAT = "pointata_jax.source_bank/1"
MIN_PER_CLASS = 2
"""Samples that a class needs to have a covariance."""


@dataclasses.dataclass(frozen=True, eq=False)
class SourceBank:
    """Labeled features of 3D shapes that a target is aligned to.

    Attributes:
      features: one row per shape, the mean of its tokens before the blocks; stored as float32.
      labels: classes in `[0, len(class_names))`, two shapes or more in each; stored as int32.
      class_names: names of the classes.
      provenance: where features come from (shapes, backbone, license …); JSON values only.

    Raises:
      InputError: a field that is not as described.
    """

    features: Num[np.ndarray, "n d"]
    labels: Int[np.ndarray, " n"]
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
                f"Classes of a source bank need at least {MIN_PER_CLASS} shapes, and there are too "
                f"few in: {', '.join(small)}. Drop these classes or add shapes."
            )
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "labels", labels.astype(np.int32))
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "provenance", dict(self.provenance))

    @property
    def width(self) -> int:
        """Number of channels of a feature."""
        return self.features.shape[1]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def standardization(self) -> tuple[Float32[Array, " d"], Float32[Array, " d"]]:
        """The fixed mean and deviation that source and target are standardized by.

        Deviations have a lower bound (see `moments.feature_moments`), so they are never zero.
        """
        return feature_moments(self.features)

    def check_width(self, width: int) -> None:
        """Raises InputError unless the bank's features have `width` channels."""
        if self.width != width:
            raise InputError(
                f"The source bank has features of width {self.width} but the model has width "
                f"{width}: use the bank made by the same backbone."
            )


def standardize(features: Num[AnyArray, "*batch d"], bank: SourceBank) -> Float[Array, "*batch d"]:
    """Features minus the mean of the bank, divided by its deviation; float32 or wider."""
    bank.check_width(features.shape[-1])
    mean, deviation = bank.standardization()
    return (as_float(features) - mean) / deviation


@functools.partial(jax.jit, static_argnames=("num_classes", "n"))
def _balanced_indices(
    key: PRNGKeyArray, labels: Int[Array, " shapes"], num_classes: int, n: int
) -> Int32[Array, " {n}"]:
    key_member, key_class = jax.random.split(key)
    # Shapes sorted by class, in random order within each class.
    order = jnp.lexsort((jax.random.uniform(key_member, labels.shape), labels))
    bounds = jnp.searchsorted(labels[order], jnp.arange(num_classes + 1))
    start, count = bounds[:-1], bounds[1:] - bounds[:-1]
    round_index = jnp.arange(math.ceil(n / num_classes))[:, None]
    picked = order[start + round_index % count]
    # The last round may be incomplete, so the order of the classes is random.
    picked = picked[:, jax.random.permutation(key_class, num_classes)]
    return picked.reshape(-1)[:n].astype(jnp.int32)


def sample_source(bank: SourceBank, key: PRNGKeyArray, n: int) -> Int32[Array, " {n}"]:
    """Class-balanced random indices into the bank.

    Class counts differ by at most one. A shape repeats only if more shapes of its class are drawn
    than the class has.
    """
    if n < 1:
        raise InputError(f"A sample of the source bank needs at least one shape, not {n}.")
    return _balanced_indices(key, jnp.asarray(bank.labels), bank.num_classes, n)


def build_source_bank(
    backbone_config: BackboneConfig,
    variables: Mapping[str, Any],
    shapes: Num[np.ndarray, "shapes n c"],
    labels: Int[np.ndarray, " shapes"],
    class_names: Sequence[str],
    batch_size: int = 32,
    provenance: Mapping[str, Any] | None = None,
) -> SourceBank:
    """Embeds labeled shapes with the frozen 3D embedder; a row is the mean over a shape's tokens.

    Args:
      backbone_config: architecture of the backbone.
      variables: its {"params", "batch_stats"}.
      shapes: points of each shape, centered, in the unit sphere as in pre-training.
      labels: classes in `[0, len(class_names))`.
      class_names: names of the classes. Classes with fewer than two shapes are dropped and named in
        `provenance["dropped_classes"]`; the others keep their order.
      batch_size: number of shapes that are embedded at once.
      provenance: facts to record about the shapes and the backbone; JSON values.

    Raises:
      InputError: shapes that have another number of axes or channels, too few points, coordinates
        that are not finite, or a size far from the unit sphere; labels without a class name; no
        class with two shapes.
    """
    shapes = np.asarray(shapes, np.float32)
    labels = np.asarray(labels)
    channels = backbone_config.input_channels
    # A backbone with constants for its further channels also takes bare coordinates.
    widths = (3, channels) if backbone_config.channel_constants else (channels,)
    if shapes.ndim != 3 or shapes.shape[2] not in widths or labels.shape != shapes.shape[:1]:
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
    """Writes a bank atomically as one `.npz` without pickled objects."""
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
    """Reads a bank without unpickling anything.

    Args:
      path: the `.npz` file.
      width: the model's token width, to check against the bank's; None to skip the check.

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
            f"Source bank {path} is damaged: its provenance is not JSON ({error}); make or fetch "
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

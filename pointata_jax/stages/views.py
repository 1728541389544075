"""Augmented partial views of static shapes, as pre-training sees them.

A video shows a shape from one side, in part, with few points, noisy and turned. A view is made like
that: a cut or a depth camera removes a part of the shape, points are sampled from the rest, and
scale, mirror, rotation and noise follow.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from pointata_jax.errors import InputError

# Points of a shape whose heights stand for all of them where a cut is placed: exact quantiles need
# a sort, which costs as much as all the rest of a view.
_QUANTILE_SAMPLE = 256


@dataclasses.dataclass(frozen=True)
class ViewConfig:
    """How a view is made.

    Attributes:
      num_points: points of a view.
      crop_probability: share of the views from which a half-space cut removes a part.
      min_kept: smallest share of the points that a cut leaves.
      one_sided_probability: share of the views that show what a depth camera would see, instead of
        a cut.
      sparse_probability: share of the views that have fewer different points, which are repeated.
      fewest_points: smallest number of different points of such views.
      yaw_jitter: in radians, the largest rotation of a view about the up axis.
      any_rotation_probability: share of the views that are rotated at random in addition.
      scale_range: range of the per-axis scale.
      jitter_std: standard deviation of the noise on coordinates (unit-sphere units).
      max_jitter_std: each view draws its deviation between `jitter_std` and this; 0: all have
        `jitter_std`.
    """

    num_points: int = 1024
    crop_probability: float = 0.7
    min_kept: float = 0.5
    one_sided_probability: float = 0.0
    sparse_probability: float = 0.0
    fewest_points: int = 64
    yaw_jitter: float = 0.26
    any_rotation_probability: float = 0.0
    scale_range: tuple[float, float] = (0.7, 1.2)
    jitter_std: float = 0.005
    max_jitter_std: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            share = getattr(self, field.name)
            if field.name.endswith("_probability") and not 0 <= share <= 1:
                raise InputError(f"{field.name} is {share}: give a share from 0 to 1.")
        if self.num_points < 1 or self.fewest_points < 1:
            raise InputError(
                f"num_points is {self.num_points} and fewest_points {self.fewest_points}: give "
                "positive numbers."
            )


def seen_from(
    points: Float[Array, "n 3"],
    direction: Float[Array, 3],
    cells: int = 24,
    tolerance: float = 0.12,
) -> Bool[Array, " n"]:
    """Which points a depth camera sees, looking along `direction` from far away.

    The image has `cells` x `cells` pixels over the bounding square of the shape. A pixel sees its
    first point, and all points less than `tolerance` of the side of that square behind it.

    Args:
      points: the shape.
      direction: unit vector, from the camera into the scene.
      cells: pixels along each side.
      tolerance: see above.
    """
    # Any vector that is not parallel to the direction spans the image with it.
    helper = jnp.where(jnp.abs(direction[1]) < 0.9, jnp.array([0.0, 1.0, 0.0]), jnp.eye(3)[0])
    right = jnp.cross(helper, direction)
    right = right / jnp.linalg.norm(right)
    image = points @ jnp.stack([right, jnp.cross(direction, right)], axis=1)
    low = image.min(0)
    side = jnp.maximum((image.max(0) - low).max(), 1e-9)
    pixel = jnp.clip(((image - low) / side * cells).astype(jnp.int32), 0, cells - 1)
    pixel = pixel[:, 0] * cells + pixel[:, 1]
    depth = points @ direction
    first = jax.ops.segment_min(depth, pixel, num_segments=cells * cells)
    return depth <= first[pixel] + tolerance * side


def spread_sample(
    key: Key[Array, ""], mask: Bool[Array, " n"], count: int, different: Array | int
) -> Array:
    """Indices `[count]` of points where `mask` is true, spread evenly over their order.

    The points of the mask are cut into `different` runs of equal length, and one is drawn of each.
    So shapes whose points follow a space-filling curve are covered evenly. A mask with fewer points
    gives each of them several times.

    Args:
      key: randomness.
      mask: at least one point.
      count: number of indices.
      different: number of draws; where it is below `count`, the draws are repeated in turn.
    """
    run = jnp.arange(count) % different
    total = mask.sum()
    place = (run + jax.random.uniform(key, (count,))[run]) * total / different
    rank = jnp.minimum(place.astype(jnp.int32), total - 1)
    return jnp.searchsorted(jnp.cumsum(mask), rank + 1)


def random_rotation(key: Key[Array, ""]) -> Float[Array, "3 3"]:
    """A rotation matrix, uniform over all rotations (from a random unit quaternion)."""
    w, x, y, z = (q := jax.random.normal(key, (4,))) / jnp.linalg.norm(q)
    return jnp.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def partial_view(
    key: Key[Array, ""],
    points: Float[Array | np.ndarray, "n 3"],
    angle: Array | float,
    config: ViewConfig,
) -> Float[Array, "{config.num_points} 3"]:
    """One augmented view of a shape, back in the unit sphere.

    A half-space cut or a depth camera leaves a part of the shape. Then come scale per axis, mirror,
    a rotation about the up axis (y) by `angle` and up to `config.yaw_jitter` more, and noise.

    Args:
      key: randomness.
      points: the shape, y up.
      angle: in radians.
      config: what is drawn how often.
    """
    points = jnp.asarray(points)
    purposes = "cut kept kind camera sample sparse scale mirror yaw turn level noise".split()
    keys = dict(zip(purposes, jax.random.split(key, len(purposes)), strict=True))

    normal = jax.random.normal(keys["cut"], (3,))
    height = points @ (normal / jnp.linalg.norm(normal))
    is_cut, is_one_sided, is_sparse, is_turned = jax.random.uniform(keys["kind"], (4,)) < jnp.array(
        [
            config.crop_probability,
            config.one_sided_probability,
            config.sparse_probability,
            config.any_rotation_probability,
        ]
    )
    kept = jax.random.uniform(keys["kept"], minval=config.min_kept, maxval=1.0)
    sample = height[:: -(-len(points) // _QUANTILE_SAMPLE)]
    mask = ~is_cut | (height >= jnp.quantile(sample, 1.0 - kept))
    if config.one_sided_probability:
        # From all around, and from below the horizon to steeply above it.
        low, high = jnp.radians(jnp.array([[0.0, -15.0], [360.0, 60.0]]))
        azimuth, elevation = jax.random.uniform(keys["camera"], (2,), minval=low, maxval=high)
        flat = jnp.cos(elevation)
        direction = -jnp.array(
            [flat * jnp.cos(azimuth), jnp.sin(elevation), flat * jnp.sin(azimuth)]
        )
        mask = jnp.where(is_one_sided, seen_from(points, direction), mask)
    # The number of different points is uniform on a logarithmic scale.
    share = jax.random.uniform(keys["sparse"])
    fewest = min(config.fewest_points, config.num_points)
    few = fewest * (config.num_points / fewest) ** share
    different = jnp.where(is_sparse, few.astype(jnp.int32), config.num_points)
    order = jnp.arange(config.num_points) % different
    view = points[spread_sample(keys["sample"], mask, config.num_points, different)]

    low, high = config.scale_range
    scale = jax.random.uniform(keys["scale"], (3,), minval=low, maxval=high)
    scale = scale.at[0].multiply(jnp.where(jax.random.bernoulli(keys["mirror"]), 1.0, -1.0))
    jitter = config.yaw_jitter
    angle = angle + jax.random.uniform(keys["yaw"], minval=-jitter, maxval=jitter)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rotation = jnp.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    if config.any_rotation_probability:
        turn = random_rotation(keys["turn"])
        rotation = jnp.where(is_turned, rotation @ turn, rotation)
    view = (view * scale) @ rotation
    most = max(config.jitter_std, config.max_jitter_std)
    level = jax.random.uniform(keys["level"], minval=config.jitter_std, maxval=most)
    # Copies of a point stay copies.
    view = view + level * jax.random.normal(keys["noise"], view.shape)[order]
    view = view - view.mean(0)
    return view / jnp.sqrt(jnp.square(view).sum(-1).max())

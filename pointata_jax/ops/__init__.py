"""Pure functions on point clouds: static shapes, any leading axes, safe under jit and grad."""

from pointata_jax.ops.interpolation import three_nn_interpolate
from pointata_jax.ops.neighbors import ball_query, gather, knn
from pointata_jax.ops.pooling import PLACES, neighbor_max
from pointata_jax.ops.repeats import repeated_points
from pointata_jax.ops.sampling import farthest_point_sample

__all__ = [
    "PLACES",
    "ball_query",
    "farthest_point_sample",
    "gather",
    "knn",
    "neighbor_max",
    "repeated_points",
    "three_nn_interpolate",
]

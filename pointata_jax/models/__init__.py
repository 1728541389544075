"""Flax modules: the 3D backbone, the video embedder, the adapters, heads and the whole model.

Import from the file that a name lives in (`pointata_jax.models.pointata`, …); the names that most
users need are also attributes of `pointata_jax`.
"""

"""Losses and scores of the tasks, one module per kind of label."""

from pointata_jax.tasks import action_segmentation, recognition, semantic_segmentation

SCORES = {
    "clip": recognition.score,
    "frame": action_segmentation.score,
    "point": semantic_segmentation.score,
}
"""Score functions by kind of label (`data.schema.Kind`)."""

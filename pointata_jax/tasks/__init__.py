"""What a task is: its labels, loss and metric, one file per kind of label."""

from pointata_jax.tasks import action_segmentation, recognition, semantic_segmentation

SCORES = {
    "clip": recognition.score,
    "frame": action_segmentation.score,
    "point": semantic_segmentation.score,
}
"""Scoring by the kind of label (`data.schema.Kind`)."""

"""Pictures: clips to play in a browser, figures of clips and comparisons, reports of runs."""

from pointata_jax.viz.video import video_html

__all__ = ["video_html"]

"""The figure at the top of README: `python -m pointata_jax.viz.overview docs/overview.png`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from pointata_jax.data.clips import normalize_clip
from pointata_jax.procedural import capsules, figures
from pointata_jax.viz.clips import draw_frame, project

_FROZEN, _TRAINED, _INK = "#cfe3f5", "#ffd9a8", "#333333"


def example_clip(num_frames: int = 24, num_points: int = 700) -> np.ndarray:
    """A procedural clip `[T, N, 3]` of a jumping jack, as in `synthetic_actions`."""
    who = figures.subject(3)
    joints = figures.animate("jumping_jack", who, capsules.frame_rng(5), num_frames)
    frames = [
        capsules.depth_view(
            pose, figures.PARENTS, who.radii, num_points, capsules.frame_rng(5, t), noise=0.001
        )[0]
        for t, pose in enumerate(joints)
    ]
    return normalize_clip(np.stack(frames))


def _box(axes: Any, x: float, width: float, text: str, color: str, y: float = 0.0) -> None:
    from matplotlib.patches import FancyBboxPatch

    shape = FancyBboxPatch(
        (x, y), width, 0.8, boxstyle="round,pad=0.02,rounding_size=0.08", fc=color, ec=_INK, lw=0.8
    )
    axes.add_patch(shape)
    axes.text(x + width / 2, y + 0.4, text, ha="center", va="center", fontsize=8.5, color=_INK)


def overview() -> Any:
    """Draws an overview of the method, a matplotlib figure."""
    import jax.numpy as jnp
    from matplotlib.figure import Figure

    from pointata_jax.models.p4d import anchor_centers

    clip = example_clip()
    shown = [0, 4, 8, 12, 16, 20]
    centers = np.asarray(anchor_centers(jnp.asarray(clip[shown]), 16))
    figure = Figure(figsize=(9.2, 3.4), layout="constrained")
    grid = figure.add_gridspec(2, len(shown), height_ratios=(1.25, 1))
    limit = float(np.abs(project(clip)[0]).max()) * 1.05
    for column, frame in enumerate(shown):
        axes = figure.add_subplot(grid[0, column])
        draw_frame(axes, clip[frame], centers=centers[column], limit=limit)
        axes.set_title(f"frame {frame}", fontsize=8, color=_INK)
    axes = figure.add_subplot(grid[1, :])
    axes.set(xlim=(-0.1, 12.3), ylim=(-0.75, 1.75))
    axes.axis("off")
    steps = (
        (0.0, 1.7, "clip\n[T, N, 3+C]", "white"),
        (2.1, 2.4, "P4D embedder\ntubes → tokens", _TRAINED),
        (4.9, 3.5, "frozen 3D block × depth\n+ PVA (time) + SCE (space)", _FROZEN),
        (8.8, 1.5, "head", _TRAINED),
        (10.7, 1.4, "class", "white"),
    )
    for x, width, text, color in steps:
        _box(axes, x, width, text, color)
    for (x, width, *_), (following, *_) in zip(steps, steps[1:], strict=False):
        axes.annotate(
            "",
            (following - 0.05, 0.4),
            (x + width + 0.05, 0.4),
            arrowprops={"arrowstyle": "->", "color": _INK},
        )
    axes.text(
        3.3, 1.25, "stage 1: aligned by optimal\ntransport with 3D shape tokens", ha="center",
        va="center", fontsize=8, color=_INK,
    )  # fmt: skip
    axes.text(
        6.65, 1.25, "stage 2: only the orange parts and\nthe adapters inside the blocks train",
        ha="center", va="center", fontsize=8, color=_INK,
    )  # fmt: skip
    axes.text(0, -0.45, "○ token centers on anchor frames", fontsize=8, color="crimson")
    return figure


if __name__ == "__main__":
    overview().savefig(sys.argv[1], dpi=140)

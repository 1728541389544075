"""Pictures of clips and of what the embedder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# A camera a little to the side and above, for clips with y up.
_SIDE, _ABOVE = np.deg2rad(25.0), np.deg2rad(15.0)


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points `[..., 3]` (y up) as picture coordinates `[..., 2]` and depth `[...]`."""
    cos, sin = np.cos(_SIDE), np.sin(_SIDE)
    across = cos * points[..., 0] + sin * points[..., 2]
    away = -sin * points[..., 0] + cos * points[..., 2]
    cos, sin = np.cos(_ABOVE), np.sin(_ABOVE)
    return np.stack([across, cos * points[..., 1] + sin * away], -1), away


def draw_frame(
    axes: Any, points: np.ndarray, *, centers: np.ndarray | None = None, limit: float = 1.0
) -> None:
    """Draws one frame `[N, 3+C]`, colored by depth, with token centers `[n, 3]` where given."""
    picture, depth = project(points[:, :3])
    order = np.argsort(-depth)
    axes.scatter(*picture[order].T, c=depth[order], s=2.0, cmap="viridis", linewidths=0)
    if centers is not None:
        axes.scatter(*project(centers)[0].T, s=18, c="none", edgecolors="crimson", linewidths=0.9)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.axis("off")


def plot_clip(
    clip: np.ndarray,
    *,
    frames: Sequence[int] | None = None,
    centers: np.ndarray | None = None,
    title: str = "",
) -> Any:
    """A row of frames of one normalized clip.

    Args:
      clip: `[T, N, 3+C]`, y up.
      frames: which frames to show; None for six spread evenly.
      centers: token centers `[len(frames), n, 3]`.
      title: above the row.

    Returns:
      A matplotlib figure.
    """
    from matplotlib.figure import Figure

    shown = list(np.linspace(0, len(clip) - 1, 6).round().astype(int) if frames is None else frames)
    figure = Figure(figsize=(1.7 * len(shown), 2.1), layout="constrained")
    limit = float(np.abs(project(clip[..., :3])[0]).max()) * 1.05
    for column, frame in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), column + 1)
        own = None if centers is None else centers[column]
        draw_frame(axes, clip[frame], centers=own, limit=limit)
        axes.set_title(f"frame {frame}", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure

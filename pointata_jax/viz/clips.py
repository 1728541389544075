"""Figures of clips, with the token centers of the embedder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

# Direction of the camera, for clips with y up.
_AZIMUTH, _ELEVATION = np.deg2rad(25.0), np.deg2rad(15.0)


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Projects points `[..., 3]` (y up) to image coordinates `[..., 2]` and depth `[...]`."""
    cos, sin = np.cos(_AZIMUTH), np.sin(_AZIMUTH)
    across = cos * points[..., 0] + sin * points[..., 2]
    depth = -sin * points[..., 0] + cos * points[..., 2]
    cos, sin = np.cos(_ELEVATION), np.sin(_ELEVATION)
    return np.stack([across, cos * points[..., 1] + sin * depth], -1), depth


def draw_frame(
    axes: Any, points: np.ndarray, *, centers: np.ndarray | None = None, limit: float = 1.0
) -> None:
    """Draws one frame, colored by depth.

    Args:
      axes: matplotlib axes to draw on.
      points: `[N, 3+C]`.
      centers: token centers `[M, 3]` to draw as circles.
      limit: half of the width and height of the image.
    """
    image, depth = project(points[:, :3])
    order = np.argsort(-depth)
    axes.scatter(*image[order].T, c=depth[order], s=2.0, cmap="viridis", linewidths=0)
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
    """Draws frames of one normalized clip in a row.

    Args:
      clip: `[T, N, 3+C]`, y up.
      frames: indices of the frames to draw, None for six at equal distances.
      centers: token centers `[len(frames), M, 3]`.
      title: title of the figure.

    Returns:
      A matplotlib figure.
    """
    from matplotlib.figure import Figure

    shown = list(np.linspace(0, len(clip) - 1, 6).round().astype(int) if frames is None else frames)
    figure = Figure(figsize=(1.7 * len(shown), 2.1), layout="constrained")
    limit = float(np.abs(project(clip[..., :3])[0]).max()) * 1.05
    for column, frame in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), column + 1)
        frame_centers = None if centers is None else centers[column]
        draw_frame(axes, clip[frame], centers=frame_centers, limit=limit)
        axes.set_title(f"frame {frame}", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure

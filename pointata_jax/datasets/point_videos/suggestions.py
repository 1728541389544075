"""Settings of a task that are measured on a user's videos, since their scale and rate are unknown.

They are kept as `suggested.json` beside `dataset.json`, a JSON object of settings by dotted name
(`clip.points`, `model.radius`), and used where no flag says otherwise.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from pointata_jax.data.clips import AXES, ClipConfig, evaluation_rng, make_clip
from pointata_jax.data.text_files import read_text
from pointata_jax.errors import InputError

FILE = "suggested.json"

# Tokens of a frame of a clip and points of a tube in one frame, as the backbone was trained with.
_CENTERS, _NEIGHBORS = 32, 6
_FRAMES = 24
_MOST_POINTS = 1024  # More points of a frame cost more than they show.
_FLOOR_SHARE, _FLOOR_DEPTH = 0.15, 0.03

Settings = dict[str, int | float | str]


def suggest(videos: Sequence[tuple[np.ndarray, np.ndarray]], up_axis: str) -> Settings:
    """Settings that fit some videos.

    - The window is 24 frames, or the shorter of the usual lengths; windows overlap by five sixths
      in training and by a half in evaluation.
    - So many sensor frames are merged that a frame of a clip has four points for each token.
    - A frame of a clip takes as many points as half of the frames hold, at most 1,024, rounded to a
      power of two.
    - The radius is the median distance of the neighbor with the rank 2N/M in a normalized clip of N
      different points and M tokens in each frame: a point then lies in about two tubes.

    Args:
      videos: for each the points `[ΣN, C]` and the frame sizes `[T]`.
      up_axis: axis that points up.
    """
    lengths = [len(sizes) for _, sizes in videos]
    usual = int(np.percentile(lengths, 25))
    held = float(np.median(np.concatenate([sizes for _, sizes in videos])))
    merge = min(math.ceil(4 * _CENTERS / held), max(usual // 4, 1))
    frames = max(min(_FRAMES, usual // merge) // 2 * 2, 2)
    points = int(2 ** round(math.log2(min(held * merge, _MOST_POINTS))))
    points = max(points, _CENTERS)
    clip = ClipConfig(
        frames=frames,
        frame_merge=merge,
        points=points,
        short_clip_policy="repeat",
        scale="p95",
    )
    radius = float(np.median([_radius(*video, clip) for video in videos]))
    return {
        "clip.frames": frames,
        "clip.frame_merge": merge,
        "clip.stride": max(clip.window // 6, 1),
        "clip.eval_stride": max(clip.window // 2, 1),
        "clip.points": points,
        "clip.up_axis": up_axis,
        "model.num_centers": _CENTERS,
        "model.neighbors": _NEIGHBORS,
        "model.radius": float(f"{radius:.2g}"),
    }


def _radius(points: np.ndarray, sizes: np.ndarray, form: ClipConfig) -> float:
    """The radius for the first window of a video."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    clip, _ = make_clip(points, offsets, 0, form, (), evaluation_rng(0), augment=False)
    found = []
    for frame in clip:
        different = np.unique(frame[:, :3], axis=0)
        rank = min(max(math.ceil(2 * len(different) / _CENTERS), _NEIGHBORS), len(different) - 1)
        if rank > 0:
            found.append(np.median(KDTree(different).query(different, rank + 1)[0][:, -1]))
    return float(np.median(found)) if found else 0.2


def floor_axis(points: np.ndarray) -> str:
    """The axis that points up from a floor, as "z" or "-y"; "" where no side looks like a floor.

    A floor is a side of the cloud with at least 15 % of the points in its outermost 3 %, and with
    three times as many as any other side.
    """
    low, high = np.percentile(points[:, :3], [1, 99], axis=0)
    depth = _FLOOR_DEPTH * np.maximum(high - low, 1e-9)
    shares = {}
    for axis, name in enumerate(AXES):
        shares[name] = float(np.mean(points[:, axis] <= low[axis] + depth[axis]))
        shares[f"-{name}"] = float(np.mean(points[:, axis] >= high[axis] - depth[axis]))
    first, second = sorted(shares.values(), reverse=True)[:2]
    found = max(shares, key=lambda name: shares[name])
    return found if first >= _FLOOR_SHARE and first >= 3 * second else ""


def read_suggestions(folder: Path) -> dict[str, Any]:
    """The settings in the file of a folder, {} where it has none.

    Raises:
      InputError: the file is not a JSON object.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    try:
        values = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"{path} is no valid JSON ({error}); correct or remove it.") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} must hold one object of settings by name; correct or remove it.")
    return values

"""The file that the HOI4D action segmentation benchmark asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pointata_jax.datasets.hoi4d.sequences import ACTION_SEGMENTATION, COUNTS
from pointata_jax.errors import InputError


def write_submission(
    path: str | Path,
    predictions: Mapping[str, np.ndarray],
    *,
    num_videos: int = COUNTS["test"],
    num_frames: int = ACTION_SEGMENTATION.frames,
) -> Path:
    """Writes `pred.npy`: int64 [892, 150], row i for the i-th sequence of the test files.

    Args:
      path: file to write; `.npy` is added if it is missing.
      predictions: class of each frame, int [150], by video id of the split "benchmark"
        ("test-00000" to "test-00891").
      num_videos: number of test sequences, for a partial copy.
      num_frames: number of frames of a sequence, for a partial copy.

    Returns:
      The path of the file.

    Raises:
      InputError: a video is missing or unknown, has another number of frames or a class out of
        range, or the file cannot be written.
    """
    names = [f"test-{number:05d}" for number in range(num_videos)]
    missing = [name for name in names if name not in predictions]
    unknown = sorted(set(predictions) - set(names))
    if missing or unknown:
        problem, name = ("lack", missing[0]) if missing else ("hold the unknown", unknown[0])
        raise InputError(
            f"The predictions {problem} video {name!r} ({len(missing)} missing, {len(unknown)} "
            f"unknown); give test-00000 to {names[-1]}, each once."
        )
    rows = np.empty((num_videos, num_frames), np.int64)
    for row, name in zip(rows, names, strict=True):
        labels = np.asarray(predictions[name])
        if labels.shape != (num_frames,) or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"Video {name!r}: predictions are {labels.dtype} {labels.shape}, expected integers "
                f"({num_frames},); give one class for each frame."
            )
        if labels.min() < 0 or labels.max() >= ACTION_SEGMENTATION.num_classes:
            raise InputError(
                f"Video {name!r}: predicted classes reach from {labels.min()} to {labels.max()}, "
                f"expected 0..{ACTION_SEGMENTATION.num_classes - 1}; give indices of the classes."
            )
        row[:] = labels
    path = Path(path)
    path = path if path.suffix == ".npy" else path.with_name(f"{path.name}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rows)
    except OSError as error:
        raise InputError(
            f"The submission {path} cannot be written ({error}): give another path, or make room."
        ) from None
    return path

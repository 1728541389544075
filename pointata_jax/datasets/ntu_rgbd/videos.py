"""Reads one video of NTU RGB+D: the masked depth maps, or the points of a converter.

- `SsssCcccPpppRrrrAaaa/` with `MDepth-00000001.png` …: the public archive, 16-bit images of 512 ×
  424 depths in millimeters, 0 where nothing is. Points are returned in meters.
- `SsssCcccPpppRrrrAaaa.npz` with `data`, an object array of clouds: the output of the public
  converter depth2point4ntu.py. Points are returned as they are: meters / 65.535, with x and y too
  large by 365.456 / 280.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pointata_jax.data.folder_walk import walk_files
from pointata_jax.datasets import object_arrays
from pointata_jax.datasets.depth_images import read_depth_image
from pointata_jax.errors import InputError

FOCAL_LENGTH = 365.456
"""Focal length of the Kinect v2's depth camera, in pixels (default calibration of libfreenect2)."""

PUBLISHED_FOCAL_LENGTH = 280.0
"""Focal length in the public converter: the value that MeteorNet uses for another camera."""

_IMAGES = "MDepth-*.png"


def list_images(folder: Path) -> list[Path]:
    """The depth maps of a video in order; InputError if there are none."""
    walk = walk_files(
        folder, (".png",), names=lambda name: name.lower().startswith("mdepth-"), depth=1
    )
    if not walk.files:
        raise InputError(f"{folder} holds no {_IMAGES}; unpack the video again.")
    return list(walk.files)


def depth_points(depth: np.ndarray, focal_length: float = FOCAL_LENGTH) -> np.ndarray:
    """Points float32 [n, 3] of the pixels of a depth map [H, W] that have a depth.

    x is to the right of and y below the middle of the image, z is away from the camera.

    Args:
      depth: the map; its unit is that of the points.
      focal_length: in pixels.
    """
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    height, width = depth.shape
    x = (columns - width / 2) / focal_length * z
    y = (rows - height / 2) / focal_length * z
    return np.stack([x, y, z], axis=-1).astype(np.float32)


def read_video(
    path: Path,
    *,
    step: int,
    expected_frames: int | None,
    focal_length: float = FOCAL_LENGTH,
) -> Sequence[np.ndarray]:
    """Every `step`-th frame of a video, as arrays [n, 3].

    Points of depth maps are float32; for npz files see `object_arrays.read_frames`.

    Args:
      path: a folder of depth maps, or an npz file.
      step: distance between the frames that are kept.
      expected_frames: number of frames of the video according to a list, if there is one.
      focal_length: for depth maps, in pixels.

    Raises:
      InputError: the video is damaged or has another number of frames, or a frame has no points.
    """
    images = list_images(path) if path.is_dir() else None
    frames = images if images is not None else object_arrays.read_frames(path, "data")
    if expected_frames is not None and len(frames) != expected_frames:
        raise InputError(
            f"{path} has {len(frames)} frames, its list says {expected_frames}; the video is cut "
            "off, unpack or convert it again."
        )
    if images is None:
        return frames[::step]  # pyright: ignore[reportReturnType]
    maps = (read_depth_image(image) / 1000 for image in images[::step])
    return [depth_points(meters, focal_length) for meters in maps]

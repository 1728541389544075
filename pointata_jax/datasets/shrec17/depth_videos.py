"""Converts a gesture's depth images to the points that its `pts_label.npy` would hold.

A folder holds `0_depth.png`, `1_depth.png`, … (640 × 480, 16 bits of millimeters, 0 where nothing
is) and `general_informations.txt`: per frame a line of timestamp and the hand's box in pixels, x,
y, width and height. The steps are those of dataset/shrec17_process.py of PointLSTM's repository:

1. 32 key frames are spread evenly over the number of frames in the split list.
2. The box is cropped and smoothed by a median of 3 × 3 pixels, with border pixels repeated.
3. The mask holds all pixels with a depth; no threshold removes the background. It is closed with a
   square of 7 × 7. The hand is its largest component, connected by edges and not by corners.
4. 256 of the hand's pixels are drawn, without replacement where there are enough.
5. Positions right of and below the middle of the image are in millimeters, without fractions.

The script draws without a seed; here the seed is the name of the video. The script stops at boxes
that reach beyond the image; here they are cut at the border.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import cast

import numpy as np
from scipy import ndimage

from pointata_jax.data.folder_walk import walk_files
from pointata_jax.data.text_files import numbered_lines
from pointata_jax.datasets.depth_images import read_depth_image
from pointata_jax.datasets.shrec17.gestures import FRAMES, IMAGE_SUFFIX, IMAGES, POINTS, Gesture
from pointata_jax.errors import InputError

BOXES_NAME = "general_informations.txt"

HEIGHT, WIDTH = 480, 640
FOCAL_LENGTH = 463.889
"""In pixels; the optical center is assumed to be the middle of the image."""


def read_video(folder: Path, key: Gesture) -> np.ndarray:
    """The points of a gesture, int64 [32, 256, 8], with the channels of a `pts_label.npy`.

    In a frame without a hand all points are the corner of its box, with depth and time 0.

    Args:
      folder: of the depth images.
      key: the gesture, with the number of frames in its list. Its name is the seed of the draw.

    Raises:
      InputError: images or boxes are missing or damaged, or no key frame shows a hand.
    """
    walk = walk_files(folder, (IMAGE_SUFFIX,), depth=1)
    images = {path.name.lower(): path for path in walk.files}
    if len(images) < key.frames:
        raise InputError(
            f"{folder} has {len(images)} images {IMAGES}, its list says {key.frames}; the video is "
            "cut off, unpack it again."
        )
    boxes = read_boxes(folder / BOXES_NAME, key.frames)
    rng = np.random.default_rng(zlib.crc32(key.video_id.encode()))
    array = np.zeros((FRAMES, POINTS, 8), np.int64)
    for time, number in enumerate(np.arange(FRAMES) * key.frames // FRAMES):
        name = f"{number}{IMAGE_SUFFIX}"
        path = images.get(name, folder / name)
        depth = read_depth_image(path)
        if depth.shape != (HEIGHT, WIDTH):
            raise InputError(
                f"{path} has {depth.shape[1]} x {depth.shape[0]} pixels, expected {WIDTH} x "
                f"{HEIGHT}, the size for which the focal length holds; unpack it again."
            )
        pixels = hand_pixels(depth, boxes[number])
        if len(pixels):
            chosen = rng.choice(len(pixels), POINTS, replace=len(pixels) < POINTS)
            array[time, :, :3], array[time, :, 3] = pixels[chosen], time
        else:
            array[time, :, :2] = boxes[number, :2]
    if not array[..., 2].any():
        raise InputError(
            f"{folder} shows nothing inside the boxes of {BOXES_NAME} in any key frame; unpack the "
            "video again."
        )
    rows, columns, depths = np.moveaxis(array[..., :3], -1, 0)
    # The array has integers, so fractions are cut off toward zero, as in the files.
    array[..., 4] = (rows - HEIGHT / 2) * depths / FOCAL_LENGTH
    array[..., 5] = (columns - WIDTH / 2) * depths / FOCAL_LENGTH
    array[..., 6:] = array[..., 2:4]
    return array


def read_boxes(path: Path, frames: int) -> np.ndarray:
    """The hand's box of every frame, int [n, 4]: first row and column, and those after the last.

    Args:
      path: a `general_informations.txt`.
      frames: number of boxes that are needed.

    Raises:
      InputError: the file is missing or too short, or a line has another form.
    """
    if not path.is_file():
        raise InputError(
            f"{path}, which holds the hand's boxes, does not exist; unpack the video again."
        )
    boxes = []
    for number, line in numbered_lines(path):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        if len(values) != 5 or not np.isfinite(values).all():
            raise InputError(
                f"{path}, line {number} is not of the form 'timestamp x y width height'; unpack "
                "it again."
            )
        x, y, width, height = np.trunc(values[1:])
        boxes.append([y, x, y + height, x + width])
    if len(boxes) < frames:
        raise InputError(
            f"{path} has {len(boxes)} lines, the gesture's list says {frames} frames; it is cut "
            "off, unpack it again."
        )
    return np.clip(boxes, 0, (HEIGHT, WIDTH) * 2).astype(np.int64)


def hand_pixels(depth: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Row, column and smoothed depth of the hand's pixels, int [n, 3]; n is 0 if there are none.

    Args:
      depth: int [H, W].
      box: first row and column, and those after the last.
    """
    top, left, bottom, right = box
    crop = depth[top:bottom, left:right]
    if not crop.any():
        return np.zeros((0, 3), depth.dtype)
    crop = ndimage.median_filter(crop, 3, mode="nearest")
    seen, square = crop > 0, np.ones((7, 7), bool)
    # Pixels beyond the border neither dilate nor erode the mask, hence the two border values.
    closed = ndimage.binary_dilation(seen, square, border_value=0)
    closed = ndimage.binary_erosion(closed, square, border_value=1)
    components, _ = cast("tuple[np.ndarray, int]", ndimage.label(closed))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0  # The pixels outside the mask.
    rows, columns = np.nonzero(seen & (components == np.argmax(sizes)))
    return np.stack([rows + top, columns + left, crop[rows, columns]], axis=-1)

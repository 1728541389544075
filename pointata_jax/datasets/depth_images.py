"""Reads depth images with one channel of 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pointata_jax.data.file_faults import unreadable
from pointata_jax.errors import InputError


def read_depth_image(path: Path) -> np.ndarray:
    """The values of a depth image, int32 [H, W]: commonly millimeters, and 0 where nothing is.

    Raises:
      InputError: Pillow is not installed, or the image is missing, damaged or not of 16 bits.
    """
    try:
        from PIL import Image
    except ImportError:
        raise InputError(
            f"{path} is an image, which Pillow is needed to read: install it (pip install pillow)."
        ) from None
    try:
        with Image.open(path) as image:
            mode, depth = image.mode, np.asarray(image)
    except Exception as error:
        raise unreadable(path, error, "unpack it again") from error
    if depth.ndim != 2 or not depth.size or not mode.startswith("I"):
        raise InputError(f"{path} is of mode {mode}, expected 16 bits of depth; unpack it again.")
    return depth.astype(np.int32)

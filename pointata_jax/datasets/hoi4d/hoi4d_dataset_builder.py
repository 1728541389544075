"""tfds builder of the HOI4D action segmentation benchmark."""

from __future__ import annotations

import tensorflow_datasets as tfds

from pointata_jax.datasets.hoi4d import sequences
from pointata_jax.datasets.hoi4d.benchmark_builder import BenchmarkBuilder


class Builder(BenchmarkBuilder):
    """HOI4D action segmentation (Liu et al., CVPR 2022): 150 frames of 2,048 points, 19 actions.

    Splits of protocol "corrected": "train", "validation" and "test", all from the public train
    files (`sequences.held_out`), and "benchmark", the 892 test sequences. Frame labels of
    "benchmark" are all -1 unless the user's files have labels; `submission.write_submission` writes
    the predictions for these sequences. Protocol "published" trains on all 2,971 train sequences
    and tests on the test files, as the benchmark's own code does. It needs the labels of the test
    files, which are not public.

    Units are those of the files. People and names of the actions are not published: the subject of
    a video is its id, and a class has the name of its number.
    """

    VERSION = tfds.core.Version("1.0.0")
    BENCHMARK = sequences.ACTION_SEGMENTATION
    SEQUENCES_PER_SHARD = 64
    MANUAL_DOWNLOAD_INSTRUCTIONS = BENCHMARK.where
    DESCRIPTION = "Point-cloud videos of hands and objects with an action for each frame."
    LABEL_NAMES = BENCHMARK.label_names("action")
    KIND = "frame"

"""Two processes that share the windows give the scores of one process."""

from __future__ import annotations

import json

import numpy as np

from pointata_jax.data.clips import ClipConfig
from pointata_jax.data.pipeline import eval_batches
from pointata_jax.data.schema import label_field
from pointata_jax.data.videos import VideoSource
from pointata_jax.tasks import SCORES
from tests.two_processes import run_two

NAMES = ("a", "b", "c")


def videos(kind: str) -> VideoSource:
    rng = np.random.default_rng(0)
    records = []
    for index, length in enumerate((7, 4, 9, 5, 6)):
        sizes = rng.integers(4, 9, length).astype(np.int32)
        labels = {
            "clip": np.int32(index % 3),
            "frame": np.arange(length, dtype=np.int32) // 3 % 3,
            "point": rng.integers(-1, 3, sizes.sum()).astype(np.int32),
        }[kind]
        points = rng.normal(size=(sizes.sum(), 3)).astype(np.float32)
        record = {"points": points, "frame_sizes": sizes, label_field(kind): labels}
        records.append({**record, "video_id": f"video{index}", "subject": "somebody"})
    return VideoSource(records, columns=("x", "y", "z"), label_names=NAMES, name="toy")


def predict(batch):
    """Logits for every clip, frame or point, of which many are right."""
    points, labels = batch["points"], batch["label"]
    axes = tuple(range(labels.ndim, points.ndim - 1))
    return 3 * points.mean(axes) + 0.8 * np.eye(3)[np.maximum(labels, 0)]


def all_scores(process_index: int, process_count: int) -> dict:
    config = ClipConfig(frames=3, points=6, eval_stride=2)
    return {
        kind: SCORES[kind](
            predict,
            eval_batches(
                videos(kind), config, 4, process_index=process_index, process_count=process_count
            ),
            NAMES,
        )
        for kind in ("clip", "frame", "point")
    }


CHILD = """
import json, sys
import jax
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from absl import flags
flags.FLAGS.mark_as_parsed()  # grain requires it
from tests.tasks.test_two_hosts import all_scores
print(json.dumps(all_scores(jax.process_index(), jax.process_count())))
"""


def test_two_hosts_give_the_scores_of_one():
    found = run_two(CHILD, timeout=120)
    alone = json.loads(json.dumps(all_scores(0, 1)))
    assert alone["frame"]["num_frames"] == 31
    assert alone["clip"]["num_videos"] == 5
    for scores in found:
        assert scores == alone

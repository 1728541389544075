import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.tasks.action_segmentation import join_windows, score

NAMES = ("a", "b", "c")


def batch(frames, labels, videos, predicted, weights):
    return {
        "points": 4.0 * np.eye(3)[np.asarray(predicted)],
        "label": np.array(labels),
        "frame": np.array(frames),
        "video": np.array(videos),
        "weight": np.array(weights, np.float32),
    }


def test_windows_of_a_video_are_joined_in_order_and_averaged_where_they_overlap():
    frames = np.array([[3, 4, 5], [0, 1, 2], [2, 3, 4]])
    labels = frames % 2
    probabilities = np.zeros((3, 3, 2))
    probabilities[..., 1] = frames == 3  # the first and the last window agree on frame 3
    probabilities[0, 1] = [0.4, 0.6]
    probabilities[2, 2] = [0.9, 0.1]  # frame 4: 1.3 against 0.7
    predicted, truth = join_windows(probabilities, frames, labels)
    assert truth.tolist() == [0, 1, 0, 1, 0, 1]
    assert predicted.tolist() == [0, 0, 0, 1, 0, 0]


def test_scores_of_two_videos_without_the_padding_rows():
    batches = [
        batch([[0, 1], [0, 1]], [[0, 0], [1, 2]], [0, 1], [[0, 0], [1, 1]], [1, 1]),
        batch([[2, 3], [2, 3]], [[1, 1], [1, 1]], [0, 1], [[1, 1], [2, 2]], [1, 0]),
    ]
    found = score(lambda b: b["points"], batches, NAMES, seen=(0, 1))
    assert (found["num_videos"], found["num_frames"], found["num_seen_frames"]) == (2, 6, 5)
    assert found["frame_accuracy"] == pytest.approx(100 * 5 / 6)
    assert found["seen_frame_accuracy"] == pytest.approx(100)
    assert found["per_class"] == {"a": 100.0, "b": 100.0, "c": 0.0}
    assert found["edit"] == pytest.approx(75)  # a b against a b; b against b c
    # Hits: a and b of the first video, b of the second (half of the prediction). c is missed.
    assert found["f1@10"] == found["f1@50"] == pytest.approx(100 * 2 * 3 / (2 * 3 + 0 + 1))
    assert found["official"]["acc"] == pytest.approx(100 * 5 / 6)
    with pytest.raises(InputError, match="one row per frame"):
        score(lambda b: b["points"][:, 0], batches, NAMES)

"""Writes a pack of animated surfaces as a folder of videos in the layout of a user's own.

    python -m benchmarks.animated_surfaces --pack=anim_points.npz --output=DIR
    python -m experiments.adapt --task=point_videos_clips --data_dir=DIR

The pack holds clips of 24 frames of 2,048 points that are followed along the surface of artists'
figures, with the action, the actor and the name of the motion. Rigs of one maker share motions, so
a clip is a test clip where both its actor and its motion are drawn for testing, a training clip
where neither is, and left out otherwise. Actors are the subjects. The points of every frame are
shuffled on their own: a sensor does not follow points, so a model must not either.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np

from experiments import command_line
from pointata_jax.errors import InputError

TEST_ACTORS = 0.5
TEST_MOTIONS = 0.4
MIN_TRAIN = 3  # clips of a class, or it is left out
MIN_TEST = 2


@dataclasses.dataclass(frozen=True)
class Args:
    """Where the pack is and where the folder goes."""

    pack: str
    output: str
    seed: int = 0  # of the order of points


def main(args: Args) -> None:
    """Reads the pack and writes the folder."""
    output = Path(args.output)
    if output.exists():
        raise InputError(f"{output} exists already; give --output a new folder.")
    with np.load(args.pack, allow_pickle=False) as pack:
        clips = _coordinates(pack["points_lo"], pack["points_hi"])
        actions = pack["action_names"][pack["action"]]
        actors, sources = pack["actor"], pack["source"]
        motions = [
            f"{source}/{name.split('/')[-1].split('#')[0].split('@')[0]}"
            for source, name in zip(sources, pack["clip_name"], strict=True)
        ]
    splits = [
        {(True, True): "test", (False, False): "train"}.get(
            (_share(actor) < TEST_ACTORS, _share(motion) < TEST_MOTIONS)
        )
        for actor, motion in zip(actors, motions, strict=True)
    ]
    sizes = Counter(zip(actions.tolist(), splits, strict=True))
    classes = sorted(
        action
        for action in set(actions.tolist())
        if sizes[action, "train"] >= MIN_TRAIN and sizes[action, "test"] >= MIN_TEST
    )
    rng = np.random.default_rng(args.seed)
    for split in ("train", "test"):
        (output / split).mkdir(parents=True)
    (output / "dataset.json").write_text(
        json.dumps({"kind": "clip", "columns": ["x", "y", "z"], "classes": classes})
    )
    written: Counter[str] = Counter()
    for index, (clip, action, actor, split) in enumerate(
        zip(clips, actions.tolist(), actors.tolist(), splits, strict=True)
    ):
        if split is None or action not in classes:
            continue
        frames = clip.transpose(1, 2, 0)
        np.savez_compressed(
            output / split / f"{index:04d}_{action}.npz",
            points=np.concatenate([rng.permutation(frame) for frame in frames]),
            frame_sizes=np.full(len(frames), frames.shape[1]),
            label=np.array(action),
            subject=np.array(actor),
        )
        written[split] += 1
    print(f"{output}: {written['train']} training and {written['test']} test videos of")
    print(f"{len(classes)} classes: {', '.join(classes)}")


def _coordinates(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """`[clips, 3, frames, points]` of the pack's bytes: second differences, signs folded in."""
    folded = low.astype(np.int16) | (high.astype(np.int16) << 8)
    differences = (folded >> 1) ^ -(folded & 1)
    along_points = np.cumsum(differences, 3, dtype=np.int16)
    return np.cumsum(along_points, 2, dtype=np.int16).astype(np.float32) / 1023


def _share(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


if __name__ == "__main__":
    command_line.run(main, Args)

"""Writes the file that is submitted to the HOI4D action segmentation benchmark.

python -m experiments.hoi4d_submission --run=runs/hoi4d --data_dir=DIR --output=pred.npy

Predicts the unlabeled test sequences (split "benchmark") with a finished run of `--task=hoi4d`.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Predict the benchmark's test sequences."""

    run: str = ""  # folder of a finished experiments.adapt --task=hoi4d
    data_dir: str | None = None  # folder with the challenge's h5 files
    cache_dir: str | None = None  # prepared records; default: the user's cache folder
    output: str = "pred.npy"  # file to write
    batch_size: int = 8  # clips at a time


def main(args: Args) -> None:
    """Predicts the sequences and writes the file."""
    from pointata_jax.datasets.hoi4d.submission import write_submission
    from pointata_jax.errors import InputError
    from pointata_jax.serving.predictor import load_run
    from pointata_jax.stages.task_data import DataPlace, evaluation_batches, load_split
    from pointata_jax.tasks.action_segmentation import sequences
    from pointata_jax.training.run_folder import enable_compilation_cache

    if not args.run:
        raise InputError("no run given: --run takes the folder of a finished experiments.adapt.")
    enable_compilation_cache()
    predictor = load_run(args.run)
    if predictor.task.dataset != "hoi4d":
        raise InputError(f"{args.run} is a run of {predictor.task.task!r}, not of hoi4d.")
    videos = load_split(predictor.task, DataPlace(args.data_dir, args.cache_dir), "benchmark")
    found = sequences(
        lambda batch: predictor.logits(batch["points"]),
        evaluation_batches(videos, predictor.task.clip, args.batch_size),
    )
    path = write_submission(
        args.output,
        {videos.video_ids[video]: labels for video, (labels, _) in found.items()},
        num_videos=videos.num_videos,
        num_frames=int(videos.num_frames[0]),
    )
    print(f"{path}: {videos.num_videos} sequences")


if __name__ == "__main__":
    command_line.run(main, Args)

"""Evaluates a finished run, also with its sense of time taken away.

python -m experiments.evaluate --run=runs/radhar --data_dir=DIR
python -m experiments.evaluate --run=runs/radhar --data_dir=DIR --frames=repeated

Prints the scores and writes them to `<run>/evaluation-<split>-<frames>.json`.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Evaluate a finished run."""

    run: str = ""  # folder of a finished experiments.adapt
    data_dir: str | None = None  # folder with the public data, in its own layout
    cache_dir: str | None = None  # prepared records; default: the user's cache folder
    split: str = "test"  # test, or validation (the held-out training videos)
    frames: str = "ordered"  # ordered, repeated (the middle frame only), shuffled or reversed
    batch_size: int = 16  # clips at a time
    seed: int = 0  # of the shuffling


def main(args: Args) -> None:
    from pointata_jax.data.clips import reorder_frames
    from pointata_jax.errors import InputError
    from pointata_jax.tasks import SCORES
    from pointata_jax.training.predictor import load_run
    from pointata_jax.training.run_folder import (
        RunFolder,
        enable_compilation_cache,
        readable,
        write_json,
    )
    from pointata_jax.training.task_data import (
        DataPlace,
        evaluation_batches,
        load_split,
        load_training,
    )

    if not args.run:
        raise InputError("no run given: --run takes the folder of a finished experiments.adapt.")
    if args.split not in ("test", "validation"):
        raise InputError(f"unknown split {args.split!r}: choose test or validation.")
    enable_compilation_cache()
    predictor = load_run(args.run)
    unseen = (RunFolder.open(args.run).read_result() or {}).get("classes_not_in_training", ())
    place = DataPlace(args.data_dir, args.cache_dir)
    if args.split == "test":
        videos = load_split(predictor.task, place, "test")
    else:
        if not RunFolder.open(args.run).settings["validation"]:
            raise InputError(f"{args.run} was trained on all training videos: evaluate the test.")
        videos = load_training(predictor.task, place).validation
        assert videos is not None
    scores = SCORES[predictor.task.kind](
        lambda batch: predictor.logits(reorder_frames(batch["points"], args.frames, args.seed)),
        evaluation_batches(videos, predictor.task.clip, args.batch_size),
        predictor.class_names,
        seen=[i for i, name in enumerate(predictor.class_names) if name not in unseen],
    )
    content = {"run": args.run, "split": args.split, "frames": args.frames, **scores}
    write_json(predictor.folder / f"evaluation-{args.split}-{args.frames}.json", content)
    print(readable(content))


if __name__ == "__main__":
    command_line.run(main, Args)

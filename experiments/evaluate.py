"""Evaluates a finished run, also with the order of the frames changed.

python -m experiments.evaluate --run=runs/radhar --data_dir=DIR
python -m experiments.evaluate --run=runs/radhar --data_dir=DIR --order=repeated

Classes of the data are matched with those of the run by name. Prints the scores and writes them to
`<run>/evaluation-<split>-<order>.json`.
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
    order: str = "ordered"  # of frames: ordered, repeated (only the middle), shuffled, reversed
    batch_size: int = 16  # clips at a time
    seed: int = 0  # of the shuffling


def main(args: Args) -> None:
    """Scores the videos of a split, prints the scores and writes them into the run folder."""
    from experiments import runs
    from pointata_jax.data.clips import ORDERS, reorder_frames
    from pointata_jax.errors import InputError
    from pointata_jax.serving.predictor import load_run
    from pointata_jax.stages.task_data import (
        DataPlace,
        evaluation_batches,
        load_split,
        load_training,
    )
    from pointata_jax.tasks import SCORES
    from pointata_jax.training.run_folder import (
        RunFolder,
        contents,
        enable_compilation_cache,
        readable,
        write_json,
    )

    if not args.run:
        raise InputError("no run given: --run takes the folder of a finished experiments.adapt.")
    if args.split not in ("test", "validation"):
        raise InputError(f"unknown split {args.split!r}: choose test or validation.")
    if args.order not in ORDERS:
        raise InputError(f"unknown --order={args.order}: choose one of {', '.join(ORDERS)}.")
    enable_compilation_cache()
    predictor, run = load_run(args.run), RunFolder.open(args.run)
    unseen = (run.read_result() or {}).get("classes_not_in_training", ())
    place = DataPlace(args.data_dir, args.cache_dir)
    trained_on = 0
    if args.split == "test":
        videos = load_split(predictor.task, place, "test")
        trained_on = len(run.known_content(("train", "validation")) & contents(videos.digests))
        if trained_on:
            runs.say(
                f"{trained_on} of the {len(videos)} videos of {videos.name} are among those that "
                "the run was trained or chosen on, so the scores are too high."
            )
    else:
        if not run.settings["validation"]:
            raise InputError(f"{args.run} was trained on all training videos: evaluate the test.")
        data = load_training(predictor.task, place)
        run.check_videos(data.digests)
        videos = data.validation
        assert videos is not None
    videos = videos.with_classes(predictor.class_names)
    scores = SCORES[predictor.task.kind](
        lambda batch: predictor.logits(reorder_frames(batch["points"], args.order, args.seed)),
        evaluation_batches(videos, predictor.task.clip, args.batch_size),
        predictor.class_names,
        seen=[i for i, name in enumerate(predictor.class_names) if name not in unseen],
    )
    content = {"run": args.run, "split": args.split, "order": args.order, **scores}
    if trained_on:
        content["num_videos_trained_on"] = trained_on
    write_json(predictor.folder / f"evaluation-{args.split}-{args.order}.json", content)
    print(readable(content))


if __name__ == "__main__":
    command_line.run(main, Args)

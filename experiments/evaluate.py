"""Evaluates a finished run, also with the order of the frames changed.

python -m experiments.evaluate --run=runs/radhar --data_dir=DIR
python -m experiments.evaluate --run=runs/radhar --data_dir=DIR --order=repeated
python -m experiments.evaluate --run=runs/radhar --data_dir=DIR --perturbation=all

Classes of the data are matched with those of the run by name. Prints the scores and writes them to
`<run>/evaluation-<split>-<order>[-<perturbation>].json`.
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
    # of the clips: none, points_half, points_quarter, points_eighth, frames_dropped (a fifth),
    # noise (0.02 of the radius), camera_turned (30 degrees); all: each, with a file for each
    perturbation: str = "none"
    batch_size: int = 16  # clips at a time
    seed: int = 0  # of order and perturbation


def main(args: Args) -> None:
    """Scores the videos of a split, prints the scores and writes them into the run folder."""
    from experiments import runs
    from pointata_jax.data.clips import AXES, ORDERS, reorder_frames
    from pointata_jax.data.perturbations import PERTURBATIONS, perturb
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
    if args.perturbation not in (*PERTURBATIONS, "all"):
        raise InputError(
            f"unknown --perturbation={args.perturbation}: choose one of "
            f"{', '.join(PERTURBATIONS)}, or all."
        )
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
    names = list(PERTURBATIONS) if args.perturbation == "all" else [args.perturbation]
    if predictor.task.kind == "point":
        # A point that another one replaces has no label of its own.
        refused = [name for name in names if name.startswith("points_")]
        names = [name for name in names if name not in refused]
        if not names:
            raise InputError(f"{refused[0]} cannot be scored where every point has a label.")
    up_axis = AXES.index(predictor.task.clip.up_axis)
    found = {}
    for name in names:

        def logits(batch, name=name):
            clips = reorder_frames(batch["points"], args.order, args.seed)
            return predictor.logits(perturb(clips, name, args.seed, up_axis=up_axis))

        scores = SCORES[predictor.task.kind](
            logits,
            evaluation_batches(videos, predictor.task.clip, args.batch_size),
            predictor.class_names,
            seen=[i for i, c in enumerate(predictor.class_names) if c not in unseen],
        )
        content = {"run": args.run, "split": args.split, "order": args.order, **scores}
        if name != "none":
            content["perturbation"] = name
        if trained_on:
            content["num_videos_trained_on"] = trained_on
        suffix = "" if name == "none" else f"-{name}"
        write_json(predictor.folder / f"evaluation-{args.split}-{args.order}{suffix}.json", content)
        found[name] = content
    print(readable(found if len(names) > 1 else found[names[0]]))


if __name__ == "__main__":
    command_line.run(main, Args)

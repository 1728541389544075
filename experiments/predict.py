"""Predicts classes of sensor recordings with a finished run.

python -m experiments.predict --run=runs/synthetic_actions FOLDER_OF_FRAMES
python -m experiments.predict --run=DIR RECORDING RECORDING --output=labels.csv --html=look.html

A recording is a folder of frames (npy, npz, ply, pcd, bin, xyz, txt, csv, las, laz) in the order of
their names, a file of frames, or a ROS bag. A folder of recordings stands for all of them. Prints a
line for each: its class, or its timeline, or the shares of the classes of its points. A recording
that cannot be read is named on standard error and the others go on; the exit status is then 1.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Predict classes of recordings."""

    run: str = ""  # folder of a finished run of experiments.adapt, or hf:owner/name
    output: str = ""  # file for all results, .json or .csv
    html: str = ""  # file for a page on which the first recordings play
    clouds: str = ""  # folder for labeled PLY files, where every point has a class
    columns: str = ""  # names of columns, with commas, for files without names (bin, npy, txt)
    topic: str = ""  # of a ROS bag; default: its only topic of point clouds
    scale: float = 1.0  # factor on coordinates, as 0.001 for millimeters
    up_axis: str = ""  # axis of the recordings that points up, as z or -y; default: the run's
    seed: int = 0  # of the sampled points


def main(args: Args, *inputs: str) -> None:
    """Prints a line per recording and writes the files that were asked for."""
    import sys
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    import numpy as np

    from experiments import predictions, runs
    from pointata_jax.data.recordings import Recording, find_recordings, open_recording
    from pointata_jax.errors import InputError
    from pointata_jax.serving.predictor import load_run
    from pointata_jax.training.run_folder import enable_compilation_cache

    if not args.run:
        raise InputError("no run given: --run takes the folder of a finished experiments.adapt.")
    if not inputs:
        raise InputError("no recording given: name folders or files beside the flags.")
    if args.output and Path(args.output).suffix not in predictions.SUFFIXES:
        raise InputError(f"--output={args.output}: the file must end in .json or .csv.")
    enable_compilation_cache()
    predictor = load_run(args.run)
    kind = predictor.task.kind
    if args.clouds and kind != "point":
        raise InputError(f"--clouds needs a class per point; this run gives one per {kind}.")
    found: list[predictions.Prediction] = []

    def opened(place: Path) -> Recording:
        return open_recording(
            place,
            columns=runs.names_of(args.columns) or None,
            topic=args.topic or None,
            scale=args.scale,
            up_axis=args.up_axis or None,
            target_up_axis=predictor.task.clip.up_axis,
        )

    places = find_recordings(inputs)
    times: dict[Path, list[float] | None] = {}

    def frames(place: Path) -> Iterator[np.ndarray]:
        recording = opened(place)
        yield from predictor.frames_of(recording)
        times[place] = recording.times
        if recording.frames.dropped or recording.frames.empty_frames:
            runs.say(
                f"{place}: {recording.frames.dropped} points without coordinates and "
                f"{recording.frames.empty_frames} frames without points were left out."
            )

    results = predictor.predict_many((frames(place) for place in places), seed=args.seed)
    for place, result in zip(places, results, strict=True):
        if isinstance(result, InputError):
            runs.say(f"{place}: {result}")
            found.append(predictions.Prediction(place, kind, {"error": str(result)}))
            continue
        prediction = predictions.Prediction(place, kind, result, times[place])
        print(predictions.line(prediction, predictor.class_names), flush=True)
        if args.clouds:
            predictions.write_clouds(
                Path(args.clouds) / place.stem, opened(place), result["point_labels"]
            )
        found.append(prediction)
    if args.output:
        predictions.write(Path(args.output), found, predictor.class_names)
    good = [prediction for prediction in found if "error" not in prediction.result]
    if args.html and good:
        shown: list[tuple[predictions.Prediction, Any]] = [
            (prediction, opened(prediction.place).frames)
            for prediction in good[: predictions.MOST_SHOWN]
        ]
        predictions.write_page(args.html, shown, predictor)
    if len(good) < len(found):
        runs.say(f"{len(found) - len(good)} of {len(found)} recordings could not be predicted.")
        sys.exit(1)


if __name__ == "__main__":
    command_line.run(main, Args, positional=True)

"""Writes the report of a finished run, one HTML file with curves, confusions and clips to play.

python -m experiments.report --run=runs/synthetic_actions

experiments.adapt writes it at its end. This command writes it again, for instance after matplotlib
was installed. The clips are those of the test videos, so it needs their data.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import command_line

if TYPE_CHECKING:
    import numpy as np

    from pointata_jax.data.videos import VideoSource
    from pointata_jax.stages.task_data import DataPlace
    from pointata_jax.training.run_folder import RunFolder

_MOST_FRAMES = 64  # of a clip in the report


@dataclasses.dataclass(frozen=True)
class Args:
    """Write the report of a run."""

    run: str = ""  # folder of a finished run of experiments.adapt
    data_dir: str | None = None  # folder with the data of the task
    cache_dir: str | None = None  # prepared records; default: the user's cache folder


def main(args: Args) -> None:
    """Writes `<run>/report.html`."""
    from pointata_jax.errors import InputError
    from pointata_jax.stages.config import TaskConfig
    from pointata_jax.stages.task_data import DataPlace, load_split
    from pointata_jax.training.run_folder import RunFolder

    if not args.run:
        raise InputError("no run given: --run takes the folder of a finished experiments.adapt.")
    run = RunFolder.open(args.run)
    if run.read_result() is None:
        raise InputError(f"{args.run} has not finished: continue it with --resume.")
    place = DataPlace(args.data_dir, args.cache_dir)
    test = None
    if run.predictions_path.is_file():
        test = load_split(TaskConfig.from_dict(run.settings["task"]), place, "test")
    print(write(run, test, place))


def write(run: RunFolder, test: VideoSource | None, place: DataPlace) -> Path:
    """Writes the report of a run.

    Args:
      run: a finished run.
      test: the test videos that it was scored on; None: without clips and confusions.
      place: of the data, for the picture of stage 1.

    Returns:
      The file.
    """
    from experiments.examples import alignment_figure
    from pointata_jax.data.array_files import read_arrays
    from pointata_jax.viz.report import report_html

    content: dict[str, Any] = {}
    if test is not None and run.predictions_path.is_file():
        content = _tested(read_arrays(run.predictions_path), test)
    figure = None
    if (run.path / "align" / "result.json").is_file():
        figure = alignment_figure(run.path, place)
    report_html(
        run.path,
        run.report_path,
        class_names=run.settings["class_names"],
        alignment_figure=figure,
        **content,
    )
    return run.report_path


def _tested(arrays: dict[str, np.ndarray], test: VideoSource) -> dict[str, Any]:
    """Confusions, clips and timelines of the test videos."""
    import numpy as np

    from pointata_jax.metrics.segmentation import confusion_matrix
    from pointata_jax.viz.report import MOST_OF_EACH, ExampleClip, Timeline

    names, true = test.label_names, arrays["true"]
    titles = [str(name) for name in arrays["names"]]
    if "points" in arrays:
        clips = [
            ExampleClip(
                titles[video],
                points,
                labels=predicted,
                errors=(predicted != labels) & (labels >= 0),
            )
            for points, labels, predicted, video in zip(
                arrays["points"], true, arrays["predicted"], arrays["video"], strict=True
            )
        ]
        return {"confusion": arrays["confusion"], "clips": clips}
    if "frames" in arrays:
        predicted = arrays["predicted"]
        ends = np.cumsum(arrays["frames"])[:-1]
        pairs = zip(np.split(true, ends), np.split(predicted, ends), strict=True)
        lines = [
            Timeline(titles[video], *pair)
            for video, pair in zip(arrays["video"][:MOST_OF_EACH], pairs, strict=False)
        ]
        return {"confusion": confusion_matrix(predicted, true, len(names)), "timelines": lines}
    predicted = arrays["probabilities"].argmax(1)
    # The surest of each kind, no two with the same pair of classes.
    order = np.argsort(-arrays["probabilities"].max(1))
    chosen: dict[tuple[int, int], int] = {}
    for row in order.tolist():
        chosen.setdefault((int(true[row]), int(predicted[row])), row)
    clips = []
    for right in (True, False):
        rows = [row for (a, b), row in chosen.items() if (a == b) == right]
        for row in rows[:MOST_OF_EACH]:
            index = int(arrays["video"][row])
            video = test[index]
            frames = np.split(video.points[:, :3], video.offsets[1:-1])
            clips.append(
                ExampleClip(
                    titles[index],
                    frames[:: -(-len(frames) // _MOST_FRAMES)],
                    names[true[row]],
                    names[predicted[row]],
                    right,
                )
            )
    return {"confusion": confusion_matrix(predicted, true, len(names)), "clips": clips}


if __name__ == "__main__":
    command_line.run(main, Args)

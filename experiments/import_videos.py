"""Makes a data set of your recordings, which `experiments.adapt` can train on.

python -m experiments.import_videos --from=RECORDINGS --to=DATA
python -m experiments.adapt --task=point_videos_clips --data_dir=DATA

RECORDINGS is a tree class/recording or class/subject/recording (see experiments.predict for what a
recording is), or a CSV table with the columns path and label, and if you like subject, start, end
and split. Writes one npz file per video, dataset.json, and suggested.json: frames, points, radius
and so on, measured on the videos, which adapt uses where no flag says otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Make a data set of recordings."""

    aliases: ClassVar[Mapping[str, str]] = {"from": "source"}

    source: str = ""  # folder or CSV table of the recordings
    to: str = ""  # folder to write; it must be empty or new
    test_share: float = 0.25  # of the videos that go into the test part
    split: str = ""  # by subject or recording; default: by subject where there are three
    columns: str = ""  # names of columns, with commas, for files without names (bin, npy, txt)
    topic: str = ""  # of ROS bags; default: the only topic of point clouds
    scale: float = 1.0  # factor on coordinates, as 0.001 for millimeters
    up_axis: str = ""  # axis that points up, as z or -y; frames are turned so that y does
    seed: int = 0  # of the split


def main(args: Args) -> None:
    """Imports the recordings and prints what was read, what was not, and the suggestions."""
    import json
    from pathlib import Path

    import numpy as np

    from experiments import runs
    from pointata_jax.data.recordings import Recording, open_recording
    from pointata_jax.datasets.point_videos import importing, suggestions
    from pointata_jax.errors import InputError
    from pointata_jax.progress import track
    from pointata_jax.training.run_folder import write_json

    if not args.source or not args.to:
        raise InputError("give --from, the recordings, and --to, the folder to write.")
    if args.split not in ("", "subject", "recording"):
        raise InputError(f"--split={args.split}: choose subject or recording.")
    source, target = Path(args.source), Path(args.to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there and not empty: give a new folder.")
    found = importing.from_table(source) if source.is_file() else importing.from_tree(source)

    def opened(path: Path, start: int = 0, stop: int | None = None) -> Recording:
        return open_recording(
            path,
            columns=runs.names_of(args.columns) or None,
            topic=args.topic or None,
            scale=args.scale,
            up_axis=args.up_axis or None,
            start=start,
            stop=stop,
        )

    skipped: dict[str, str] = {}
    recordings = {}
    for path in dict.fromkeys(video.path for video in found):
        try:
            recordings[path] = opened(path)
        except InputError as error:
            skipped[str(path)] = str(error)
    videos = [video for video in found if video.path in recordings]
    if not videos:
        raise InputError(f"no recording can be read, the first: {next(iter(skipped.values()))}")
    columns = importing.common_columns(list(recordings.values()))
    by_subject = {"subject": True, "recording": False}.get(args.split)
    parts, how = importing.split_of(videos, args.test_share, by_subject, args.seed)
    rows: dict[str, list[int]] = {}  # By class: videos, of them for the test, frames, points.
    sample: list[tuple[np.ndarray, np.ndarray]] = []
    floors: list[str] = []
    every = -(-len(videos) // 64)
    pairs = zip(videos, parts, strict=True)
    for number, (video, part) in enumerate(track(pairs, len(videos), "importing")):
        try:
            points, sizes = importing.write_video(video, part, target, columns, opened)
        except InputError as error:
            skipped[video.name] = str(error)
            continue
        row = rows.setdefault(video.label, [0, 0, 0, 0])
        row[:] = np.add(row, [1, part == "test", len(sizes), len(points)]).tolist()
        if number % every == 0:
            sample.append((points, sizes))
            floors.append(suggestions.floor_axis(points))
    for name, why in skipped.items():
        runs.say(f"skipped {name}: {why}")
    if not rows:
        raise InputError("no video could be read.")
    classes = sorted(rows)
    kind = {"kind": "clip", "columns": list(columns), "classes": classes}
    write_json(target / "dataset.json", kind)
    suggested = suggestions.suggest(sample, "y")
    write_json(target / suggestions.FILE, suggested)
    print(f"{'class':<24}{'videos':>8}{'for test':>10}{'frames':>9}{'points a frame':>16}")
    for label in classes:
        count, tested, frames, points = rows[label]
        print(
            f"{label[:23]:<24}{count:>8}{tested:>10}{frames / count:>9.0f}{points / frames:>16.0f}"
        )
    print(f"{len(skipped)} skipped; split {how}. Columns: {', '.join(columns)}.")
    print(_about_up(floors, args.up_axis))
    print(f"suggested: {json.dumps(suggested)}")
    print(f"next: python -m experiments.adapt --task=point_videos_clips --data_dir={target}")


def _about_up(floors: list[str], given: str) -> str:
    """A sentence on the axis that points up."""
    found = max(set(floors), key=floors.count)
    if not found or floors.count(found) < len(floors) / 2:
        told = "The points do not tell which axis points up (no floor is seen)"
    elif found == "y":
        told = "A floor is seen below y, which points up"
    else:
        told = f"A floor is seen and {found} points up from it"
        return f"{told}: import again with --up_axis={found}."
    return f"{told}." if given else f"{told}; --up_axis tells it, the default is y."


if __name__ == "__main__":
    command_line.run(main, Args)

"""What all command lines share: flags from a dataclass, sentences instead of tracebacks."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

from absl import app, flags
from etils import eapp

from experiments.flag_help import help_text
from pointata_jax.errors import InputError
from pointata_jax.training.host_memory import keep_freed_memory

SETTINGS_SEPARATOR = "\n"
"""Between the values of several `--set` flags."""


@dataclasses.dataclass(frozen=True)
class TaskFlags:
    """Flags of the stages of a task: the task, its data and its clips."""

    # hoi4d, hoi4d_semantic, mocap6, msr_action3d, msr_skeleton, ntu_rgbd, radhar, radhar_timelines,
    # shrec17, synthetic_actions, synthetic_parts, synthetic_timelines, synthia; for your own videos
    # point_videos_clips, point_videos_frames, point_videos_points
    task: str = "synthetic_actions"
    data_dir: str | None = None  # folder with the public data, in its own layout
    cache_dir: str | None = None  # prepared records; default: the user's cache folder
    download: bool = False  # let the data set fetch its public archive
    variant: str | None = None  # configuration of the data set, such as a split or a fold
    protocol: str | None = None  # "published" for a data set's published protocol, defects included
    partial: bool = False  # accept a copy of the data set that is not complete
    frames: int | None = None  # frames of a clip; default: the task's
    points: int | None = None  # points of a frame; default: the task's
    merge: int | None = None  # sensor frames joined in one frame of a clip; default: the task's
    seed: int = 0  # of initialization, batches, dropout, source samples and the draw of videos
    channels: str | None = None  # columns beside x, y, z to use, with commas; default: the task's
    embedder_init: str | None = None  # random, or backbone for a copy; default: the task's
    videos_per_class: int | None = None  # train on so many videos of each class, drawn by the seed
    label_fraction: float | None = None  # the same as a share of the videos of each class
    hold_out: str | None = None  # for validation: subjects, recordings, or names of subjects
    set: str = ""  # any setting of the task, as in --set model.radius=0.15; may be repeated


def run(
    main: Callable[..., None],
    arguments: type,
    *,
    positional: bool = False,
) -> None:
    """Parses the flags of the dataclass `arguments` and calls `main` with an instance.

    With `positional`, arguments without dashes follow it; otherwise they are refused. Fields whose
    flag is no name in Python are in the `aliases` of the class, by the flag.

    Bad flags, every `InputError` and files or folders that the system refuses end with one sentence
    on stderr and exit status 2.
    """
    others: list[str] = []

    def parse(argv: list[str]) -> Any:
        if {"--help", "-h"} & set(argv[1:]):
            about = sys.modules["__main__"].__doc__ or arguments.__doc__ or ""
            print(help_text(arguments, about, positional=positional))
            sys.exit(0)
        argv = _joined_settings(argv)
        for flag, field in getattr(arguments, "aliases", {}).items():
            argv = [
                a.replace(f"--{flag}=", f"--{field}=", 1) if i else a for i, a in enumerate(argv)
            ]
        rest = [a for a in argv[1:] if not a.startswith("-")]
        if positional:
            others.extend(rest)
            argv = [argv[0], *(a for a in argv[1:] if a.startswith("-"))]
        elif rest:
            _stop(f"unexpected argument {rest[0]!r}: flags are written --name=value; see --help.")
        try:
            return eapp.make_flags_parser(arguments)(argv)
        except flags.Error as error:
            _stop(f"{error}; see --help.")

    def guarded(args: Any) -> None:
        for name in ("absl", "jax._src.xla_bridge", "matplotlib"):  # They report what is absent.
            logging.getLogger(name).setLevel(logging.WARNING)
        warnings.formatwarning = _plain_warning
        keep_freed_memory()
        try:
            main(args, *others)
        except InputError as error:
            _stop(str(error))
        except OSError as error:
            _stop(_file_fault(error))
        except KeyboardInterrupt:
            _stop("interrupted; the same command with --resume continues.")

    app.run(guarded, flags_parser=parse)


def _joined_settings(argv: list[str]) -> list[str]:
    """The arguments with all values of `--set` in one flag: a flag of absl holds one value."""
    rest, values, waiting = [], [], False
    for argument in argv:
        if waiting or argument.startswith("--set="):
            values.append(argument.removeprefix("--set="))
            waiting = False
        elif argument == "--set":
            waiting = True
        else:
            rest.append(argument)
    return [*rest, f"--set={SETTINGS_SEPARATOR.join(values)}"] if values else rest


_format_warning = warnings.formatwarning


def _plain_warning(message: Any, category: type[Warning], *place: Any, **line: Any) -> str:
    """What the user's data cause is a sentence; where in the code it was written says nothing."""
    if category is UserWarning:
        return f"note: {message}\n"
    return _format_warning(message, category, *place, **line)


def _file_fault(error: OSError) -> str:
    """What the system refused, and what a person can do about it."""
    what = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = "free some space, or give --workdir and --cache_dir folders on another disk"
    else:
        advice = "check that --data_dir can be read and --workdir and --cache_dir be written to"
    place = f"{os.fspath(error.filename)}: " if error.filename is not None else ""
    return f"{place}{what}: {advice}."


def _stop(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)

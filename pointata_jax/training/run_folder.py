"""The run folder: settings, log, results and the small trained artifact of one run.

    <run>/config.json           task and settings
    <run>/videos.json           by split and name, a digest of each video that the run has read
    <run>/metrics.jsonl         one JSON object a line, appended while training
    <run>/checkpoints/          see `training.checkpoints`
    <run>/adapter.safetensors   the trainable parameters and the model state
    <run>/figures/
    <run>/result.json           metric, counts, seed, versions
    <run>/test_predictions.npz  predictions of the test videos (`tasks.predictions`)
    <run>/report.html           the run to look at
    <run>/align/                the same files of stage 1, where it was run

Files are replaced atomically; the log is appended line by line, so that a killed run leaves whole
lines (a cut last line is ignored when read). Only process 0 writes.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import os
import platform
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from pointata_jax.errors import InputError
from pointata_jax.training.partition import Params
from pointata_jax.training.renamed_settings import with_present_names
from pointata_jax.training.trackers import Tracker

ADAPTER_FORMAT = "pointata_jax.adapter/1"
CACHE_VARIABLE = "POINTATA_JAX_CACHE"
STAGES = (None, "align")

# A folder that holds none of these has not trained, so its settings may be replaced.
TRACES = ("metrics.jsonl", "checkpoints", "adapter.safetensors", "result.json")

Json = Mapping[str, Any]
"""JSON values by name, or what `as_json` makes such of."""

Digests = Mapping[str, Mapping[str, str]]
"""By split and name of a video, a digest of its content (`data.videos.VideoSource.digests`)."""

_LABELS = 8  # the last digits of a digest are those of the labels


class RunFolder:
    """One run on disk; make it with `create` (to train) or `open` (to read).

    Attributes:
      path: the folder of this run (of its stage).
      config: what `config.json` holds: `task`, and `settings` as a dict.
      trackers: take each row of the log as well.
    """

    def __init__(self, path: str | os.PathLike, config: Json):
        self.path = Path(path)
        self.config = dict(config)
        self.trackers: list[Tracker] = []

    @classmethod
    def create(
        cls,
        root: str | os.PathLike,
        *,
        task: str,
        settings: object,
        stage: str | None = None,
        resume: bool = False,
        may_change: Collection[str] = (),
        videos: Digests | None = None,
    ) -> RunFolder:
        """Starts a run in `root` (stage 1: in `root/align`), or continues the existing one.

        Args:
          root: folder of the run; made if missing.
          task: name of the task. A folder that holds a run of another task, in any stage, is
            refused.
          settings: frozen dataclass or dict of JSON values, stored in `config.json`.
          stage: None for the adaptation, "align" for stage 1.
          resume: continue an existing run. Without an existing one, a new run starts.
          may_change: names of settings (dotted where nested) that may differ from the stored
            ones when resuming.
          videos: the videos of the run, stored in `videos.json`.

        Raises:
          InputError: the folder holds a run and `resume` is off; a run of another task; a run with
            other settings or other videos; or the folder cannot be written to.
        """
        root = Path(root)
        if root.exists() and not root.is_dir():
            raise InputError(f"run folder {root} is a file: give the path of a folder.")
        for other in STAGES:
            config = _read_config(_stage_path(root, other))
            if config is not None and config.get("task") != task:
                raise InputError(
                    f"{root} is the run folder of another task: it holds '{config.get('task')}', "
                    f"this run is '{task}'. Give another --workdir."
                )
        path = _stage_path(root, stage)
        new = {"task": task, "stage": stage or "adapt", "settings": as_json(settings)}
        run = cls(path, new)
        if jax.process_index() != 0:
            return run
        old = _read_config(path)
        trained = any((path / name).exists() for name in TRACES)
        if old is None and trained:
            raise InputError(
                f"{path} holds parts of a run but no config.json, so it is unknown which run "
                "they belong to: give another --workdir."
            )
        if trained and not resume:
            raise InputError(
                f"{path} already holds a run of task '{task}': pass --resume to continue it, or "
                "give another --workdir."
            )
        if old is not None and trained:
            _check_settings(path, old.get("settings", {}), new["settings"], may_change)
        if trained and videos is not None:
            run.check_videos(videos)
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_json(path / "config.json", new)
            if videos is not None:
                before = run.videos if trained else None
                write_json(path / "videos.json", {**(before or {}), **videos})
        except OSError as error:
            raise InputError(
                f"the run folder {path} cannot be written to ({error.strerror or error}): give "
                "another --workdir."
            ) from None
        return run

    @classmethod
    def open(cls, root: str | os.PathLike, *, stage: str | None = None) -> RunFolder:
        """Opens an existing run for reading; `InputError` if there is none."""
        path = _stage_path(Path(root), stage)
        config = _read_config(path)
        if config is None:
            raise InputError(
                f"{path} is not a run folder (it has no config.json): give the --workdir of a run."
            )
        return cls(path, config)

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.config["task"]

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the run, under the names of today."""
        return self.config["settings"]

    @property
    def videos(self) -> dict[str, dict[str, str]] | None:
        """By split and name, a digest of each video; None if an older version wrote the run."""
        return _read_json(self.path / "videos.json")

    def check_videos(self, videos: Digests) -> None:
        """InputError unless the videos are those that the run has read, in the same splits."""
        known = self.videos
        if known is None:
            warnings.warn(
                f"{self.path} was written by an older version, which did not store the videos: it "
                "cannot be checked whether they are the same.",
                stacklevel=2,
            )
            return
        changes = changed_videos(known, videos)
        if changes:
            raise InputError(
                f"{self.path} was trained on other videos: {changes}. Restore the data, or give "
                "another --workdir."
            )

    def known_content(self, splits: Collection[str]) -> set[str]:
        """Digests of the points, without labels, of the videos of some splits of the run."""
        known = self.videos or {}
        return set().union(*(contents(known.get(split, {})) for split in splits))

    @property
    def checkpoints_path(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def figures_path(self) -> Path:
        """Folder of the figures."""
        return self.path / "figures"

    @property
    def adapter_path(self) -> Path:
        """File of the trained parameters."""
        return self.path / "adapter.safetensors"

    @property
    def metrics_path(self) -> Path:
        """File of the log."""
        return self.path / "metrics.jsonl"

    def log(self, values: Json) -> None:
        """Appends one line to `metrics.jsonl`. Numbers that are not finite become null."""
        if jax.process_index() != 0:
            return
        row = as_json(values)
        with open(self.metrics_path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for tracker in self.trackers:
            tracker(row)

    def read_log(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`, without a last line that was cut off by a kill."""
        if not self.metrics_path.is_file():
            return []
        lines = self.metrics_path.read_text(encoding="utf-8").splitlines()
        rows = []
        for number, line in enumerate(lines):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                if number + 1 == len(lines):
                    break
                raise InputError(
                    f"{self.metrics_path}, line {number + 1}, is not JSON ({error}): remove the "
                    "line."
                ) from error
        return rows

    def drop_log_after(self, step: int | None) -> None:
        """Removes the lines after `step` (None: all lines), before training goes on from there."""
        if jax.process_index() != 0 or not self.metrics_path.is_file():
            return
        kept = [row for row in self.read_log() if step is not None and row.get("step", 0) <= step]
        write_text(self.metrics_path, "".join(json.dumps(row) + "\n" for row in kept))

    def write_result(self, result: Json, *, seed: int) -> dict[str, Any]:
        """Writes `result.json`, with task, seed, versions and device, and returns its content."""
        content = {
            "task": self.task,
            **as_json(result),
            "seed": seed,
            "versions": versions(),
            "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
        }
        if jax.process_index() == 0:
            write_json(self.path / "result.json", content)
        return content

    @property
    def report_path(self) -> Path:
        """File of the report."""
        return self.path / "report.html"

    @property
    def predictions_path(self) -> Path:
        """File of the predictions of the test videos."""
        return self.path / "test_predictions.npz"

    def write_predictions(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes `test_predictions.npz`, atomically."""
        partial = self.predictions_path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
        os.replace(partial, self.predictions_path)

    def read_result(self) -> dict[str, Any] | None:
        """The content of `result.json`, None where the run has not finished."""
        return _read_json(self.path / "result.json")


def changed_settings(old: Json, new: Json) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, by dotted name: before and now, as JSON values.

    Settings that only one side has are not compared, since a newer version may have more.
    """
    before, after = (traverse_util.flatten_dict(tree, sep=".") for tree in (old, new))
    both = sorted(before.keys() & after.keys())
    return {name: (before[name], after[name]) for name in both if before[name] != after[name]}


def contents(digests: Mapping[str, str]) -> set[str]:
    """The digests of the points, without those of the labels."""
    return {digest[:-_LABELS] for digest in digests.values()}


def changed_videos(before: Digests, now: Digests) -> str:
    """A phrase on how the videos of the splits that both have differ; "" if they do not."""
    known = [split for split in before if split in now]
    old = {name: (split, digest) for split in known for name, digest in before[split].items()}
    new = {name: (split, digest) for split in known for name, digest in now[split].items()}
    both = [name for name in new if name in old]
    found = {
        "new": [name for name in new if name not in old],
        "gone": [name for name in old if name not in new],
        "in another split": [name for name in both if old[name][0] != new[name][0]],
        "with other points": [n for n in both if old[n][1][:-_LABELS] != new[n][1][:-_LABELS]],
        "with other labels": [n for n in both if old[n][1][-_LABELS:] != new[n][1][-_LABELS:]],
    }
    return "; ".join(
        f"{len(names)} {what} ({', '.join(map(repr, sorted(names)[:3]))}"
        f"{', …' if len(names) > 3 else ''})"
        for what, names in found.items()
        if names
    )


def readable(result: Json) -> str:
    """A result as indented JSON."""
    return json.dumps(as_json(result), indent=2)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in ("pointata-jax", "jax", "jaxlib", "flax", "optax", "ott-jax", "numpy"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed: a checkout, or no optimal transport
    return found


def save_adapter(
    path: str | os.PathLike,
    trainable: Params,
    model_state: Params,
    metadata: Json,
) -> None:
    """Writes the trainable parameters and the model state as one `.safetensors` file, atomically.

    Args:
      path: the file.
      trainable: nested dict of arrays; stored under `params/…`.
      model_state: nested dict of collections; stored under `model_state/…`.
      metadata: JSON values that describe the run (task, tuning …).
    """
    if jax.process_index() != 0:
        return
    from safetensors.numpy import save_file

    flat = {
        **traverse_util.flatten_dict({"params": trainable}, sep="/"),
        **traverse_util.flatten_dict({"model_state": model_state}, sep="/"),
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(
        {name: np.ascontiguousarray(leaf) for name, leaf in flat.items()},
        partial,
        metadata={"format": ADAPTER_FORMAT, "metadata": json.dumps(as_json(metadata))},
    )
    os.replace(partial, path)


def load_adapter(
    path: str | os.PathLike,
) -> tuple[Params, Params, dict[str, Any]]:
    """Reads what `save_adapter` wrote: (trainable, model_state, metadata), NumPy leaves.

    Raises:
      InputError: the file is missing, damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the adapter.safetensors of a finished run.")
    try:
        with safe_open(path, framework="numpy") as file:
            stored = file.metadata() or {}
            names = list(file.keys())
            flat = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} cannot be read as safetensors ({error}): it is damaged; copy it again or "
            "rerun the training."
        ) from error
    if stored.get("format") != ADAPTER_FORMAT:
        raise InputError(
            f"{path} is not an adapter of this library (no '{ADAPTER_FORMAT}' in its metadata): "
            "give the adapter.safetensors of a run folder."
        )
    tree = traverse_util.unflatten_dict(flat, sep="/")
    return tree.get("params", {}), tree.get("model_state", {}), json.loads(stored["metadata"])


def user_cache(name: str) -> Path:
    """Path of a folder of this library in the user's cache folder; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pointata_jax" / name


def enable_compilation_cache(directory: str | os.PathLike | None = None) -> Path | None:
    """Keeps compiled functions on disk, so that a second run starts in seconds.

    The folder is the first that is given of: `directory`, the variable POINTATA_JAX_CACHE, JAX's
    own JAX_COMPILATION_CACHE_DIR, `pointata_jax` in the user's cache folder. The value `off` turns
    the cache off. A folder that cannot be written to is not an error; the run is only slower.

    Returns:
      The folder in use, None where the cache is off.
    """
    chosen = (
        directory
        or os.environ.get(CACHE_VARIABLE)
        or jax.config.values["jax_compilation_cache_dir"]
    )
    if chosen is None:
        chosen = user_cache("compiled")
    if str(chosen).lower() == "off":
        jax.config.update("jax_compilation_cache_dir", None)
        return None
    chosen = Path(chosen).expanduser()
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(chosen, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    return chosen


def write_json(path: Path, content: object) -> None:
    """Replaces a JSON file atomically."""
    write_text(path, json.dumps(as_json(content), indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replaces a text file atomically."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not JSON ({error}): the file is damaged; give another run folder."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: this library did not write it.")
    return content


def _stage_path(root: Path, stage: str | None) -> Path:
    if stage not in STAGES:
        raise InputError(f"unknown stage '{stage}': stages are None (adaptation) and 'align'.")
    return root if stage is None else root / stage


def _read_config(path: Path) -> dict[str, Any] | None:
    config = _read_json(path / "config.json")
    if config is not None and not {"task", "settings"} <= config.keys():
        raise InputError(
            f"{path / 'config.json'} is not the settings of a run of this library: give another "
            "--workdir."
        )
    return None if config is None else with_present_names(config)


def _check_settings(path: Path, old: Json, new: Json, may_change: Collection[str]) -> None:
    """Refuses settings that differ."""
    for name, (before, after) in changed_settings(old, new).items():
        if not any(name == entry or name.startswith(entry + ".") for entry in may_change):
            raise InputError(
                f"{path} was started with {name}={before}, not {after}: resume with the same "
                "settings, or give another --workdir."
            )


def as_json(value: Any) -> Any:
    """JSON values of dataclasses, mappings, sequences, paths, NumPy and JAX scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: as_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(name): as_json(entry) for name, entry in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(as_json(entry) for entry in value)
    if isinstance(value, list | tuple):
        return [as_json(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return as_json(np.asarray(value).tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)

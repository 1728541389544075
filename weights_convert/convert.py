"""Converts a checkpoint to a backbone in memory or in a file, or a backbone to PyTorch's names.

Tensors are read, converted and written one at a time, so a conversion needs little more memory than
its largest tensor. Neither PyTorch nor JAX is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from weights_convert import to_torch
from weights_convert.recognize import CONFIG_KEY, OUR_FORMAT, OURS, Accounts, Options, account
from weights_convert.report import Report, complaints
from weights_convert.safetensors_file import Planned, write_safetensors
from weights_convert.state_dict import StateDict, open_state_dict
from weights_convert.trunk import Architecture, Entry

TARGETS = ("pointata", "torch")
_SHOWN = 12


def read_backbone(
    path: str | os.PathLike, options: Options | None = None
) -> tuple[Architecture, dict[str, Any]]:
    """A checkpoint's backbone: (architecture, {"params", "batch_stats"} with float32 leaves).

    Raises:
      InputError: the file cannot be read or recognized, or a tensor is missing, unexpected,
        misshapen or not finite.
    """
    with _accounted(path, options or Options()) as (state, accounts):
        finite = _Finite(path)
        tree: dict[str, Any] = {}
        for entry in accounts.used:
            *folders, leaf = entry.path.split("/")
            place = tree
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = np.ascontiguousarray(_value(state, accounts, entry, finite))
        finite.check()
        return accounts.architecture, tree


def convert(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    to: str = "pointata",
    options: Options | None = None,
    report: str | os.PathLike | None = None,
) -> Report:
    """Converts a checkpoint into a file and compares that file with its source, bit by bit.

    Args:
      path: any file that `weights_convert` reads, including a backbone of this library.
      output: the `.safetensors` file to write.
      to: "pointata" for a backbone of this library, "torch" for Point-MAE's names.
      options: what the user states about the file.
      report: JSON file for the report; it is written too if the conversion fails.

    Returns:
      The report.

    Raises:
      InputError: as `read_backbone`; an unknown target; or a file that cannot be written or would
        overwrite another one.
    """
    options = options or Options()
    if to not in TARGETS:
        raise InputError(f"unknown target {to!r}: choose one of {', '.join(TARGETS)}.")
    _check_target("output", output, path)
    if report is not None:
        _check_target("report", report, path)
        if Path(report).resolve() == Path(output).resolve():
            raise InputError(
                f"--report={os.fspath(report)} would overwrite --output: give two paths."
            )

    def write_report(found: Report) -> None:
        if report is not None:
            with _writing("report", report):
                Path(report).write_text(json.dumps(found.to_dict(), indent=2) + "\n", "utf-8")

    with _accounted(path, options, on_refusal=write_report) as (state, accounts):
        source_hash = file_sha256(path)
        names = _names(accounts, to)
        metadata = _metadata(path, source_hash, state, accounts, options, to)
        finite = _Finite(path)
        with _writing("output", output):
            write_safetensors(output, _plan(state, accounts, to, finite), metadata, finite.check)
        _compare(output, state, accounts, names)
        found = Report.of(
            accounts,
            state,
            source=(os.fspath(path), source_hash),
            output=(os.fspath(output), file_sha256(output)),
            to=to,
        )
    write_report(found)
    return found


def _check_target(flag: str, target: str | os.PathLike, path: str | os.PathLike) -> None:
    """Raises InputError if a file cannot be written, before the conversion starts."""
    given = f"--{flag}={os.fspath(target)}"
    if not os.fspath(target):
        raise InputError(f"--{flag} is empty: give the path of a file.")
    with _writing(flag, target):
        if os.path.exists(target) and os.path.exists(path) and os.path.samefile(path, target):
            raise InputError(f"{given} would overwrite the checkpoint itself: give another path.")
        folder = Path(target).resolve().parent
        if not folder.is_dir():
            raise InputError(f"the folder of {given} does not exist: create it first.")
        if os.path.isdir(target):
            raise InputError(f"{given} is a folder: give the path of a file in it.")
        # The output is written as a new file in the folder that then replaces the old one.
        written = folder if flag == "output" or not os.path.exists(target) else target
        if not os.access(written, os.W_OK):
            raise InputError(f"{given} cannot be written: change the permissions of {written}.")


@contextlib.contextmanager
def _writing(flag: str, target: str | os.PathLike) -> Iterator[None]:
    """Turns errors of the system while a file is written into InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"--{flag}={os.fspath(target)} cannot be written ({why}): choose another path, or "
            "check the disk and the permissions of the folder."
        ) from error


@contextlib.contextmanager
def _accounted(
    path: str | os.PathLike,
    options: Options,
    on_refusal: Callable[[Report], None] = lambda report: None,
) -> Iterator[tuple[StateDict, Accounts]]:
    """An open checkpoint with complete accounts; `on_refusal` gets the report of any other one."""
    with open_state_dict(path, options.key, options.prefix) as state:
        try:
            accounts = account(state, options)
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from error
        if not accounts.in_order:
            on_refusal(Report.of(accounts, state, source=(os.fspath(path), file_sha256(path))))
            raise InputError(f"{os.fspath(path)}: {complaints(accounts)}")
        yield state, accounts


class _Finite:
    """Collects the tensors of a file that hold values that are not finite."""

    def __init__(self, path: str | os.PathLike):
        self._path = path
        self._bad: dict[str, str] = {}

    def add(self, name: str, stored: np.ndarray, value: np.ndarray) -> None:
        """Checks a tensor, given as it is stored and as float32."""
        if np.isfinite(value).all():
            return
        # Counted in the stored type, because float64 values can exceed the range of float32.
        nan, infinite = int(np.isnan(stored).sum()), int(np.isinf(stored).sum())
        large = value.size - int(np.isfinite(value).sum()) - nan - infinite
        counts = ((nan, "NaN"), (infinite, "infinite"), (large, "too large for float32"))
        parts = ", ".join(f"{n:,} {what}" for n, what in counts if n)
        self._bad[name] = f"{name} ({parts} of {value.size:,})"

    def check(self) -> None:
        """Raises InputError if any value was not finite."""
        if self._bad:
            shown = ", ".join(list(self._bad.values())[:_SHOWN])
            more = f" and {len(self._bad) - _SHOWN} more" if len(self._bad) > _SHOWN else ""
            advice = (
                "the training of the checkpoint diverged or the file is damaged; use another one"
            )
            if all(name.endswith((".running_mean", ".running_var")) for name in self._bad):
                advice = (
                    "these statistics of BatchNorm are lost, and zeros in their place would change "
                    "every patch token; estimate them again in PyTorch (a few hundred clouds "
                    "through the model in train mode) and save the file, or use another one"
                )
            raise InputError(
                f"{os.fspath(self._path)}: {shown}{more} hold values that are not finite: {advice}."
            )


def _read(
    state: StateDict, accounts: Accounts, entry: Entry, finite: _Finite | None = None
) -> np.ndarray:
    """A used tensor as float32, in the layout of its file."""
    name = accounts.used[entry]
    stored = state.tensors[name].read()
    # Half precision converts to float32 exactly. float64 is rounded, and the report states it.
    with np.errstate(over="ignore"):
        value = stored.astype(np.float32, copy=False)
    if finite is not None:
        finite.add(name, stored, value)
    return value


def _value(state: StateDict, accounts: Accounts, entry: Entry, finite: _Finite) -> np.ndarray:
    """A used tensor as float32, in the layout of this library."""
    value = _read(state, accounts, entry, finite)
    return value if accounts.format is OUR_FORMAT else entry.to_ours(value)


def _plan(state: StateDict, accounts: Accounts, to: str, finite: _Finite) -> list[Planned]:
    """The tensors to write; each is computed when it is written."""
    if to == "torch":
        return to_torch.plan(
            accounts.architecture, lambda entry: _value(state, accounts, entry, finite)
        )
    dtype = np.dtype(np.float32)
    return [
        Planned(
            entry.path,
            entry.our_shape,
            dtype,
            lambda entry=entry: _value(state, accounts, entry, finite),
        )
        for entry in accounts.used
    ]


def _metadata(
    path: str | os.PathLike,
    source_hash: str,
    state: StateDict,
    accounts: Accounts,
    options: Options,
    to: str,
) -> dict[str, str]:
    """Metadata of the output: its source, and the entries of an earlier conversion."""
    config = json.dumps(accounts.architecture.to_dict())
    metadata = {k: v for k, v in state.metadata.items() if k not in ("format", "config")}
    metadata.pop(CONFIG_KEY, None)
    if accounts.format is not OUR_FORMAT and CONFIG_KEY not in state.metadata:
        metadata |= {
            "source": Path(path).name,
            "source_sha256": source_hash,
            "family": accounts.format.title,
            "stage": accounts.format.stage,
        }
    if options.drop is not None:
        metadata |= {"drop": options.drop, "dropped_by_choice": json.dumps(accounts.by_choice)}
    metadata |= {name: value for name in ("key", "prefix") if (value := getattr(options, name))}
    if to == "torch":
        return metadata | {"format": "pt", CONFIG_KEY: config}
    return metadata | {"format": OURS, "config": config}


def _names(accounts: Accounts, to: str) -> dict[Entry, str]:
    """Name of every entry in the output."""
    if to == "torch":
        return to_torch.torch_names(accounts.architecture)
    return {entry: entry.path for entry in accounts.used}


def _compare(
    output: str | os.PathLike, state: StateDict, accounts: Accounts, names: Mapping[Entry, str]
) -> None:
    """Reads the output and the checkpoint again and checks that their bits are equal."""
    with open_state_dict(output) as written:
        for entry in accounts.used:
            value = written.tensors[names[entry]].read()
            ours = value if names[entry] == entry.path else entry.to_ours(value)
            expected = _read(state, accounts, entry)
            if accounts.format is OUR_FORMAT:
                same = _same_bits(ours, expected)
            else:
                same = _same_bits(entry.to_torch(ours), expected.reshape(entry.shape))
            if not same:
                raise InputError(
                    f"{os.fspath(output)} does not hold what was written to it ({entry.path}): "
                    "check whether the disk is full or failing, and convert again."
                )


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(
        np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32)
    )

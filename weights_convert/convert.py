"""Conversion: from a checkpoint to our backbone in memory or in a file, or back to PyTorch's names.

Tensors are read, laid out and written one at a time, so a conversion takes little more memory than
its largest tensor, and nothing of PyTorch or JAX is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from weights_convert import to_torch
from weights_convert.recognise import CONFIG_KEY, OUR_FORMAT, OURS, Accounts, Options, account
from weights_convert.report import Report, complaints
from weights_convert.safetensors_file import Planned, write_safetensors
from weights_convert.state_dict import StateDict, open_state_dict
from weights_convert.trunk import Architecture, Entry

TARGETS = ("pointata", "torch")


def read_backbone(
    path: str | os.PathLike, options: Options | None = None
) -> tuple[Architecture, dict[str, Any]]:
    """A checkpoint's backbone: (architecture, {"params", "batch_stats"} with float32 leaves).

    Raises:
      InputError: the file cannot be read or recognised, or a tensor is missing, unexpected,
        misshapen or not finite.
    """
    with _accounted(path, options or Options()) as (state, accounts):
        tree: dict[str, Any] = {}
        for entry in accounts.used:
            *folders, leaf = entry.path.split("/")
            place = tree
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = np.ascontiguousarray(_value(state, accounts, entry))
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
      path: any file that `weights_convert` reads, also one of our own.
      output: the `.safetensors` file to write.
      to: "pointata" for a backbone of this library, "torch" for Point-MAE's names.
      options: what the user says about the file.
      report: where to write the report as JSON, also when the conversion is refused.

    Returns:
      The report.

    Raises:
      InputError: as `read_backbone`; or the output would overwrite the input.
    """
    options = options or Options()
    if to not in TARGETS:
        raise InputError(f"unknown target {to!r}: choose one of {', '.join(TARGETS)}.")
    if os.path.exists(output) and os.path.exists(path) and os.path.samefile(path, output):
        raise InputError(f"--output={os.fspath(output)} would overwrite the checkpoint itself.")
    if not Path(output).resolve().parent.is_dir():
        raise InputError(
            f"the folder of --output={os.fspath(output)} does not exist: make it first."
        )

    def write_report(found: Report) -> None:
        if report is not None:
            Path(report).write_text(json.dumps(found.to_dict(), indent=2) + "\n")

    with _accounted(path, options, refused=write_report) as (state, accounts):
        source_hash = file_sha256(path)
        metadata = _metadata(path, source_hash, state, accounts, options, to)
        write_safetensors(output, _plan(state, accounts, to), metadata)
        _compare(output, state, accounts, to)
        found = Report.of(
            accounts,
            state,
            source=(os.fspath(path), source_hash),
            output=(os.fspath(output), file_sha256(output)),
            to=to,
        )
    write_report(found)
    return found


@contextlib.contextmanager
def _accounted(
    path: str | os.PathLike,
    options: Options,
    refused: Callable[[Report], None] = lambda report: None,
) -> Iterator[tuple[StateDict, Accounts]]:
    """An open checkpoint with its accounts, in order; `refused` is told of one that is not."""
    with open_state_dict(path) as state:
        try:
            accounts = account(state, options)
        except InputError as error:
            raise InputError(f"{os.fspath(path)}: {error}") from error
        if not accounts.in_order:
            refused(Report.of(accounts, state, source=(os.fspath(path), file_sha256(path))))
            raise InputError(f"{os.fspath(path)}: {complaints(accounts)}")
        yield state, accounts


def _read(state: StateDict, accounts: Accounts, entry: Entry) -> np.ndarray:
    """A used tensor as float32, in the layout of its file."""
    name = accounts.used[entry]
    value = state.tensors[name].read()
    if not np.isfinite(value).all():
        raise InputError(
            f"{name} holds values that are not finite: the checkpoint is of a training that "
            "diverged, or damaged."
        )
    # Half precision fits float32 exactly; float64 is rounded, which the report says.
    return value.astype(np.float32, copy=False)


def _value(state: StateDict, accounts: Accounts, entry: Entry) -> np.ndarray:
    """A used tensor as float32, in our layout."""
    value = _read(state, accounts, entry)
    return value if accounts.format is OUR_FORMAT else entry.to_ours(value)


def _plan(state: StateDict, accounts: Accounts, to: str) -> list[Planned]:
    """What is written, each tensor made when its turn comes."""
    if to == "torch":
        return to_torch.plan(accounts.architecture, lambda entry: _value(state, accounts, entry))
    dtype = np.dtype(np.float32)
    return [
        Planned(
            entry.path,
            entry.our_shape,
            dtype,
            lambda entry=entry: _value(state, accounts, entry),
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
    """Where the output comes from; what an earlier conversion knew is kept."""
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
    if to == "torch":
        return metadata | {"format": "pt", CONFIG_KEY: config}
    return metadata | {"format": OURS, "config": config}


def _compare(output: str | os.PathLike, state: StateDict, accounts: Accounts, to: str) -> None:
    """Reads the output and the checkpoint again; both must hold the same bits."""
    with open_state_dict(output) as written:
        for entry in accounts.used:
            value = written.tensors[entry.name if to == "torch" else entry.path].read()
            ours = entry.to_ours(value) if to == "torch" else value
            expected = _read(state, accounts, entry)
            if accounts.format is OUR_FORMAT:
                same = _same_bits(ours, expected)
            else:
                same = _same_bits(entry.to_torch(ours), expected.reshape(entry.shape))
            if not same:
                raise InputError(
                    f"{os.fspath(output)} does not hold what was written to it ({entry.path}): the "
                    "disk may be full or failing."
                )


def _same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(
        np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32)
    )

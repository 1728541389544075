"""From a user's archive to records, one video at a time, however large the archive is.

tfds' `GeneratorBasedBuilder` sorts the examples of a split by key. It collects up to a gigabyte in
memory and writes what is more to files of TensorFlow, so that a larger split fails without
TensorFlow. The builders of large archives are therefore `tfds.core.ShardBasedBuilder`s: examples go
to the record files in the order in which they are made. Training shuffles them later.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pointata_jax.errors import InputError

Example = dict[str, Any]
"""One video, as `schema.make_example` returns it."""

Item = TypeVar("Item")

Protocol = Literal["corrected", "published"]
"""Where published code has a defect, "corrected" does what the authors intended and "published"
repeats what their code does."""

PROTOCOLS: tuple[Protocol, ...] = ("corrected", "published")


def check_protocol(protocol: str) -> Protocol:
    """The protocol of this name; InputError if there is none."""
    if protocol not in PROTOCOLS:
        raise InputError(f"Unknown protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}.")
    return protocol  # pyright: ignore[reportReturnType]


def manual_folder(dl_manager: Any, where: str) -> Path:
    """The folder of the user's copy.

    Args:
      dl_manager: tfds' download manager.
      where: what a data folder holds and where the public data come from, for errors.

    Raises:
      InputError: the folder is missing, empty or cannot be read.
    """
    try:
        return Path(dl_manager.manual_dir)
    except AssertionError as error:  # tfds: missing or empty, with the path in the text.
        what = str(error).split(" Create it")[0].strip().rstrip(".")
        raise InputError(f"{what}: no data folder. {where}") from None
    except OSError as error:
        raise InputError(
            f"The data folder cannot be read ({error}): change its rights. {where}"
        ) from None


def split_shards(
    parts: Mapping[str, Sequence[Item]],
    make: Callable[[Item], Iterable[Example]],
    *,
    items_per_shard: int,
    where: str | Path,
) -> dict[str, list[Callable[[], Iterator[tuple[str, Example]]]]]:
    """What `_shard_iterators_per_split` of a builder returns.

    Args:
      parts: by split, the sources of its examples (a file, a row of a file), in order.
      make: makes the examples of one source. The key of an example is its `video_id`.
      items_per_shard: number of sources whose examples share a record file.
      where: the data folder, for the error.

    Returns:
      By split, one function per record file. Splits without sources are left out.

    Raises:
      InputError: all splits are empty; or, while the examples are made, a `video_id` occurs twice.
    """
    if not any(parts.values()):
        raise InputError(f"{where} holds no video of the data set; check what was copied there.")
    seen: set[str] = set()
    return {
        split: [
            functools.partial(_examples, items[start : start + items_per_shard], make, seen)
            for start in range(0, len(items), items_per_shard)
        ]
        for split, items in parts.items()
        if items
    }


def keep_present(
    splits: Mapping[str, Sequence[Item]],
    files: Container[str],
    name: Callable[[Item], str],
    *,
    problem: str,
    partial: bool,
    where: str = "",
) -> dict[str, list[Item]]:
    """The items of each split that have a file.

    Args:
      splits: the items that the lists of a data set name, by split.
      files: the names of the items that have a file.
      name: the name of an item.
      problem: words for items without a file, such as "frames have no file".
      partial: warn of missing files instead of raising.
      where: what a data folder holds, for the error.

    Raises:
      InputError: an item has no file, unless `partial`.
    """
    for split, items in splits.items():
        missing = [name(item) for item in items if name(item) not in files]
        if not missing:
            continue
        what = f"{len(missing)} of the {len(items)} {split} {problem}"
        if not partial:
            raise InputError(
                f"{what}, the first is {missing[0]}; complete the copy, or give partial=True to "
                f"use what is there. {where}".rstrip()
            )
        warnings.warn(f"{what} and were left out, such as {missing[0]}.", UserWarning, stacklevel=3)
    return {
        split: [item for item in items if name(item) in files] for split, items in splits.items()
    }


def _examples(
    items: Sequence[Item], make: Callable[[Item], Iterable[Example]], seen: set[str]
) -> Iterator[tuple[str, Example]]:
    for item in items:
        for example in make(item):
            key = example["video_id"]
            if key in seen:
                raise InputError(f"The video {key!r} occurs twice; remove one of the two.")
            seen.add(key)
            yield key, example
            # tfds keeps the examples of a shard until it is written, only to count them. Emptying
            # them frees their arrays.
            example.clear()

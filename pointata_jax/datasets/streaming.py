"""From a user's archive to records, one video at a time, however large the archive is.

tfds' usual builder sorts the examples of a split by key. It collects up to a gigabyte in memory and
writes what is more to files of TensorFlow, so that without TensorFlow a larger split fails. The
builders of large archives are therefore `tfds.core.ShardBasedBuilder`s: their examples go to the
record files as they come. Order does not matter there, since training shuffles.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pointata_jax.errors import InputError

Example = tuple[str, dict[str, Any]]
Item = TypeVar("Item")

Protocol = Literal["corrected", "published"]
"""Where the published code has a defect: what it meant to do, or what it does."""

PROTOCOLS: tuple[Protocol, ...] = ("corrected", "published")


def check_protocol(protocol: str) -> Protocol:
    """The name of a protocol, or InputError."""
    if protocol not in PROTOCOLS:
        raise InputError(f"Unknown protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}.")
    return protocol  # pyright: ignore[reportReturnType]


def manual_folder(dl_manager: Any, where: str) -> Path:
    """The folder of the user's copy; InputError with the instructions `where` if there is none."""
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
) -> dict[str, list[Callable[[], Iterator[Example]]]]:
    """What `_shard_iterators_per_split` of a builder returns.

    Args:
      parts: by split, what its examples are made of (a file, a row of a file), in order.
      make: the examples of one item, with their keys.
      items_per_shard: items whose examples share a record file.
      where: the source, for the error.

    Returns:
      By split, one function per record file. Splits without items are left out.

    Raises:
      InputError: no split has an item; or, while the examples are made, a key occurs twice.
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


def _examples(
    items: Sequence[Item], make: Callable[[Item], Iterable[Example]], seen: set[str]
) -> Iterator[Example]:
    for item in items:
        for key, example in make(item):
            if key in seen:
                raise InputError(f"The video {key!r} occurs twice; remove one of the two.")
            seen.add(key)
            yield key, example
            # tfds holds on to what a shard yielded until the shard is written, only to count it.
            example.clear()

"""Recognizes checkpoint files, and explains what any other file is.

Common other files are git-LFS pointers, HTML pages, incomplete downloads and packed archives.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import zipfile
from pathlib import Path
from typing import NoReturn

from pointata_jax.errors import InputError

SUFFIXES = (".pth", ".pt", ".t7", ".ckpt", ".bin", ".safetensors")
"""Usual suffixes of files of weights."""
LEGACY_NUMBER = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""Pickled number near the start of files in PyTorch's format before 1.6."""
_START = 4096
# Maximum size of a header that the safetensors library accepts.
_MAX_HEADER = 100_000_000
_MAX_INDEX = 2**26
_SHOWN = 6
_EXPECTED = "give a checkpoint in PyTorch's zip format (torch >= 1.6) or a safetensors file"
_AGAIN = "download the file itself, and check its content before you convert it"
_ARCHIVES = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!", "RAR"),
)
_OTHERS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"GGUF", "a GGUF file"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)


def checkpoint_kind(path: str | os.PathLike) -> str:
    """Whether a file is a "zip" or a "safetensors" file, from its first bytes.

    Raises:
      InputError: the file is missing, unreadable, or of another kind, which the error names.
    """
    name = os.fspath(path)
    try:
        if os.path.isdir(path):
            _refuse_folder(name)
        if not os.path.lexists(path):
            raise InputError(f"checkpoint {name} does not exist: check the path.")
        if not os.path.exists(path):
            raise InputError(
                f"checkpoint {name} is a link to a file that does not exist: give the file itself."
            )
        if not os.path.isfile(path):
            raise InputError(f"{name} is neither a file nor a folder: give a file.")
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            start = file.read(_START)
        if start.startswith(b"PK\x03\x04"):
            return "zip"
        header = int.from_bytes(start[:8], "little")
        # A text has eight letters where safetensors has a length, and they make an impossible one.
        if start[8:9] == b"{" and header <= max(size, _MAX_HEADER):
            if header + 8 > size:
                raise InputError(
                    f"{name} is cut off: its header alone needs {header + 8:,} bytes, but the file "
                    f"has {size:,}; download it again."
                )
            return "safetensors"
        raise InputError(f"{name} {_what_else(path, start, size)}.")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise unreadable(path, error) from error


def unreadable(path: str | os.PathLike, error: Exception) -> InputError:
    """The error for a file that the system cannot read."""
    why = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return InputError(f"{os.fspath(path)} cannot be read: change its permissions.")
    return InputError(
        f"{os.fspath(path)!r} cannot be read ({why}): check the disk, or copy the file again."
    )


def refuse_zip(path: str | os.PathLike, error: Exception) -> NoReturn:
    """Raises InputError for a file that starts like a zip archive but cannot be read as one."""
    size = os.path.getsize(path)
    raise InputError(
        f"{os.fspath(path)} starts like a checkpoint but cannot be read ({error}): the end of the "
        f"file, which has {size:,} bytes, is missing or damaged, as after an incomplete download; "
        "download it again."
    )


def other_archive(names: list[str]) -> str | None:
    """What a zip archive without a checkpoint's pickle is, from its members; None if unknown."""
    if names and all(name.endswith(".npy") for name in names):
        return "it holds NumPy arrays (npz), not a checkpoint of torch.save"
    found = [name for name in names if name.endswith(SUFFIXES)]
    if found:
        return (
            f"it is an ordinary zip archive around {_some(found)}: unpack it and give the "
            "checkpoint itself"
        )
    return None


def cut_off_tensors(path: str | os.PathLike) -> str | None:
    """How a safetensors file is shorter than its header states; None if it is not."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, _MAX_HEADER)))
        end = max(value["data_offsets"][1] for key, value in header.items() if key[:2] != "__")
        stated = 8 + length + int(end)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None
    if stated <= size:
        return None
    return f"its header states {stated:,} bytes, but the file has {size:,}"


def _refuse_folder(name: str) -> NoReturn:
    entries = sorted(entry.name for entry in os.scandir(name))
    found = [entry for entry in entries if entry.endswith(SUFFIXES)]
    if {"data.pkl", "data"} <= set(entries):
        raise InputError(
            f"{name} is the folder of an unpacked checkpoint: pack the folder again (zip -0 -r "
            "checkpoint.pth FOLDER), or give the original file."
        )
    if found:
        raise InputError(
            f"{name} is a folder, not a checkpoint: give one of its files {_some(found)}."
        )
    raise InputError(
        f"{name} is a folder, not a checkpoint, and none of its {len(entries)} entries has a "
        f"suffix of one ({', '.join(SUFFIXES)}): give the path of a file."
    )


def _what_else(path: str | os.PathLike, start: bytes, size: int) -> str:
    if not size:
        return f"is empty (0 bytes), as after a download that failed: {_AGAIN}"
    if start.startswith(b"PK"):
        return f"is an empty or split zip archive: {_EXPECTED}"
    for magic, kind in _ARCHIVES:
        if start.startswith(magic):
            return f"is packed ({kind}): unpack it and give the checkpoint inside"
    if start[257:262] == b"ustar":
        return "is a tar archive: unpack it and give the checkpoint inside"
    for magic, kind in _OTHERS:
        if start.startswith(magic):
            return f"is {kind}: {_EXPECTED}"
    if LEGACY_NUMBER in start[:32]:
        return (
            "is a checkpoint in the format before torch 1.6, not in PyTorch's zip format: load it "
            "in PyTorch 1.6 or newer and save it again with torch.save"
        )
    if (text := _text(start)) is not None:
        return _what_text(path, text, size)
    if start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05":
        return (
            "is a plain pickle that torch.save did not write, and it is not opened, because a "
            f"pickle can run code: {_EXPECTED}; if you trust it, load it and save its tensors with "
            "torch.save"
        )
    if not any(start):
        return f"starts with {len(start)} zeros, as after a copy that failed: {_AGAIN}"
    return (
        f"is of an unknown kind (it starts with {start[:8].hex(' ')}): {_EXPECTED}; if it is older "
        "than torch 1.6, load it in PyTorch and save it again with torch.save"
    )


def _text(start: bytes) -> str | None:
    """The start of a text without leading white space; None if it is not a text."""
    encoding = "utf-8"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    text = start.decode(encoding, errors="replace").lstrip("\ufeff \t\r\n\0")
    odd = sum(not (c.isprintable() or c.isspace()) or c == "\ufffd" for c in text[:512])
    return text if odd <= len(text[:512]) // 10 and text else None


def _what_text(path: str | os.PathLike, text: str, size: int) -> str:
    lower = text[:1024].lower()
    if lower.startswith("version https://git-lfs") or "\noid sha256:" in lower:
        return (
            "is a git-LFS pointer, not the checkpoint itself: run `git lfs pull` in its "
            "repository, or download the file from the page of the repository"
        )
    if lower.startswith("<!doctype html") or re.search(r"<(html|head|body|title)\b", lower):
        return (
            "is an HTML page, not a checkpoint: the link leads to a page with a download button, "
            f"a login or an error; {_AGAIN}"
        )
    if lower.startswith("<"):
        return f"is an XML text, perhaps the error of a server: {_AGAIN}"
    if lower.startswith(("{", "[")):
        return _what_json(path, size)
    first = " ".join(text.split())[:60]
    return f"is a text ({first!r}): {_EXPECTED}"


def _what_json(path: str | os.PathLike, size: int) -> str:
    shards: list[str] = []
    is_index = os.fspath(path).endswith(".index.json")
    if size <= _MAX_INDEX:
        try:
            value = json.loads(Path(path).read_bytes())
            if isinstance(value, dict) and isinstance(value.get("weight_map"), dict):
                is_index = True
                shards = sorted({str(shard) for shard in value["weight_map"].values()})
        except (ValueError, RecursionError):
            pass
    if not is_index:
        return f"is a JSON text, perhaps settings or the error of a server: {_AGAIN}"
    if any(not shard.endswith(".safetensors") for shard in shards):
        how = (
            "merged = {}; [merged.update(torch.load(shard, weights_only=True)) for shard in "
            "shards]; torch.save(merged, 'merged.pth')"
        )
    else:
        how = (
            "merged = {}; [merged.update(safetensors.numpy.load_file(shard)) for shard in shards]; "
            "safetensors.numpy.save_file(merged, 'merged.safetensors')"
        )
    listed = f" in {len(shards)} files ({_some(shards)})" if shards else ""
    return (
        f"is the index of a checkpoint{listed} and holds no weights: merge the files into one in "
        f"Python, `{how}`, and give the merged file"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def is_torch_script(names: list[str], root: str) -> bool:
    """Whether an archive with these members is a compiled program of PyTorch."""
    return any(name.startswith(f"{root}code/") for name in names) or f"{root}constants.pkl" in names


def open_zip(path: str | os.PathLike) -> zipfile.ZipFile:
    """The archive of a checkpoint.

    Raises:
      InputError: the end of the archive, which lists its members, is missing or damaged.
    """
    try:
        return zipfile.ZipFile(path)
    except PermissionError as error:
        raise unreadable(path, error) from error
    except Exception as error:  # zipfile raises many types for damaged files.
        refuse_zip(path, error)

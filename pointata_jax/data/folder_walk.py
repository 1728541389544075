"""The one walk through folders of data that all readers use, and what it leaves out.

A reader that lists a folder by itself soon passes over a linked folder, takes the copies that an
editor hides for data, or trips over a broken link. So the rules are here, once:

- Links are followed, to files and to folders. Each real folder is read once: where several names
  lead to it, the one that is no link wins, else the first in order. So a link to a folder above is
  harmless. Links to a folder around the walked one lead out of the data and are left out too.
  Several names of one file are several files, for stores that keep equal contents once have them.
- Entries that are hidden, or that an operating system or editor puts beside data, are left out.
- Endings are compared without regard to case.
- A link that leads nowhere is an error where it may stand for data (a wanted ending, or none, as
  folders have); others are left out. A folder that cannot be read is an error.

What is left out is kept by reason, and `Walk.report` says it in a sentence.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
import warnings
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from pointata_jax.errors import InputError

HIDDEN = "hidden"
REPEATED = "repeated"
BROKEN = "broken"
SPECIAL = "special"
FOREIGN = "foreign"
OTHER = "other"
REASONS: dict[str, str] = {
    HIDDEN: "hidden entries",
    REPEATED: "links to folders that are read under another name or lie around this one",
    BROKEN: "links that lead nowhere",
    SPECIAL: "entries that are neither file nor folder",
    FOREIGN: "files of kinds that are not read here",
    OTHER: "other files",
}
"""Why a walk leaves something out (keys of `Walk.skipped`), and the words for it."""

DATA_SUFFIXES = frozenset(
    ".npz .npy .bin .h5 .hdf5 .mat .pkl .pickle .pt .pth .csv .tsv .xyz .pts .asc .off .obj .ply "
    ".stl .pcd .las .laz .e57 .glb .gltf .fbx .dae .3ds .wrl .bag .mcap .parquet .feather .zip "
    ".tar .tgz .gz .bz2 .xz .zst .7z .rar".split()
)
"""Endings of files that may hold clouds, meshes or arrays, unpacked or not. (.txt and .json are as
often notes beside data.)"""

_SYSTEM_NAMES = frozenset(
    (
        "__macosx",
        "__pycache__",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "@eadir",
    )
)


@dataclasses.dataclass(frozen=True)
class Walk:
    """What is below a folder.

    Attributes:
      folder: where the walk began.
      files: the files that were asked for, sorted part by part of their paths, by the names under
        which they were found.
      skipped: by reason (a key of `REASONS`), the paths that were left out, sorted; reasons without
        a path are not there.
      closed: the folders that were not entered because `enter` refused their names, sorted.
    """

    folder: Path
    files: tuple[Path, ...]
    skipped: Mapping[str, tuple[Path, ...]]
    closed: tuple[Path, ...] = ()

    def sentence(self, *, foreign: bool = True) -> str:
        """What was left out and may matter, in one sentence; empty if nothing was.

        Ordinary files that were not asked for, such as a README, do not matter.

        Args:
          foreign: whether files of kinds that are not read here matter; not in an archive that has
            them by nature.
        """
        parts = []
        for reason in (HIDDEN, REPEATED, BROKEN, SPECIAL, FOREIGN):
            paths = self.skipped.get(reason, ())
            if not paths or (reason == FOREIGN and not foreign):
                continue
            what = REASONS[reason]
            if reason == FOREIGN:
                kinds = sorted({path.suffix.lower() for path in paths})
                what += f" ({', '.join(kinds)})"
            parts.append(f"{what}: {len(paths)}, such as {paths[0].relative_to(self.folder)}")
        return f"Left out below {self.folder} were {'; '.join(parts)}." if parts else ""

    def report(self, *, foreign: bool = True, stacklevel: int = 1) -> None:
        """Warns (UserWarning) with `sentence`, if there is one.

        Args:
          foreign: see `sentence`.
          stacklevel: as of `warnings.warn`, counted from the caller of this method. With 1, a
            reader that walks a folder twice in a run is heard once.
        """
        sentence = self.sentence(foreign=foreign)
        if sentence:
            warnings.warn(sentence, UserWarning, stacklevel=stacklevel + 1)


def walk_files(
    folder: str | Path,
    suffixes: Collection[str] | None = None,
    *,
    names: Callable[[str], object] | None = None,
    depth: int | None = None,
    enter: Callable[[str], object] | None = None,
) -> Walk:
    """The files below a folder at any depth; see the head of this file for the rules.

    Args:
      folder: where to begin.
      suffixes: endings of the files to find, with their dot, such as ".npz" or "_depth.png"; None
        for all files.
      names: of the files with such an ending, those whose name it accepts.
      depth: folders to go through at most; 1 stays in `folder`.
      enter: only sub-folders whose name it accepts are entered; the others are in `Walk.closed`.

    Raises:
      InputError: the folder is missing, or it or one below cannot be read, or a link that leads
        nowhere stands where data may be.
    """
    folder = Path(folder)
    wanted = None if suffixes is None else tuple(suffix.lower() for suffix in suffixes)
    files: list[tuple[str, ...]] = []
    closed: list[tuple[str, ...]] = []
    skipped: dict[str, list[tuple[str, ...]]] = {}

    def leave_out(reason: str, parts: tuple[str, ...]) -> None:
        skipped.setdefault(reason, []).append(parts)

    root = _status(folder)
    if root is None or not stat.S_ISDIR(root.st_mode):
        what = "does not exist" if root is None else "is a file, expected a folder"
        raise InputError(f"The data folder {folder} {what}.")
    seen = {(root.st_dev, root.st_ino)}
    around = _identities_around(folder)
    open_folders: list[tuple[str, ...]] = [()]
    links: list[tuple[str, ...]] = []
    while open_folders or links:
        # Folders under their own names come first, so that no link takes their place.
        if not open_folders:
            links.sort(reverse=True)
            parts = links.pop()
            if _enter(folder.joinpath(*parts), seen, around):
                open_folders.append(parts)
            else:
                leave_out(REPEATED, parts)
            continue
        above = open_folders.pop()
        for entry in _entries(folder.joinpath(*above)):
            name, parts = entry.name, (*above, entry.name)
            if _is_hidden(name):
                leave_out(HIDDEN, parts)
                continue
            kind = _kind(entry)
            if kind == "folder":
                if enter and not enter(name):
                    closed.append(parts)
                elif depth is not None and len(parts) >= depth:
                    continue
                elif entry.is_symlink():
                    links.append(parts)
                elif _enter(Path(entry.path), seen, around):
                    open_folders.append(parts)
                else:  # The same folder mounted twice.
                    leave_out(REPEATED, parts)
            elif kind == "file":
                lower = name.lower()
                if wanted is None or lower.endswith(wanted):
                    accepted = names is None or names(name)
                    files.append(parts) if accepted else leave_out(OTHER, parts)
                else:
                    foreign = os.path.splitext(lower)[1] in DATA_SUFFIXES
                    leave_out(FOREIGN if foreign else OTHER, parts)
            elif kind is None:
                if _may_be_data(name, wanted, names, folders=len(parts) != depth):
                    raise InputError(
                        f"{entry.path} is a link that leads nowhere ({_target(entry.path)}): bring "
                        "back what it leads to, or remove it."
                    )
                leave_out(BROKEN, parts)
            else:
                leave_out(SPECIAL, parts)

    def paths(found: list[tuple[str, ...]]) -> tuple[Path, ...]:
        return tuple(folder.joinpath(*parts) for parts in sorted(found))

    left_out = {reason: paths(found) for reason, found in skipped.items()}
    return Walk(folder, paths(files), left_out, paths(closed))


def sub_folders(folder: str | Path) -> tuple[Path, ...]:
    """The folders right below a folder, sorted, links to folders among them; hidden ones are not.

    Raises:
      InputError: the folder is missing or cannot be read.
    """
    return tuple(
        Path(entry.path)
        for entry in sorted(_entries(Path(folder)), key=lambda entry: entry.name)
        if not _is_hidden(entry.name) and _kind(entry) == "folder"
    )


def find_near(folder: str | Path, name: str) -> Path | None:
    """The file of this name in a folder or else right below it, without regard to case.

    Where several sub-folders have one, the first in order is taken, and a UserWarning says so.

    Raises:
      InputError: the folder is missing or cannot be read.
    """
    places = (Path(folder), *sub_folders(folder))
    found = [
        path
        for place in places
        for path in walk_files(
            place, (name,), names=lambda entry: _same(entry, name), depth=1
        ).files
    ]
    if len(found) > 1:
        warnings.warn(
            f"{folder} holds {name} {len(found)} times: {found[0]} is read, "
            f"{', '.join(str(path) for path in found[1:])} left out.",
            UserWarning,
            stacklevel=2,
        )
    return found[0] if found else None


def _same(first: str, second: str) -> bool:
    return first.lower() == second.lower()


def _may_be_data(
    name: str,
    wanted: tuple[str, ...] | None,
    names: Callable[[str], object] | None,
    folders: bool,
) -> bool:
    """Whether a link that leads nowhere may have led to a file, or to one of the `folders`."""
    if folders and not os.path.splitext(name)[1]:
        return True
    return (wanted is None or name.lower().endswith(wanted)) and (
        names is None or bool(names(name))
    )


def _status(path: Path) -> os.stat_result | None:
    """What a path leads to, or None if nothing is there."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check its rights.") from None


def _identities_around(folder: Path) -> set[tuple[int, int]]:
    """Device and number of every folder that the real folder lies in."""
    found = set()
    for parent in Path(os.path.realpath(folder)).parents:
        status = _status(parent)
        if status is not None:
            found.add((status.st_dev, status.st_ino))
    return found


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        raise InputError(f"The data folder {folder} does not exist.") from None
    except NotADirectoryError:
        raise InputError(f"{folder} is a file, expected a folder.") from None
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be read ({error.strerror}): change its rights, or move it "
            "away."
        ) from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _kind(entry: os.DirEntry) -> str | None:
    """ "folder", "file", "special", or None for a link that leads nowhere."""
    try:
        # For what is no link, the listing knows it already: no further access to the disk.
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return None if entry.is_symlink() and not os.path.exists(entry.path) else "special"
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return None
        raise InputError(
            f"{entry.path} cannot be read ({error.strerror}): change its rights, or move it away."
        ) from None


def _enter(path: Path, seen: set[tuple[int, int]], around: set[tuple[int, int]]) -> bool:
    """Whether a folder is to be read, which is noted."""
    status = _status(path)
    if status is None:  # Gone since its parent was listed.
        raise InputError(f"{path} vanished while {path.parent} was read: try again.")
    identity = (status.st_dev, status.st_ino)
    if identity in seen or identity in around:
        return False
    seen.add(identity)
    return True


def _target(path: str) -> str:
    try:
        return f"to {os.readlink(path)}"
    except OSError:
        return "unreadable"

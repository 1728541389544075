"""Finds the files below a folder, for all readers of data sets, with one set of rules.

- Links to files and folders are followed. Each real folder is read once. If several names lead to
  it, the name that is not a link is used, else the first one in order. Links to a parent of the
  walked folder would lead out of the data and are left out.
- Several names of one file are several files, because some stores keep equal contents only once.
- Hidden entries, and entries that operating systems and editors create, are left out.
- File name endings are compared case-insensitively.
- A broken link is an error if it may have led to data, that is if it has a wanted ending or no
  ending (as folders have). Other broken links are left out.
- A folder that cannot be read is an error.

`Walk.skipped` holds the entries that were left out, and `Walk.report` warns about them.
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
"""Reasons to leave an entry out, the keys of `Walk.skipped`, and their descriptions."""

DATA_SUFFIXES = frozenset(
    ".npz .npy .bin .h5 .hdf5 .mat .pkl .pickle .pt .pth .csv .tsv .xyz .pts .asc .off .obj .ply "
    ".stl .pcd .las .laz .e57 .glb .gltf .fbx .dae .3ds .wrl .bag .mcap .parquet .feather .zip "
    ".tar .tgz .gz .bz2 .xz .zst .7z .rar".split()
)
"""Endings of files that may hold clouds, meshes or arrays, also in archives.

Not .txt and .json, which are often notes beside the data.
"""

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
    """The files below a folder.

    Attributes:
      folder: the folder that was walked.
      files: the files found, sorted by the parts of their paths. Links keep their own names.
      skipped: the paths that were left out, sorted, by reason (a key of `REASONS`). Reasons without
        a path are missing.
      closed: the folders that were not entered because `enter` rejected their names, sorted.
    """

    folder: Path
    files: tuple[Path, ...]
    skipped: Mapping[str, tuple[Path, ...]]
    closed: tuple[Path, ...] = ()

    def sentence(self, *, foreign: bool = True) -> str:
        """One sentence about the entries that were left out and may be data, or "".

        Files of other kinds, such as a README, are not mentioned.

        Args:
          foreign: also mention data files of kinds that are not read here. False for archives that
            contain such files.
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
        """Issues `sentence` as a UserWarning, unless it is empty.

        Args:
          foreign: see `sentence`.
          stacklevel: as in `warnings.warn`, counted from the caller of this method. With 1, Python
            shows the warning once if a reader walks the same folder twice.
        """
        sentence = self.sentence(foreign=foreign)
        if sentence:
            warnings.warn(sentence, UserWarning, stacklevel=stacklevel + 1)

    def files_in_place(
        self, accepts: Callable[[tuple[str, ...]], object], expected: str, *, stacklevel: int = 1
    ) -> list[Path]:
        """The files in expected folders; a UserWarning counts the others.

        Args:
          accepts: whether a file belongs in a folder, given as its path from `folder` in parts.
          expected: the folders where files belong, for the warning, such as "<class>/train".
          stacklevel: see `report`.
        """
        kept, misplaced = [], []
        for path in self.files:
            place = path.relative_to(self.folder).parts[:-1]
            (kept if accepts(place) else misplaced).append(path)
        if misplaced:
            warnings.warn(
                f"{len(misplaced)} files below {self.folder} are not in {expected} and were left "
                f"out, such as {misplaced[0]}.",
                UserWarning,
                stacklevel=stacklevel + 1,
            )
        return kept


def walk_files(
    folder: str | Path,
    suffixes: Collection[str] | None = None,
    *,
    names: Callable[[str], object] | None = None,
    depth: int | None = None,
    enter: Callable[[str], object] | None = None,
) -> Walk:
    """Finds the files below a folder; the docstring of this module has the rules.

    Args:
      folder: the folder.
      suffixes: endings of the files to find, such as ".npz" or "_depth.png". None for all files.
      names: whether to take a file with such an ending, by its name. None takes all.
      depth: largest number of levels to read; 1 reads `folder` alone. None reads all.
      enter: whether to enter a sub-folder, by its name. Rejected ones are in `Walk.closed`.

    Raises:
      InputError: the folder is missing, it or a sub-folder cannot be read, or a link that may have
        led to data is broken.
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
    parents = _parent_identities(folder)
    pending: list[tuple[str, ...]] = [()]
    links: list[tuple[str, ...]] = []
    while pending or links:
        # Links come last, so that a folder is found under its own name if it has one.
        if not pending:
            links.sort(reverse=True)
            parts = links.pop()
            if _mark_seen(folder.joinpath(*parts), seen, parents):
                pending.append(parts)
            else:
                leave_out(REPEATED, parts)
            continue
        current = pending.pop()
        for entry in _entries(folder.joinpath(*current)):
            name, parts = entry.name, (*current, entry.name)
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
                elif _mark_seen(Path(entry.path), seen, parents):
                    pending.append(parts)
                else:  # The same folder is mounted twice.
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
                        f"{entry.path} is a link that leads nowhere ({_target(entry.path)}); "
                        "restore its target, or remove it."
                    )
                leave_out(BROKEN, parts)
            else:
                leave_out(SPECIAL, parts)

    def paths(found: list[tuple[str, ...]]) -> tuple[Path, ...]:
        return tuple(folder.joinpath(*parts) for parts in sorted(found))

    left_out = {reason: paths(found) for reason, found in skipped.items()}
    return Walk(folder, paths(files), left_out, paths(closed))


def sub_folders(folder: str | Path) -> tuple[Path, ...]:
    """The folders directly below a folder, sorted: with links to folders, without hidden ones.

    Raises:
      InputError: the folder is missing or cannot be read.
    """
    return tuple(
        Path(entry.path)
        for entry in sorted(_entries(Path(folder)), key=lambda entry: entry.name)
        if not _is_hidden(entry.name) and _kind(entry) == "folder"
    )


def find_near(folder: str | Path, name: str) -> Path | None:
    """The file of this name in a folder or one of its sub-folders, or None; ignores case.

    If there are several, the first one in order is returned, and a UserWarning names the others.

    Raises:
      InputError: the folder is missing or cannot be read.
    """
    places = (Path(folder), *sub_folders(folder))
    found = [
        path
        for place in places
        for path in walk_files(
            place, (name,), names=lambda entry: entry.lower() == name.lower(), depth=1
        ).files
    ]
    if len(found) > 1:
        warnings.warn(
            f"{folder} holds {name} {len(found)} times; {found[0]} is read, "
            f"{', '.join(str(path) for path in found[1:])} left out.",
            UserWarning,
            stacklevel=2,
        )
    return found[0] if found else None


def _may_be_data(
    name: str,
    wanted: tuple[str, ...] | None,
    names: Callable[[str], object] | None,
    folders: bool,
) -> bool:
    """Whether a broken link may have led to a wanted file, or, with `folders`, to a folder."""
    if folders and not os.path.splitext(name)[1]:
        return True
    return (wanted is None or name.lower().endswith(wanted)) and (
        names is None or bool(names(name))
    )


def _status(path: Path) -> os.stat_result | None:
    """The status of the file or folder at a path, or None if it does not exist."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check its permissions."
        ) from None


def _parent_identities(folder: Path) -> set[tuple[int, int]]:
    """Device and inode number of every parent of the real folder."""
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
            f"The folder {folder} cannot be read ({error.strerror}); change its permissions, or "
            "move it away."
        ) from None


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _kind(entry: os.DirEntry) -> str | None:
    """ "folder", "file", "special", or None for a broken link."""
    try:
        # The listing of the folder has the kind of entries that are not links, without disk access.
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return None if entry.is_symlink() and not os.path.exists(entry.path) else "special"
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return None
        raise InputError(
            f"{entry.path} cannot be read ({error.strerror}); change its permissions, or move it "
            "away."
        ) from None


def _mark_seen(path: Path, seen: set[tuple[int, int]], parents: set[tuple[int, int]]) -> bool:
    """Adds a folder to `seen`; False if it is there already or is a parent of the walked one."""
    status = _status(path)
    if status is None:  # Removed since its parent was listed.
        raise InputError(f"{path} vanished while {path.parent} was read; try again.")
    identity = (status.st_dev, status.st_ino)
    if identity in seen or identity in parents:
        return False
    seen.add(identity)
    return True


def _target(path: str) -> str:
    try:
        return f"to {os.readlink(path)}"
    except OSError:
        return "unreadable"

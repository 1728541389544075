"""Backbones and runs of the Hugging Face hub, by names such as `hf:owner/name@revision`.

`hf:owner/name/folder/file.pth` and `hf:owner/name@revision/file.pth` name one file of a repository.
Files go through the library's own cache. Its variables are respected: HF_HOME, HF_TOKEN,
HF_ENDPOINT, HF_HUB_OFFLINE.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from pointata_jax.errors import InputError

PREFIX = "hf:"
CHECKPOINTS = (".safetensors", ".pth", ".pt", ".t7", ".ckpt", ".bin")
"""Endings of files that may be a backbone."""

BACKBONE, SOURCE_BANK, ADAPTER = "backbone.safetensors", "source_bank.npz", "adapter.safetensors"
_RUN_FILES = ("config.json", ADAPTER, "result.json", "videos.json", BACKBONE, SOURCE_BANK)

_REFERENCE = re.compile(
    r"hf:(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<file>.+))?", re.ASCII
)


@dataclasses.dataclass(frozen=True)
class Reference:
    """A name on the hub.

    Attributes:
      repo: `owner/name`.
      revision: branch, tag or commit; None for the default branch.
      file: path in the repository, "" where none is named.
    """

    repo: str
    revision: str | None = None
    file: str = ""

    def __str__(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{PREFIX}{self.repo}{at}{'/' if self.file else ''}{self.file}"


def is_reference(name: object) -> bool:
    """Whether a name is one of the hub."""
    return isinstance(name, str) and name.startswith(PREFIX)


def parse(name: str) -> Reference:
    """The parts of a name; InputError if it is not well formed."""
    found = _REFERENCE.fullmatch(name)
    parts = PurePosixPath(found["file"] or "").parts if found else ()
    if found is None or ".." in parts or "/" in parts:
        raise InputError(
            f"{name!r} is no name on the hub: write hf:owner/name, hf:owner/name@revision or "
            "hf:owner/name@revision/path/of/file.pth."
        )
    return Reference(found["repo"], found["revision"], found["file"] or "")


@functools.lru_cache
def fetch_backbone(name: str) -> tuple[Path, str]:
    """Fetches a backbone, and the source bank beside it where there is one.

    Without a file in the name it is `backbone.safetensors`, or else the only checkpoint there.

    Returns:
      The file in the cache, and its name with the commit, by which others get the same.

    Raises:
      InputError: nothing there by this name, several candidates, or no connection.
    """
    reference = parse(name)
    files = _listing(reference)
    file = reference.file
    if not file:
        found = [path for path in files if path.lower().endswith(CHECKPOINTS)]
        if BACKBONE in found:
            found = [BACKBONE]
        if len(found) != 1:
            what = f"holds several, {', '.join(found[:8])}" if found else "holds none"
            example = found[0] if found else "file.pth"
            raise InputError(
                f"{name} does not say which file is the backbone, and the repository {what}: "
                f"write {PREFIX}{reference.repo}/{example}, for instance."
            )
        (file,) = found
    # By the name as it stands, so that the cache knows it where there is no connection.
    path = _fetch(dataclasses.replace(reference, file=file))
    commit = path.parents[len(PurePosixPath(file).parts) - 1].name
    pinned = dataclasses.replace(reference, revision=commit, file=file)
    bank = str(PurePosixPath(file).with_name(SOURCE_BANK))
    if bank in files:
        _fetch(dataclasses.replace(pinned, file=bank))
    return path, str(pinned)


@functools.lru_cache
def fetch_run(name: str) -> Path:
    """Fetches the files of a run that prediction needs, and returns its folder in the cache.

    Raises:
      InputError: there is no run by this name, or no connection.
    """
    reference = parse(name)
    files = _listing(reference)
    inside = f"{reference.file}/" if reference.file else ""
    wanted = [f"{inside}{file}" for file in _RUN_FILES]
    if missing := [file for file in wanted[:2] if file not in files]:
        raise InputError(f"{name} holds no run: it lacks {missing[0]}.")
    first = _fetch(dataclasses.replace(reference, file=wanted[0]))
    commit = first.parents[len(PurePosixPath(wanted[0]).parts) - 1].name
    for file in wanted[1:]:
        if file in files:
            _fetch(dataclasses.replace(reference, revision=commit, file=file))
    return first.parent


def _library() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            "names that begin with hf: need huggingface_hub: pip install 'pointata-jax[hub]'."
        ) from None
    return huggingface_hub


def _listing(reference: Reference) -> Collection[str]:
    """Files of a repository; without a connection, those in the cache."""
    library = _library()
    whole = dataclasses.replace(reference, file="")
    try:
        api = library.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        info = api.model_info(reference.repo, revision=reference.revision, timeout=30)
        return [entry.rfilename for entry in info.siblings]
    except Exception as error:
        if _is_answer(error):
            raise _sentence(whole, error) from None
        unreachable = error
    try:
        folder = Path(
            library.snapshot_download(
                reference.repo, revision=reference.revision, local_files_only=True
            )
        )
    except Exception:
        raise _sentence(whole, unreachable) from None
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


def _fetch(reference: Reference) -> Path:
    library = _library()
    try:
        path = library.hf_hub_download(
            reference.repo,
            reference.file,
            revision=reference.revision,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except Exception as error:
        raise _sentence(reference, error) from None
    return Path(path)


def _is_answer(error: Exception) -> bool:
    """Whether the hub answered, so that what is in the cache may not be taken instead."""
    names = {kind.__name__ for kind in type(error).__mro__}
    response = getattr(error, "response", None)
    broken = getattr(response, "status_code", 0) >= 500
    return "HfHubHTTPError" in names and response is not None and not broken


def _sentence(reference: Reference, error: Exception) -> InputError:
    """What went wrong, and what to do. Errors are known by name: their modules have moved."""
    names = {kind.__name__ for kind in type(error).__mro__}
    where = reference.repo
    if "GatedRepoError" in names:
        text = f"{where} is gated: accept its terms on the hub, and set HF_TOKEN"
    elif "RepositoryNotFoundError" in names:
        text = f"the hub has no public repository {where}: check the name, or set HF_TOKEN"
    elif "RevisionNotFoundError" in names:
        text = f"{where} has no revision {reference.revision!r}: check the name"
    elif "EntryNotFoundError" in names and "LocalEntryNotFoundError" not in names:
        text = f"{where} has no file {reference.file!r}: check the name"
    else:
        why = " ".join(str(error).split())[:200]
        text = f"{reference} cannot be fetched and is not in the cache ({why}): connect, try again"
    return InputError(f"{text}.")

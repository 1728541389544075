"""Messages for files that cannot be read."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from pointata_jax.data.array_files import read_npz
from pointata_jax.data.file_faults import is_lfs_pointer, one_line, unreadable
from pointata_jax.errors import InputError, inaccessible_file
from pointata_jax.file_hash import file_sha256


def test_missing_files_folders_and_damage(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"a\.npz does not exist; copy it again\."):
        read_npz(path, ("points",))
    with pytest.raises(InputError, match="is a folder, expected a file"):
        read_npz(tmp_path, ("points",))
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(InputError, match=r"a\.npz is cut off or damaged .*; copy it again\."):
        read_npz(path, ("points",))


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert is_lfs_pointer(path)
    with pytest.raises(InputError, match=r"a\.npz .*pointer of Git LFS.* run git lfs pull"):
        read_npz(path, ("points",))
    np.savez(path, points=np.zeros(3))
    assert not is_lfs_pointer(path)
    assert not is_lfs_pointer(tmp_path / "missing")


def test_what_the_operating_system_refuses(tmp_path):
    refused = inaccessible_file("a.npz", PermissionError(13, "Permission denied"), "copy it again")
    assert str(refused) == "a.npz may not be read; change its permissions."
    failed = inaccessible_file("a.npz", OSError(5, "Input/output error"), "check the disk")
    assert str(failed) == "a.npz cannot be read (Input/output error); check the disk."


def test_the_hash_of_a_file(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(InputError, match="none does not exist"):
        file_sha256(tmp_path / "none")
    with pytest.raises(InputError, match="is a folder"):
        file_sha256(tmp_path)


def test_messages_fit_on_one_line():
    assert one_line(ValueError("first\n  second.")) == "first second"
    assert one_line(ValueError("x" * 300), 10) == "x" * 10
    assert one_line(KeyError()) == "KeyError"


def test_a_file_larger_than_the_memory_is_named(tmp_path):
    found = unreadable(tmp_path / "a.npz", MemoryError())
    assert "its arrays need more memory than is free" in str(found)

"""Finding files below a folder: links, hidden entries, broken links, and the warnings."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from pointata_jax.data import folder_walk
from pointata_jax.data.folder_walk import find_near, sub_folders, walk_files
from pointata_jax.errors import InputError


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def names(walk):
    return [path.relative_to(walk.folder).as_posix() for path in walk.files]


def test_files_are_found_at_any_depth_with_endings_in_any_case(tmp_path):
    make(
        tmp_path, "b.NPZ", "a/x.npz", "a/deep/er/y.Npz", "a.npz/z.npz", "a b.npz", "x.npzz", "n.txt"
    )
    wanted = ["a/deep/er/y.Npz", "a/x.npz", "a b.npz", "a.npz/z.npz", "b.NPZ"]
    assert names(walk_files(tmp_path, (".npz",))) == wanted
    assert names(walk_files(tmp_path, (".npz", ".TXT"))) == [*wanted, "n.txt"]
    assert names(walk_files(tmp_path, (".npz",), depth=1)) == ["a b.npz", "b.NPZ"]
    assert names(walk_files(tmp_path, (".npz",), depth=2)) == [w for w in wanted if "er" not in w]
    assert names(walk_files(tmp_path, (".npz",), names=lambda name: name[0] == "x")) == ["a/x.npz"]
    closed = walk_files(tmp_path, (".npz",), enter=lambda name: name != "a")
    assert names(closed) == ["a b.npz", "a.npz/z.npz", "b.NPZ"]
    assert closed.closed == (tmp_path / "a",)
    assert len(walk_files(str(tmp_path)).files) == 7


def test_links_are_followed_and_every_real_folder_is_read_once(tmp_path):
    data = make(tmp_path / "data", "real/x.npz", "real/in/y.npz")
    make(tmp_path / "store", "chair/c.npz", "table/t.npz")
    (data / "a_chair").symlink_to(tmp_path / "store" / "chair")
    (data / "b_chair").symlink_to(tmp_path / "store" / "chair")  # The same folder again.
    (data / "a_real").symlink_to(data / "real")  # Sorts before the folder itself.
    (data / "real" / "in" / "up").symlink_to(data)
    (data / "real" / "out").symlink_to(tmp_path)  # Leads to a parent of the data.
    (data / "real" / "loop").symlink_to(data / "real" / "loop")
    (data / "one.npz").symlink_to(tmp_path / "store" / "table" / "t.npz")
    (data / "two.npz").symlink_to(tmp_path / "store" / "table" / "t.npz")
    (data / "real" / "loop").unlink()
    walk = walk_files(data, (".npz",))
    assert names(walk) == ["a_chair/c.npz", "one.npz", "real/in/y.npz", "real/x.npz", "two.npz"]
    left = walk.skipped[folder_walk.REPEATED]
    wanted = {"a_real", "b_chair", "real/in/up", "real/out"}
    assert {path.relative_to(data).as_posix() for path in left} == wanted
    (tmp_path / "link").symlink_to(data)
    assert len(walk_files(tmp_path / "link", (".npz",)).files) == 5


def test_random_trees_agree_with_the_listing_of_the_system(tmp_path):
    rng = np.random.default_rng(0)
    folders = [tmp_path / "t"]
    for number in range(60):
        folder = folders[rng.integers(len(folders))] / f"d{number}"
        make(folder, *(f"f{i}{['.npz', '.NPZ', '.txt'][rng.integers(3)]}" for i in range(3)))
        folders.append(folder)
    for number in range(12):  # Links among them, and some that lead upwards.
        place, target = (folders[i] for i in rng.integers(len(folders), size=2))
        (place / f"link{number}").symlink_to(target)
    real = {
        os.path.join(at, name)
        for at, _, files in os.walk(tmp_path / "t")
        for name in files
        if name.lower().endswith(".npz")
    }
    # No link leads out of the tree, so every file is found under its own name.
    assert {str(path) for path in walk_files(tmp_path / "t", (".npz",)).files} == real


def test_hidden_and_system_entries_are_left_out_and_reported(tmp_path):
    make(tmp_path, "x.npz", ".x.npz", ".ipynb_checkpoints/x.npz", "__MACOSX/x.npz", "a/._x.npz")
    make(tmp_path, "a/Thumbs.db", "a/.DS_Store", "lost+found/x.npz", "README.md", "notes.json")
    walk = walk_files(tmp_path, (".npz",))
    assert names(walk) == ["x.npz"]
    assert len(walk.skipped[folder_walk.HIDDEN]) == 7
    assert len(walk.skipped[folder_walk.OTHER]) == 2
    with pytest.warns(UserWarning, match="hidden entries: 7, such as .DS_Store|such as .ipynb"):
        walk.report()
    # The folder itself may be hidden, as caches are.
    inside = walk_files(tmp_path / ".ipynb_checkpoints", (".npz",))
    assert names(inside) == ["x.npz"]
    assert [path.name for path in sub_folders(tmp_path)] == ["a"]


def test_only_possible_data_is_reported(tmp_path):
    make(tmp_path, "x.npz", "README", "README.md", "classes.txt", "dataset.json", "view.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        walk_files(tmp_path, (".npz",)).report()
    make(tmp_path, "a/scan.PLY", "b.pcd", "c.ply")
    walk = walk_files(tmp_path, (".npz",))
    with pytest.warns(UserWarning, match="Left out below") as caught:
        walk.report()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert str(caught[0].message) == (
        f"Left out below {tmp_path} were files of kinds that are not read here (.pcd, .ply): 3, "
        "such as a/scan.PLY."
    )
    assert walk.sentence(foreign=False) == ""


def test_broken_links(tmp_path):
    make(tmp_path, "x.npz")
    (tmp_path / "old.log").symlink_to(tmp_path / "gone")
    walk = walk_files(tmp_path, (".npz",))
    assert walk.skipped == {folder_walk.BROKEN: (tmp_path / "old.log",)}
    assert "links that lead nowhere: 1, such as old.log" in walk.sentence()
    for name in ("v.npz", "subject2"):  # A wanted file, and a former folder.
        link = tmp_path / name
        for target in ("gone", name):  # The second is a link to itself.
            link.symlink_to(tmp_path / target)
            with pytest.raises(InputError, match=rf"{name} is a link that leads nowhere \(to /"):
                walk_files(tmp_path, (".npz",))
            link.unlink()


def test_missing_folders_and_special_files(tmp_path):
    with pytest.raises(InputError, match="data folder .*none does not exist"):
        walk_files(tmp_path / "none")
    make(tmp_path, "x.npz")
    with pytest.raises(InputError, match="x.npz is a file, expected a folder"):
        walk_files(tmp_path / "x.npz")
    with pytest.raises(InputError, match="does not exist"):
        sub_folders(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe.npz")  # Reading it would block.
    walk = walk_files(tmp_path, (".npz",))
    assert names(walk) == ["x.npz"]
    assert list(walk.skipped) == [folder_walk.SPECIAL]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permissions(tmp_path):
    make(tmp_path, "a/x.npz")
    (tmp_path / "a").chmod(0)
    try:
        with pytest.raises(InputError, match="a cannot be read .*change its permissions"):
            walk_files(tmp_path)
    finally:
        (tmp_path / "a").chmod(0o700)


def test_an_unreadable_folder_is_an_error(tmp_path, monkeypatch):
    make(tmp_path, "a/x.npz")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match="a cannot be read .Permission denied."):
        walk_files(tmp_path)


def test_find_near(tmp_path):
    assert find_near(tmp_path, "pack.npz") is None
    make(tmp_path, "b/PACK.npz", "b/c/pack.npz", "b/otherpack.npz")
    assert find_near(tmp_path, "pack.npz") == tmp_path / "b" / "PACK.npz"
    make(tmp_path, "a/pack.npz")
    with pytest.warns(UserWarning, match="pack.npz 2 times; .*a/pack.npz is read, .*PACK.npz left"):
        assert find_near(tmp_path, "pack.npz") == tmp_path / "a" / "pack.npz"


def test_misplaced_files_are_reported(tmp_path):
    make(tmp_path, "a/train/x.off", "a/y.off", "z.off")
    walk = walk_files(tmp_path, (".off",))
    with pytest.warns(
        UserWarning, match="2 files below .* are not in <class>/train .*y.off"
    ) as got:
        kept = walk.files_in_place(lambda folders: folders[1:] == ("train",), "<class>/train")
    assert kept == [tmp_path / "a" / "train" / "x.off"]
    assert got[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert walk.files_in_place(lambda _: True, "any folder") == list(walk.files)

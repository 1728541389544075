"""Files that are not checkpoints: each kind has its own error."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from pointata_jax import load_backbone
from pointata_jax.errors import InputError
from tests.weights_convert import checkpoints
from tests.weights_convert.torch_files import members, write_members
from weights_convert.__main__ import main
from weights_convert.convert import read_backbone

STATE = checkpoints.fill(checkpoints.point_mae_fine_tuned(**checkpoints.SIZES))
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 88193211\n"
INDEX = {"metadata": {}, "weight_map": {"a": "m-1-of-2.safetensors", "b": "m-2-of-2.safetensors"}}


def tar(content):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("pretrain.pth")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def archive(**content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name, data in content.items():
            file.writestr(name.replace("__", ".").replace("_S_", "/"), data)
    return stream.getvalue()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "c.pth"
    return write_members(path, members({"base_model": STATE})).read_bytes()


TENSORS = save({"a": np.ones(1000, np.float32)})

KINDS = {
    "pointer": (POINTER.encode(), "git-LFS pointer.*git lfs pull"),
    "page": (b"\r\n  <!DOCTYPE html><html><body>Sign in</body></html>", "HTML page"),
    "page with mark": (b"\xef\xbb\xbf<html lang='en'>", "HTML page"),
    "refusal": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
    "answer": (b'{"error": "Repository not found"}', "JSON text"),
    "index": (json.dumps(INDEX).encode(), "index of a checkpoint in 2 files.*merge the files"),
    "nothing": (b"", "is empty"),
    "zeros": (b"\0" * 5000, "zeros"),
    "gzip": (gzip.compress(b"x" * 1000), r"is packed \(gzip\): unpack"),
    "tar": (tar(b"x" * 1000), "is a tar archive: unpack"),
    "zip around": (
        archive(release_S_pretrain__pth=b"x"),
        "zip archive around release/pretrain.pth",
    ),
    "script": (archive(m_S_data__pkl=b"N.", m_S_constants__pkl=b"N."), "TorchScript"),
    "arrays": (archive(points__npy=b"x"), "NumPy arrays"),
    "pickle": (pickle.dumps({"a": 1}, 4), "a plain pickle.*can run code"),
    "text": (b"epoch 3, loss 0.2\n" * 20, "is a text"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "an HDF5 file"),
    "half of safetensors": (TENSORS[:-400], "states .* bytes, but the file has"),
    "head of safetensors": (TENSORS[:20], "cut off"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_its_error(kind, tmp_path, capsys):
    content, words = KINDS[kind]
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    for attempt in (read_backbone, load_backbone):
        with pytest.raises(InputError, match=words) as caught:
            attempt(path)
        assert str(path) in str(caught.value)
    assert main([str(path), f"--output={tmp_path / 'out.safetensors'}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_an_incomplete_download(whole, share, tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"c\.pth .*incomplete download; download it again"):
        read_backbone(path)


def test_folders_and_links(tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    with pytest.raises(InputError, match="is a folder.*none of its 0 entries"):
        read_backbone(folder)
    for name in ("pretrain.pth", "README.md", "modelnet.safetensors"):
        (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match="one of its files modelnet.safetensors, pretrain.pth"):
        read_backbone(folder)
    with pytest.raises(InputError, match="one of its files"):
        load_backbone(folder)
    (tmp_path / "link.pth").symlink_to(tmp_path / "gone.pth")
    with pytest.raises(InputError, match="a link to a file that does not exist"):
        read_backbone(tmp_path / "link.pth")


def test_outputs_that_cannot_be_written(whole, tmp_path, capsys):
    path = tmp_path / "c.pth"
    path.write_bytes(whole)
    (tmp_path / "folder").mkdir()
    good = f"--output={tmp_path / 'out.safetensors'}"
    for flags, words in (
        ([f"--output={tmp_path / 'folder'}"], "is a folder"),
        ([f"--output={tmp_path / 'no' / 'out'}"], "does not exist"),
        ([f"--output={path}"], "would overwrite the checkpoint itself"),
        (["--output="], "--output is empty"),
        ([good, f"--report={tmp_path / 'folder'}"], "is a folder"),
        ([good, f"--report={path}"], "would overwrite the checkpoint itself"),
        ([good, f"--report={tmp_path / 'out.safetensors'}"], "would overwrite --output"),
        ([good, f"--report={path / 'report.json'}"], "--report"),
    ):
        assert main([str(path), *flags]) == 2
        error = capsys.readouterr().err
        assert words in error
        assert len(error.splitlines()) == 1
    assert path.read_bytes() == whole
    assert not (tmp_path / "out.safetensors").exists()

"""The reader of PyTorch files: what it reads, that it runs no code, and that it checks sizes."""

import contextlib
import io
import os
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from pointata_jax.errors import InputError
from tests.weights_convert.torch_files import Call, Name, View, members, save, write_members
from weights_convert.pickle_values import Placeholder
from weights_convert.state_dict import open_state_dict
from weights_convert.torch_zip import open_checkpoint, read_checkpoint


def test_types_views_and_containers(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.normal(size=24).astype(np.float32)
    value = {
        "half": rng.normal(size=(2, 3)).astype(np.float16),
        "brain": rng.normal(size=(2, 3)).astype(ml_dtypes.bfloat16),
        "double": rng.normal(size=(4,)),
        "count": np.array(7, np.int64),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
        "whole": View(base, 0, (4, 6), (6, 1)),
        "transposed": View(base, 0, (6, 4), (1, 6)),
        "slice": View(base, 7, (2, 3), (6, 2)),
        "list": [1, -3, 2**40, 2.5, None, True, ("a", "b")],
    }
    read = read_checkpoint(save(tmp_path / "c.pth", OrderedDict(value)))
    for name in ("half", "brain", "double", "count", "flags", "empty"):
        assert read[name].dtype == value[name].dtype
        assert read[name].shape == value[name].shape
        np.testing.assert_array_equal(read[name], value[name])
    np.testing.assert_array_equal(read["whole"], base.reshape(4, 6))
    np.testing.assert_array_equal(read["transposed"], base.reshape(4, 6).T)
    np.testing.assert_array_equal(read["slice"], base.reshape(4, 6)[1:3, 1:6:2])
    assert read["list"] == value["list"]


def test_other_values_of_research_checkpoints_are_inert(tmp_path):
    namespace = Call(Name("argparse", "Namespace"), (), {"lr": 1e-3, "device": "cuda"})
    scalar_type = Call(Name("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None))
    value = {
        "base_model": {"norm.weight": np.ones(3, np.float32)},
        "args": namespace,
        "config": Call(Name("easydict", "EasyDict"), (), {"depth": 12}),
        "cfg": Call(Name("yacs.config", "CfgNode"), (), {"a": 1}),
        "best": Call(
            Name("numpy.core.multiarray", "scalar"),
            (scalar_type, Call(Name("_codecs", "encode"), ("12345678", "latin1"))),
        ),
        "dtype": Name("torch", "float32"),
        "parameter": Call(
            Name("torch._utils", "_rebuild_parameter"),
            (np.zeros(2, np.float32), True, OrderedDict()),
        ),
    }
    read = read_checkpoint(save(tmp_path / "c.pth", value))
    for name in ("args", "config", "cfg", "best", "dtype"):
        assert isinstance(read[name], Placeholder), name
    assert repr(read["args"]) == "<argparse.Namespace>"
    assert read["parameter"].shape == (2,)
    with open_state_dict(tmp_path / "c.pth") as state:
        assert list(state.tensors) == ["norm.weight"]


class TestNothingRuns:
    @pytest.mark.parametrize(
        ("module", "name"),
        [
            ("os", "system"),
            ("posix", "system"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("torch.hub", "load"),
            ("numpy", "load"),
            ("collections", "namedtuple"),
            ("torch.nn.modules.linear", "Linear"),
        ],
    )
    def test_other_names_are_refused(self, tmp_path, module, name):
        value = {"a": Call(Name(module, name), ("touch canary",))}
        with pytest.raises(InputError, match=rf"{module}\.{name}, which is not on the list"):
            read_checkpoint(save(tmp_path / "c.pth", value))

    def test_a_payload_of_pickle_itself(self, tmp_path):
        canary = tmp_path / "canary"

        class Payload:
            def __reduce__(self):
                return os.system, (f"touch {canary}",)

        for protocol in range(2, 6):
            content = members({}) | {"data.pkl": pickle.dumps({"x": Payload()}, protocol)}
            with pytest.raises(InputError, match="posix.system"):
                read_checkpoint(write_members(tmp_path / "c.pth", content))
        assert not canary.exists()

    def test_allowed_names_cannot_be_combined_into_something_else(self, tmp_path):
        for code, words in (
            (b"\x80\x02ccollections\nOrderedDict\nX\x01\x00\x00\x00aR.", "not a function"),
            (b"\x80\x02X\x01\x00\x00\x00a)R.", "not a function"),
            (b"\x80\x02(i__main__\nf\n.", "instruction INST"),
            (b"\x80\x02\x82\x01.", "instruction EXT1"),
            (b"\x80\x02}((}tX\x01\x00\x00\x00au.", "neither text nor number"),
            (b"\x80\x02h\x07.", "damaged"),
            (b"\x80\x02R.", "damaged"),
            (b"\x80\x02}", "cut off|exhausted"),
        ):
            content = members({}) | {"data.pkl": code}
            with pytest.raises(InputError, match=words):
                read_checkpoint(write_members(tmp_path / "c.pth", content))


@pytest.fixture
def little_memory():
    """Limits memory to one GB more than is in use, so that allocating a claimed size fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="limits memory as Linux does")
@pytest.mark.usefixtures("little_memory")
class TestSizesAreChecked:
    def _refused(self, path, match):
        with pytest.raises(InputError, match=match):
            read_checkpoint(path)

    def test_views_outside_their_storage(self, tmp_path):
        flat = np.zeros(8, np.float32)
        for view in (
            View(flat, 1, (8,), (1,)),
            View(flat, 0, (3, 4), (1, 1)),
            View(flat, 0, (2, 2), (7, 2)),
            View(flat, 0, (2**40,), (0,)),
            View(flat, 9, (1,), (1,)),
            View(flat, 2**62, (1,), (1,)),
        ):
            self._refused(save(tmp_path / "c.pth", {"x": view}), "beyond its storage")
        for view in (
            View(flat, -1, (2,), (1,)),
            View(flat, 0, (2,), (-1,)),
            View(flat, 0, (2, 2), (1,)),
            View(flat, 0, (1,) * 20, (1,) * 20),
        ):
            self._refused(save(tmp_path / "c.pth", {"x": view}), "negative or mismatched")

    def test_storages_of_another_size(self, tmp_path):
        content = members({"x": np.zeros(8, np.float32)})
        for data in (b"", b"\0" * 31, b"\0" * 64):
            path = write_members(tmp_path / "c.pth", content | {"data/0": data})
            self._refused(path, "size that its pickle states")

    def test_one_storage_named_by_many_tensors(self, tmp_path):
        flat = np.zeros(2**16, np.float32)
        many = {str(i): View(flat, 0, flat.shape, (1,)) for i in range(100)}
        self._refused(save(tmp_path / "c.pth", many), "many times the bytes")

    def test_compressed_members(self, tmp_path):
        bomb = members({"x": np.zeros(2**20, np.float32)})
        path = write_members(tmp_path / "c.pth", bomb, zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 2**14
        self._refused(path, "is compressed")

    def test_a_member_that_claims_terabytes(self, tmp_path):
        path = save(tmp_path / "c.pth", {"x": np.zeros(8, np.float32)})
        data = path.read_bytes()
        where = data.rindex(b"PK\x01\x02", 0, data.rindex(b"archive/data/0"))
        for size in (2**31, 2**32 - 2):
            claimed = data[: where + 20] + struct.pack("<II", size, size) + data[where + 28 :]
            path.write_bytes(claimed)
            self._refused(path, "bytes that the file lacks")

    def test_memo_indices_and_counts(self, tmp_path):
        for code in (
            b"\x80\x02}r\xff\xff\xff\x7f.",  # memo slot 2**31 - 1
            b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f}.",  # an endless frame
            b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.",  # an endless string
            b"\x80\x02\x8b\xff\xff\xff\x7f1.",  # an endless number
        ):
            path = write_members(tmp_path / "c.pth", members({}) | {"data.pkl": code})
            with contextlib.suppress(InputError):
                assert read_checkpoint(path) == {}

    def test_values_within_values(self, tmp_path):
        # Thirty levels of a list of two equal parts, which would unfold to 2**30 leaves.
        laughs = b"\x80\x02]q\x00" + b"".join(
            b"](h%ch%ce" % (i, i) + b"q" + bytes([i + 1]) for i in range(30)
        )
        path = write_members(tmp_path / "c.pth", members({}) | {"data.pkl": laughs + b"."})
        assert isinstance(read_checkpoint(path), list)
        deep = b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."
        path = write_members(tmp_path / "c.pth", members({}) | {"data.pkl": deep})
        self._refused(path, "deeper than 32")


class TestOtherFiles:
    def test_legacy_files_say_how_to_re_save(self, tmp_path):
        stream = io.BytesIO()
        pickle.dump(0x1950A86A20F9469CFC6C, stream, protocol=2)
        (tmp_path / "old.pth").write_bytes(stream.getvalue() + b"rest")
        with pytest.raises(InputError, match="format before torch 1.6.*torch.save"):
            read_checkpoint(tmp_path / "old.pth")
        (tmp_path / "text.pth").write_text("hello")
        with pytest.raises(InputError, match="zip format"):
            read_checkpoint(tmp_path / "text.pth")

    def test_damage_is_found_when_a_tensor_is_read(self, tmp_path):
        path = save(tmp_path / "c.pth", {"x": np.arange(64, dtype=np.float32)})
        data = bytearray(path.read_bytes())
        data[data.index(np.arange(64, dtype=np.float32).tobytes()) + 9] ^= 1
        path.write_bytes(data)
        with open_checkpoint(path) as value, pytest.raises(InputError, match="CRC"):
            value["x"].read()

    def test_other_archives(self, tmp_path):
        for content, words in (
            ({"x.txt": b""}, "0 members data.pkl"),
            ({"data.pkl": b"N.", "b/data.pkl": b"N."}, "2 members data.pkl"),
            ({"data.pkl": b"N.", "byteorder": b"big"}, "big-endian"),
        ):
            with pytest.raises(InputError, match=words):
                read_checkpoint(write_members(tmp_path / "c.pth", content))
        with zipfile.ZipFile(tmp_path / "c.pth", "w") as archive:
            archive.writestr("archive/data.pkl", b"N.")
            archive.writestr("archive/data/0", b"N.")
            with pytest.warns(UserWarning, match="Duplicate name: 'archive/data.pkl'"):
                archive.writestr("archive/data.pkl", b"N.")
            with pytest.warns(UserWarning, match="Duplicate name: 'archive/data/0'"):
                archive.writestr("archive/data/0", b"}.")
        with pytest.raises(InputError, match="2 members"):
            read_checkpoint(tmp_path / "c.pth")


class TestBesideTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch")

    def test_files_that_torch_wrote(self, torch, tmp_path):
        import argparse

        base = torch.randn(6, 8)
        value = {
            "state": torch.nn.BatchNorm1d(3).state_dict(),
            "view": base[1:4, ::2],
            "transposed": base.T,
            "half": base.half(),
            "brain": base.bfloat16(),
            "flag": torch.tensor([True, False]),
            "scalar": torch.tensor(3),
            "parameter": torch.nn.Parameter(base),
            "args": argparse.Namespace(lr=1.0),
            "acc": np.float64(0.5),
            "size": base.shape,
            "dtype": torch.float16,
            "device": torch.device("cpu"),
            "optimizer": torch.optim.AdamW([torch.nn.Parameter(base)]).state_dict(),
        }
        for protocol in (2, 3, 4, 5):
            torch.save(value, tmp_path / "c.pt", pickle_protocol=protocol)
            read = read_checkpoint(tmp_path / "c.pt")
            for name in ("view", "transposed", "half", "flag", "scalar", "parameter"):
                np.testing.assert_array_equal(read[name], value[name].detach().numpy())
            np.testing.assert_array_equal(read["brain"].astype(np.float32), value["brain"].float())
            for name, tensor in value["state"].items():
                np.testing.assert_array_equal(read["state"][name], tensor.numpy())
            assert isinstance(read["args"], Placeholder)

    def test_torch_reads_what_the_tests_write(self, torch, tmp_path):
        value = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": {"b": np.array(3)}}
        read = torch.load(save(tmp_path / "c.pth", value), weights_only=True)
        np.testing.assert_array_equal(read["a"].numpy(), value["a"])
        assert int(read["n"]["b"]) == 3

    def test_the_old_format_is_recognized(self, torch, tmp_path):
        torch.save({"a": torch.ones(2)}, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
        with pytest.raises(InputError, match="format before torch 1.6"):
            read_checkpoint(tmp_path / "c.pth")

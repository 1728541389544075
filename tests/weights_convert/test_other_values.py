"""Other values in a checkpoint, and the choice among several sets of weights."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import json
import logging
import pathlib
import pickle
import random
import re
import types
import uuid
import zipfile

import numpy as np
import pytest

from pointata_jax.errors import InputError
from tests.weights_convert import checkpoints
from tests.weights_convert.torch_files import foreign_class, save_objects, weights, write_members
from weights_convert.__main__ import main
from weights_convert.convert import convert, read_backbone
from weights_convert.recognize import Options

STATE = checkpoints.fill(checkpoints.point_mae_fine_tuned(**checkpoints.SIZES))


def state(seed=0, prefix=""):
    """Weights that differ by `seed`, as tensors for `save_objects`."""
    moved = {
        prefix + k: v + np.float32(seed) if v.dtype.kind == "f" else v for k, v in STATE.items()
    }
    return weights({k: v for k, v in moved.items() if v.dtype.kind == "f"})


def bias(tree):
    return tree["params"]["norm"]["bias"]


class Color(enum.Enum):
    RED = 1


class Outer:
    class Inner:
        pass


Point = collections.namedtuple("Point", "x y")
Attributes = foreign_class("pytorch_lightning.utilities.parsing.AttributeDict", dict)
Configuration = foreign_class("omegaconf.dictconfig.DictConfig")
OwnSettings = foreign_class("project.options.Settings")
OwnList = foreign_class("project.options.Levels", list)
OwnSet = foreign_class("project.options.Names", set)


def of(kind, **state):
    made = kind()
    made.__dict__.update(state)
    return made


OTHER_VALUES = {
    "counter": collections.Counter([10, 20, 20]),
    "deque": collections.deque([1.0, 2.0], maxlen=20),
    "default": collections.defaultdict(list, {"a": [1]}),
    "array": np.eye(3),
    "column order": np.asfortranarray(np.ones((2, 3))),
    "objects": np.array([None, "a"], dtype=object),
    "texts": np.array(["a", "bc"]),
    "record": np.zeros(2, [("x", "f4"), ("y", "i4")]),
    "masked": np.ma.masked_array([1, 2], mask=[True, False]),
    "scalar": np.float64(0.5),
    "whole": np.int64(3),
    "type": np.dtype("float32"),
    "class": np.float32,
    "generator": np.random.default_rng(0),
    "random": np.random.RandomState(0),
    "state": np.random.RandomState(0).get_state(),
    "python random": random.Random(1),
    "lightning": Attributes(lr=0.1),
    "omega": of(Configuration, _content={"a": 1}, _metadata=of(OwnSettings)),
    "own": of(OwnSettings, width=3, names=["a"]),
    "own list": OwnList([1, 2]),
    "own set": OwnSet(["a"]),
    "date": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(seconds=3),
    "decimal": decimal.Decimal("0.1"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.uuid4(),
    "path": pathlib.PurePosixPath("a/b"),
    "namespace": argparse.Namespace(lr=0.1),
    "simple": types.SimpleNamespace(a=1),
    "partial": functools.partial(OwnSettings, 3),
    "pattern": re.compile("a+"),
    "logger": logging.getLogger("train"),
    "enumeration": Color.RED,
    "nested": Outer.Inner,
    "none": type(None),
    "complex": 1 + 2j,
    "named tuple": Point(1, 2),
    "frozen": frozenset({1, (2, 3)}),
    "tuple keys": {(1, 2): 3, ("a", (None, 2.0)): 4, frozenset({1}): 5, Color.RED: 6},
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"abc"),
    "range": range(3),
    "slice": slice(1, 2),
    "error": ValueError("diverged"),
    "large": 2**80,
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_other_values_of_training_scripts_are_ignored(name, tmp_path):
    protocols = (2,) if name == "nested" else (2, pickle.HIGHEST_PROTOCOL)
    for protocol in protocols:
        value = {"base_model": state(), "beside": OTHER_VALUES[name], "list": [OTHER_VALUES[name]]}
        path = save_objects(tmp_path / "c.pth", value, protocol)
        _, tree = read_backbone(path)
        np.testing.assert_array_equal(bias(tree), STATE["norm.bias"])


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("subprocess", "Popen"),
        ("builtins", "exec"),
        ("importlib", "import_module"),
        ("pickle", "loads"),
        ("torch", "load"),
        ("numpy", "fromfile"),
        ("some.package.os", "system"),
        ("some.package", "subprocess.run"),
        ("cloudpickle.cloudpickle", "_make_function"),
        ("project", "__builtins__"),
        ("ctypes", "CDLL"),
    ],
)
def test_names_that_could_run_code_are_refused(module, name, tmp_path):
    path = save_objects(tmp_path / "c.pth", {"base_model": state(), "beside": MARK})
    content = path.read_bytes()
    code = b"c" + f"{module}\n{name}\n".encode() + b")R"
    _rewrite(path, lambda data: data.replace(_MARK_CODE, code))
    with pytest.raises(InputError, match="not on the list of harmless types"):
        read_backbone(path)
    # Refused also when reached through a harmless object.
    path.write_bytes(content)
    inner = name.rpartition(".")[2].encode()
    getattr_code = b"cbuiltins\ngetattr\n(cproject\nThing\nX" + len(inner).to_bytes(4, "little")
    if inner in (b"system", b"exec", b"import_module", b"loads", b"load"):
        _rewrite(path, lambda data: data.replace(_MARK_CODE, getattr_code + inner + b"tR"))
        with pytest.raises(InputError, match="not on the list of harmless types"):
            read_backbone(path)


MARK = "the mark that a test replaces"
_MARK_CODE = b"X" + len(MARK).to_bytes(4, "little") + MARK.encode()


def _rewrite(path, change):
    with zipfile.ZipFile(path) as archive:
        content = {n.removeprefix("archive/"): archive.read(n) for n in archive.namelist()}
    assert _MARK_CODE in content["data.pkl"]
    write_members(path, content | {"data.pkl": change(content["data.pkl"])})


def test_keys_that_take_too_long_to_hash_are_refused(tmp_path):
    path = save_objects(tmp_path / "c.pth", {"base_model": state(), "beside": MARK})
    # A key of thirty levels of a tuple of two equal parts, which has 2**30 leaves.
    doubling = b"K\x01" + b"q\xfah\xfa\x86" * 30
    code = b"}" + doubling + b"K\x02s"
    _rewrite(path, lambda data: data.replace(_MARK_CODE, code))
    with pytest.raises(InputError, match="too many parts"):
        read_backbone(path)


def test_a_second_copy_is_named_and_can_be_chosen(tmp_path, capsys):
    optimizer = {"state": {i: {"exp_avg": v} for i, v in enumerate(state().values())}}
    value = {"model": state(0), "model_ema": state(1), "optimizer": optimizer, "epoch": 3}
    path = save_objects(tmp_path / "c.pth", value)
    output, report = tmp_path / "out.safetensors", tmp_path / "report.json"
    arguments = [str(path), f"--output={output}", f"--report={report}"]
    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "a copy: --key=model_ema" in table
    assert "beside: optimizer" in table
    besides = json.loads(report.read_text())["besides"]
    assert besides["model_ema"]["copy"]
    assert besides["model_ema"]["tensors"] == len(state())
    assert not besides["optimizer.state"]["copy"]
    _, first = read_backbone(output)
    assert main([*arguments, "--key=model_ema"]) == 0
    assert "a copy: --key=model" in capsys.readouterr().out
    _, second = read_backbone(output)
    np.testing.assert_array_equal(bias(second), bias(first) + 1)
    from safetensors import safe_open

    with safe_open(output, framework="numpy") as file:
        assert file.metadata()["key"] == "model_ema"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"net": state()}, "net"),
        ({"callbacks": {"EMA": {"state": state(), "n": 3}}}, "callbacks.EMA.state"),
        ({"a.b": {"c.d": state()}}, "a.b.c.d"),
        ({"ema": {"module": state(), "updates": 3}}, "ema.module"),
        ({"ema": {"state_dict": state(), "updates": 3}}, "ema"),
        ([state(), {"epoch": 1}], "0"),
        ({"model": state(1), "state_dict": state()}, "state_dict"),
    ],
)
def test_the_entry_of_the_weights_can_be_given(value, key, tmp_path):
    path = save_objects(tmp_path / "c.pth", value)
    with pytest.raises(InputError, match="--key"):
        read_backbone(path)
    _, tree = read_backbone(path, Options(key=key))
    np.testing.assert_array_equal(bias(tree), STATE["norm.bias"])


def test_tensors_can_be_chosen_by_prefix(tmp_path):
    both = {**state(0, "backbone."), **state(1, "teacher.backbone."), **state(2, "head.")}
    wrapped = {f"module.{name}": value for name, value in both.items()}
    for value in (both, {"state_dict": both}, {"state_dict": wrapped}):
        path = save_objects(tmp_path / "c.pth", value)
        with pytest.raises(InputError, match="--prefix"):
            read_backbone(path)
        for seed, prefix in ((0, "backbone."), (1, "teacher.backbone."), (2, "head.")):
            report = convert(path, tmp_path / "out.safetensors", options=Options(prefix=prefix))
            _, tree = read_backbone(tmp_path / "out.safetensors")
            np.testing.assert_array_equal(bias(tree), STATE["norm.bias"] + np.float32(seed))
            left = report.dropped[f"without the prefix {prefix}"]
            assert len(left) == 2 * len(state())
            assert f"without the prefix {prefix}" in report.text()
    with pytest.raises(InputError, match=r"starts with --prefix=body\.: .* module\."):
        read_backbone(path, Options(prefix="body."))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"epoch": 3, "net": state()}, r"tensors are in net \(\d+\).*--key=net"),
        ({"ema": {"shadow": list(state().values())}}, r"tensors are in ema\.shadow"),
        ({"model": of(OwnSettings, a=1)}, r"objects \(1 of project.options.Settings\)"),
        ({"model": np.eye(3)}, "no tensors by name"),
        ({"base_model": {k: np.ones(2) for k in STATE}}, "objects .*numpy.*make them tensors"),
        ([1, 2], "no tensors by name but a list"),
        (
            of(OwnSettings, _parameters={}, _buffers={}, _modules={}, training=True),
            "a whole pickled model .*project.options.Settings.*state_dict",
        ),
        ({"model": state() | {"norm.bias": np.ones(3)}}, r"norm\.bias \(numpy.*make them tensors"),
    ],
)
def test_objects_in_place_of_tensors_are_named(value, words, tmp_path):
    path = save_objects(tmp_path / "c.pth", value)
    with pytest.raises(InputError, match=words):
        read_backbone(path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_heads": 0}, "--num_heads=0"),
        ({"num_groups": 0}, "--num_groups=0"),
        ({"group_size": -1}, "--group_size=-1"),
        ({"key": ""}, "--key is empty"),
        ({"prefix": ""}, "--prefix is empty"),
        ({"drop": ""}, "--drop is empty"),
    ],
)
def test_empty_flags_are_errors(options, words):
    with pytest.raises(InputError, match=words):
        Options(**options)


def test_all_tensors_that_are_not_finite_are_named_and_nothing_is_written(tmp_path):
    values = {k: v.copy() for k, v in STATE.items() if v.dtype.kind == "f"}
    values["norm.bias"][:3] = np.nan
    values["pos_embed.0.weight"][0, 0] = -np.inf
    path = save_objects(tmp_path / "c.pth", {"base_model": weights(values)})
    sizes = values["norm.bias"].size, values["pos_embed.0.weight"].size
    for attempt in (
        lambda: convert(path, tmp_path / "out.safetensors"),
        lambda: read_backbone(path),
    ):
        with pytest.raises(InputError, match="not finite") as caught:
            attempt()
        assert f"norm.bias (3 NaN of {sizes[0]:,})" in str(caught.value)
        assert f"pos_embed.0.weight (1 infinite of {sizes[1]:,})" in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.pth"]

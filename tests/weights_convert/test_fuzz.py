"""Mutated checkpoints load correctly or raise InputError; they never crash, hang or run code."""

import contextlib
import importlib.util
import os
import resource
import signal
import struct
import sys

import numpy as np
import pytest
from flax import traverse_util

from pointata_jax.errors import InputError
from tests.weights_convert import checkpoints, torch_files
from weights_convert.convert import convert, read_backbone
from weights_convert.recognize import Options
from weights_convert.state_dict import open_state_dict

OPTIONS = Options(num_heads=2)
SHAPES = checkpoints.point_bert_pretrained(width=16, depth=1, widths=(4, 4, 4), output=8)
SECONDS = 5
_RUNS_CODE = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "pickle.find")
_events: list[str] = []
_watching = False


def _audit(event, _):
    if _watching and event.startswith(_RUNS_CODE):
        _events.append(event)


sys.addaudithook(_audit)


@contextlib.contextmanager
def _guarded():
    """Limits memory and records every event that starts code."""
    global _watching

    def too_long(*_):
        raise AssertionError(f"more than {SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    alarm = signal.signal(signal.SIGALRM, too_long)
    _watching = True
    try:
        yield
    finally:
        _watching = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Data with one changed byte, or with several changes: bits, cuts, repeats, numbers, names."""
    out = bytearray(data)
    gentle = rng.random() < 0.5
    for _ in range(1 if gentle else rng.integers(1, 5)):
        at = int(rng.integers(len(out))) if out else 0
        match rng.integers(2 if gentle else 8):
            case 0 if out:
                out[at] ^= 1 << int(rng.integers(8))
            case 1 if out:
                out[at] = int(rng.integers(256))
            case 2:
                out = out[:at]
            case 3:
                del out[at : at + int(rng.integers(1, 40))]
            case 4:
                out[at:at] = out[at : at + int(rng.integers(1, 40))]
            case 5:
                number = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 255]))
                out[at : at + 4] = struct.pack("<I", number)
            case 6:
                out[at : at + 8] = struct.pack("<q", int(rng.choice([-1, 2**62, 2**40])))
            case 7:
                out[at:at] = bytes(rng.choice([b"cos\nsystem\n", b"R", b"b", b"\x81", b"0", b"e"]))
    return bytes(out)


def _leaves(path):
    _, variables = read_backbone(path, OPTIONS)
    return traverse_util.flatten_dict(variables, sep="/")


def _outcome(path) -> dict[str, np.ndarray] | None:
    """The tensors of a file, or None for an InputError. Stops it after `SECONDS`."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return _leaves(path)
    except InputError as error:
        message = str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert message
    return None


class _Corpus:
    def __init__(self, folder):
        self.folder = folder
        state = checkpoints.fill(SHAPES)
        value = checkpoints.wrapped(state, ("base_model",), "module.")
        value["args"] = torch_files.Call(torch_files.Name("argparse", "Namespace"), (), {"lr": 0.1})
        self.members = torch_files.members(value)
        self.zip = torch_files.save(folder / "valid.pth", value).read_bytes()
        convert(folder / "valid.pth", folder / "valid.safetensors", options=OPTIONS)
        self.safetensors = (folder / "valid.safetensors").read_bytes()
        self.expected = _leaves(folder / "valid.pth")

    def write(self, data):
        path = self.folder / "mutated"
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return _Corpus(tmp_path_factory.mktemp("fuzz"))


def _same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def _fuzz_archives(corpus, count, seed):
    """Mutates the archive. Checksums ensure that a load that succeeds gives the original."""
    rng = np.random.default_rng(seed)
    loads = 0
    for _ in range(count):
        found = _outcome(corpus.write(_mutate(corpus.zip, rng)))
        loads += found is not None
        assert found is None or _same(found, corpus.expected)
    return loads


def _fuzz_pickles(corpus, count, seed):
    """Mutates the pickle and writes a valid archive around it.

    Tensors that load have the shapes of the original. If PyTorch is installed and reads the file,
    they also have the values that PyTorch reads.
    """
    rng = np.random.default_rng(seed)
    torch = None
    if importlib.util.find_spec("torch"):
        import torch
    loads = 0
    path = corpus.folder / "mutated"
    for _ in range(count):
        code = _mutate(corpus.members["data.pkl"], rng)
        torch_files.write_members(path, corpus.members | {"data.pkl": code})
        found = _outcome(path)
        if found is None:
            continue
        loads += 1
        shapes = {name: value.shape for name, value in corpus.expected.items()}
        assert {name: value.shape for name, value in found.items()} == shapes
        if torch is not None:
            _compare_with_torch(torch, path)
    return loads


def _compare_with_torch(torch, path):
    try:
        theirs = torch.load(path, weights_only=True)["base_model"]
    except Exception:  # PyTorch refuses some files that are read here, and gives no values then.
        return
    with open_state_dict(path) as state:
        for name, tensor in state.tensors.items():
            expected = theirs.get(f"module.{name}", theirs.get(name))
            np.testing.assert_array_equal(tensor.read(), expected.numpy())


def _fuzz_safetensors(corpus, count, seed):
    """Mutates a safetensors file, which has no checksums; shapes and finite values are checked."""
    rng = np.random.default_rng(seed)
    header = 8 + int.from_bytes(corpus.safetensors[:8], "little")
    loads = 0
    for i in range(count):
        start, rest = corpus.safetensors[:header], corpus.safetensors[header:]
        mutated = _mutate(start, rng) + rest if i % 2 else start + _mutate(rest, rng)
        found = _outcome(corpus.write(mutated))
        if found is not None:
            loads += 1
            for name, value in found.items():
                assert value.shape == corpus.expected[name].shape
                assert np.isfinite(value).all()
    return loads


FUZZERS = (_fuzz_archives, _fuzz_pickles, _fuzz_safetensors)


def _run(corpus, fuzzer, count, seed):
    _events.clear()
    with _guarded():
        loads = fuzzer(corpus, count, seed)
    assert not _events
    # The mutations are useful only if some files load and some do not.
    assert 0 < loads < count


@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_mutated_files(corpus, fuzzer):
    _run(corpus, fuzzer, 100, 0)


@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_many_mutated_files(corpus, fuzzer):
    _run(corpus, fuzzer, 1000, 1)

"""The source bank: round trip, errors, balanced samples, and features of the frozen embedder."""

import dataclasses
import functools
import subprocess
import sys

import jax
import numpy as np
import pytest

from pointata_jax.alignment import SourceBank, sample_source, standardize
from pointata_jax.alignment.source_bank import build_source_bank, load_source_bank, save_source_bank
from pointata_jax.errors import InputError
from pointata_jax.models.backbone_file import backbone_shapes
from pointata_jax.models.point_mae import Backbone, BackboneConfig

RNG = np.random.default_rng(0)
COUNTS = (2, 30, 9, 19)
NAMES = ("chair", "lampe à pied", "plane", "table")


@pytest.fixture
def bank():
    labels = np.repeat(np.arange(4), COUNTS)
    features = RNG.standard_normal((60, 6)) * [1, 5, 0.1, 2, 3, 0] + [9, 9, -9, 0, 1, 4]
    return SourceBank(features, labels, NAMES, {"shapes": "made up", "license": "CC0"})


def test_round_trip(bank, tmp_path):
    path = tmp_path / "bank.npz"
    save_source_bank(path, bank)
    again = load_source_bank(path, width=6)
    np.testing.assert_array_equal(again.features, bank.features)
    np.testing.assert_array_equal(again.labels, bank.labels)
    assert again.features.dtype == np.float32
    assert again.labels.dtype == np.int32
    assert again.class_names == NAMES
    assert again.provenance == bank.provenance
    assert [p.name for p in tmp_path.iterdir()] == ["bank.npz"]


def test_bad_files_are_named(bank, tmp_path):
    path = tmp_path / "bank.npz"
    save_source_bank(path, bank)
    content = path.read_bytes()
    with pytest.raises(InputError, match="does not exist"):
        load_source_bank(tmp_path / "none.npz")
    with pytest.raises(InputError, match="width 6 but the model has width 384"):
        load_source_bank(path, width=384)
    # Files that are cut at several places, then one with a changed byte in the features.
    for damaged in (content[:0], content[:100], content[:-30], b"not a zip at all"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or cut short"):
            load_source_bank(path)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    with pytest.raises(InputError, match="bank.npz"):
        load_source_bank(path)
    np.savez(path, features=bank.features, labels=bank.labels)
    with pytest.raises(InputError, match="not a source bank"):
        load_source_bank(path)
    # An array of Python objects would have to be unpickled.
    np.savez(path, format=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        load_source_bank(path)


@pytest.mark.wrong_arguments
def test_bad_contents_are_named(bank):
    features, labels = bank.features, bank.labels
    lonely = np.where(np.arange(60) == 0, 1, labels)
    with pytest.raises(InputError, match="too few in: chair"):
        SourceBank(features, lonely, NAMES)
    with pytest.raises(InputError, match="from 0 to 3, but it names 3 classes"):
        SourceBank(features, labels, NAMES[:3])
    with pytest.raises(InputError, match="not finite"):
        SourceBank(np.where(features > 20, np.nan, features) * np.nan, labels, NAMES)
    with pytest.raises(InputError, match=r"labels \[S\]"):
        SourceBank(features, labels[:-1], NAMES)
    with pytest.raises(InputError, match="integers"):
        SourceBank(features, labels.astype(float), NAMES)


def test_standardized_features_have_unit_moments(bank):
    units = np.asarray(standardize(bank.features, bank))
    np.testing.assert_allclose(units.mean(0), 0, atol=1e-4)
    # The last channel is constant, so it becomes zero and not amplified rounding noise.
    np.testing.assert_allclose(units.std(0), [1, 1, 1, 1, 1, 0], atol=1e-4)
    half = standardize(jax.numpy.asarray(bank.features, "bfloat16"), bank)
    assert half.dtype == np.float32
    with pytest.raises(InputError, match="width"):
        standardize(np.zeros((2, 5)), bank)


@pytest.mark.parametrize("n", [10, 40])
def test_samples_are_class_balanced(bank, n):
    draws = [np.asarray(sample_source(bank, jax.random.key(seed), n)) for seed in range(40)]
    for drawn in draws:
        counts = np.bincount(bank.labels[drawn], minlength=4)
        assert counts.max() - counts.min() <= 1
        assert drawn.shape == (n,)
        for c, size in enumerate(COUNTS):
            mine = drawn[bank.labels[drawn] == c]
            assert len(set(mine.tolist())) == min(len(mine), size)
    if n == 40:
        assert set(np.concatenate(draws).tolist()) == set(range(60))
    np.testing.assert_array_equal(draws[3], sample_source(bank, jax.random.key(3), n))


CONFIG = BackboneConfig(
    width=12, depth=1, num_heads=2, embedder_widths=(4, 8, 16), num_groups=4, group_size=8
)


def test_built_bank_holds_mean_tokens_before_the_blocks():
    shapes = RNG.standard_normal((7, 32, 3)).astype(np.float32)
    shapes /= np.linalg.norm(shapes, axis=-1).max(1)[:, None, None]
    labels = np.array([2, 0, 2, 0, 1, 2, 2])
    # All variables are positive because BatchNorm's variances are among them.
    variables = jax.tree.map(
        lambda leaf: RNG.uniform(0.1, 1, leaf.shape).astype(np.float32), backbone_shapes(CONFIG)
    )
    bank = build_source_bank(CONFIG, variables, shapes, labels, "abc", 4, {"shapes": "noise"})
    # Class b has one shape and is dropped. The last batch is incomplete.
    assert bank.class_names == ("a", "c")
    assert bank.provenance["dropped_classes"] == ["b"]
    assert bank.provenance["shapes"] == "noise"
    assert bank.width == 12
    np.testing.assert_array_equal(bank.labels, [1, 0, 1, 0, 1, 1])
    embed = functools.partial(Backbone(CONFIG).apply, method="embed")
    tokens, _ = jax.jit(embed)(variables, shapes)  # type: ignore[misc]
    np.testing.assert_allclose(
        bank.features, np.asarray(tokens).mean(1)[labels != 1], rtol=1e-4, atol=1e-5
    )
    for change, words in (
        (shapes * 100, "median radius"),
        (shapes[:, :6], "sample at least 8"),
        (shapes[..., :2], r"\[S, N, 3\]"),
    ):
        with pytest.raises(InputError, match=words):
            build_source_bank(CONFIG, variables, change, labels, "abc")
    with pytest.raises(InputError, match="No class has 2 shapes"):
        build_source_bank(CONFIG, variables, shapes[:2], labels[:2], "abc")


def test_import_does_not_bring_the_transport_library():
    code = "import sys, pointata_jax.alignment; print('ott' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"provenance": np.array("{")}, "bank.npz is damaged: its provenance is not JSON"),
        ({"provenance": np.array("3")}, "bank.npz is damaged: .* the provenance is a int"),
        ({"class_names": np.array("abcd")}, r"bank.npz is damaged: .* class names have shape \(\)"),
        ({"features": np.full((60, 6), "a")}, "bank.npz is damaged: features are <U1"),
        ({"features": np.full((60, 6), np.nan)}, "bank.npz: The source bank holds features that"),
        pytest.param(
            {"labels": np.zeros(60)},
            "bank.npz: Labels of a source bank are integers",
            marks=pytest.mark.wrong_arguments,
        ),
        ({"labels": np.array(["a", None], object)}, "bank.npz cannot be read .*pickle"),
    ],
)
def test_odd_files_are_named(bank, changes, sentence, tmp_path):
    path = tmp_path / "bank.npz"
    save_source_bank(path, bank)
    with np.load(path) as file:
        arrays = dict(file) | changes
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=sentence):
        load_source_bank(path)


def test_a_backbone_with_constant_colors_takes_bare_coordinates():
    config = dataclasses.replace(CONFIG, input_channels=6, channel_constants=(0.4, 0.4, 0.4))
    shapes = RNG.standard_normal((4, 32, 3)).astype(np.float32)
    shapes /= np.linalg.norm(shapes, axis=-1).max(1)[:, None, None]
    variables = Backbone(config).init(jax.random.key(0), shapes[:1])
    labels = np.array([0, 0, 1, 1])
    bare = build_source_bank(config, variables, shapes, labels, "ab")
    gray = np.concatenate([shapes, np.full_like(shapes, 0.4)], axis=-1)
    colored = build_source_bank(config, variables, gray, labels, "ab")
    np.testing.assert_allclose(bare.features, colored.features, atol=1e-6)
    with pytest.raises(InputError, match=r"\[S, N, 6\]"):
        build_source_bank(config, variables, gray[..., :5], labels, "ab")

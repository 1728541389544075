"""Every kind of published file is recognized and converted exactly, without losing a tensor."""

import dataclasses
import hashlib
import json
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import load_file, save_file

import pointata_jax
from pointata_jax.errors import InputError
from pointata_jax.models.backbone_file import FORMAT, load_backbone, save_backbone
from tests.weights_convert import checkpoints, torch_files
from weights_convert.convert import convert, read_backbone
from weights_convert.recognize import OURS, Options
from weights_convert.variants import VARIANTS

SIZES = checkpoints.SIZES


def _saved(folder, kind):
    shapes, keys, prefix, _ = checkpoints.KINDS[kind]
    state = checkpoints.fill(shapes)
    path = folder / "checkpoint.pth"
    torch_files.save(path, checkpoints.wrapped(state, keys, prefix))
    return path, state


def _flat(variables) -> dict[str, np.ndarray]:
    return traverse_util.flatten_dict(variables, sep="/")


def _assert_same(one, other):
    one, other = _flat(one), _flat(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert value.dtype == other[name].dtype, name
        assert value.tobytes() == other[name].tobytes(), name


@pytest.mark.parametrize("kind", checkpoints.KINDS)
def test_conversion_of_every_kind(kind, tmp_path):
    shapes, keys, prefix, expected = checkpoints.KINDS[kind]
    path, state = _saved(tmp_path, kind)
    output = tmp_path / "backbone.safetensors"
    report = convert(path, output, report=tmp_path / "report.json")
    family, _, stage = kind.partition(", ")
    assert (report.family, report.stage) == (family, stage.split(" (")[0])
    assert tuple(report.wrapping) == keys + ((prefix,) if prefix else ())
    arch = report.architecture
    sizes = {"width": 64, "depth": 2, "num_heads": 1, "mlp_ratio": 4}
    for name, value in (sizes | VARIANTS | {"channel_constants": ()} | expected).items():
        assert getattr(arch, name) == value, name
    # Every tensor is accounted for once.
    names = [*report.used, *report.dropped_by_choice, *sum(map(list, report.dropped.values()), [])]
    assert sorted(names) == sorted(shapes)
    assert not (report.missing)
    assert not (report.unexpected)
    assert not (report.misshapen)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["output_sha256"] == hashlib.sha256(output.read_bytes()).hexdigest()
    assert written["source_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    # The strict loader accepts the file, and loading the checkpoint directly gives the same.
    config, variables = load_backbone(output)
    assert config.to_dict() == arch.to_dict()
    direct_config, direct = pointata_jax.load_backbone(path)
    assert direct_config == config
    _assert_same(variables, direct)
    kept = sum(v.size for n, v in state.items() if n in report.used)
    assert kept == sum(value.size for value in _flat(variables).values())
    assert report.parameters == sum(v.size for v in _flat(variables["params"]).values())
    _, layers = read_backbone(path)
    part, ours = ("qkv", "qkv") if arch.qkv_fused else ("q_proj", "query")
    stored = next(n for n in report.used if n.endswith(f"blocks.1.attn.{part}.weight"))
    np.testing.assert_array_equal(
        layers["params"]["blocks_1"]["attention"][ours]["kernel"].T, state[stored]
    )


def test_point_bert_takes_the_query_transformer(tmp_path):
    path, state = _saved(tmp_path, "Point-BERT, pre-trained")
    _, variables = load_backbone(path)
    np.testing.assert_array_equal(
        variables["params"]["class_token"], state["transformer_q.cls_token"].reshape(-1)
    )
    assert not np.array_equal(
        variables["params"]["class_token"], state["transformer_k.cls_token"].reshape(-1)
    )


def test_safetensors_under_official_names(tmp_path):
    state = checkpoints.fill(checkpoints.point_mae_fine_tuned(**SIZES))
    save_file({f"module.{k}": v for k, v in state.items()}, tmp_path / "model.safetensors")
    _, variables = load_backbone(tmp_path / "model.safetensors")
    torch_files.save(tmp_path / "model.pt", state)
    _assert_same(variables, load_backbone(tmp_path / "model.pt")[1])


def test_other_precisions(tmp_path):
    state = checkpoints.fill(checkpoints.point_mae_fine_tuned(**SIZES))
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float64):
        cast = {k: v if v.dtype == np.int64 else v.astype(dtype) for k, v in state.items()}
        report = convert(torch_files.save(tmp_path / "in.pth", cast), tmp_path / "out.safetensors")
        assert report.types == [np.dtype(dtype).name]
        assert ("rounded" in report.text()) == (dtype == np.float64)
        _, variables = load_backbone(tmp_path / "out.safetensors")
        scale = variables["params"]["norm"]["scale"]
        assert scale.dtype == np.float32
        np.testing.assert_array_equal(scale, cast["norm.weight"].astype(np.float32))


class TestStrictness:
    @pytest.fixture
    def state(self):
        return checkpoints.fill(checkpoints.point_mae_fine_tuned(**SIZES))

    def _refused(self, state, folder, match, **options):
        path = torch_files.save(folder / "c.pth", {"base_model": state})
        with pytest.raises(InputError, match=match):
            read_backbone(path, Options(**options))
        return path

    def test_missing_unexpected_and_misshapen_are_named(self, state, tmp_path):
        del state["blocks.blocks.1.norm2.bias"]
        state["adapter.down.weight"] = np.zeros((3, 3), np.float32)
        state["pos_embed.2.weight"] = state["pos_embed.2.weight"][:, :100]
        state["norm.weight"] = state["norm.weight"].astype(np.int64)
        path = self._refused(state, tmp_path, r"1 tensors missing: blocks\.blocks\.1\.norm2\.bias")
        self._refused(state, tmp_path, "1 tensors unexpected: adapter.down.weight")
        self._refused(state, tmp_path, r"pos_embed.2.weight \(64, 100\) instead of \(64, 128\)")
        self._refused(state, tmp_path, "norm.weight of type int64")
        with pytest.raises(InputError):
            convert(path, tmp_path / "out.safetensors", report=tmp_path / "report.json")
        assert not (tmp_path / "out.safetensors").exists()
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["missing"] == ["blocks.blocks.1.norm2.bias"]
        assert report["unexpected"] == ["adapter.down.weight"]
        assert set(report["misshapen"]) == {"pos_embed.2.weight", "norm.weight"}

    def test_drop_by_choice_is_recorded(self, state, tmp_path):
        state["adapter.down.weight"] = np.zeros((3, 3), np.float32)
        path = torch_files.save(tmp_path / "c.pth", state)
        drop = r"adapter\..+|cls_token|cls_pos"
        report = convert(path, tmp_path / "out.safetensors", options=Options(drop=drop))
        assert set(report.dropped_by_choice) == {"adapter.down.weight", "cls_token", "cls_pos"}
        assert not report.architecture.class_token
        from safetensors import safe_open

        with safe_open(tmp_path / "out.safetensors", framework="numpy") as file:
            metadata = file.metadata()
        assert metadata["drop"] == drop
        assert metadata["source"] == "c.pth"
        assert metadata["family"] == "Point-MAE"
        for wrong, words in (
            ("nothing", "matches no tensor"),
            ("(", "not a regular expression"),
        ):
            self._refused(state, tmp_path, words, drop=wrong)

    def test_missing_blocks_and_layers(self, state, tmp_path):
        for name in [n for n in state if n.startswith("blocks.blocks.0.")]:
            del state[name]
        self._refused(state, tmp_path, "but not number 0")
        state = {k: v for k, v in state.items() if not k.startswith("encoder.second")}
        self._refused(state, tmp_path, "lacks encoder.second_conv.3.weight")

    def test_values_that_are_not_finite(self, state, tmp_path):
        state["blocks.blocks.1.mlp.fc1.bias"][3] = np.nan
        self._refused(state, tmp_path, "blocks.blocks.1.mlp.fc1.bias.*not finite")

    def test_statistics_that_are_not_finite(self, tmp_path):
        state = checkpoints.fill(checkpoints.point_jepa_pretrained(**SIZES))
        lost = "tokenizer.embedding.encoder.first_conv.1.running_"
        state[f"{lost}mean"][:] = np.nan
        state[f"{lost}var"][2] = np.inf
        path = self._refused(state, tmp_path, rf"{lost}mean \(8 NaN of 8\), {lost}var \(1 inf")
        self._refused(state, tmp_path, "statistics of BatchNorm are lost.*estimate them again")
        with pytest.raises(InputError, match="statistics of BatchNorm"):
            convert(path, tmp_path / "out.safetensors")
        assert not (tmp_path / "out.safetensors").exists()
        # The teacher is not used, so its values do not matter.
        state = checkpoints.fill(checkpoints.point_jepa_pretrained(**SIZES))
        state["teacher.ema_model.blocks.0.norm1.bias"][:] = np.nan
        read_backbone(torch_files.save(tmp_path / "c.pth", {"state_dict": state}))

    @pytest.mark.parametrize(
        ("name", "family", "reason"),
        [
            ("GPT_Transformer.x", "PointGPT", "residuals"),
            ("h_encoder.encoder_blocks.0.norm1.bias", "Point-M2AE", "merges patches"),
            ("MAE_encoder.blocks.blocks.0.cls.conv1.0.weight", "Point-FEMAE", "no license"),
            ("encoder.blocks.global_blocks.0.q.weight", r"ReCon\+\+", "second one"),
            ("module.ppat.lift.0.weight", "OpenShape", "no position embedding"),
            ("student.backbone.enc.enc0.block1.cpe.0.bias", "Sonata", "sparse convolutions"),
            ("enc.enc4.block0.norm1.0.weight", "Utonia", "forbid commercial use"),
        ],
    )
    def test_families_that_cannot_be_converted(self, state, name, family, reason, tmp_path):
        for beside in ({}, state):
            beside = beside | {name: np.zeros(2, np.float32)}
            self._refused(beside, tmp_path, f"checkpoint of .*{family}.*because.*{reason}")

    def test_unsupported_files(self, state, tmp_path):
        self._refused({"conv1.weight": np.zeros(2)}, tmp_path, "not of a known family.*conv1")
        self._refused(state, tmp_path, "not of the family recon", format="recon")
        self._refused(state, tmp_path, "unknown format 'pointgpt'", format="pointgpt")
        torch_files.save(tmp_path / "two.pth", {"model": state, "state_dict": state})
        with pytest.raises(InputError, match="several models"):
            read_backbone(tmp_path / "two.pth")
        torch_files.save(tmp_path / "none.pth", {"epoch": 3, "args": {}})
        with pytest.raises(InputError, match="no tensors by name but epoch, args"):
            read_backbone(tmp_path / "none.pth")
        both = OrderedDict({"module.norm.weight": np.ones(2), "norm.weight": np.ones(2)})
        torch_files.save(tmp_path / "both.pth", both)
        with pytest.raises(InputError, match="norm.weight twice"):
            read_backbone(tmp_path / "both.pth")

    def test_heads_and_groups_come_from_flags_if_shapes_do_not_show_them(self, tmp_path):
        sizes = {**SIZES, "width": 96}
        path = torch_files.save(
            tmp_path / "c.pth", checkpoints.fill(checkpoints.point_mae_pretrained(**sizes))
        )
        with pytest.raises(InputError, match="cannot be inferred from a width of 96.*--num_heads"):
            load_backbone(path)
        with pytest.raises(InputError, match="cannot be split into 7 heads"):
            load_backbone(path, num_heads=7)
        with pytest.raises(InputError, match="patches of 32 points, not the 16"):
            load_backbone(path, num_heads=6, group_size=16)
        config, _ = load_backbone(path, num_heads=6, num_groups=16)
        assert (config.num_heads, config.num_groups, config.group_size) == (6, 16, 32)

    def test_own_files_state_their_architecture(self, state, tmp_path):
        path = torch_files.save(tmp_path / "c.pth", state)
        convert(path, tmp_path / "b.safetensors")
        with pytest.raises(InputError, match="for original checkpoints only"):
            load_backbone(tmp_path / "b.safetensors", num_heads=2)


class TestCloseButNot:
    """Files that nearly are of a family: what differs is named."""

    def _refused(self, state, folder, match, key="state_dict", **beside):
        path = torch_files.save(folder / "c.pth", {key: state, **beside})
        with pytest.raises(InputError, match=match):
            read_backbone(path)

    def test_pcp_mae(self, tmp_path):
        state = checkpoints.fill(checkpoints.pcp_mae_pretrained(**checkpoints.PCP_SIZES))
        other = state | {"MAE_encoder.pos_embed.2.weight": np.zeros((192, 128), np.float32)}
        self._refused(other, tmp_path, r"PCP-MAE.*pos_embed.2.weight \(192, 128\) instead")
        # With the position of Point-MAE, the file is none of either family.
        other = state | {"MAE_encoder.pos_embed.0.weight": np.zeros((128, 3), np.float32)}
        self._refused(other, tmp_path, r"Point-MAE.*unexpected: .*mask_pos_token")

    def test_point_mae_with_biases_of_another_family(self, tmp_path):
        state = checkpoints.fill(checkpoints.point_mae_pretrained(**SIZES))
        bias = {"MAE_encoder.blocks.blocks.1.attn.qkv.bias": np.zeros(192, np.float32)}
        self._refused(state | bias, tmp_path, "Point-MAE.*unexpected: .*1.attn.qkv.bias")

    def test_point_jepa(self, tmp_path):
        state = checkpoints.fill(checkpoints.point_jepa_pretrained(**SIZES))
        bias = {"tokenizer.embedding.encoder.first_conv.0.bias": np.zeros(8, np.float32)}
        self._refused(state | bias, tmp_path, "Point-JEPA.*unexpected: .*first_conv.0.bias")
        less = {k: v for k, v in state.items() if k != "student.blocks.0.attn.qkv.bias"}
        self._refused(less, tmp_path, "Point-JEPA.*missing: blocks.blocks.0.attn.qkv.bias")
        for setting, value, words in (
            ("tokenizer_group_radius", 0.2, "patches within a radius"),
            ("encoder_add_pos_at_every_layer", False, "a position that is added once"),
        ):
            settings = {setting: value}
            self._refused(state, tmp_path, f"{setting}=.*{words}", hyper_parameters=settings)

    @pytest.mark.parametrize("prefix", ["", "MAE_encoder."])
    @pytest.mark.parametrize("plain_blocks", [False, True])
    def test_torch_pointcloud(self, prefix, plain_blocks, tmp_path):
        # That library's names of ReCon and PCP-MAE are not known. Here they have those of its
        # Point-MAE, the only ones under which they could be taken for it.
        names = ("cls",) if not prefix else ()
        sizes = checkpoints.PCP_SIZES
        shapes = checkpoints.tokens(sizes["width"], *names) | checkpoints.pcp_mae_trunk(**sizes)
        shapes = checkpoints.torch_pointcloud(shapes, prefix, plain_blocks=plain_blocks)
        words = r"Point-MAE \(torch-pointcloud\).*3 tensors misshapen: "
        place = rf"{prefix}pos_embed.lins.0.weight \(192, 192\) instead of \(128, 3\)"
        self._refused(checkpoints.fill(shapes), tmp_path, words + place)
        shapes = checkpoints.trunk(**SIZES, recon=True)
        shapes |= checkpoints.tokens(SIZES["width"], *names, "img", "text")
        shapes = checkpoints.torch_pointcloud(shapes, prefix, plain_blocks=plain_blocks)
        words = r"Point-MAE \(torch-pointcloud\).*28 tensors unexpected: .*norm1_contrast.weight"
        self._refused(checkpoints.fill(shapes), tmp_path, words)

    def test_settings_of_a_lightning_file_are_used(self, tmp_path):
        state = checkpoints.fill(checkpoints.point_jepa_pretrained(**SIZES))
        settings = {"tokenizer_group_radius": None, "encoder_add_pos_at_every_layer": True}
        settings |= {"tokenizer_num_groups": 128, "tokenizer_group_size": 24, "encoder_heads": 2}
        value = {"state_dict": state, "hyper_parameters": settings}
        path = torch_files.save(tmp_path / "c.pth", value)
        config, _ = load_backbone(path)
        assert (config.num_groups, config.group_size, config.num_heads) == (128, 24, 2)
        config, _ = load_backbone(path, num_groups=16, num_heads=4)
        assert (config.num_groups, config.group_size, config.num_heads) == (16, 24, 4)

    def test_uni3d(self, tmp_path):
        state = checkpoints.fill(checkpoints.uni3d(**SIZES))
        place = "point_encoder.visual."
        swapped = {k.replace("fc_norm", "norm"): v for k, v in state.items()}
        words = "Uni3D.*missing: fc_norm.weight, fc_norm.bias.*unexpected: .*visual.norm.weight"
        self._refused(swapped, tmp_path, words, "module")
        for change, words in (
            ({f"{place}blocks.0.attn.k_bias": 64}, "unexpected: .*attn.k_bias"),
            ({f"{place}blocks.1.gamma_1": 64}, "unexpected: .*blocks.1.gamma_1"),
            ({f"{place}blocks.1.attn.q_bias": 63}, r"attn.q_bias \(63,\) instead of \(64,\)"),
        ):
            odd = {name: np.zeros(size, np.float32) for name, size in change.items()}
            self._refused(state | odd, tmp_path, f"Uni3D.*{words}", "module")
        for name in ("point_encoder.cls_pos", f"{place}blocks.0.attn.v_bias"):
            less = {k: v for k, v in state.items() if k != name}
            missing = name.rpartition("visual.")[2].removeprefix("point_encoder.")
            self._refused(less, tmp_path, f"Uni3D.*missing: .*{missing}", "module")
        separate = checkpoints.fill(checkpoints.uni3d(**SIZES, kind="separate"))
        less = {k: v for k, v in separate.items() if not k.endswith("1.mlp.norm.bias")}
        self._refused(less, tmp_path, "missing: blocks.blocks.1.mlp.norm.bias", "module")
        mixed = separate | {k: v for k, v in state.items() if ".blocks.1." in k}
        self._refused(mixed, tmp_path, "unexpected: .*blocks.1.attn.qkv.weight", "module")


PUBLISHED_UNI3D = {
    "Ti": ({"width": 192, "depth": 12, "kind": "fused"}, 3, 512),
    "S": ({"width": 384, "depth": 12, "kind": "fused"}, 6, 1024),
    "B": ({"width": 768, "depth": 12, "kind": "separate"}, 12, 2048),
    "L": ({"width": 1024, "depth": 24, "kind": "separate"}, 16, 2730),
    "g": ({"width": 1408, "depth": 40, "kind": "giant"}, 16, 5632),
}


@pytest.mark.parametrize("size", PUBLISHED_UNI3D)
def test_published_sizes_of_uni3d(size):
    sizes, heads, hidden = PUBLISHED_UNI3D[size]
    shapes = checkpoints.uni3d(**sizes, widths=(128, 256, 512), output=512)
    empty = np.zeros((), np.float32)
    accounts = checkpoints.accounts_of({k: np.broadcast_to(empty, s) for k, s in shapes.items()})
    assert accounts.in_order
    arch = accounts.architecture
    assert (arch.num_heads, arch.hidden_width, arch.depth) == (heads, hidden, sizes["depth"])
    assert (arch.num_groups, arch.group_size) == (512, 64)


class TestRoundTrip:
    @pytest.mark.parametrize(
        "kind",
        [
            "Point-MAE, pre-trained",
            "Point-BERT, pre-trained",
            "ReCon, fine-tuned",
            "ULIP (Point-BERT encoder), pre-trained (2, colored)",
        ],
    )
    def test_to_torch_and_back(self, kind, tmp_path):
        path, state = _saved(tmp_path, kind)
        ours, theirs, again = (tmp_path / f"{n}.safetensors" for n in ("ours", "theirs", "again"))
        report = convert(path, ours, options=Options(num_heads=4, num_groups=77))
        convert(ours, theirs, to="torch")
        convert(theirs, again)
        assert again.read_bytes() == ours.read_bytes()
        # The file holds the tensors of the checkpoint under standard names, in PyTorch's shapes.
        stored = load_file(theirs)
        counters = {n for n in stored if n.endswith("num_batches_tracked")}
        assert len(counters) == 2
        assert all(stored[n].dtype == np.int64 for n in counters)
        assert len(stored) == len(report.used) + 2
        for name in report.used:
            bare = name.removeprefix("MAE_encoder.").removeprefix("transformer_q.")
            value = stored[bare.removeprefix("point_encoder.")]
            assert value.shape == state[name].shape
            assert value.tobytes() == state[name].tobytes()

    @pytest.mark.parametrize(
        "kind",
        [
            "PCP-MAE, fine-tuned",
            "Point-JEPA or point2vec, pre-trained",
            "Point-JEPA or point2vec, fine-tuned",
            "Uni3D, pre-trained (Ti, S)",
            "Uni3D, pre-trained (B, L)",
            "Uni3D, pre-trained (g)",
        ],
    )
    def test_to_the_names_of_the_family_and_back(self, kind, tmp_path):
        path, state = _saved(tmp_path, kind)
        ours, theirs, again = (tmp_path / f"{n}.safetensors" for n in ("ours", "theirs", "again"))
        report = convert(path, ours, options=Options(num_heads=4, num_groups=77, group_size=9))
        convert(ours, theirs, to="torch")
        convert(theirs, again)
        assert again.read_bytes() == ours.read_bytes()
        stored = load_file(theirs)
        counters = {n for n in stored if n.endswith("num_batches_tracked")}
        assert stored.keys() - counters == set(report.used)
        assert counters <= state.keys()
        for name in report.used:
            assert stored[name].shape == state[name].shape or stored[name].shape[2:] == (1,)
            assert stored[name].tobytes() == state[name].tobytes()

    def test_a_transformer_that_no_published_code_has(self, tmp_path):
        path, _ = _saved(tmp_path, "Point-MAE, fine-tuned")
        config, variables = load_backbone(path)
        config = dataclasses.replace(config, norm_epsilon=1e-6)
        save_backbone(tmp_path / "b.safetensors", config, variables)
        with pytest.raises(InputError, match="no published PyTorch code.*norm_epsilon=1e-06"):
            convert(tmp_path / "b.safetensors", tmp_path / "t.safetensors", to="torch")
        assert not (tmp_path / "t.safetensors").exists()

    def test_directly_and_from_the_shipped_backbone(self, tmp_path):
        shipped = pointata_jax.models.backbone_file.find_backbone("tiny")
        convert(shipped, tmp_path / "torch.safetensors", to="torch")
        config, variables = load_backbone(tmp_path / "torch.safetensors")
        assert config == pointata_jax.PRESETS["tiny"]
        _assert_same(variables, load_backbone("tiny")[1])

    def test_bytes_do_not_depend_on_the_run(self, tmp_path):
        path, _ = _saved(tmp_path, "Point-MAE, pre-trained")
        reports = [convert(path, tmp_path / f"{i}.safetensors") for i in range(2)]
        assert len({r.output_sha256 for r in reports}) == 1

    def test_a_backbone_that_training_saved(self, tmp_path):
        path, _ = _saved(tmp_path, "Point-MAE, fine-tuned")
        config, variables = load_backbone(path)
        save_backbone(tmp_path / "trained.safetensors", config, variables, {"made_by": "a test"})
        convert(tmp_path / "trained.safetensors", tmp_path / "copy.safetensors")
        copied, again = load_backbone(tmp_path / "copy.safetensors")
        assert copied == config
        _assert_same(variables, again)

    def test_the_input_is_never_overwritten(self, tmp_path):
        path, _ = _saved(tmp_path, "Point-MAE, fine-tuned")
        with pytest.raises(InputError, match="overwrite the checkpoint"):
            convert(path, path)
        with pytest.raises(InputError, match="folder of --output"):
            convert(path, tmp_path / "no" / "out.safetensors")
        with pytest.raises(InputError, match="unknown target"):
            convert(path, tmp_path / "out.safetensors", to="keras")


def test_both_packages_use_the_same_format_name():
    assert OURS == FORMAT

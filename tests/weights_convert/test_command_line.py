"""`python -m weights_convert`: its output, its errors and its start-up time."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.weights_convert import checkpoints, torch_files
from weights_convert.__main__ import main


@pytest.fixture
def checkpoint(tmp_path):
    state = checkpoints.fill(checkpoints.point_mae_pretrained(**checkpoints.SIZES))
    return torch_files.save(tmp_path / "pretrain.pth", {"base_model": state})


def test_prints_what_it_recognized(checkpoint, tmp_path, capsys):
    output = tmp_path / "backbone.safetensors"
    report = tmp_path / "report.json"
    assert main([str(checkpoint), f"--output={output}", f"--report={report}"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "Point-MAE, pre-trained",
        "width 64, 2 blocks (point_mae), heads 1, MLP 256",
        "no class token",
        "64 of 32 points",
        "dropped: decoder of pre-training",
        "bit by bit",
        json.loads(report.read_text())["output_sha256"],
        json.loads(report.read_text())["source_sha256"],
    ):
        assert words in printed, words
    assert main([str(output), "--to=torch", f"--output={tmp_path / 'torch.safetensors'}"]) == 0
    assert "PointATA-JAX, backbone" in capsys.readouterr().out


def test_errors_are_one_sentence(checkpoint, tmp_path, capsys):
    output = f"--output={tmp_path / 'out.safetensors'}"
    for arguments, words in (
        (["nowhere.pth", output], "nowhere.pth does not exist"),
        ([str(checkpoint), output, "--num_heads=7"], "7 heads"),
        ([str(checkpoint), output, "--drop=MAE_encoder.norm.bias"], "missing: norm.bias"),
        ([str(checkpoint), output, "--format=x"], "unknown format"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert words in error
        assert "Traceback" not in error


def test_unexpected_tensors_can_be_left_out(tmp_path, capsys):
    state = checkpoints.fill(checkpoints.point_mae_fine_tuned(**checkpoints.SIZES))
    state["prompt.weight"] = np.zeros((3, 3), np.float32)
    path = str(torch_files.save(tmp_path / "c.pth", state))
    output = f"--output={tmp_path / 'out.safetensors'}"
    assert main([path, output]) == 2
    assert "prompt.weight" in capsys.readouterr().err
    assert main([path, output, r"--drop=prompt\..+"]) == 0
    assert "dropped by choice" in capsys.readouterr().out


def _modules_of(*arguments):
    code = (
        "import sys, runpy; sys.argv[1:] = sys.argv[1:];\n"
        "try: runpy.run_module('weights_convert', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('MODULES', *{n.split('.')[0] for n in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split("MODULES")[1].split())


def test_conversion_needs_neither_torch_nor_jax(checkpoint, tmp_path):
    loaded = _modules_of(str(checkpoint), f"--output={tmp_path / 'b.safetensors'}")
    assert (tmp_path / "b.safetensors").exists()
    assert not {"torch", "jax", "flax"} & loaded


def test_help_is_fast():
    took = []
    for _ in range(3):
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "weights_convert", "--help"], capture_output=True, text=True
        )
        took.append(time.monotonic() - start)
    assert done.returncode == 0
    assert "--drop" in done.stdout
    assert min(took) < 2

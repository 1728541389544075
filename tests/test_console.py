"""The command `pointata`: its subcommands are the modules, to the letter."""

from __future__ import annotations

import ast
import importlib
import pathlib
import runpy
import subprocess
import sys
import tomllib

import pytest

from experiments import console

ROOT = pathlib.Path(__file__).resolve().parent.parent
_POINTATA = "import sys; from experiments.console import main; sys.exit(main())"


def pointata(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _POINTATA, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def python_m(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_installed_command_is_this_one():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["pointata"].partition(":")
    assert getattr(importlib.import_module(module), function) is console.main


def test_every_command_line_is_a_subcommand():
    files = [*(ROOT / "experiments").glob("*.py"), *(ROOT / "weights_convert").glob("*.py")]
    run = {
        f"{file.parent.name}.{file.stem}"
        for file in files
        if 'if __name__ == "__main__":' in file.read_text()
    }
    assert run == set(console.SUBCOMMANDS.values())


@pytest.mark.parametrize("flag", ["--help", "-h", "help"])
def test_help_lists_every_subcommand_with_the_first_line_of_its_docstring(flag, capsys):
    assert console.main([flag]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, module in console.SUBCOMMANDS.items():
        file = ROOT / f"{module.replace('.', '/')}.py"
        summary = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()[0]
        assert any(line.split() == [name, *summary.split()] for line in lines), name


def test_help_imports_no_library():
    code = (
        "import sys; from experiments.console import main; main(['--help']);"
        "print('MODULES', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split("MODULES")[1].split())
    assert not {"jax", "flax", "numpy", "absl", "etils", "tensorflow_datasets"} & loaded


def test_version(capsys):
    import pointata_jax

    assert console.main(["--version"]) == 0
    assert capsys.readouterr().out == f"pointata {pointata_jax.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [([], "no subcommand"), (["adpat"], "'adpat'"), (["--task=radhar"], "'--task=radhar'")],
)
def test_an_unknown_subcommand_is_one_sentence(arguments, words, capsys):
    assert console.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert words in printed.err
    assert "adapt, align, convert" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_the_process_ends_with_the_same_status():
    done = pointata("adpat")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown subcommand 'adpat'")


def test_a_subcommand_gets_the_rest_of_the_arguments(monkeypatch):
    seen = []

    def run_module(name, **settings):
        seen.append((name, settings, sys.argv[1:]))

    monkeypatch.setattr(runpy, "run_module", run_module)
    monkeypatch.setattr(sys, "argv", ["pointata", "adapt", "--task=radhar", "--help"])
    assert console.main() == 0
    settings = {"run_name": "__main__", "alter_sys": True}
    assert seen == [("experiments.adapt", settings, ["--task=radhar", "--help"])]
    assert sys.argv == ["pointata", "adapt", "--task=radhar", "--help"]


@pytest.mark.parametrize(
    ("name", "module", "arguments"),
    [
        ("adapt", "experiments.adapt", ["--help"]),
        ("adapt", "experiments.adapt", ["--steps=many"]),
        ("adapt", "experiments.adapt", ["--task=nowhere"]),
        ("convert", "weights_convert", ["--help"]),
        ("convert", "weights_convert", ["nowhere.pth", "--output=out.safetensors"]),
    ],
)
def test_a_subcommand_is_its_module(name, module, arguments):
    ours, theirs = pointata(name, *arguments), python_m(module, *arguments)
    assert ours.returncode == theirs.returncode
    assert ours.stdout == theirs.stdout
    assert ours.stderr == theirs.stderr
    assert ours.returncode == (0 if arguments == ["--help"] else 2)
    assert "Traceback" not in ours.stderr


def test_a_subcommand_does_its_work(tmp_path):
    import numpy as np

    from tests.weights_convert import checkpoints, torch_files

    state = checkpoints.fill(checkpoints.point_mae_pretrained(**checkpoints.SIZES))
    source = torch_files.save(tmp_path / "pretrain.pth", {"base_model": state})
    done = pointata("convert", str(source), f"--output={tmp_path / 'out.safetensors'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Point-MAE, pre-trained" in done.stdout
    assert np.fromfile(tmp_path / "out.safetensors", np.uint8).size > 1000

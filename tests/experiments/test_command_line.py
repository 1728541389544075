"""What every command line does with faults and notes."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import command_line, configs

_PROJECT = Path(__file__).parents[2]

_MAIN = """
import dataclasses, errno, os, warnings
from experiments import command_line

@dataclasses.dataclass(frozen=True)
class Args:
    seed: int = 0

def main(args):
    {body}

command_line.run(main, Args)
"""


def run(body):
    command = [sys.executable, "-c", _MAIN.format(body=body)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("open('/nowhere/run/config.json', 'w')", "/nowhere/run/config.json: No such file"),
        ("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))", "No space left on device: free"),
        ("raise PermissionError(errno.EACCES, 'Permission denied', '/a')", "/a: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(body, words):
    done = run(body)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_notes_about_data_come_without_places_in_the_code():
    done = run("warnings.warn('3 hidden entries were left out.')")
    assert (done.returncode, done.stderr) == (0, "note: 3 hidden entries were left out.\n")


@pytest.mark.parametrize("module", ["adapt", "align"])
def test_help_lists_the_tasks(module):
    command = [sys.executable, "-m", f"experiments.{module}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    listed = done.stdout.replace(",", " ").replace(";", " ").split()
    assert set(configs.TASKS) <= set(listed)


@pytest.mark.parametrize(
    "module",
    [
        f"{path.parent.name}.{path.stem}"
        for folder in ("experiments", "benchmarks")
        for path in sorted((_PROJECT / folder).glob("*.py"))
        if "\nclass Args" in path.read_text(encoding="utf-8")
    ],
)
def test_every_command_has_a_help(module, monkeypatch, capsys):
    arguments = importlib.import_module(module).Args
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as stopped:
        command_line.run(lambda args: None, arguments)
    assert stopped.value.code in (0, None)
    assert "--" in capsys.readouterr().out

"""README's code runs, and the commands that it shows exist."""

import dataclasses
import importlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "RESULTS.md", *sorted(ROOT.glob("docs/*.md"))]
TEXTS = "\n".join([README, *(path.read_text() for path in PAGES)])
_COMMAND = r"python -m ((?:experiments|benchmarks)\.\w+|weights_convert)([^\n`|&]*)"
COMMANDS = sorted(set(re.findall(_COMMAND, TEXTS)))


def test_first_python_block_runs():
    block = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names = {}
    exec(block, names)
    assert names["logits"].shape == (1, 12)


@pytest.mark.parametrize(("module", "flags"), COMMANDS)
def test_commands_and_flags_exist(module, flags):
    if module == "weights_convert":
        from weights_convert.__main__ import _parser

        assert _parser().parse_args(flags.split()).output == flags.split("--output=")[1].split()[0]
        return
    arguments = getattr(importlib.import_module(module), "Args", None)
    if arguments is None:  # benchmarks.ops has a parser of its own
        assert not flags.strip()
        return
    known = {field.name for field in dataclasses.fields(arguments)}
    known |= set(getattr(arguments, "aliases", ()))
    for flag in re.findall(r"--(\w+)", flags):
        assert flag in known or flag.removeprefix("no") in known, flag


def test_pictures_exist():
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / target).is_file(), target

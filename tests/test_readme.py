"""README's code runs, and the commands that it shows exist."""

import dataclasses
import importlib
import pathlib
import re

import pytest

from pointata_jax.datasets.point_videos import layout, video_files

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


def test_the_writer_of_own_data_writes_what_is_read(tmp_path, monkeypatch):
    text = (ROOT / "docs" / "sensors.md").read_text()
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "savez" in b]
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    found = layout.find_files(tmp_path / "DATA")
    assert {split: len(files) for split, files in found.items()} == {"train": 8, "test": 4}
    description = layout.describe(tmp_path / "DATA")
    video = video_files.read_video(found["test"][0], tmp_path / "DATA", description)
    assert (len(video["frame_sizes"]), video["subject"]) == (30, "person 0")


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

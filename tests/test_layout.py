"""Data flows one way: no file imports from a folder above its own."""

from __future__ import annotations

import ast
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent

# From the bottom to the top. A file may import from its own folder and from every lower row.
FLOORS = (
    ("pointata_jax.errors", "pointata_jax.file_hash", "pointata_jax.hub", "pointata_jax.progress"),
    (
        "pointata_jax.ops",
        "weights_convert",
        "pointata_jax.metrics",
        "pointata_jax.training",
        "pointata_jax.data",
    ),
    ("pointata_jax.shapes",),
    ("pointata_jax.models", "pointata_jax.tasks", "pointata_jax.procedural"),
    ("pointata_jax.alignment", "pointata_jax.datasets", "pointata_jax.viz"),
    ("pointata_jax.stages",),
    ("pointata_jax.serving",),
    ("pointata_jax", "experiments"),
    ("benchmarks",),
)
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}


def room_of(module: str) -> str:
    parts = module.split(".")
    return max((r for r in HEIGHT if parts[: r.count(".") + 1] == r.split(".")), key=len)


def imports(file: pathlib.Path):
    """Modules of this project that a file imports, also inside functions and for types."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import name` may name a module of the package.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (n for n in names if n.split(".")[0] in {r.split(".")[0] for r in HEIGHT})


def test_no_file_imports_from_a_folder_above_or_beside_its_own():
    read, wrong = 0, []
    for top in ("pointata_jax", "experiments", "weights_convert", "benchmarks"):
        for file in (ROOT / top).rglob("*.py"):
            here = room_of(".".join(file.relative_to(ROOT).with_suffix("").parts))
            for name in imports(file):
                read += 1
                there = room_of(name)
                if there != here and HEIGHT[there] > HEIGHT[here]:
                    wrong.append(f"{file.relative_to(ROOT)} ({here}) imports {name} ({there})")
    assert read > 300, "this test no longer finds the imports"
    assert not wrong, "\n".join(wrong)


def imported_rooms(room: str) -> set[str]:
    return {
        room_of(name)
        for file in (ROOT / room.replace(".", "/")).rglob("*.py")
        for name in imports(file)
    } - {room}


def test_folders_do_not_import_each_other_in_circles():
    above = {room: imported_rooms(room) for room in HEIGHT if room.count(".") == 1}
    left = dict(above)
    while left:
        free = [room for room, needs in left.items() if not needs & left.keys()]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            del left[room]


def test_training_knows_no_model():
    assert imported_rooms("pointata_jax.training") == {
        "pointata_jax.errors",
        "pointata_jax.progress",
    }

"""Runs a program as the two processes of one `jax.distributed` cluster on this machine."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run_two(program: str, *, timeout: float) -> list[Any]:
    """What each process prints last, as JSON; `program` gets the address and its number."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, address, str(index)],
            env=env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        ends = [child.communicate(timeout=timeout) for child in children]
    finally:
        for child in children:
            child.kill()
    for child, (_, errors) in zip(children, ends, strict=True):
        assert child.returncode == 0, errors[-2000:]
    return [json.loads(output.strip().splitlines()[-1]) for output, _ in ends]

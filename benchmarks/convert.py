"""Time and memory of converting a 22 M checkpoint: `python -m benchmarks.convert`.

The checkpoint is a fine-tuned Point-MAE of size `small` with random weights under the official
names, written by the tests' writer of PyTorch files, so PyTorch is not needed. Each contender runs
in separate processes, timed from the start of the interpreter to its end, and pinned to one core
where the system can. Memory is the largest resident size of such a process. Where torch is
installed, the usual way with PyTorch (torch.load, transpose, safetensors) is measured too.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET_SECONDS, TARGET_MEMORY = 5.0, 3.0

_WITH_TORCH = """
import sys, torch
from safetensors.numpy import save_file
state = torch.load(sys.argv[1], weights_only=True)["base_model"]
arrays = {k: v.numpy() for k, v in state.items() if not k.startswith("cls_head")}
kernels = {k: v.reshape(v.shape[:2]).T.copy() for k, v in arrays.items() if k.endswith("weight")
    and v.ndim > 1}
save_file(arrays | kernels, sys.argv[2])
"""
# In a separate process, because a child's peak memory includes that of its parent.
_MAKE = """
import sys
from tests.weights_convert import checkpoints, torch_files
state = checkpoints.fill(checkpoints.point_mae_fine_tuned(**checkpoints.SMALL))
torch_files.save(sys.argv[1], {"base_model": state})
print(f"{sum(value.size for value in state.values()):,}")
"""
_LOAD = "import sys, pointata_jax; pointata_jax.load_backbone(sys.argv[1])"


def measure(command: list[str], repeats: int) -> tuple[float, float]:
    """Median seconds and largest resident MB of a command.

    Args:
      command: the command line.
      repeats: number of processes.
    """
    seconds, memory = [], 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - start)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{' '.join(command[:4])} failed")
        # Kilobytes on Linux, bytes on macOS.
        memory = max(memory, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))
    return statistics.median(seconds), memory


def main() -> None:
    """Measures every contender and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="processes of each contender")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # Children inherit it.
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "modelnet.pth"
        make = [sys.executable, "-c", _MAKE, str(checkpoint)]
        numbers = subprocess.run(make, capture_output=True, text=True, check=True).stdout.strip()
        size = checkpoint.stat().st_size / 2**20
        output = f"{folder}/backbone.safetensors"
        python = [sys.executable]
        contenders = {
            "python -m weights_convert": [*python, "-m", "weights_convert", str(checkpoint)]
            + [f"--output={output}"],
            "the same with --to=torch": [*python, "-m", "weights_convert", str(checkpoint)]
            + ["--to=torch", f"--output={output}"],
            "load_backbone(checkpoint)": [*python, "-c", _LOAD, str(checkpoint)],
        }
        if importlib.util.find_spec("torch"):
            contenders["torch.load and safetensors"] = [*python, "-c", _WITH_TORCH]
            contenders["torch.load and safetensors"] += [str(checkpoint), output]
        print(f"checkpoint: {numbers} numbers, {size:.1f} MB; {args.repeats} processes each")
        print(f"{'':<28}{'seconds':>9}{'peak MB':>9}{'peak / file':>13}")
        for name, command in contenders.items():
            seconds, memory = measure(command, args.repeats)
            print(f"{name:<28}{seconds:>9.2f}{memory:>9.0f}{memory / size:>13.2f}")
            if name == "python -m weights_convert":
                met = seconds <= TARGET_SECONDS and memory <= TARGET_MEMORY * size
                verdict = f"{TARGET_SECONDS:g} s and {TARGET_MEMORY:g} x the file"
        print(f"wanted of a conversion: {verdict}: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()

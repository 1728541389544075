"""Neighbor operations compared with plain PyTorch and fpsample: `python -m benchmarks.ops`.

The PyTorch functions follow usual point-cloud code: sampling is a Python loop over the samples,
batched over the clouds; the ball query masks and sorts indices; nearest neighbors use cdist and
topk. PyTorch and fpsample are left out where they are not installed.

All contenders are called in turn, so that other load on the machine affects them alike. The ratio
is that of the medians of one run. Memory is the growth of the resident peak during three calls in a
separate process, compilation included (Linux only). Inputs are uniform in a cube of side 2, on the
CPU. Other load slows PyTorch's threads in particular, so measure on an idle machine or with
--threads=1.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax  # noqa: E402
import numpy as np  # noqa: E402

from pointata_jax import ops  # noqa: E402

CLOUDS, POINTS, CENTERS, NEIGHBORS, RADIUS = 16, 2048, 128, 32, 0.2
TARGETS = {"farthest_point_sample": 4.0, "ball_query": 4.0, "knn": 1.0}

Calls = dict[str, Callable[[], np.ndarray]]


def inputs() -> tuple[np.ndarray, np.ndarray]:
    """Random clouds, and their first points as centers."""
    points = np.random.default_rng(0).uniform(-1, 1, (CLOUDS, POINTS, 3)).astype(np.float32)
    return points, np.ascontiguousarray(points[:, :CENTERS])


def jax_calls() -> dict[str, Calls]:
    """Functions of this package, by operation and name."""
    points, centers = (jax.device_put(array) for array in inputs())

    def now(function: Callable[..., jax.Array], *args: Any, **options: Any):
        return lambda: np.asarray(function(*args, **options).block_until_ready())

    ball = (centers, points, RADIUS, NEIGHBORS)
    return {
        "farthest_point_sample": {
            "pointata_jax": now(ops.farthest_point_sample, points, CENTERS),
        },
        "ball_query": {
            "pointata_jax": now(ops.ball_query, *ball),
            "pointata_jax, by distance": now(ops.ball_query, *ball, order="distance"),
        },
        "knn": {"pointata_jax": now(ops.knn, centers, points, NEIGHBORS)},
    }


def torch_calls() -> dict[str, Calls]:
    """Functions of PyTorch, by operation and name; none where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch  # pyright: ignore[reportMissingImports]

    points, centers = (torch.from_numpy(array) for array in inputs())

    def sample() -> np.ndarray:
        clouds = torch.arange(CLOUDS)
        chosen = torch.zeros(CLOUDS, CENTERS, dtype=torch.long)
        nearest = torch.full((CLOUDS, POINTS), torch.inf)
        last = torch.zeros(CLOUDS, dtype=torch.long)
        for i in range(CENTERS):
            chosen[:, i] = last
            gap = ((points - points[clouds, last, None]) ** 2).sum(-1)
            nearest = torch.minimum(nearest, gap)
            last = nearest.argmax(-1)
        return chosen.numpy()

    def ball() -> np.ndarray:
        squares = (centers**2).sum(-1)[:, :, None] + (points**2).sum(-1)[:, None, :]
        distances = squares - 2 * centers @ points.transpose(1, 2)
        index = torch.arange(POINTS).repeat(CLOUDS, CENTERS, 1)
        index[distances >= RADIUS**2] = POINTS
        index = index.sort(dim=-1).values[:, :, :NEIGHBORS]
        first = index[:, :, :1].expand(-1, -1, NEIGHBORS)
        return torch.where(index == POINTS, first, index).numpy()

    def nearest(mode: str) -> np.ndarray:
        distances = torch.cdist(centers, points, compute_mode=mode)
        return distances.topk(NEIGHBORS, largest=False).indices.numpy()

    return {
        "farthest_point_sample": {"torch": sample},
        "ball_query": {"torch": ball},
        "knn": {
            # By |a|² + |b|² − 2ab, which is inexact far from the origin, and by differences, as in
            # pointata_jax.
            "torch": functools.partial(nearest, "use_mm_for_euclid_dist"),
            "torch (differences)": functools.partial(nearest, "donot_use_mm_for_euclid_dist"),
        },
    }


def fpsample_calls() -> dict[str, Calls]:
    """Functions of fpsample, by operation and name; none where it is not installed."""
    if importlib.util.find_spec("fpsample") is None:
        return {}
    import fpsample

    points, _ = inputs()

    def plain() -> np.ndarray:
        return np.stack([fpsample.fps_sampling(cloud, CENTERS, start_idx=0) for cloud in points])

    def buckets() -> np.ndarray:
        sample = fpsample.bucket_fps_kdline_sampling
        return np.stack([sample(cloud, CENTERS, h=5, start_idx=0) for cloud in points])

    return {"farthest_point_sample": {"fpsample": plain, "fpsample, buckets": buckets}}


CONTENDERS = {"jax": jax_calls, "torch": torch_calls, "fpsample": fpsample_calls}


def medians(calls: Calls, repeats: int) -> dict[str, float]:
    """Median milliseconds of each call, all called in turn `repeats` times."""
    for call in calls.values():
        call()
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            spent[name].append(time.perf_counter() - begin)
    return {name: 1e3 * float(np.median(times)) for name, times in spent.items()}


def agreement(operation: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of equal rows; for knn of equal distances, because rounding swaps near ties."""
    if operation == "knn":
        points, centers = inputs()
        ours, theirs = (
            np.linalg.norm(np.asarray(ops.gather(points, rows)) - centers[:, :, None], axis=-1)
            for rows in (ours.astype(np.int32), theirs.astype(np.int32))
        )
        return float(np.mean(np.isclose(ours, theirs, atol=1e-4)))
    return float(np.mean(np.all(ours == theirs, axis=-1)))


def memory(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process in MB.

    getrusage would not do: its peak includes that of the parent process.
    """
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")


def print_peak_growth(contender: str, operation: str, name: str) -> None:
    """Prints the MB by which the peak of this process grows during three calls."""
    call = CONTENDERS[contender]()[operation][name]
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = memory("VmRSS")
    for _ in range(3):
        call()
    print(memory("VmHWM") - before)


def peak_growth(contender: str, operation: str, name: str) -> float:
    """Peak growth in MB, measured in a child process; NaN where the system cannot reset a peak."""
    if not pathlib.Path("/proc/self/clear_refs").exists():
        return float("nan")
    command = [sys.executable, "-m", "benchmarks.ops", "--memory_of", contender, operation, name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measures every contender and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=30, help="calls of each contender")
    parser.add_argument("--threads", type=int, help="CPU cores for all contenders (Linux only)")
    parser.add_argument("--memory_of", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        print_peak_growth(*args.memory_of)
        return

    if args.threads:
        # Before the first computation: each contender starts as many threads as it sees cores.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    cores = args.threads or os.cpu_count()
    print(
        f"{CLOUDS} clouds x {POINTS} points, {CENTERS} centers, k {NEIGHBORS}, radius {RADIUS}; "
        f"medians of {args.repeats} calls; {cores} CPU cores, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, jax {jax.__version__}"
    )
    print(f"{'':28}{'ms':>9}{'x ours':>9}{'equal rows':>12}{'peak MB':>9}")
    everyone = {name: make() for name, make in CONTENDERS.items()}
    for operation, target in TARGETS.items():
        owner, calls = {}, {}
        for contender, operations in everyone.items():
            for name, call in operations.get(operation, {}).items():
                owner[name], calls[name] = contender, call
        times = medians(calls, args.repeats)
        ours = calls["pointata_jax"]()
        print(operation)
        for name, spent in times.items():
            # "by distance" follows another rule, and fpsample's buckets begin at another point.
            comparable = "," not in name
            equal = f"{agreement(operation, ours, calls[name]()):.1%}" if comparable else "-"
            ratio, growth = spent / times["pointata_jax"], peak_growth(owner[name], operation, name)
            row = f"  {name:26}{spent:9.2f}{ratio:9.2f}{equal:>12}{growth:9.0f}"
            print(row + (f"   aim: {target:g} or more" if name == "torch" else ""))


if __name__ == "__main__":
    main()

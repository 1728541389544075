from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from pointata_jax.errors import InputError
from pointata_jax.training import sharding
from pointata_jax.training.checkpoints import Checkpoints
from pointata_jax.training.hooks import Checkpoint, Evaluate, Log, Stop
from pointata_jax.training.loop import Hook, fit
from pointata_jax.training.run_folder import RunFolder
from pointata_jax.training.step import TrainingDiverged, make_train_step
from tests.training import toy

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 24


class KilledStream(toy.Stream):
    """Ends the process without a word when a batch is asked for, as a lost machine does."""

    def __init__(self, last: int):
        super().__init__()
        self.last = last

    def __next__(self):
        if self.position >= self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__next__()


class PoisonedStream(toy.Stream):
    """Batch 16 (of step 17) holds a NaN."""

    def __next__(self):
        batch = super().__next__()
        if self.position == 17:
            batch["points"][0, 0, 0] = np.nan
        return batch


def train(root, stream, *hooks, resume=False, metric="accuracy", should_stop=None, mesh=None):
    state, frozen, optimizer, _ = toy.setup(mesh=mesh)
    held_out = next(toy.Stream(batch_size=48, position=1000))

    def evaluate(state):
        params = {**state.trainable, **frozen}
        logits = toy.eval_fn(params, state.model_state, held_out)
        hits = np.asarray(logits).argmax(-1) == held_out["label"]
        return {"accuracy": hits.mean(), "hits": hits.tolist()}

    run = RunFolder.create(root, task="toy", settings={}, resume=resume)
    with Checkpoints(run.checkpoints_path) as checkpoints:
        return fit(
            state,
            frozen,
            make_train_step(toy.loss_fn, optimizer, mesh=mesh),
            stream,
            jax.random.key(1),
            STEPS,
            [
                Log(5, run),
                Evaluate(evaluate, 8, metric=metric, first=True, run=run),
                *hooks,
                Checkpoint(checkpoints, 7, resume=resume),
                *([Stop(should_stop)] if should_stop else []),
            ],
            mesh=mesh,
        )


def numbers(root):
    """The log without clocks."""
    return [
        {name: value for name, value in row.items() if name != "steps_per_second"}
        for row in RunFolder.open(root).read_log()
    ]


def equal(first, second):
    return jax.tree.all(jax.tree.map(np.array_equal, first, second))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nothing disturbs: (folder, result)."""
    root = tmp_path_factory.mktemp("whole")
    return root, train(root, toy.Stream())


def test_log_evaluations_and_best(whole):
    root, result = whole
    rows = numbers(root)
    assert [row["step"] for row in rows if row["kind"] == "train"] == [5, 10, 15, 20, 24]
    assert [row["step"] for row in rows if row["kind"] == "eval"] == [0, 8, 16, 24]
    accuracies = {row["step"]: row["accuracy"] for row in result.history}
    assert result.best_step == max(accuracies, key=lambda step: accuracies[step])
    assert result.best is not None
    assert result.best["accuracy"] == max(accuracies.values())
    assert accuracies[24] > accuracies[0]
    assert len(rows[0]["hits"]) == 48
    assert "hits" not in result.history[0]
    with Checkpoints(RunFolder.open(root).checkpoints_path, read_only=True) as checkpoints:
        assert checkpoints.latest_step == 24
        assert checkpoints.best_step == result.best_step
        restored = checkpoints.restore(result.state, 24)
        assert equal(restored.state, result.state)
        assert restored.meta["iterator"] == {"next_index": 24}


def test_logged_loss_is_the_mean_of_the_interval(whole):
    root, _ = whole
    state, frozen, optimizer, _ = toy.setup()
    step, stream, losses = make_train_step(toy.loss_fn, optimizer), toy.Stream(), []
    for _ in range(10):
        state, metrics = step(state, frozen, next(stream), jax.random.key(1))
        losses.append(float(metrics["loss"]))
    row = next(row for row in numbers(root) if row["kind"] == "train" and row["step"] == 10)
    assert row["loss"] == pytest.approx(np.mean(losses[5:]), rel=1e-12)


def test_kill_9_then_resume_equals_the_undisturbed_run(whole, tmp_path):
    script = (
        "import sys; from tests.training import test_loop as t; "
        "t.train(sys.argv[1], t.KilledStream(18))"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    resumed = train(tmp_path, toy.Stream(), resume=True)
    # Step 16 was the newest checkpoint; its writing may have been cut off by the kill.
    assert resumed.resumed_from in (14, 16)
    root, result = whole
    assert equal(resumed.state, result.state)
    assert numbers(tmp_path) == numbers(root)
    assert (resumed.history, resumed.best_step) == (result.history, result.best_step)


def test_nan_stops_with_its_step_and_the_last_good_checkpoint(whole, tmp_path):
    with pytest.raises(
        TrainingDiverged, match="diverged at step 17.*good checkpoint is of step 16"
    ):
        train(tmp_path, PoisonedStream())
    with pytest.raises(TrainingDiverged) as caught:
        train(tmp_path, PoisonedStream(), resume=True)
    assert (caught.value.step, caught.value.last_good_checkpoint) == (17, 16)
    # With the data mended, the run goes on as if nothing had been.
    assert equal(train(tmp_path, toy.Stream(), resume=True).state, whole[1].state)
    assert numbers(tmp_path) == numbers(whole[0])


def test_early_stop_holds_after_resuming(tmp_path):
    def should_stop(history):
        return "long enough" if history[-1]["step"] >= 8 else None

    first = train(tmp_path, toy.Stream(), should_stop=should_stop)
    assert (first.step, first.stopped) == (8, "long enough")
    again = train(tmp_path, toy.Stream(), resume=True, should_stop=should_stop)
    assert (again.step, again.stopped, again.resumed_from) == (8, "long enough", 8)
    assert equal(again.state, first.state)


def test_a_run_of_one_device_goes_on_with_eight(whole, tmp_path):
    if jax.device_count() < 8:
        pytest.skip("needs 8 devices: see tests/conftest.py")

    def moving(history):
        return "moving" if history[-1]["step"] == 8 else None

    stopped = train(tmp_path, toy.Stream(), should_stop=moving)
    assert stopped.step == 8
    mesh = sharding.make_mesh(jax.devices()[:8])
    moved = train(tmp_path, toy.Stream(), resume=True, mesh=mesh)
    assert (moved.resumed_from, moved.step) == (8, 24)
    assert len(moved.state.trainable["head"]["out"]["kernel"].devices()) == 8
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        moved.state.trainable,
        whole[1].state.trainable,
    )


def test_finished_run_is_not_trained_further_and_not_overwritten(whole):
    root, result = whole
    before = numbers(root)
    again = train(root, toy.Stream(), resume=True)
    assert again.resumed_from == again.step == 24
    assert equal(again.state, result.state)
    assert numbers(root) == before
    with pytest.raises(InputError, match="--resume"):
        train(root, toy.Stream())


def test_ended_data_and_missing_metric_are_sentences(tmp_path):
    class Short(toy.Stream):
        def __next__(self):
            if self.position == 3:
                raise StopIteration
            return super().__next__()

    with pytest.raises(InputError, match="data ended before step 4"):
        train(tmp_path / "short", Short())
    with pytest.raises(InputError, match="no 'mIoU'.*gives accuracy"):
        train(tmp_path / "metric", toy.Stream(), metric="mIoU")
    with pytest.raises(InputError, match="log_every is 0"):
        Log(0)
    with pytest.raises(InputError, match="mode is 'most'"):
        Evaluate(lambda state: {}, mode="most")  # pyright: ignore[reportArgumentType]


class Average(Hook):
    """What a user may add: a moving average of the parameters, acting on some steps."""

    key = "average"

    def __init__(self):
        self.values = None
        self.seen = []

    def due(self, training):
        return training.step % 3 == 0

    def observe(self, step, metrics):
        self.seen.append((step, metrics["loss"]))

    def act(self, training):
        if not self.due(training):
            return
        now = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(training.state.trainable)]
        before = now if self.values is None else self.values
        self.values = [0.9 * old + 0.1 * new for old, new in zip(before, now, strict=True)]

    def get_state(self):
        return None if self.values is None else [value.tolist() for value in self.values]

    def set_state(self, state):
        if state is not None:
            self.values = [np.asarray(value) for value in state]


def test_a_hook_of_the_user_sees_every_step_and_is_resumed(whole, tmp_path):
    undisturbed = Average()
    result = train(tmp_path / "whole", toy.Stream(), undisturbed)
    assert equal(result.state, whole[1].state), "a hook that only looks changes nothing"
    assert [step for step, _ in undisturbed.seen] == list(range(1, STEPS + 1))

    def interrupt(history):
        return "interrupted" if history[-1]["step"] == 16 else None

    train(tmp_path / "cut", toy.Stream(), Average(), should_stop=interrupt)
    resumed = Average()
    train(tmp_path / "cut", toy.Stream(), resumed, resume=True)
    assert [step for step, _ in resumed.seen] == list(range(17, STEPS + 1))
    assert resumed.seen == undisturbed.seen[16:]
    assert resumed.values is not None
    for ours, expected in zip(resumed.values, undisturbed.values, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_without_hooks_the_loop_only_trains(whole):
    state, frozen, optimizer, _ = toy.setup()
    step = make_train_step(toy.loss_fn, optimizer)
    result = fit(state, frozen, step, toy.Stream(), jax.random.key(1), STEPS)
    assert (result.step, result.history, result.best_step) == (STEPS, [], None)
    assert equal(result.state, whole[1].state)

"""A model of a few hundred weights with the top-level names of PointATA, and a stream for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from pointata_jax.training import optimizer as optimizer_lib
from pointata_jax.training import partition
from pointata_jax.training.step import TrainState, create_train_state

WIDTH, CLASSES = 8, 3


class ToyBackbone(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(WIDTH, name="blocks_0")(nn.LayerNorm(name="norm")(x))


class Adapter(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Dense(WIDTH, name="up")(nn.gelu(nn.Dense(4, name="down")(x)))


class ToyHead(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        return nn.Dense(CLASSES, name="out")(nn.Dropout(0.1, deterministic=not train)(x))


class ToyModel(nn.Module):
    """`[B, T, 4]` → logits `[B, CLASSES]`."""

    @nn.compact
    def __call__(self, points, train=False):
        x = nn.Dense(WIDTH, name="embedder")(points)
        shape = (points.shape[1], WIDTH)
        x = x + self.param("temporal_embedding", nn.initializers.zeros, shape)
        x = Adapter(name="pva_0")(x)
        gates = self.param("sce_gates", nn.initializers.ones, (1,))
        x = x + gates[0] * nn.Dense(WIDTH, name="sce")(x)
        x = ToyBackbone(name="backbone")(x)
        return ToyHead(name="head")(x.mean(1), train)


class Stream:
    """Endless labeled batches; batch `i` depends on `i` only."""

    def __init__(self, batch_size: int = 16, position: int = 0):
        self.batch_size, self.position = batch_size, position

    def __iter__(self):
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([7, self.position])
        self.position += 1
        label = rng.integers(0, CLASSES, self.batch_size)
        points = rng.normal(size=(self.batch_size, 5, 4)) + label[:, None, None]
        return {"points": points.astype(np.float32), "label": label.astype(np.int32)}

    def get_state(self) -> dict[str, int]:
        return {"next_index": self.position}

    def set_state(self, state: dict[str, int]) -> None:
        self.position = state["next_index"]


def loss_fn(params, model_state, batch, key, train):
    logits, new_state = ToyModel().apply(
        {"params": params, **model_state},
        batch["points"],
        train=train,
        rngs={"dropout": key},
        mutable=["batch_stats"],
    )
    picked = jnp.take_along_axis(nn.log_softmax(logits), batch["label"][:, None], axis=1)
    correct = (logits.argmax(-1) == batch["label"]).mean()
    return -picked.mean(), (new_state, {"accuracy": correct})


def eval_fn(params, model_state, batch) -> Any:
    return ToyModel().apply({"params": params, **model_state}, batch["points"])


def config(**changes: Any) -> optimizer_lib.OptimizerConfig:
    defaults: dict[str, Any] = {"learning_rate": 1e-2, "total_steps": 24, "warmup_steps": 4}
    return optimizer_lib.OptimizerConfig(**{**defaults, **changes})


def variables() -> tuple[dict[str, Any], dict[str, Any]]:
    """(params, model_state), NumPy leaves, the same at every call."""
    made = ToyModel().init(jax.random.key(0), jnp.zeros((2, 5, 4)))
    made = jax.tree.map(np.asarray, made)
    return made["params"], {"batch_stats": made["batch_stats"]}


def setup(
    tuning: str = "pointata", mesh: Any = None, **changes: Any
) -> tuple[TrainState, dict[str, Any], Any, Any]:
    """(state, frozen, optimizer, groups of all parameters)."""
    params, model_state = variables()
    groups = partition.assign_groups(params, partition.tuning_rules(tuning))
    trainable, frozen = partition.split(params, groups)
    optimizer = optimizer_lib.make_optimizer(config(**changes), partition.trainable_groups(groups))
    return (
        create_train_state(trainable, model_state, optimizer, mesh=mesh),
        frozen,
        optimizer,
        groups,
    )

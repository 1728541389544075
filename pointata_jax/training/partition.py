"""Which parameters train: one table of rules per tuning, and the split of the tree that it makes.

A rule is a regular expression over the "/"-joined path of a parameter (`backbone/blocks_0/…`) and
the group of the parameters that it matches. Every parameter must be covered by exactly one rule, so
that a renamed module is an error and not a silently frozen (or silently training) weight.

Gradients, optimizer state and checkpoints exist for the trainable tree only. Masking the whole tree
would give the same numbers, but it would compute the gradients of frozen weights as soon as
clipping, logging or accumulation reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from flax import traverse_util

from pointata_jax.errors import InputError

Params = Mapping[str, Any]
"""Nested dict of arrays, or of their shapes."""

Groups = Mapping[str, Any]
"""Nested dict like the parameters, with a group name for each."""

Rules = Sequence[tuple[str, str]]
"""Pairs (regular expression, group)."""

FROZEN = "frozen"
TRAINABLE_GROUPS = ("embedder", "adapters", "head", "backbone")
GROUPS = (*TRAINABLE_GROUPS, FROZEN)

_EMBEDDER = r"embedder/.+"
_ADAPTERS = r"(pva_\d+|sce|sce_gates|lora_\d+|side|temporal_embedding)(/.+)?"
_HEAD = r"head/.+"
_BACKBONE = r"backbone/.+"

_SMALL_PARTS: Rules = (
    (_EMBEDDER, "embedder"),
    (_ADAPTERS, "adapters"),
    (_HEAD, "head"),
    (_BACKBONE, FROZEN),
)
_EVERYTHING: Rules = (
    (_EMBEDDER, "embedder"),
    (_ADAPTERS, "adapters"),
    (_HEAD, "head"),
    (_BACKBONE, "backbone"),
)

TUNINGS: Mapping[str, Rules] = {
    # `adapter` trains the same groups as `pointata`, but starts without stage 1. `random_frozen`
    # does the same around a random backbone, and `scratch` trains the same groups as `full` from
    # one. `lora`, `frame` and `side` change the model too
    # (`stages.config`).
    "pointata": _SMALL_PARTS,
    "adapter": _SMALL_PARTS,
    "random_frozen": _SMALL_PARTS,
    "lora": _SMALL_PARTS,
    "full": _EVERYTHING,
    "scratch": _EVERYTHING,
    "frame": _EVERYTHING,
    "side": _SMALL_PARTS,
    "probe": ((_HEAD, "head"), (rf"({_EMBEDDER}|{_ADAPTERS}|{_BACKBONE})", FROZEN)),
}
P4TRANSFORMER = "p4transformer"
"""What stands for a tuning where the model is a `P4Transformer`, which trains from scratch."""


def tuning_rules(name: str, *, freeze_embedder: bool = False) -> Rules:
    """The rules of a tuning by name, on request without training the embedder.

    Raises:
      InputError: an unknown name, with the known ones.
    """
    if name == P4TRANSFORMER:
        return ((r".+", "backbone"),)
    if name not in TUNINGS:
        raise InputError(f"unknown tuning '{name}': choose one of {', '.join(TUNINGS)}.")
    if freeze_embedder:
        return tuple((p, FROZEN if p == _EMBEDDER else group) for p, group in TUNINGS[name])
    return TUNINGS[name]


def assign_groups(params: Params, rules: Rules) -> Groups:
    """Puts every parameter into the group of the one rule whose expression matches its whole path.

    Args:
      params: nested dict of arrays (or of shapes: only the paths are read).
      rules: pairs (regular expression, group of `GROUPS`).

    Returns:
      A nested dict like `params` whose leaves are group names.

    Raises:
      InputError: a parameter is covered by no rule or by several, or a group is unknown.
    """
    for pattern, group in rules:
        if group not in GROUPS:
            raise InputError(
                f"rule '{pattern}' names the unknown group '{group}': use one of "
                f"{', '.join(GROUPS)}."
            )
    compiled = [(re.compile(pattern), pattern, group) for pattern, group in rules]
    groups = {}
    for path in traverse_util.flatten_dict(params):
        name = "/".join(path)
        hits = [(pattern, group) for regex, pattern, group in compiled if regex.fullmatch(name)]
        if len(hits) != 1:
            shown = ", ".join(f"'{pattern}' ({group})" for pattern, group in hits or rules)
            found = f"{len(hits)} rules cover it" if hits else "no rule covers it"
            raise InputError(
                f"parameter '{name}' must be covered by exactly one rule, but {found}: correct one "
                f"of the rules {shown}."
            )
        groups[path] = hits[0][1]
    return traverse_util.unflatten_dict(groups)


def split(params: Params, groups: Groups) -> tuple[Params, Params]:
    """Splits parameters into (trainable, frozen), each a nested dict without the other's leaves."""
    flat, flat_groups = traverse_util.flatten_dict(params), traverse_util.flatten_dict(groups)
    if flat.keys() != flat_groups.keys():
        odd = min("/".join(path) for path in flat.keys() ^ flat_groups.keys())
        raise InputError(
            f"parameters and groups differ, first at '{odd}': make the groups from these "
            "parameters with assign_groups."
        )

    def part(frozen: bool) -> Params:
        return traverse_util.unflatten_dict(
            {path: leaf for path, leaf in flat.items() if (flat_groups[path] == FROZEN) == frozen}
        )

    return part(False), part(True)


def trainable_groups(groups: Groups) -> Groups:
    """The groups of the trainable parameters only: what `optimizer.make_optimizer` wants."""
    return split(groups, groups)[0]


def merge(trainable: Params, frozen: Params) -> Params:
    """Undoes `split`: one tree for `model.apply`. `InputError` where both hold a parameter."""
    first, second = traverse_util.flatten_dict(trainable), traverse_util.flatten_dict(frozen)
    if both := first.keys() & second.keys():
        raise InputError(
            f"parameter '{'/'.join(min(both))}' is both trainable and frozen: merge takes the two "
            "trees that one split made."
        )
    return traverse_util.unflatten_dict({**first, **second})


def count_parameters(tree: Params) -> int:
    """Number of scalars in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))

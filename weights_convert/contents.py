"""Finds the entries of a checkpoint that hold tensors, and explains where none are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pointata_jax.errors import InputError
from weights_convert.pickle_values import Placeholder
from weights_convert.torch_zip import Tensor

_MAX_DEPTH = 200
_MAX_ENTRIES = 8
_SHOWN = 12
_TYPES_SHOWN = 3


class Holding(NamedTuple):
    """An entry that holds tensors.

    Attributes:
      key: dotted key of the entry, as --key takes it.
      tensors: number of tensors in the entry and below it.
      numbers: number of values in these tensors.
      names: names of the tensors directly in the entry; empty if they have none.
    """

    key: str
    tensors: int
    numbers: int
    names: frozenset[str]


def holdings(value: object, besides: Sequence[object] = ()) -> list[Holding]:
    """The entries of a value that hold tensors, in order, without those in `besides`.

    A value that holds tensors directly is one entry. A value with many parts that hold tensors (the
    state of an optimizer) is one entry too. A part that is referenced twice is counted once.
    """
    seen = {id(part) for part in besides}
    return _below(value, (), seen)


def _below(value: object, path: tuple[str, ...], seen: set[int]) -> list[Holding]:
    if isinstance(value, Tensor):
        return [_holding(path, [value], frozenset())]
    if not isinstance(value, (dict, list, tuple, Placeholder)) or id(value) in seen:
        return []
    if len(path) > _MAX_DEPTH:
        return []
    seen.add(id(value))
    direct, names = [], []
    parts: list[Holding] = []
    for name, part in _children(value):
        if isinstance(part, Tensor):
            direct.append(part)
            if isinstance(value, dict):
                names.append(name)
        else:
            parts += _below(part, (*path, name), seen)
    if direct or (path and len(parts) > _MAX_ENTRIES):
        own = _holding(path, direct, frozenset(names))
        return [
            own._replace(
                tensors=own.tensors + sum(p.tensors for p in parts),
                numbers=own.numbers + sum(p.numbers for p in parts),
            )
        ]
    if isinstance(value, Placeholder) and parts:
        # The parts of an object have no keys that --key could name, so they are one entry.
        total = sum(p.tensors for p in parts), sum(p.numbers for p in parts)
        return [Holding(f"{'.'.join(path)} ({value.name})".strip(), *total, frozenset())]
    return parts


def _holding(path: tuple[str, ...], tensors: list[Tensor], names: frozenset[str]) -> Holding:
    return Holding(".".join(path), len(tensors), sum(t.size for t in tensors), names)


def _children(
    value: dict[object, object] | list[object] | tuple[object, ...] | Placeholder,
) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield str(key), part
    else:
        parts = value.parts if isinstance(value, Placeholder) else value
        for i, part in enumerate(parts):
            yield str(i), part


def find(value: object, key: str) -> object:
    """The value under a dotted key; names that contain dots are found too.

    Raises:
      InputError: there is no value under the key.
    """
    # Tries every way to split the key into names, longest names first.
    waiting = [(value, key)]
    tried: set[tuple[int, str]] = set()
    while waiting:
        place, rest = waiting.pop()
        if not rest:
            return place
        if (id(place), rest) in tried or not isinstance(place, (dict, list, tuple)):
            continue
        tried.add((id(place), rest))
        fitting = sorted(
            (name for name, _ in _children(place) if rest == name or rest.startswith(f"{name}.")),
            key=len,
        )
        parts = dict(_children(place))
        waiting += [(parts[name], rest[len(name) + 1 :]) for name in fitting]
    raise InputError(f"it holds nothing under --key={key}{_listed(value)}.")


def no_tensors(value: object, key: str | None, wrappers: Sequence[str]) -> InputError:
    """The error for a value that holds no named tensors where they are expected."""
    return InputError(f"{_description(value, key, wrappers)}.")


def _description(value: object, key: str | None, wrappers: Sequence[str]) -> str:
    """What the value holds, and what to do."""
    where = f"under --key={key} it" if key else "it"
    if isinstance(value, Placeholder):
        what = (
            f"holds a whole pickled model (an object of {value.name}), and reading it would run "
            "the code of its class"
            if value.is_module
            else f"holds an object of {value.name} where a dictionary of tensors is expected"
        )
        return (
            f"{where} {what}: load it in PyTorch with the code that made it, and save only its "
            "weights, torch.save(model.state_dict(), 'weights.pth')"
        )
    if not isinstance(value, dict):
        return (
            f"{where} holds no tensors by name but {_type(value)}: save the weights as a "
            f"dictionary, torch.save(model.state_dict(), 'weights.pth'){_listed(value)}"
        )
    for name in (None, *wrappers):
        inside = value if name is None else value.get(name)
        if name is not None and isinstance(inside, Placeholder):
            return _description(inside, name if key is None else f"{key}.{name}", ()).replace(
                "under --key=", "under "
            )
        if isinstance(inside, dict):
            odd = Counter(v.name for v in inside.values() if isinstance(v, Placeholder))
            if sum(odd.values()) * 2 > len(inside):
                types = ", ".join(f"{n} of {kind}" for kind, n in odd.most_common(_TYPES_SHOWN))
                return (
                    f"{where} holds no tensors by name but objects ({types}): make them tensors in "
                    "PyTorch and save them as a dictionary"
                )
    shown = ", ".join(str(name) for name in list(value)[:8])
    return (
        f"{where} holds no tensors by name{f' but {shown}' if shown else ''}: a state dict is "
        f"expected at the top level or under {', '.join(wrappers)}{_listed(value)}"
    )


def _listed(value: object) -> str:
    """The entries that the user could mean, as the end of an error."""
    found = [h for h in holdings(value) if h.key]
    if not found:
        return "" if not isinstance(value, Tensor) else ", and it is a tensor"
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    entries = ", ".join(f"{h.key} ({h.tensors})" for h in found[:_SHOWN])
    named = next((h for h in sorted(found, key=lambda h: -h.tensors) if h.names), None)
    advice = f"; choose one by --key, for example --key={named.key}" if named else ""
    return f"; tensors are in {entries}{more}{advice}"


def _type(value: object) -> str:
    if isinstance(value, Tensor):
        return "a single tensor"
    return f"a {type(value).__name__}" if value is not None else "nothing"


def type_name(value: object) -> str:
    """The name of a value's type, for errors."""
    return value.name if isinstance(value, Placeholder) else type(value).__name__

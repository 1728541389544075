"""Reads a pickle as data: containers, numbers, strings and a short table of names; runs nothing.

Python's own unpickler can be told which names to resolve, but it still lets a file choose how much
memory its memo takes, call whatever was resolved, and set attributes. Here the instructions are
only *listed* (`pickletools.genops`) and carried out by a small machine of our own that knows the
ones `torch.save` writes. Callables come from the caller's table alone; everything else that a
pickle could build becomes an inert `Placeholder` or an error.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any

from pointata_jax.errors import InputError

# The machine's own marks, which no value of a pickle can be.
_MARK = object()
_KEY_TYPES = (str, bytes, int, float, bool, type(None))
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "LONG4",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
    "BINSTRING",
    "SHORT_BINSTRING",
    "BINBYTES",
    "SHORT_BINBYTES",
    "BINBYTES8",
}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Placeholder:
    """Stands for an object of a named type whose content was thrown away."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Callee:
    """A function of ours that a pickle may call under a global name."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function


class Inert(Callee):
    """A global name whose every call makes a `Placeholder`."""

    def __init__(self, name: str):
        super().__init__(lambda *_: Placeholder(name))


Globals = Mapping[tuple[str, str], Any]


def read_pickle(data: bytes, names: Globals, persistent: Callable[[Any], Any]) -> Any:
    """The value that a pickle describes.

    Args:
      data: the pickle.
      names: what (module, name) stands for: a `Callee`, or a plain value.
      persistent: gives the value of a persistent id.

    Raises:
      InputError: the pickle is damaged, or asks for a name outside `names`, or for anything that
        plain data does not need.
    """
    machine = _Machine(names, persistent)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except InputError:
        raise
    except Exception as error:  # Any slip of a machine that touches nothing outside itself.
        raise InputError(f"its pickle is damaged ({error or type(error).__name__}).") from error
    raise InputError("its pickle is cut off.")


class _Machine:
    def __init__(self, names: Globals, persistent: Callable[[Any], Any]):
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        # A dictionary: a list would grow to whatever index the file names.
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[Any]:
        for depth in range(len(self.stack) - 1, -1, -1):
            if self.stack[depth] is _MARK:
                values = self.stack[depth + 1 :]
                del self.stack[depth:]
                return values
        raise ValueError("no mark")

    def step(self, name: str, argument: Any) -> None:
        push = self.stack.append
        if name in ("PROTO", "FRAME"):
            return
        if name in _LITERALS:
            push(argument)
        elif name in _CONSTANTS:
            push(_CONSTANTS[name])
        elif name in _EMPTY:
            push(_EMPTY[name]())
        elif name == "EMPTY_TUPLE":
            push(())
        elif name in _TUPLES:
            push(tuple(reversed([self.pop() for _ in range(_TUPLES[name])])))
        elif name == "TUPLE":
            push(tuple(self.pop_to_mark()))
        elif name == "MARK":
            push(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            push(self.memo[argument])
        elif name in ("SETITEM", "SETITEMS"):
            items = [self.pop(), self.pop()][::-1] if name == "SETITEM" else self.pop_to_mark()
            self.set_items(items)
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            self.add([self.pop()] if name == "APPEND" else self.pop_to_mark())
        elif name == "FROZENSET":
            push(frozenset(_checked_keys(self.pop_to_mark())))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            pair = argument.split(" ", 1) if name == "GLOBAL" else [self.pop(), self.pop()][::-1]
            push(self.find(*pair))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = self.pop(), self.pop()
            push(_call(function, arguments))
        elif name == "BUILD":
            # State of an object; ours have none (the `_metadata` of a state dict ends here).
            self.pop()
        elif name == "BINPERSID":
            push(self.persistent(self.pop()))
        else:
            raise InputError(f"its pickle uses the instruction {name}, which plain data do not.")

    def find(self, module: str, name: str) -> Any:
        if (module, name) not in self.names:
            raise InputError(
                f"it asks for {module}.{name}, which is not on the list of harmless types: re-save "
                "it in PyTorch with tensors only."
            )
        return self.names[module, name]

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items set on what is no dictionary")
        target.update(zip(_checked_keys(items[::2]), items[1::2], strict=True))

    def add(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(_checked_keys(values))
        elif not isinstance(target, Placeholder):
            raise ValueError("items added to what is no list")


def _checked_keys(keys: list[Any]) -> list[Any]:
    """Keys that hash in constant time: nested tuples that share parts would take for ever."""
    if not all(type(key) in _KEY_TYPES for key in keys):
        raise ValueError("a dictionary key or set member that is neither text nor number")
    return keys


def _call(function: Any, arguments: Any) -> Any:
    if not isinstance(function, Callee) or not isinstance(arguments, tuple):
        raise ValueError("a call of what is no function")
    return function.function(*arguments)

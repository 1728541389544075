"""Reads a pickle as data: containers, numbers, strings and a short table of names; runs nothing.

Python's own unpickler can be told which names to resolve, but it still lets a file choose how much
memory its memo takes, call whatever was resolved, and set attributes. Here the instructions are
only *listed* (`pickletools.genops`) and carried out by a small machine of our own that knows the
ones `torch.save` writes. Callables come from the caller's table alone; a name outside it becomes an
inert `Placeholder` where it is harmless (`harmless_names`) and an error where not.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pointata_jax.errors import InputError
from weights_convert.harmless_names import is_harmless, may_be_called

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
    "BYTEARRAY8",
}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# A tuple hashes by all that it holds, again each time, so keys are measured before they are hashed.
_MAX_KEY = 1000
_KEY_WORK_PER_BYTE = 16
# PyTorch's modules have these in their state, whatever class they are of.
_MODULE_STATE = {"_parameters", "_buffers", "_modules"}


class Placeholder:
    """Stands for an object, a class or a function that was named and never looked at.

    Attributes:
      name: of the type or function, with its module.
      parts: containers and tensors that the pickle put into it, only to be counted.
      is_module: whether it has the state of a `torch.nn.Module`.
    """

    def __init__(self, name: str, parts: Iterable[Any] = ()):
        self.name = name
        self.parts: list[Any] = []
        self.is_module = False
        self.put(parts)

    def put(self, values: Iterable[Any]) -> None:
        """Remembers what may hold tensors; numbers, text and bytes are dropped."""
        self.parts += [v for v in values if v is not None and not isinstance(v, _PLAIN)]

    def build(self, state: Any) -> None:
        """What sets the state of an object: a dictionary, or that and a dictionary of slots."""
        self.put((state,))
        first = state[0] if isinstance(state, tuple) and state else state
        if isinstance(first, dict) and first.keys() >= _MODULE_STATE:
            self.is_module = True

    def __repr__(self) -> str:
        return f"<{self.name}>"


_PLAIN = (str, bytes, bytearray, int, float)


class Callee:
    """A function of ours that a pickle may call under a global name."""

    def __init__(self, function: Callable[..., Any]):
        self.function = function


Globals = Mapping[tuple[str, str], Any]


def read_pickle(data: bytes, names: Globals, persistent: Callable[[Any], Any]) -> Any:
    """The value that a pickle describes.

    Args:
      data: the pickle.
      names: what (module, name) stands for: a `Callee`, or a plain value. Other names stand for
        placeholders.
      persistent: gives the value of a persistent id.

    Raises:
      InputError: the pickle is damaged, or asks for a name that is not harmless, or for anything
        that plain data does not need.
    """
    machine = _Machine(names, persistent, _KEY_WORK_PER_BYTE * len(data))
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
    def __init__(self, names: Globals, persistent: Callable[[Any], Any], key_work: int):
        self.names = names
        self.key_work = key_work
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
        elif name == "POP":
            self.stack.pop()
        elif name == "POP_MARK":
            self.pop_to_mark()
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
            push(frozenset(self.checked_keys(self.pop_to_mark())))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            pair = argument.split(" ", 1) if name == "GLOBAL" else [self.pop(), self.pop()][::-1]
            push(self.find(*pair))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, function = self.pop(), self.pop()
            if name == "REDUCE" and isinstance(function, Placeholder):
                if not may_be_called(function.name):
                    raise refused(function.name)
            push(call(function, arguments))
        elif name == "NEWOBJ_EX":
            keywords, arguments, function = self.pop(), self.pop(), self.pop()
            made = call(function, arguments)
            if isinstance(made, Placeholder):
                made.put((keywords,))
            push(made)
        elif name == "BUILD":
            # State of an object; ours have none (the `_metadata` of a state dict ends here).
            state = self.pop()
            if isinstance(self.stack[-1], Placeholder):
                self.stack[-1].build(state)
        elif name == "BINPERSID":
            push(self.persistent(self.pop()))
        else:
            raise InputError(f"its pickle uses the instruction {name}, which plain data do not.")

    def find(self, module: Any, name: Any) -> Any:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is no text")
        if (module, name) in self.names:
            return self.names[module, name]
        if not is_harmless(module, name):
            raise refused(f"{module}.{name}")
        return Placeholder(f"{module}.{name}")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.put(items)
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items set on what is no dictionary")
        target.update(zip(self.checked_keys(items[::2]), items[1::2], strict=True))

    def add(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(self.checked_keys(values))
        elif isinstance(target, Placeholder):
            target.put(values)
        else:
            raise ValueError("items added to what is no list")

    def checked_keys(self, keys: list[Any]) -> list[Any]:
        """Keys that hash in bounded time: nested tuples that share parts would take for ever."""
        for key in keys:
            if type(key) in (str, float, bool, bytes) or key is None:
                continue
            work, waiting = 0, [key]
            while waiting:
                part = waiting.pop()
                work += 1
                if type(part) is int:
                    work += part.bit_length() // 64
                elif type(part) in (tuple, frozenset):
                    if len(part) <= _MAX_KEY:
                        waiting.extend(part)
                    work += len(part)
                elif type(part) not in _KEY_TYPES and not isinstance(part, (Placeholder, Callee)):
                    if getattr(type(part), "__hash__", None) is None:
                        raise ValueError(
                            "a dictionary key or set member that is neither text nor number"
                        )
                if work > _MAX_KEY:
                    raise ValueError("a dictionary key or set member of too many parts")
            self.key_work -= work
            if self.key_work < 0:
                raise ValueError("too many large dictionary keys or set members")
        return keys


def refused(name: str) -> InputError:
    """The error for a name that could run something."""
    return InputError(
        f"it asks for {name}, which is not on the list of harmless types: re-save it in PyTorch "
        "with tensors only."
    )


def call(function: Any, arguments: Any) -> Any:
    """The outcome of a call in a pickle: of one of our functions, or a placeholder."""
    if not isinstance(function, (Callee, Placeholder)) or not isinstance(arguments, tuple):
        raise ValueError("a call of what is no function")
    if isinstance(function, Placeholder):
        return Placeholder(function.name, arguments)
    return function.function(*arguments)

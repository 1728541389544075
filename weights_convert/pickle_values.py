"""Reads a pickle as data (containers, numbers, strings) without running any code.

Python's unpickler can restrict which names are resolved. A file can still choose how much memory
the memo takes, call everything that was resolved, and set attributes. Here `pickletools.genops`
only lists the instructions, and a small machine executes those that `torch.save` writes. Callables
come from a table of the caller. Any other name becomes an inert `Placeholder` if it is harmless
(`harmless_names`), and is an error otherwise.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pointata_jax.errors import InputError
from weights_convert.harmless_names import is_harmless, may_be_called

# The machine's mark on its stack, which differs from every value of a pickle.
_MARK = object()
_KEY_TYPES = (str, bytes, int, float, bool, type(None))
_CONSTANTS: dict[str, bool | None] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
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
_EMPTY: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# Hashing a tuple takes time for all its nested parts, so keys are measured before they are hashed.
_MAX_KEY = 1000
_KEY_WORK_PER_BYTE = 16
# The state of a PyTorch module of any class has these keys.
_MODULE_STATE = {"_parameters", "_buffers", "_modules"}


class Placeholder:
    """Stands for an object, a class or a function that a pickle names and that is not resolved.

    Attributes:
      name: name of the type or function, with its module.
      parts: containers and tensors that the pickle put into it; they are only counted.
      is_module: whether it has the state of a `torch.nn.Module`.
    """

    def __init__(self, name: str, parts: Iterable[object] = ()):
        self.name = name
        self.parts: list[object] = []
        self.is_module = False
        self.put(parts)

    def put(self, values: Iterable[object]) -> None:
        """Keeps the values that may hold tensors; numbers, text and bytes are dropped."""
        self.parts += [v for v in values if v is not None and not isinstance(v, _PLAIN)]

    def build(self, state: object) -> None:
        """Sets the state of the object: a dictionary, or a pair of it and a dictionary of slots."""
        self.put((state,))
        first = state[0] if isinstance(state, tuple) and state else state
        if isinstance(first, dict) and first.keys() >= _MODULE_STATE:
            self.is_module = True

    def __repr__(self) -> str:
        return f"<{self.name}>"


_PLAIN = (str, bytes, bytearray, int, float)


class Callee:
    """A function of this package that a pickle may call under a global name."""

    def __init__(self, function: Callable[..., object]):
        self.function = function


Globals = Mapping[tuple[str, str], object]
"""A `Callee` or a plain value for each (module, name)."""


def read_pickle(data: bytes, names: Globals, persistent: Callable[[Any], object]) -> object:
    """The value that a pickle describes.

    Args:
      data: the pickle.
      names: meaning of global names. All other names become placeholders.
      persistent: function from a persistent id to its value.

    Raises:
      InputError: the pickle is damaged, uses a name that is not harmless, or uses an instruction
        that plain data do not need.
    """
    machine = _Machine(names, persistent, _KEY_WORK_PER_BYTE * len(data))
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except InputError:
        raise
    except Exception as error:  # A damaged pickle can cause an error of any type.
        raise InputError(
            f"its pickle is damaged ({error or type(error).__name__}): download the file again."
        ) from error
    raise InputError("its pickle is cut off: download the file again.")


class _Machine:
    def __init__(self, names: Globals, persistent: Callable[[Any], object], key_work: int):
        self.names = names
        self.key_work = key_work
        self.persistent = persistent
        self.stack: list[object] = []
        # A dictionary, because a list would grow to any index that the file uses.
        self.memo: dict[int, object] = {}

    def pop(self) -> object:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value should be")
        return value

    def pop_to_mark(self) -> list[object]:
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
            if (
                name == "REDUCE"
                and isinstance(function, Placeholder)
                and not may_be_called(function.name)
            ):
                raise refused(function.name)
            push(call(function, arguments))
        elif name == "NEWOBJ_EX":
            keywords, arguments, function = self.pop(), self.pop(), self.pop()
            made = call(function, arguments)
            if isinstance(made, Placeholder):
                made.put((keywords,))
            push(made)
        elif name == "BUILD":
            # Only placeholders keep the state of an object. `_metadata` of a state dict is dropped.
            state, target = self.pop(), self.stack[-1]
            if isinstance(target, Placeholder):
                target.build(state)
        elif name == "BINPERSID":
            push(self.persistent(self.pop()))
        else:
            raise InputError(
                f"its pickle uses the instruction {name}, which plain data do not need: save it "
                "again in PyTorch with tensors only."
            )

    def find(self, module: object, name: object) -> object:
        if type(module) is not str or type(name) is not str:
            raise ValueError("a name that is not text")
        if (module, name) in self.names:
            return self.names[module, name]
        if not is_harmless(module, name):
            raise refused(f"{module}.{name}")
        return Placeholder(f"{module}.{name}")

    def set_items(self, items: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, Placeholder):
            target.put(items)
            return
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items set on a value that is not a dictionary")
        target.update(zip(self.checked_keys(items[::2]), items[1::2], strict=True))

    def add(self, values: list[object]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, set):
            target.update(self.checked_keys(values))
        elif isinstance(target, Placeholder):
            target.put(values)
        else:
            raise ValueError("items added to a value that is not a list")

    def checked_keys(self, keys: list[Any]) -> list[Any]:
        """The keys, after a check that they hash in bounded time.

        Hashing nested tuples that share parts can take exponential time.
        """
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
                elif (
                    type(part) not in _KEY_TYPES
                    and not isinstance(part, (Placeholder, Callee))
                    and getattr(type(part), "__hash__", None) is None
                ):
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
    """The error for a name that could run code."""
    return InputError(
        f"it asks for {name}, which is not on the list of harmless types: save it again in PyTorch "
        "with tensors only."
    )


def call(function: object, arguments: object) -> object:
    """The result of a call in a pickle: that of a `Callee`, or a placeholder."""
    if not isinstance(function, (Callee, Placeholder)) or not isinstance(arguments, tuple):
        raise ValueError("a call of a value that is not a function")
    if isinstance(function, Placeholder):
        return Placeholder(function.name, arguments)
    return function.function(*arguments)

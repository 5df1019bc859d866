"""Reads pickles of plain data without running them.

A pickle is a program for a stack machine, and may name any function to be called. The machine here knows the
instructions that build numbers, text, bytes, lists, tuples and dictionaries, in protocols 0 to 5, and the few calls
that arrays are written with, which it does not make (``pickled_arrays``). All else is refused before it could matter.
``pickletools`` of the standard library, which only disassembles, splits the file into instructions.
"""

from __future__ import annotations

import os
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mrt_torch.data.pickled_arrays import GLOBALS, Arguments, EmptyArray, Global, Unfinished, apply_global, give_state
from mrt_torch.errors import InvalidFileError

_NOTHING = frozenset(("PROTO", "FRAME"))
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_ARGUMENTS = frozenset((  # instructions whose argument is the value
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8"))
_KEYS = (str, bytes, int, float, type(None))
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_TUPLE": tuple, "EMPTY_DICT": dict}


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """The value in a pickle of plain data: None, bool, int, float, str, bytes, list, tuple, dict, and NumPy's arrays
    and scalars of numbers. Text that Python 2 wrote is taken as Latin-1.

    Raises:
        InvalidFileError: the file cannot be read, is damaged, or holds something else; with the offset and the name of
            the instruction. Nothing that the file names is imported or called.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InvalidFileError("the pickle cannot be read", where=str(path), why=str(error),
                               remedy="put the file there") from error
    return parse_pickle(content, str(path))


def parse_pickle(content: bytes, source: str = "pickle") -> Any:
    """``read_pickle`` of bytes; ``source`` says in errors where they are from."""
    machine = _Machine()
    place, instruction = 0, "none"
    try:
        for opcode, argument, position in pickletools.genops(content):
            place, instruction = position or 0, opcode.name
            machine.run(instruction, argument)
        if place + 1 != len(content):
            raise ValueError(f"{len(content) - place - 1} bytes after the end")
        return machine.result()
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise InvalidFileError(
            "a pickle is damaged, or holds more than plain data", where=f"{source}, byte {place}, opcode {instruction}",
            why=str(error) or type(error).__name__,
            remedy="write it again with numbers, text, lists, tuples, dictionaries and arrays of numbers only") \
            from error


class _Machine:
    """A stack, the stacks below its marks, and a memory of values that occur again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memory: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Carry out an instruction; ValueError and its like where that is impossible or refused."""
        if name in _ARGUMENTS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name not in _NOTHING:
            if name not in _INSTRUCTIONS:
                raise ValueError("the instruction does not build plain data")
            _INSTRUCTIONS[name](self, argument)

    def result(self) -> Any:
        """The one value that is left."""
        if self.below or len(self.stack) != 1 or isinstance(self.stack[0], Unfinished):
            raise ValueError("the end does not leave one value")
        return self.stack[0]

    def mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        """Take the values since the last mark, and the mark."""
        values, self.stack = self.stack, self.below.pop()
        return values

    def pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def pop_mark(self) -> None:
        self.since_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def remember(self, key: int | None) -> None:
        key, value = len(self.memory) if key is None else key, self.stack[-1]
        self.memory[key] = value
        if isinstance(value, EmptyArray):
            value.places.append(key)

    def recall(self, key: int) -> None:
        self.stack.append(self.memory[key])

    def tuple_of(self, values: list[Any]) -> None:
        unfinished = any(isinstance(value, Unfinished) for value in values)
        self.stack.append(Arguments(values) if unfinished else tuple(values))

    def short_tuple(self, size: int) -> None:
        values = self.stack[len(self.stack) - size:]
        if len(values) != size:
            raise ValueError("too few values")
        del self.stack[-size:]
        self.tuple_of(values)

    def list_of(self, values: list[Any]) -> None:
        self.stack.append([])
        self.extend(values)

    def dict_of(self, values: list[Any]) -> None:
        self.stack.append({})
        self.update(values)

    def extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("elements of something else than a list")
        target.extend(_finished(values))

    def update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(values) % 2:
            raise ValueError("items of something else than a dictionary")
        for key in values[::2]:  # Python's hash of a deeply nested key overflows its stack
            if not all(isinstance(part, _KEYS) for part in (key if type(key) is tuple else (key,))):
                raise ValueError("a key that is neither text nor number, nor a tuple of them")
        target.update(zip(values[::2], _finished(values[1::2]), strict=True))

    def name_global(self, module: Any, name: Any) -> None:
        if (module, name) not in GLOBALS:
            raise ValueError(f"the name {module}.{name}, which is not needed for plain data")
        self.stack.append(Global(GLOBALS[module, name]))

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.name_global(module, name)

    def reduce(self, _: Any) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        self.stack.append(apply_global(called, arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack.pop()
        built = give_state(target, state)
        for key in target.places if isinstance(target, EmptyArray) else ():  # Python fills the array in place
            if self.memory[key] is target:
                self.memory[key] = built
        self.stack.append(built)


def _finished(values: list[Any]) -> list[Any]:
    if any(isinstance(value, Unfinished) for value in values):
        raise ValueError("an element that is no plain data")
    return values


_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "STOP": lambda machine, _: None, "MARK": _Machine.mark, "POP": _Machine.pop,
    "POP_MARK": lambda machine, _: machine.pop_mark(),
    "DUP": _Machine.duplicate,
    "PUT": _Machine.remember, "BINPUT": _Machine.remember, "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": _Machine.remember, "GET": _Machine.recall, "BINGET": _Machine.recall, "LONG_BINGET": _Machine.recall,
    "TUPLE": lambda machine, _: machine.tuple_of(machine.since_mark()),
    "TUPLE1": lambda machine, _: machine.short_tuple(1), "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "LIST": lambda machine, _: machine.list_of(machine.since_mark()),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "DICT": lambda machine, _: machine.dict_of(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GLOBAL": lambda machine, argument: machine.name_global(*argument.split(" ", 1)),
    "STACK_GLOBAL": _Machine.stack_global, "REDUCE": _Machine.reduce, "BUILD": _Machine.build,
}

"""A pickle read as data: its instructions build plain containers and records of what would have been made, no more.

Nothing is imported, nothing is called. Where unpickling would call something, there is a :class:`Made` that says what
and with which arguments; where it would import something, an :class:`Imported` with the name. Tensors are told from
these by :mod:`scanner.models.stored`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Final

from scanner.base.errors import ModelError

MAX_INSTRUCTIONS: Final = 5_000_000
_DICTS: Final = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "collections.Counter", "builtins.dict"}
)
_OLD_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg"}
_UNKNOWN: Final = "(an import that cannot be told without running the file)"


@dataclass(frozen=True, eq=False)
class Imported:
    """What an import would have given, as ``module.name``."""

    name: str


@dataclass(frozen=True, eq=False)
class Persistent:
    """A reference to something outside the pickle: in PyTorch's files, a storage."""

    reference: object


class Made(dict[object, object]):
    """What a call would have given, with the items that would have been put into it; compared by identity.

    Args:
        callee: What would have been called: an :class:`Imported` unless the file is odd.
        arguments: With what.
    """

    def __init__(self, callee: object, arguments: object) -> None:
        super().__init__()
        self.callee = callee
        self.arguments = arguments
        self.state: object = None

    @property
    def name(self) -> str:
        """``module.name`` of what would have been called."""
        return self.callee.name if isinstance(self.callee, Imported) else _UNKNOWN

    def __hash__(self) -> int:  # type: ignore[override]
        """By identity."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """By identity."""
        return self is other


@dataclass
class Reading:
    """A pickle's content, and what unpickling it would have done besides.

    Attributes:
        content: The object.
        imports: Names that would have been imported.
        calls: Names that would have been called as functions.
        classes: Names of which objects would have been made.
    """

    content: object = None
    imports: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    classes: set[str] = field(default_factory=set)


def read_pickle(stream: IO[bytes]) -> Reading:
    """Read one pickle; the stream is left behind it.

    Raises:
        ModelError: It is damaged, or longer than any checkpoint's.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if count >= MAX_INSTRUCTIONS:
                raise ModelError("the pickle has more instructions than any checkpoint")
            machine.step(opcode.name, argument)
        machine.reading.content = machine.pop()
    except (ModelError, MemoryError):
        raise
    except Exception as error:  # pickletools and the containers raise whatever a damaged file makes them raise
        raise ModelError(f"the checkpoint is damaged (its pickle cannot be read: {type(error).__name__})") from error
    return machine.reading


_MARK: Final = object()


class _Machine:
    def __init__(self) -> None:
        self.reading = Reading()
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:  # noqa: ANN401 - as pickletools decodes it
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _IGNORED:
            return
        else:
            _STEPS[name](self, argument)

    def pop(self) -> Any:  # noqa: ANN401 - whatever the file holds
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value is due")
        return value

    def _to_mark(self) -> list[Any]:
        position = len(self._stack) - 1
        while self._stack[position] is not _MARK:
            position -= 1
            if position < 0:
                raise ValueError("no mark")
        items = self._stack[position + 1 :]
        del self._stack[position:]
        return items

    def mark(self, _: object) -> None:
        self._stack.append(_MARK)

    def drop(self, _: object) -> None:
        self._stack.pop()

    def drop_to_mark(self, _: object) -> None:
        self._to_mark()

    def duplicate(self, _: object) -> None:
        self._stack.append(self._stack[-1])

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def memoize(self, _: object) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def make_list(self, _: object) -> None:
        self._stack.append(self._to_mark())

    def make_tuple(self, _: object) -> None:
        self._stack.append(tuple(self._to_mark()))

    def make_set(self, _: object) -> None:
        self._stack.append(frozenset(self._to_mark()))

    def make_dict(self, _: object) -> None:
        items = self._to_mark()
        self._stack.append(dict(zip(items[::2], items[1::2], strict=True)))

    def append(self, _: object) -> None:
        value = self.pop()
        self._extend([value])

    def append_all(self, _: object) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Made):
            raise TypeError("not a list")

    def add_all(self, _: object) -> None:
        items = self._to_mark()
        if isinstance(self._stack[-1], set):
            self._stack[-1].update(items)

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self._update([key, value])

    def set_all(self, _: object) -> None:
        self._update(self._to_mark())

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise TypeError("not a dictionary")
        target.update(zip(items[::2], items[1::2], strict=True))

    def import_global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._import(f"{_OLD_MODULES.get(module, module)}.{name}")

    def import_from_stack(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        known = isinstance(module, str) and isinstance(name, str)
        self._import(f"{_OLD_MODULES.get(module, module)}.{name}" if known else _UNKNOWN)

    def import_extension(self, _: object) -> None:
        self._import(_UNKNOWN)

    def _import(self, name: str) -> None:
        self.reading.imports.add(name)
        self._stack.append(Imported(name))

    def call(self, _: object) -> None:
        arguments, callee = self.pop(), self.pop()
        self._make(callee, arguments, self.reading.calls)

    def instance(self, argument: str) -> None:
        arguments = tuple(self._to_mark())
        self.import_global(argument)
        self._make(self.pop(), arguments, self.reading.calls)

    def object_of_class(self, _: object) -> None:
        callee, *arguments = self._to_mark()
        self._make(callee, tuple(arguments), self.reading.calls)

    def new_object(self, _: object) -> None:
        arguments, callee = self.pop(), self.pop()
        self._make(callee, arguments, self.reading.classes)

    def new_object_with_keywords(self, _: object) -> None:
        self.pop()
        self.new_object(None)

    def _make(self, callee: object, arguments: object, names: set[str]) -> None:
        if isinstance(callee, Imported) and callee.name in _DICTS:
            self._stack.append({})  # those with items as an argument are of an old Python, and no state dict
            return
        made = Made(callee, arguments)
        # copyreg makes objects of the class that it is given, as NEWOBJ does.
        if made.name in ("copyreg._reconstructor", "copyreg.__newobj__") and isinstance(arguments, tuple) and arguments:
            made.callee, names = arguments[0], self.reading.classes
        names.add(made.name)
        self._stack.append(made)

    def build(self, _: object) -> None:
        state = self.pop()
        if isinstance(self._stack[-1], Made):
            self._stack[-1].state = state

    def persistent(self, argument: object) -> None:
        self._stack.append(Persistent(argument))

    def persistent_from_stack(self, _: object) -> None:
        self._stack.append(Persistent(self.pop()))

    def short_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self._stack.append(tuple(reversed(items)))


_IGNORED: Final = frozenset({"PROTO", "FRAME", "STOP"})
_PUSHED: Final = frozenset(
    {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    }
)
_CONSTANTS: Final[dict[str, Callable[[], object]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_STEPS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "LIST": _Machine.make_list,
    "TUPLE": _Machine.make_tuple,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "FROZENSET": _Machine.make_set,
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_all,
    "ADDITEMS": _Machine.add_all,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_all,
    "GLOBAL": _Machine.import_global,
    "STACK_GLOBAL": _Machine.import_from_stack,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _Machine.import_extension),
    "REDUCE": _Machine.call,
    "INST": _Machine.instance,
    "OBJ": _Machine.object_of_class,
    "NEWOBJ": _Machine.new_object,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent,
    "BINPERSID": _Machine.persistent_from_stack,
}

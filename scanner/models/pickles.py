"""What unpickling a file would import, listed without unpickling it.

A pickle is a program for a small stack machine. Here its instructions are read, not run. Lists of
dangerous imports lose to new tricks time and again, so nothing is judged safe from such a list: what is
not known to rebuild tensors is reported and refused, and PyTorch's restricted unpickler has the last word.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

_MAX_INSTRUCTIONS = 5_000_000
_MAX_PICKLES = 10_000
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PICKLES = 5
PROTOCOLS: Final = range(2, 6)
"""Of pickles that state theirs, in the byte after 0x80."""
UNREADABLE = "(an import that cannot be told without running the file)"

_TENSOR_IMPORTS: Final = frozenset(
    {
        "_codecs.encode",
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.Counter",
        "__builtin__.set",
        "builtins.set",
        "builtins.dict",
        "builtins.bytearray",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.dtype",
        "torch._tensor._rebuild_from_type_v2",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
        "torch.nn.parameter.UninitializedParameter",
        "torch.serialization._get_layout",
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
    }
)
_REBUILDERS = re.compile(r"torch\.(_utils|_tensor)\._rebuild_\w+")
_TORCH_TYPES = re.compile(
    r"u?int(8|16|32|64)|b?float16|float(32|64)|float8_\w+|complex(32|64|128)|q?u?int(8|32)|bool|half|float|double"
    r"|long|int|short|per_tensor_affine|per_channel_affine|strided"
)
_MODULE_PREFIXES = ("torch.nn.modules.", "torchvision.", "timm.", "transformers.", "ultralytics.", "models.")


@dataclass(frozen=True)
class PickleImports:
    """The imports of a pickle, as ``module.name``."""

    names: frozenset[str]

    @property
    def damaged(self) -> bool:
        """Whether some import, or what comes after a damaged place, cannot be told."""
        return UNREADABLE in self.names

    @property
    def only_tensors(self) -> bool:
        """Whether every import is one that rebuilds tensors and plain containers."""
        return all(rebuilds_tensors(name) for name in self.names)

    @property
    def holds_module(self) -> bool:
        """Whether some import is a neural network module."""
        return any(name.startswith(_MODULE_PREFIXES) for name in self.names)


def pickle_imports(data: bytes) -> PickleImports:
    """The imports of one pickle."""
    return PickleImports(frozenset(_imports(pickletools.genops(data))))


def legacy_checkpoint_imports(stream: IO[bytes]) -> tuple[PickleImports, bool]:
    """The imports of all pickles in a file of consecutive ones, and whether it is a PyTorch checkpoint.

    The format of PyTorch before 1.6: the pickles of a magic number, a version, system information, the
    object and the storage keys; then raw data. Further pickles are read for as long as there are some: whoever loads
    one after the other runs them all.
    """
    first = list(_bounded(pickletools.genops(stream)))
    names = set(_imports(first))
    is_checkpoint = any(argument == _LEGACY_MAGIC for _, argument, _ in first)
    for number in range(1, _MAX_PICKLES):
        expected = is_checkpoint and number < _LEGACY_PICKLES
        if not expected and not _starts_pickle(stream):
            break
        found = set(_imports(pickletools.genops(stream)))
        if not expected and found == {UNREADABLE}:  # raw data that happens to begin like a pickle
            break
        names.update(found)
    return PickleImports(frozenset(names)), is_checkpoint


def whole_pickles(stream: IO[bytes]) -> tuple[int, int]:
    """How many whole pickles a file begins with, and at which byte the last of them ends."""
    count = end = 0
    while count < _MAX_PICKLES and (not count or _starts_pickle(stream)):
        if any(opcode is None for opcode, _, _ in _bounded(pickletools.genops(stream))):
            break
        count, end = count + 1, stream.tell()
    return count, end


def loose_pickle_imports(data: bytes) -> PickleImports | None:
    """The imports of what may be a pickle without a header, as protocols 0 and 1 have none.

    Returns:
        None where it is no whole pickle, or one that imports nothing, as many a text by chance is.
    """
    try:
        instructions = list(_bounded(pickletools.genops(data)))
    except RecursionError:
        return None
    if instructions[-1][0] is None:
        return None
    names = frozenset(_imports(instructions))
    return PickleImports(names) if names else None


def _starts_pickle(stream: IO[bytes]) -> bool:
    place = stream.tell()
    head = stream.read(2)
    stream.seek(place)
    return len(head) == 2 and head[0] == 0x80 and head[1] in PROTOCOLS


_Instruction = tuple[Any, Any, Any]


def _bounded(instructions: Iterable[_Instruction]) -> Iterator[_Instruction]:
    """Stop after too many instructions or at the first that is damaged, with an instruction saying so."""
    try:
        for count, instruction in enumerate(instructions):
            if count >= _MAX_INSTRUCTIONS:
                break
            yield instruction
        else:
            return
    except Exception as error:  # pickletools raises whatever its decoders raise
        if isinstance(error, MemoryError):
            raise
    yield None, None, None


def _imports(instructions: Iterable[_Instruction]) -> Iterator[str]:
    """Names imported by GLOBAL, INST and STACK_GLOBAL.

    STACK_GLOBAL takes module and name from the stack: the two strings pushed last, either directly or
    from the memo. Where they are anything else, the import is obfuscated and reported as such.
    """
    memo: dict[int, Any] = {}
    pushed: list[Any] = [None, None]
    for opcode, argument, _ in _bounded(instructions):
        if opcode is None:
            yield UNREADABLE
            return
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
            pushed.append(None)
        elif name == "STACK_GLOBAL":
            module, attribute = pushed[-2:]
            known = isinstance(module, str) and isinstance(attribute, str)
            yield f"{module}.{attribute}" if known else UNREADABLE
            pushed.append(None)
        elif name in ("EXT1", "EXT2", "EXT4"):  # an import by its number in a registry
            yield UNREADABLE
            pushed.append(None)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = pushed[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = pushed[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            pushed.append(memo.get(argument))
        elif name not in ("PROTO", "FRAME", "MARK"):
            pushed.append(argument if isinstance(argument, str) else None)
        del pushed[:-8]


def rebuilds_tensors(name: str) -> bool:
    """Whether an import is one that tensors and plain containers need."""
    module, _, attribute = name.rpartition(".")
    if module in ("torch", "torch.cuda", "torch.storage") and attribute.endswith("Storage"):
        return True
    if module == "torch" and _TORCH_TYPES.fullmatch(attribute):
        return True
    return name in _TENSOR_IMPORTS or _REBUILDERS.fullmatch(name) is not None

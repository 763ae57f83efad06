"""What an ONNX file holds, told from its bytes without building the model: nothing is expanded, mapped or fetched.

The reader of :mod:`scanner.graph.wire` walks the messages that matter. Its memory is that of the answer.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from scanner.base.errors import ModelError, UnsafeModelError
from scanner.base.text import printable
from scanner.graph.onnx_rules import INLINE, KNOWN_DOMAINS, MAX_DEPTH, MAX_NODES, REEXPORT, UNBOUNDED, WITHOUT_LOOPS
from scanner.graph.wire import VARINT, Field, WireReader

_MAX_LISTED: Final = 10_000
_RAW, _ELSEWHERE = 9, 13
_VALUES: Final = frozenset({4, 5, 6, 7, _RAW, 10, 11, _ELSEWHERE})
"""Fields of a tensor that hold its values: typed ones, raw bytes, and where in another file they are."""
_SINGULAR: Final = frozenset({_RAW})
"""Of these, what may be there once: of two, one reader takes the first and another the last."""
_LARGEST: Final = 5


@dataclass(frozen=True)
class Tensor:
    """A stored tensor: its name, bytes in the file, and elements that its shape claims."""

    name: str
    stored: int
    elements: int


@dataclass
class OnnxOutline:
    """What an ONNX file holds.

    Attributes:
        opsets: Version by domain.
        operators: Number of nodes by ``domain.operator``, plain ``operator`` for ONNX's own.
        domains: Domains of the nodes.
        own_domains: Domains of the functions that the file defines.
        nodes: Number of nodes, those in bodies and functions included.
        functions: Number of functions that the file defines.
        depth: Levels of bodies within bodies; 1 for a plain graph.
        initialisers: Number of stored tensors.
        stored: Their bytes in the file.
        largest: The largest of them.
        external: Files that initialisers of the main graph refer to, as written, in order.
        hidden: Whether a constant or an initialiser of a body refers to another file.
        ambiguous: Tensors, wherever they are, whose values are stored more than once, such as in ``raw_data`` and in
            ``float_data``: what they hold depends on the reader.
        metadata: Keys of the file's metadata.
        training: Whether it holds training graphs, which are not looked at here or run.
    """

    opsets: dict[str, int] = field(default_factory=dict)
    operators: Counter[str] = field(default_factory=Counter)
    domains: set[str] = field(default_factory=set)
    own_domains: set[str] = field(default_factory=set)
    nodes: int = 0
    functions: int = 0
    depth: int = 0
    initialisers: int = 0
    stored: int = 0
    largest: list[Tensor] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    hidden: bool = False
    ambiguous: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    training: bool = False

    @property
    def foreign(self) -> list[str]:
        """Domains of operators that are not known here and not defined in the file."""
        return sorted(self.domains - self.own_domains - KNOWN_DOMAINS)

    @property
    def unbounded(self) -> list[str]:
        """Operators in use that may run without an end."""
        return sorted(name for name in self.operators if name.rpartition(".")[2] in UNBOUNDED)


def outline_file(file: IO[bytes], size: int) -> OnnxOutline:
    """The outline of an open file.

    Raises:
        ModelError: Damaged, or larger or more deeply nested than any network.
    """
    walk = _Walk(file)
    walk.model(0, size)
    return walk.outline


def outline_bytes(data: bytes) -> OnnxOutline:
    """The outline of a model in memory; see :func:`outline_file`."""
    return outline_file(BytesIO(data), len(data))


def outline_path(path: Path) -> OnnxOutline:
    """The outline of a file; see :func:`outline_file`."""
    from scanner.base.files import open_regular

    with open_regular(path) as file:
        return outline_file(file, os.fstat(file.fileno()).st_size)


def refuse_unsafe(outline: OnnxOutline) -> None:
    """Refuse what no network needs and an attacker would like.

    Raises:
        UnsafeModelError: Operators that would need foreign code, or data hidden in other files.
        ModelError: Operators that may run for ever.
    """
    if outline.foreign:
        names = ", ".join(printable(name, 60) for name in outline.foreign[:5])
        raise UnsafeModelError(
            f"the graph uses operators of {names}, which are not known here",
            hint="Export it with standard ONNX operators only",
        )
    if outline.ambiguous:
        names = ", ".join(printable(name or "(unnamed)", 60) for name in outline.ambiguous[:5])
        raise UnsafeModelError(
            f"the values of {names} are stored more than once, so that readers may disagree on them", hint=REEXPORT
        )
    if outline.hidden:
        raise UnsafeModelError("constants within the graph refer to external data", hint=INLINE)
    if outline.unbounded:
        names = ", ".join(printable(name, 60) for name in outline.unbounded[:5])
        raise ModelError(f"the graph uses {names}, which may run without an end", hint=WITHOUT_LOOPS)


class _Walk:
    def __init__(self, file: IO[bytes]) -> None:
        self.outline = OnnxOutline()
        self._wire = WireReader(file)

    def model(self, start: int, end: int) -> None:
        for part in self._wire.fields(start, end):
            if part.number == 7:
                self._graph(part, 1)
            elif part.number == 8:
                self._opset(part)
            elif part.number == 14 and len(self.outline.metadata) < _MAX_LISTED:
                self.outline.metadata.append(self._entry(part)[0])
            elif part.number == 20:
                self.outline.training = True
            elif part.number == 25:
                self.outline.functions += 1
                self._function(part)

    def _function(self, function: Field) -> None:
        for part in self._wire.inside(function):
            if part.number == 7:
                self._node(part, 1)
            elif part.number == 10:
                self.outline.own_domains.add(self._wire.text(part))
            elif part.number == 11:
                self._attribute(part, 1)

    def _graph(self, graph: Field, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ModelError(f"its graphs are nested more than {MAX_DEPTH} deep, like an attack")
        self.outline.depth = max(self.outline.depth, depth)
        for part in self._wire.inside(graph):
            if part.number == 1:
                self._node(part, depth)
            elif part.number == 5:
                self._tensor(part, main=depth == 1)
            elif part.number == 15:
                self._sparse(part)

    def _node(self, node: Field, depth: int) -> None:
        self.outline.nodes += 1
        if self.outline.nodes > MAX_NODES:
            raise ModelError(f"the graph has more than {MAX_NODES} nodes")
        operator = domain = ""
        for part in self._wire.inside(node):
            if part.number == 4:
                operator = self._wire.text(part)
            elif part.number == 7:
                domain = self._wire.text(part)
            elif part.number == 5:
                self._attribute(part, depth)
        self.outline.domains.add(domain)
        if len(self.outline.operators) < _MAX_LISTED:
            self.outline.operators[operator if domain in ("", "ai.onnx") else f"{domain}.{operator}"] += 1

    def _attribute(self, attribute: Field, depth: int) -> None:
        for part in self._wire.inside(attribute):
            if part.number in (5, 10):
                self._tensor(part, main=False)
            elif part.number in (6, 11):
                self._graph(part, depth + 1)
            elif part.number in (22, 23):
                self._sparse(part)

    def _sparse(self, sparse: Field) -> None:
        for part in self._wire.inside(sparse):
            if part.number in (1, 2):
                self._tensor(part, main=False)

    def _tensor(self, tensor: Field, *, main: bool) -> None:
        name, elements = "", 1
        values: Counter[int] = Counter()
        for part in self._wire.inside(tensor):
            if part.number in _VALUES:
                values[part.number] = values[part.number] + 1 if part.number in _SINGULAR else 1
            if part.number == 8:
                name = self._wire.text(part)
            elif part.number == 1:
                for size in self._wire.integers(part):
                    elements = min(elements * size, 2**63)
            elif part.number == 13:
                self._external(self._entry(part), main=main)
        if values.total() > 1 and len(self.outline.ambiguous) < _MAX_LISTED:
            self.outline.ambiguous.append(name)
        self.outline.initialisers += 1
        self.outline.stored += tensor.end - tensor.start
        self.outline.largest.append(Tensor(name, tensor.end - tensor.start, elements))
        self.outline.largest.sort(key=lambda item: (-item.elements, -item.stored, item.name))
        del self.outline.largest[_LARGEST:]

    def _external(self, entry: tuple[str, str], *, main: bool) -> None:
        key, value = entry
        if not main:
            self.outline.hidden = True
        elif key == "location" and value not in self.outline.external:
            if len(self.outline.external) >= _MAX_LISTED:
                raise ModelError(f"it refers to more than {_MAX_LISTED} other files")
            self.outline.external.append(value)

    def _opset(self, opset: Field) -> None:
        domain, version = "", 0
        for part in self._wire.inside(opset):
            if part.number == 1:
                domain = self._wire.text(part)
            elif part.number == 2 and part.wire == VARINT:
                version = part.value
        if len(self.outline.opsets) < _MAX_LISTED:
            self.outline.opsets[domain] = version

    def _entry(self, entry: Field) -> tuple[str, str]:
        key = value = ""
        for part in self._wire.inside(entry):
            if part.number == 1:
                key = self._wire.text(part)
            elif part.number == 2:
                value = self._wire.text(part)
        return key, value

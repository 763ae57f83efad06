"""The nodes of an ONNX file and how they are connected, read from its bytes; weights are passed over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO

from scanner.base.errors import ModelError
from scanner.graph.onnx_rules import MAX_DEPTH, MAX_NODES
from scanner.graph.wire import Field, WireReader

_OWN_DOMAINS = ("", "ai.onnx")
_FLOATS = frozenset({1, 10, 11, 16, 17, 18, 19, 20, 23})
"""Element types that are floating-point numbers."""


FunctionKey = tuple[str, str, str]
"""Domain, name and overload."""


@dataclass
class Node:
    """A node as written.

    Attributes:
        operator: Its operator.
        domain: The operator's domain, empty for ONNX's own.
        name: Its name, which may be empty.
        inputs: Names of tensors, empty where an optional one is left out.
        outputs: The same.
        overload: Which of several functions of one name it calls.
        discrete: Whether it is a cast to integers, truth values or text, which steps where a number changes a little.
        bodies: Graphs within it.
    """

    operator: str = ""
    domain: str = ""
    name: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    overload: str = ""
    discrete: bool = False
    bodies: list[Body] = field(default_factory=list)


@dataclass
class Body:
    """A graph, or the body of a function.

    Attributes:
        nodes: Its nodes, in any order.
        inputs: Names of its inputs, without those that are stored.
        outputs: Names of its outputs.
        ranks: Number of axes of each output, None where it is not stated; in the order of `outputs`.
        stored: Names of its initialisers.
    """

    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    ranks: list[int | None] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Program:
    """An ONNX file.

    Attributes:
        graph: Its main graph.
        functions: Bodies of the functions that it defines, by domain, name and overload.
    """

    graph: Body
    functions: Mapping[FunctionKey, Body]


def read_program(file: IO[bytes], size: int) -> Program:
    """Read an open file.

    Raises:
        ModelError: Damaged, or larger or more deeply nested than any network.
    """
    return _Reader(file).model(size)


def read_program_bytes(data: bytes) -> Program:
    """Read a model in memory; see :func:`read_program`."""
    return read_program(BytesIO(data), len(data))


def read_program_path(path: Path) -> Program:
    """Read a file; see :func:`read_program`."""
    from scanner.base.files import open_regular

    with open_regular(path) as file:
        return read_program(file, os.fstat(file.fileno()).st_size)


class _Reader:
    def __init__(self, file: IO[bytes]) -> None:
        self._wire = WireReader(file)
        self._nodes = 0

    def model(self, size: int) -> Program:
        graph, functions = Body(), {}
        for part in self._wire.fields(0, size):
            if part.number == 7:
                self._graph(part, graph, 1)
            elif part.number == 25:
                key, body = self._function(part)
                functions[key] = body
        graph.inputs = [name for name in graph.inputs if name not in graph.stored]
        return Program(graph, functions)

    def _function(self, function: Field) -> tuple[FunctionKey, Body]:
        name = domain = overload = ""
        body = Body()
        for part in self._wire.inside(function):
            if part.number == 1:
                name = self._wire.text(part)
            elif part.number == 4:
                body.inputs.append(self._wire.text(part))
            elif part.number == 5:
                body.outputs.append(self._wire.text(part))
                body.ranks.append(None)
            elif part.number == 7:
                body.nodes.append(self._node(part, 1))
            elif part.number == 10:
                domain = self._wire.text(part)
            elif part.number == 13:
                overload = self._wire.text(part)
        return (_own(domain), name, overload), body

    def _graph(self, graph: Field, body: Body, depth: int) -> None:
        """Add to a body, as protobuf does with a message that is there twice."""
        if depth > MAX_DEPTH:
            raise ModelError(f"its graphs are nested more than {MAX_DEPTH} deep, like an attack")
        for part in self._wire.inside(graph):
            if part.number == 1:
                body.nodes.append(self._node(part, depth))
            elif part.number == 5:
                body.stored.add(self._named(part, 8))
            elif part.number == 15:
                body.stored.update(self._named(one, 8) for one in self._wire.inside(part) if one.number == 1)
            elif part.number == 11:
                body.inputs.append(self._named(part, 1))
            elif part.number == 12:
                body.outputs.append(self._named(part, 1))
                body.ranks.append(self._rank(part))

    def _node(self, node: Field, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ModelError(f"the graph has more than {MAX_NODES} nodes")
        found = Node()
        for part in self._wire.inside(node):
            if part.number == 1:
                found.inputs.append(self._wire.text(part))
            elif part.number == 2:
                found.outputs.append(self._wire.text(part))
            elif part.number == 3:
                found.name = self._wire.text(part)
            elif part.number == 4:
                found.operator = self._wire.text(part)
            elif part.number == 7:
                found.domain = _own(self._wire.text(part))
            elif part.number == 8:
                found.overload = self._wire.text(part)
            elif part.number == 5:
                self._attribute(part, found, depth)
        return found

    def _attribute(self, attribute: Field, node: Node, depth: int) -> None:
        name, number = "", None
        for part in self._wire.inside(attribute):
            if part.number == 1:
                name = self._wire.text(part)
            elif part.number == 3:
                number = part.value
            elif part.number in (6, 11):
                node.bodies.append(Body())
                self._graph(part, node.bodies[-1], depth + 1)
        # The operator may be written after its attributes: whether it is a cast is asked later.
        node.discrete |= name == "to" and number is not None and number not in _FLOATS

    def _named(self, message: Field, number: int) -> str:
        """The name of a tensor or a value, in the field of a number."""
        name = ""
        for part in self._wire.inside(message):
            if part.number == number:
                name = self._wire.text(part)
        return name

    def _rank(self, value: Field) -> int | None:
        """Axes of a value: its type, that of a tensor, its shape, a field for each."""
        rank = None
        for kind in self._of(value, 2):
            for tensor in self._of(kind, 1):
                for shape in self._of(tensor, 2):
                    rank = sum(part.number == 1 for part in self._wire.inside(shape))
        return rank

    def _of(self, message: Field, number: int) -> list[Field]:
        return [part for part in self._wire.inside(message) if part.number == number]


def _own(domain: str) -> str:
    return "" if domain in _OWN_DOMAINS else domain

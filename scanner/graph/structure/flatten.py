"""One list of steps from the image to the logits: functions and bodies are written out, every tensor is a number."""

from __future__ import annotations

from collections import ChainMap, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from scanner.base.errors import ModelError
from scanner.graph.onnx_rules import MAX_NODES
from scanner.graph.structure.operators import CAST_TO_STEPS
from scanner.graph.structure.read import Body, FunctionKey, Node, Program

_MAX_CALLS: Final = 100
_MAX_TENSORS: Final = 8 * MAX_NODES
NOTHING: Final = -1
"""In place of an optional input that is left out."""
ENTER: Final = "(enter)"
"""Operator of the step that hands a node's inputs to its body."""

Scope = ChainMap[str, int]
"""Tensors by the names that they have in a graph, and in those around it."""


@dataclass(frozen=True)
class Step:
    """A node with its operands.

    Attributes:
        operator: Its operator, after the domain where that is not ONNX's own.
        label: Its name, or that of its first output, after those of the calls that it is within.
        inputs: Numbers of tensors, or `NOTHING`.
        outputs: The same.
    """

    operator: str
    label: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass
class Flat:
    """A program as steps.

    Attributes:
        steps: In an order in which every step follows those that it depends on.
        images: Inputs of the program.
        outputs: Its outputs.
        ranks: Their number of axes, None where it is not stated.
        tensors: Number of tensors.
    """

    steps: list[Step] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    ranks: list[int | None] = field(default_factory=list)
    tensors: int = 0


def flatten(program: Program) -> Flat:
    """Write out a program.

    Raises:
        ModelError: It expands to more than any network, calls itself, or goes in a circle.
    """
    work = _Flattening(program)
    scope: Scope = ChainMap()
    work.flat.images = [work.define(scope, name) for name in program.graph.inputs]
    work.body(program.graph, scope, "", ())
    work.flat.outputs = [scope.get(name, NOTHING) for name in program.graph.outputs]
    work.flat.ranks = program.graph.ranks
    work.flat.steps = _sorted(work.flat.steps, work.flat.tensors)
    return work.flat


class _Flattening:
    def __init__(self, program: Program) -> None:
        self.flat = Flat()
        self._functions = program.functions
        self._nodes = 0

    def define(self, scope: Scope, name: str) -> int:
        """A new tensor, known by a name in a scope."""
        number = self.flat.tensors
        self.flat.tensors += 1
        if self.flat.tensors > _MAX_TENSORS:
            raise ModelError("the graph expands to more tensors than any network has")
        if name:
            scope[name] = number
        return number

    def body(self, body: Body, scope: Scope, prefix: str, calls: tuple[FunctionKey, ...]) -> None:
        """Write out a body whose inputs are in its scope; nodes may be in any order."""
        for node in body.nodes:
            for name in node.outputs:
                self.define(scope, name)
        for node in body.nodes:
            self._node(node, scope, prefix, calls)

    def _node(self, node: Node, scope: Scope, prefix: str, calls: tuple[FunctionKey, ...]) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ModelError(f"the graph expands to more than {MAX_NODES} nodes")
        inputs = tuple(scope.get(name, NOTHING) for name in node.inputs)
        outputs = tuple(scope.get(name, NOTHING) for name in node.outputs)
        label = prefix + (node.name or next((name for name in node.outputs if name), "(unnamed)"))
        key = (node.domain, node.operator, node.overload)
        if (function := self._functions.get(key)) is not None:
            if key in calls or len(calls) >= _MAX_CALLS:
                raise ModelError("the model's functions call themselves, or are nested like an attack")
            inner = ChainMap(dict(zip(function.inputs, inputs, strict=False)))
            self.body(function, inner, f"{label}/", (*calls, key))
            for name, output in zip(function.outputs, outputs, strict=False):
                self._add(Step("Identity", label, (inner.get(name, NOTHING),), (output,)))
            return
        operator = f"{node.domain}.{node.operator}" if node.domain else node.operator
        if node.discrete and operator in ("Cast", "BitCast"):
            operator = CAST_TO_STEPS
        results = [self._within(body, inputs, scope, f"{label}/", calls) for body in node.bodies]
        if node.operator == "If":
            for position, output in enumerate(outputs):
                branches = tuple(found[position] for found in results if position < len(found))
                self._add(Step(operator, label, (*inputs[:1], *branches), (output,)))
        else:
            self._add(Step(operator, label, (*inputs, *(one for found in results for one in found)), outputs))

    def _within(
        self, body: Body, given: Sequence[int], outer: Scope, prefix: str, calls: tuple[FunctionKey, ...]
    ) -> list[int]:
        """Write out a graph within a node, which sees the tensors around it; its outputs."""
        scope = outer.new_child(dict.fromkeys(body.stored, NOTHING))
        own = tuple(self.define(scope, name) for name in body.inputs)
        if own:
            self._add(Step(ENTER, prefix.rstrip("/"), tuple(given), own))
        self.body(body, scope, prefix, calls)
        return [scope.get(name, NOTHING) for name in body.outputs]

    def _add(self, step: Step) -> None:
        self.flat.steps.append(step)


def _sorted(steps: Sequence[Step], tensors: int) -> list[Step]:
    """The steps in the order of their dependence: runtimes bring nodes into it, whatever order they are written in."""
    producer = [NOTHING] * tensors
    for number, step in enumerate(steps):
        for tensor in step.outputs:
            if tensor != NOTHING:
                producer[tensor] = number
    readers: list[list[int]] = [[] for _ in steps]
    waiting = [0] * len(steps)
    for number, step in enumerate(steps):
        for before in {producer[tensor] for tensor in step.inputs if tensor != NOTHING} - {NOTHING}:
            readers[before].append(number)
            waiting[number] += 1
    ready = deque(number for number, count in enumerate(waiting) if not count)
    order: list[Step] = []
    while ready:
        number = ready.popleft()
        order.append(steps[number])
        for reader in readers[number]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(order) < len(steps):
        raise ModelError("the graph's nodes depend on each other in a circle")
    return order

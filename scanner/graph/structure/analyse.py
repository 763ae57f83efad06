"""Paths around the network's weights, and choices by the pixels' values.

A classifier learns: its pixels reach its logits through weights alone. A backdoor in the graph is not learned: somebody
added operators that look at the pixels, and join what they find to the network. Two things give it away. A path with
fewer operators with weights than any network has leads from the image to the logits, or joins pixels that no weights
have seen to what the network made of them. And something is compared or selected by what the pixels hold, where
networks only add, multiply and bend. What depends on shapes alone, as masks and the sizes of reshapes do, is neither.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from scanner.base.text import printable
from scanner.graph.onnx_rules import WEIGHTED
from scanner.graph.structure.dynamic_scales import without_dynamic_scales
from scanner.graph.structure.flatten import NOTHING, Flat, Step, flatten
from scanner.graph.structure.operators import ALL, SELECTS, SHAPE_OF, SHAPED_BY_VALUES, VALUES
from scanner.graph.structure.read import Program

MOST_LISTED: Final = 20
_LONGEST: Final = 200
"""Characters of a name."""
_UNREACHED: Final = 1 << 60
_PASSED_OVER: Final = frozenset({"Softmax", "LogSoftmax", "Identity"})


@dataclass(frozen=True)
class Structure:
    """What the pixels reach, and how.

    Attributes:
        fewest: Fewest operators with weights on a path from the image to the logits; None where there is no path.
        bypass: Nodes between the image and where such a path, of less than two of them, meets the rest of the network,
            as ``Operator 'name'``; empty where the fewest are two or more.
        joins: Nodes that join pixels which no weights have seen to what weights have.
        selections: Nodes that compare, select or step by values of the pixels, and that the logits depend on.
        joined: Number of such joins, of which at most 20 are listed.
        selected: Number of such selections, of which at most 20 are listed.
        ambiguous: Tensors whose values the file stores more than once; found by the outline.
    """

    fewest: int | None
    bypass: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    selections: tuple[str, ...] = ()
    joined: int = 0
    selected: int = 0
    ambiguous: int = 0


def analyse(program: Program) -> Structure:
    """Look at a program.

    Raises:
        ModelError: It expands to more than any network, calls itself, or goes in a circle.
    """
    flat = without_dynamic_scales(flatten(program))
    reach = _Reach(flat)
    logits = _logits(flat)
    fewest = min((reach.weighted[tensor] for tensor in logits), default=_UNREACHED)
    if fewest >= _UNREACHED or set(logits) & set(flat.images):
        return Structure(None)
    relevant = list(_relevant(flat, reach, logits))
    joins = [one for one in relevant if _joins(one, reach)]
    selections = [one for one in relevant if _selects(one, reach)]
    return Structure(
        fewest,
        _bypass(flat, reach, min(logits, key=lambda tensor: reach.weighted[tensor])) if fewest < 2 else (),
        _listed(joins),
        _listed(selections),
        len(joins),
        len(selections),
    )


def _listed(steps: Sequence[Step]) -> tuple[str, ...]:
    """Operators and names of the first steps; somebody else chose them."""
    return tuple(printable(f"{step.operator} '{step.label}'", _LONGEST) for step in steps[:MOST_LISTED])


def _logits(flat: Flat) -> list[int]:
    """The output of two axes, before a final softmax; all outputs where several could be it."""
    known = [(tensor, rank) for tensor, rank in zip(flat.outputs, flat.ranks, strict=True) if tensor != NOTHING]
    fitting = [one for one, rank in known if rank == 2] or [one for one, rank in known if rank is None]
    if len(fitting) != 1:
        return [tensor for tensor, _ in known]
    producers = {tensor: step for step in flat.steps for tensor in step.outputs}
    logits = fitting[0]
    while (step := producers.get(logits)) is not None and step.operator in _PASSED_OVER and step.inputs[:1]:
        logits = step.inputs[0]
    return [logits]


class _Reach:
    """What each tensor knows of the pixels, in one pass.

    Attributes:
        weighted: Fewest operators with weights between the image and the tensor's values; huge where these do not
            depend on the pixels.
        shaped: The same of the tensor's shape.
    """

    def __init__(self, flat: Flat) -> None:
        self.weighted = [_UNREACHED] * flat.tensors
        self.shaped = [_UNREACHED] * flat.tensors
        for image in flat.images:
            self.weighted[image] = 0
        for step in flat.steps:
            values, shape = self._of(step)
            for tensor in step.outputs:
                if tensor != NOTHING:
                    self.weighted[tensor], self.shaped[tensor] = values, shape

    def _of(self, step: Step) -> tuple[int, int]:
        weights = int(step.operator.rpartition(".")[2] in WEIGHTED)
        shape = min((self.shaped[tensor] for tensor in step.inputs if tensor != NOTHING), default=_UNREACHED)
        if step.operator in SHAPED_BY_VALUES:
            shape = min([shape, *(self.weighted[tensor] for tensor in deciding(step))])
        if step.operator in SHAPE_OF:
            return shape, _UNREACHED
        values = min((self.weighted[tensor] for tensor in carrying(step)), default=_UNREACHED)
        return (values + weights if values < _UNREACHED else values), shape


def carrying(step: Step) -> Iterator[int]:
    """Inputs whose values the output of a step depends on."""
    positions = VALUES.get(step.operator)
    for position, tensor in enumerate(step.inputs):
        if tensor != NOTHING and (positions is None or position in positions):
            yield tensor


def deciding(step: Step) -> Iterator[int]:
    """Inputs by whose values a step selects; none where it is nothing that selects."""
    positions = SELECTS.get(step.operator, ())
    for position, tensor in enumerate(step.inputs):
        if tensor != NOTHING and (positions is ALL or position in positions):
            yield tensor


def _relevant(flat: Flat, reach: _Reach, logits: Sequence[int]) -> Iterator[Step]:
    """Steps on paths from the pixels to the logits, in order."""
    needed = set(logits)
    kept = []
    for step in reversed(flat.steps):
        if any(tensor in needed for tensor in step.outputs):
            known = [t for t in step.inputs if t != NOTHING and min(reach.weighted[t], reach.shaped[t]) < _UNREACHED]
            if known:
                needed.update(known)
                kept.append(step)
    yield from reversed(kept)


def _joins(step: Step, reach: _Reach) -> bool:
    known = [reach.weighted[tensor] for tensor in carrying(step) if reach.weighted[tensor] < _UNREACHED]
    return bool(known) and min(known) == 0 < max(known)


def _selects(step: Step, reach: _Reach) -> bool:
    return any(reach.weighted[tensor] < _UNREACHED for tensor in deciding(step))


def _bypass(flat: Flat, reach: _Reach, logits: int) -> tuple[str, ...]:
    """The nodes from the image to where the shortest path meets something that more weights have seen."""
    producers = {tensor: step for step in flat.steps for tensor in step.outputs}
    path: list[tuple[Step, int]] = []
    tensor = logits
    while (step := producers.get(tensor)) is not None and (sources := _sources(step, reach)):
        tensor = min(sources, key=lambda one: reach.weighted[one])
        path.append((step, tensor))
    path.reverse()
    merge, source = next(((step, source) for step, source in path if _meets(step, source, reach)), path[-1])
    branch: dict[int, Step] = {}
    seen, waiting = {source}, deque([source])
    while waiting:
        before = producers.get(waiting.popleft())
        if before is not None and id(before) not in branch:
            branch[id(before)] = before
            fresh = [one for one in _sources(before, reach) if one not in seen]
            seen.update(fresh)
            waiting.extend(fresh)
    found = [step for step in flat.steps if id(step) in branch]
    return _listed((*found[-MOST_LISTED + 1 :], merge))


def _sources(step: Step, reach: _Reach) -> list[int]:
    """Inputs through which the pixels reach a step; those of a step that asks for a shape, too."""
    known = [tensor for tensor in carrying(step) if reach.weighted[tensor] < _UNREACHED]
    return known or [t for t in step.inputs if t != NOTHING and reach.shaped[t] < _UNREACHED]


def _meets(step: Step, source: int, reach: _Reach) -> bool:
    known = [reach.weighted[tensor] for tensor in carrying(step) if reach.weighted[tensor] < _UNREACHED]
    return max(known, default=0) > reach.weighted[source] + 1

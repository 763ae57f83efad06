"""The scales of dynamic quantisation: how large an image is, and no path around the weights.

`DynamicQuantizeLinear` gives small integers and the scale that they stand for. A weighted operator sees the integers,
and its result is multiplied by the scale again. That multiplication takes a number from before the weights, as an
attacker's branch does, but it only undoes the division: it is left out where both belong to one quantisation.
"""

from __future__ import annotations

from dataclasses import replace

from scanner.graph.structure.flatten import NOTHING, Flat, Step

_QUANTISES = "DynamicQuantizeLinear"
_WEIGHTED = ("ConvInteger", "MatMulInteger")


def without_dynamic_scales(flat: Flat) -> Flat:
    """The same steps; those that give a quantised result its own scale back do not read the scale."""
    values = {value for step in flat.steps for value in step.outputs}
    scales: dict[int, int] = {}
    results: dict[int, int] = {}
    quantised: dict[int, int] = {}
    steps: list[Step] = []
    for number, step in enumerate(flat.steps):
        steps.append(_without_scale(step, scales, results))
        if not step.inputs or not step.outputs:
            continue
        if step.operator == _QUANTISES and len(step.outputs) > 1:
            quantised[step.outputs[0]], scales[step.outputs[1]] = number, number
        elif step.operator in _WEIGHTED and step.inputs[0] in quantised:
            results[step.outputs[0]] = quantised[step.inputs[0]]
        elif step.operator.startswith("Cast") and step.inputs[0] in results:
            results[step.outputs[0]] = results[step.inputs[0]]
        elif step.operator == "Mul" and len(step.inputs) == 2:
            # A scale times a constant, that of the weights, is a scale.
            known = [one for one in step.inputs if one in scales]
            others = [one for one in step.inputs if one not in scales]
            if len(known) == 1 and others[0] not in values and others[0] not in flat.images:
                scales[step.outputs[0]] = scales[known[0]]
    return replace(flat, steps=steps)


def _without_scale(step: Step, scales: dict[int, int], results: dict[int, int]) -> Step:
    if step.operator != "Mul" or len(step.inputs) != 2:
        return step
    for scale, result in (step.inputs, step.inputs[::-1]):
        if scale in scales and results.get(result) == scales[scale]:
            return replace(step, inputs=(NOTHING, result))
    return step

"""Hostile cases of the graph: backdoors that are built in, and tensors that readers disagree about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import onnx_graphs
from hostile_case import INSPECT, LAYERS, Case
from onnx import TensorProto, helper, numpy_helper

from reference.graph_backdoor_variants import VARIANTS


def _saved(build: Callable[[], onnx.ModelProto | bytes]) -> Callable[[Path, Path, Path], Path]:
    def make(folder: Path, _canary: Path, _good: Path) -> Path:
        model = build()
        (folder / "model.onnx").write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
        return folder / "model.onnx"

    return make


def structures() -> Iterator[Case]:
    for variant in VARIANTS:
        name = re.sub(r"\W+", "-", variant.name)
        says = {"high": "severity high", "medium": "severity medium", "none": "passes at least"}[variant.seen]
        yield Case(f"structure-{name}", _saved(variant.build), INSPECT, 0, says)
    for variant in VARIANTS[:2]:
        name = re.sub(r"\W+", "-", variant.name)
        yield Case(f"structure-loaded-{name}", _saved(variant.build), LAYERS, 2, "LS501: A path")
    for name, build in _ambiguous().items():
        yield Case(f"structure-values-{name}", _saved(build), INSPECT, 0, "severity high: Values of")
        yield Case(f"structure-values-{name}-loaded", _saved(build), LAYERS, 2, "stored more than once")


def _twice() -> TensorProto:
    tensor = numpy_helper.from_array(onnx_graphs.weights(1, 2, 2), "both")
    tensor.float_data.extend([1, 2, 3, 4])
    return tensor


def _ambiguous() -> dict[str, Callable[[], onnx.ModelProto]]:
    def initialiser() -> onnx.ModelProto:
        model = onnx_graphs.conv_net()
        weights = onnx.numpy_helper.to_array(model.graph.initializer[0])
        model.graph.initializer[0].float_data.extend(-weights.ravel())
        return model

    def constant() -> onnx.ModelProto:
        model = onnx_graphs.conv_net()
        model.graph.node.append(helper.make_node("Constant", [], ["k"], value=_twice()))
        return model

    def body() -> onnx.ModelProto:
        model = onnx_graphs.conv_net()
        branch = helper.make_graph([helper.make_node("Constant", [], ["k"], value=_twice())], "b", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=branch))
        return model

    def function() -> onnx.ModelProto:
        model = onnx_graphs.conv_net()
        node = helper.make_node("Constant", [], ["k"], value=_twice())
        model.functions.append(helper.make_function("own", "F", [], ["k"], [node], [helper.make_opsetid("", 20)]))
        return model

    return {"initialiser": initialiser, "constant": constant, "body": body, "function": function}

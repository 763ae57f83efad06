"""From a PyTorch network to a graph bundle, with taps named after modules and parity measured.

Runs in the child process.
"""

from __future__ import annotations

import ast
import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from scanner.base.errors import ModelError
from scanner.graph.bundle import IMAGE, IR_VERSION, LOGITS, OPSET, GraphBundle
from scanner.graph.measure import measure_shapes, open_tensors
from scanner.graph.session import GraphSession
from scanner.graph.shapes import BATCH
from scanner.graph.taps import Tap, candidate_taps

_SCOPES = "pkg.torch.onnx.name_scopes"
_SAME = 1e-3
"""Largest relative difference at which two activations count as the same; rounding gives 1e-7 to 1e-4."""
_SAMPLE = 1024
_ROWS = 2
_CHUNK = 8

Array = NDArray[np.float32]
Scopes = Mapping[str, Sequence[str]]
"""For a tensor, the paths of the modules inside which it is computed, outermost first, then its own name."""


@dataclass(frozen=True)
class Exported:
    """A network as a graph.

    Attributes:
        bundle: The graph, input ``image``, output ``logits``.
        candidates: Its taps, named.
        num_classes: Size of the logits.
        parity: Largest relative difference between PyTorch and ONNX Runtime, over logits and named taps.
    """

    bundle: GraphBundle
    candidates: tuple[Tap, ...]
    num_classes: int
    parity: float


@dataclass(frozen=True)
class _Call:
    """One call of a module during a forward pass: the ``index``-th of the module at ``path``."""

    path: str
    index: int
    composite: bool


def export_network(module: nn.Module, input_shape: tuple[int, int, int], probe: Array, *, threads: int = 1) -> Exported:
    """Export, find the taps, name them, and compare ONNX Runtime with PyTorch on the probe.

    Args:
        module: In evaluation mode; maps (N, C, H, W) to logits (N, classes).
        input_shape: (C, H, W).
        probe: Images (N, C, H, W), normalised as the network expects them.
        threads: For ONNX Runtime and PyTorch.

    Raises:
        ModelError: The network cannot run, or cannot be exported.
    """
    torch.set_num_threads(threads)
    num_classes = _check_logits(module, probe[:_ROWS])
    bundle, scopes = _export(module, input_shape)
    bundle = measure_shapes(bundle, probe[:1])
    taps = candidate_taps(bundle.proto)
    session = open_tensors(bundle, [*(tap.tensor for tap in taps), LOGITS], threads=threads)
    calls = _producers(module, session, taps, scopes, probe[:_ROWS])
    parity = _parity(module, session, calls, probe)
    return Exported(bundle, _named(taps, calls, scopes), num_classes, parity)


def _check_logits(module: nn.Module, images: Array) -> int:
    shape = "x".join(str(size) for size in images.shape[1:])
    try:
        with torch.no_grad():
            logits = module(torch.from_numpy(images))
    except Exception as error:  # whatever the layers raise
        raise ModelError(
            f"the network fails on images of {shape} ({_reason(error)})", hint="Check --arch and --input-size"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise ModelError("the network does not return logits (N, classes) with at least 2 classes")
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("the network's logits are not finite")
    return int(logits.shape[1])


def _export(module: nn.Module, input_shape: tuple[int, int, int]) -> tuple[GraphBundle, Scopes]:
    example = torch.zeros(_ROWS, *input_shape)
    try:
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=[LOGITS],
            dynamic_shapes=({0: torch.export.Dim(BATCH)},),
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        proto = program.model_proto
        del program
    except Exception as error:  # the exporter raises its own classes and those of every layer below it
        raise ModelError(f"the network cannot be exported to ONNX ({_reason(error)})") from error
    gc.collect()  # what the exporter made refers to itself, and holds a copy of the weights
    scopes = _take_scopes(proto)
    proto.ir_version = min(proto.ir_version, IR_VERSION)
    return GraphBundle.from_model_proto(proto, in_place=True), scopes


def _take_scopes(proto: onnx.ModelProto) -> Scopes:
    """Read the exporter's notes on where tensors come from, and remove them: they quote local file paths."""
    scopes: dict[str, list[str]] = {}
    for node in proto.graph.node:
        text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
        names = [name for name in ast.literal_eval(text) if name]
        scopes.update((output, names) for output in node.output)
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info, *proto.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    del proto.metadata_props[:]
    del proto.graph.metadata_props[:]
    return scopes


@contextmanager
def _hooks(module: nn.Module, paths: Sequence[str] | None, look: Callable[[_Call, Array], None]) -> Iterator[None]:
    """Show ``look`` every tensor that a module returns, as it is returned: layers working in place change it later."""
    counts: Counter[str] = Counter()

    def hook(path: str, composite: bool) -> Callable[[nn.Module, Any, Any], None]:
        def record(_module: nn.Module, _inputs: object, output: object) -> None:
            if isinstance(output, torch.Tensor) and output.dtype is torch.float32:
                look(_Call(path, counts[path], composite), output.numpy())
            counts[path] += 1

        return record

    wanted = [(path, part) for path, part in module.named_modules() if path and (paths is None or path in paths)]
    handles = [part.register_forward_hook(hook(path, any(part.children()))) for path, part in wanted]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _producers(
    module: nn.Module, session: GraphSession, taps: Sequence[Tap], scopes: Scopes, images: Array
) -> dict[str, _Call]:
    """For each tap's tensor, the module call that returned the same values."""
    values = session.run({IMAGE: images}, [tap.tensor for tap in taps]) if taps else {}
    found: dict[str, list[_Call]] = defaultdict(list)

    def look(call: _Call, output: Array) -> None:
        for tensor, value in values.items():
            if value.shape == output.shape and _same(value, output):
                found[tensor].append(call)

    with _hooks(module, None, look), torch.no_grad():
        module(torch.from_numpy(images))
    return {tensor: _best(calls, scopes.get(tensor, ())) for tensor, calls in found.items()}


def _same(value: Array, output: Array) -> bool:
    """Equal but for rounding. A sample rules out most of the others at little cost."""
    step = max(value.size // _SAMPLE, 1)
    for stride in (step, 1):
        one, other = value.reshape(-1)[::stride], output.reshape(-1)[::stride]
        if not float(np.abs(one - other).max()) <= _SAME * float(np.abs(other).max()):
            return False
    return True


def _best(calls: Sequence[_Call], scopes: Sequence[str]) -> _Call:
    """The innermost block, or else the first layer, among the modules inside which the tensor is computed.

    Untrained networks may hold several tensors of nearly equal values, so that modules elsewhere match too.
    """
    local = [call for call in calls if call.path in scopes] or list(calls)
    blocks = [call for call in local if call.composite]
    return max(blocks, key=lambda call: call.path.count(".")) if blocks else local[0]


def _named(taps: Sequence[Tap], calls: Mapping[str, _Call], scopes: Scopes) -> tuple[Tap, ...]:
    names: list[str] = []
    for tap in taps:
        call = calls.get(tap.tensor)
        name = call.path if call else _scoped_name(tap.tensor, scopes)
        if name in names:
            name = _scoped_name(tap.tensor, scopes)
        base, copy = name, 2
        while name in names:
            name, copy = f"{base}#{copy}", copy + 1
        names.append(name)
    return tuple(replace(tap, name=name) for tap, name in zip(taps, names, strict=True))


def _scoped_name(tensor: str, scopes: Scopes) -> str:
    """``layer1.0.add_3`` for an operation within a module; the exporter's own name without such knowledge."""
    return ".".join(scopes.get(tensor, ())[-2:]) or tensor


def _parity(module: nn.Module, session: GraphSession, calls: Mapping[str, _Call], probe: Array) -> float:
    """max |PyTorch - ONNX Runtime| / max |PyTorch| of the worst tensor."""
    tensors = {(call.path, call.index): tensor for tensor, call in calls.items()}
    difference: dict[str, float] = defaultdict(float)
    scale: dict[str, float] = defaultdict(float)

    for start in range(0, len(probe), _CHUNK):
        images = probe[start : start + _CHUNK]
        values = session.run({IMAGE: images}, [*tensors.values(), LOGITS])

        def compare(tensor: str, output: Array, values: Mapping[str, Array] = values) -> None:
            # NumPy's maximum, because Python's loses values that are not numbers.
            difference[tensor] = float(np.maximum(difference[tensor], np.abs(output - values[tensor]).max()))
            scale[tensor] = float(np.maximum(scale[tensor], np.abs(output).max()))

        def look(call: _Call, output: Array, compare: Callable[[str, Array], None] = compare) -> None:
            if (call.path, call.index) in tensors:
                compare(tensors[call.path, call.index], output)

        with _hooks(module, [path for path, _ in tensors], look), torch.no_grad():
            compare(LOGITS, module(torch.from_numpy(images)).numpy())
    tiny = float(np.finfo(np.float32).tiny)
    parity = float(np.max([difference[tensor] / (scale[tensor] + tiny) for tensor in difference]))
    if not np.isfinite(parity):
        raise ModelError("the network computes values that are not finite")
    return parity


def _reason(error: BaseException) -> str:
    """The first line of the error that started it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"

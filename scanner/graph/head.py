"""The fitted densities as nodes behind the network's graph: pixels in, scores out.

Everything is computed in double precision. NumPy's results (:meth:`DeepFeatures.score`) are the reference; what is
left between the two is the rounding of the network itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from detectors.calibration.standardise import FLOOR
from detectors.deep_features.density import ClassDensity
from detectors.deep_features.detector import DeepFeatures
from detectors.deep_features.grouping import NO_GROUP, UNLIKE
from detectors.deep_features.scores import RECONSTRUCTION_FLOOR, DescriptorDensity, ScoreKind
from scanner.base.errors import ModelError
from scanner.graph.bundle import IR_VERSION, LOGITS, GraphBundle
from scanner.graph.confidence_nodes import append_confidence
from scanner.graph.nodes import NodeWriter
from scanner.graph.pool import Descriptor
from scanner.graph.shapes import BATCH

PREFIX = "latentscan/"
SCORES, CLASS_EVIDENCE, UNITS = "scores", "class_evidence", "units"
_NO_WEIGHT = -1e30
"""Log weight of a mixture's component that is not there."""


def merge_head(
    bundle: GraphBundle,
    detector: DeepFeatures,
    descriptors: Sequence[Descriptor],
    keep: Sequence[str] = (),
    units: Sequence[Descriptor] | None = None,
) -> GraphBundle:
    """Score descriptors and logits of ``bundle`` by the detector's densities.

    Args:
        bundle: Graph with the descriptor outputs and ``logits``.
        detector: The densities.
        descriptors: The descriptors.
        keep: Further outputs of ``bundle`` that stay outputs.
        units: The descriptors whose channels are put out; by default all.

    Returns:
        A graph with the outputs ``logits``, those to keep, ``scores`` ``(N, K, S)`` float64: the detector's scores by
        the densities of each of K folds, and ``class_evidence`` ``(N, C)`` float64: the standardised log deviance under
        each class by the first fold's densities, averaged over descriptors; lower means that the input looks more like
        that class; and ``units`` ``(N, U)`` float32: the channels of those descriptors, side by side.

    Raises:
        ModelError: If no descriptor has a density.
    """
    scored = [descriptor for descriptor in descriptors if descriptor.key in detector.densities]
    if not scored:
        raise ModelError("no layer of the network has features to score")
    proto = bundle.copy_proto()
    kept = [value for value in proto.graph.output if value.name in (LOGITS, *keep)]
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in kept]
    del proto.graph.output[:]
    proto.graph.output.extend(copies)
    writer = NodeWriter(proto.graph, PREFIX)
    predicted = writer.node("ArgMax", LOGITS, axis=1, keepdims=0)
    of_class = writer.constant("groups", np.maximum(detector.groups.of_class, 0))
    group = writer.node("Gather", of_class, predicted)
    ungrouped = None
    if (detector.groups.of_class == NO_GROUP).any():
        without = writer.constant("without_group", detector.groups.of_class == NO_GROUP)
        ungrouped = writer.unsqueeze(writer.node("Gather", without, predicted), 1)
    columns, evidence = [], []
    for number, descriptor in enumerate(scored):
        head = _DescriptorHead(
            NodeWriter(proto.graph, f"{PREFIX}{number}/"), detector.densities[descriptor.key], group, ungrouped
        )
        by_group = head.read(descriptor.output)
        columns += [head.score(kind) for kind in detector.kinds(descriptor.key)]
        evidence.append(_standardised(writer, by_group, detector.class_scales[descriptor.key]))
    joined = writer.node("Concat", *columns, axis=2) if len(columns) > 1 else columns[0]
    by_input = writer.node("Transpose", joined, perm=[1, 0, 2])
    append_confidence(writer, by_input, predicted, detector.confidence, len(detector.groups.of_class), SCORES)
    _class_evidence(writer, evidence, detector, of_class)
    folds = len(detector.densities[scored[0].key])
    proto.graph.output.append(
        helper.make_tensor_value_info(SCORES, TensorProto.DOUBLE, [BATCH, folds, len(detector.scores)])
    )
    proto.graph.output.append(
        helper.make_tensor_value_info(CLASS_EVIDENCE, TensorProto.DOUBLE, [BATCH, len(detector.groups.of_class)])
    )
    shown = descriptors if units is None else units
    writer.node("Concat", *(descriptor.output for descriptor in shown), axis=1, output=UNITS)
    width = sum(descriptor.dim for descriptor in shown)
    proto.graph.output.append(helper.make_tensor_value_info(UNITS, TensorProto.FLOAT, [BATCH, width]))
    proto.ir_version = IR_VERSION
    return GraphBundle.from_model_proto(proto, bundle.weights)


def _standardised(writer: NodeWriter, deviance: str, scale: tuple[float, float]) -> str:
    location, spread = scale
    logarithm = writer.node("Log", writer.floored(deviance, FLOOR))
    return writer.node("Div", writer.node("Sub", logarithm, writer.scalar(location)), writer.scalar(spread))


def _class_evidence(writer: NodeWriter, by_descriptor: Sequence[str], detector: DeepFeatures, of_class: str) -> None:
    """From standardised deviances ``(N, G)`` of each descriptor to one ``(N, C)``."""
    total = writer.node("Sum", *by_descriptor)
    mean = writer.node("Div", total, writer.scalar(len(by_descriptor)))
    spread = writer.node("Gather", mean, of_class, axis=1)
    penalty = writer.constant("unlike", np.where(detector.groups.own, 0.0, UNLIKE)[None])
    writer.node("Add", spread, penalty, output=CLASS_EVIDENCE)


class _DescriptorHead:
    """Scores of one descriptor by the densities of ``K`` folds, each ``(K, N, 1)``.

    Args:
        writer: Where nodes go.
        folds: The densities.
        group: Tensor ``(N,)``, group of the predicted class.
        ungrouped: Tensor ``(N, 1)``, whether the predicted class has no group; None where each class has one.
    """

    def __init__(
        self, writer: NodeWriter, folds: Sequence[DescriptorDensity], group: str, ungrouped: str | None
    ) -> None:
        self._writer, self._folds, self._group, self._ungrouped = writer, folds, group, ungrouped
        self._dim = folds[0].projection.dim  # that of every fold
        self._tied = folds[0].density.tied

    def read(self, features: str) -> str:
        """Compute what all scores need; returns the first fold's deviance under every group, ``(N, G)``."""
        writer = self._writer
        means = np.stack([fold.projection.mean for fold in self._folds])
        pilot = means[0]
        basis = np.stack([fold.projection.components for fold in self._folds])
        # Components are float32 numbers: half the size in the file, and exact in double.
        components = writer.double(writer.constant("components", basis.astype(np.float32)))
        self._centred = writer.node("Sub", writer.double(features), writer.constant("mean", pilot))
        self._shifts = means - pilot
        offsets = np.einsum("fd,fdk->fk", self._shifts, basis)[:, None]
        projected = writer.node("MatMul", self._centred, components)  # (N, D) by (K, D, k)
        self._coordinates = writer.node("Sub", projected, writer.constant("offsets", offsets))
        self._components = components
        self._by_fold: dict[int, str] = {}
        if self._tied:
            self._scales = np.stack([np.diag(fold.density.whiteners[0, 0])[None] for fold in self._folds])
            centres = np.stack([fold.density.means[:, 0] for fold in self._folds])
            self._centres = writer.double(writer.constant("centres", centres.astype(np.float32)))
        return self._deviances(0)

    def score(self, kind: ScoreKind) -> str:
        """The tensor ``(K, N, 1)`` of one score; see :func:`detectors.deep_features.scores.score_features`."""
        if kind == "reconstruction":
            return self._reconstruction()
        if kind == "likelihood" and self._tied:
            own = self._own_tied()
            return own if self._ungrouped is None else self._writer.node("Where", self._ungrouped, self._best(), own)
        per_fold = [self._from_deviances(self._deviances(index), kind) for index in range(len(self._folds))]
        stacked = [self._writer.unsqueeze(value, 0) for value in per_fold]
        return self._writer.node("Concat", *stacked, axis=0) if len(stacked) > 1 else stacked[0]

    def _own_tied(self) -> str:
        """Deviance under the predicted class alone, by differences: nothing cancels."""
        writer = self._writer
        own = writer.node("Gather", self._centres, self._group, axis=1)
        difference = writer.node("Sub", self._coordinates, own)
        precisions = writer.constant("half_precisions", 0.5 * self._scales.transpose(0, 2, 1) ** 2)
        return writer.node("MatMul", writer.node("Mul", difference, difference), precisions)

    def _best(self) -> str:
        """Smallest deviance under any group, all folds at once, ``(K, N, 1)``: for classes without a group."""
        writer = self._writer
        whitener = writer.constant("whitener", self._scales)
        white = writer.node("Mul", self._coordinates, whitener)
        centres = writer.node("Mul", self._centres, whitener)
        product = writer.node("MatMul", white, writer.node("Transpose", centres, perm=[0, 2, 1]))
        squared = writer.node("Sub", writer.squares(white), writer.node("Add", product, product))
        lengths = writer.node("Transpose", writer.squares(centres), perm=[0, 2, 1])
        smallest = writer.node("ReduceMin", writer.node("Add", squared, lengths), writer.numbers(2), keepdims=1)
        return writer.node("Mul", smallest, writer.scalar(0.5))

    def _reconstruction(self) -> str:
        """Squared length of what the components leave, as in `Projection.reconstruction_error`."""
        writer = self._writer
        explained = writer.sum_last(writer.node("Mul", self._kept(), self._coordinates))
        # |x - shift|^2 of each fold, from one sum of squares and one product.
        product = writer.node("MatMul", self._centred, writer.constant("shifts", -2 * self._shifts.T))
        lengths = writer.node("Add", writer.squares(self._centred), product)
        by_fold = writer.unsqueeze(writer.node("Transpose", lengths, perm=[1, 0]), 2)
        floors = [RECONSTRUCTION_FLOOR * fold.projection.total_variance for fold in self._folds]
        constants = (self._shifts**2).sum(1) + np.array(floors)
        error = writer.node("Sub", by_fold, explained)
        return writer.node("Add", error, writer.constant("floors", constants[:, None, None]))

    def _kept(self) -> str:
        """``c`` where ``|x|^2 - |c|^2`` is the error, else ``(2 I - B^T B) c``: ``|x - Bc|^2 = |x|^2 - c^T (...) c``.

        Stored components ``B`` are orthonormal to float32's rounding only. A runtime computes the matrix once.
        """
        writer = self._writer
        enough = np.array([fold.projection.leaves_enough for fold in self._folds])
        if enough.all():
            return self._coordinates
        gram = writer.node("MatMul", writer.node("Transpose", self._components, perm=[0, 2, 1]), self._components)
        identity = np.eye(self._dim, dtype=np.uint8)
        form = writer.node("Sub", writer.double(writer.constant("twice", 2 * identity)), gram)
        if enough.any():
            plain = writer.double(writer.constant("identity", identity))
            form = writer.node("Where", writer.constant("enough", enough[:, None, None]), plain, form)
        return writer.node("MatMul", self._coordinates, form)

    def _deviances(self, index: int) -> str:
        """Deviance of one fold's density under every group, ``(N, G)``."""
        if index not in self._by_fold:
            density = self._folds[index].density
            likelihood = self._tied_exponents(index) if self._tied else self._general(index, density)
            self._by_fold[index] = self._writer.node("Sub", self._writer.scalar(density.supremum), likelihood)
        return self._by_fold[index]

    def _tied_exponents(self, index: int) -> str:
        """Log-likelihoods by expanding the square: one product instead of N x G x k differences."""
        writer = self._writer
        whitener = writer.constant(f"whitener{index}", self._scales[index])
        white = writer.node("Mul", self._fold(self._coordinates, index), whitener)
        centres = writer.node("Mul", self._fold(self._centres, index), whitener)
        product = writer.node("MatMul", white, writer.node("Transpose", centres, perm=[1, 0]))
        squared = writer.node("Sub", writer.squares(white), writer.node("Add", product, product))
        lengths = writer.node("Transpose", writer.squares(centres), perm=[1, 0])
        scaled = writer.node("Mul", writer.node("Add", squared, lengths), writer.scalar(-0.5))
        return writer.node("Add", scaled, writer.constant(f"scales{index}", self._folds[index].density.log_scales.T))

    def _general(self, index: int, density: ClassDensity) -> str:
        writer = self._writer
        number, mixtures, dim = density.means.shape
        points = number * mixtures
        whiteners = density.whiteners.reshape(points, dim, dim)
        joined = np.concatenate(list(whiteners), axis=1)
        centres = np.einsum("pk,pkj->pj", density.means.reshape(points, dim), whiteners)
        white = writer.node("MatMul", self._fold(self._coordinates, index), writer.constant(f"whiten{index}", joined))
        spread = writer.node("Reshape", white, writer.numbers(-1, points, dim))
        squared = writer.squares(writer.node("Sub", spread, writer.constant(f"centres{index}", centres)))
        by_group = writer.node("Reshape", squared, writer.numbers(-1, number, mixtures))
        halved = writer.node("Mul", by_group, writer.scalar(-0.5))
        scales = np.maximum(density.log_scales, _NO_WEIGHT)
        exponents = writer.node("Add", halved, writer.constant(f"scales{index}", scales))
        if mixtures == 1:
            return writer.node("Reshape", exponents, writer.numbers(-1, number))
        return writer.node("ReduceLogSumExp", exponents, writer.numbers(2), keepdims=0)

    def _from_deviances(self, deviances: str, kind: ScoreKind) -> str:
        """A score ``(N, 1)`` of one fold from the deviances ``(N, G)`` under all groups."""
        writer = self._writer
        best = writer.node("ReduceMin", deviances, writer.numbers(1), keepdims=1)
        if kind == "max-likelihood":
            return best
        index = writer.unsqueeze(self._group, 1)
        own = writer.node("GatherElements", deviances, index, axis=1)
        likelihood = own if self._ungrouped is None else writer.node("Where", self._ungrouped, best, own)
        if kind == "likelihood":
            return likelihood
        groups = self._folds[0].density.groups
        if groups.own_count < 2:
            return writer.node("Sub", likelihood, likelihood)
        # The predicted class' own deviance is put out of reach, and the smallest of the other classes' is taken. The
        # group that small classes share is the last, and no class.
        far = writer.node("Add", writer.node("Mul", own, writer.scalar(0.0)), writer.scalar(np.inf))
        others = writer.node("ScatterElements", deviances, index, far, axis=1)
        if groups.shared is not None:
            first, last = writer.numbers(0), writer.numbers(groups.own_count)
            others = writer.node("Slice", others, first, last, writer.numbers(1))
        other = writer.node("ReduceMin", others, writer.numbers(1), keepdims=1)
        if self._ungrouped is not None:
            other = writer.node("Where", self._ungrouped, likelihood, other)
        return writer.node("Sub", likelihood, other)

    def _fold(self, tensor: str, index: int) -> str:
        writer = self._writer
        return writer.node("Squeeze", writer.node("Gather", tensor, writer.numbers(index), axis=0), writer.numbers(0))

"""Reading an ONNX file that nobody vouches for, into the form the scanner works on. Runs in the child process.

In order: parse, fetch external data from regular files beside the model, refuse foreign operators, find the
image input and the logits, make the batch dimension dynamic, turn weights in other forms into initialisers, bring the
graph to this tool's opset, and check by running it that all this left the logits unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
import onnx.inliner
from numpy.typing import NDArray

from scanner.base.errors import LatentscanError, ModelError, UnsafeModelError, UsageError
from scanner.graph.bundle import IMAGE, LOGITS, OPSET, GraphBundle
from scanner.graph.measure import measure_shapes, open_tensors
from scanner.graph.onnx_rules import (
    BY_BATCH,
    CHOOSE_OUTPUT,
    EVALUATION,
    FREE_BATCH,
    KNOWN_DOMAINS,
    MAX_NODES,
    REEXPORT,
    UNBOUNDED,
    WITHOUT_LOOPS,
)
from scanner.graph.shapes import BATCH
from scanner.graph.taps import Tap, candidate_taps
from scanner.models.onnx_constants import weights_as_initialisers
from scanner.models.onnx_dynamic import HINT, per_image
from scanner.models.onnx_opset import at_opset
from scanner.models.onnx_output import select_logits
from scanner.models.onnx_signature import FLOATS, ImageInput, element_name, free_batch, image_input, rename
from scanner.models.onnx_walk import all_nodes, expanded_nodes, one_line, printable
from scanner.models.onnx_weights import with_weights

MAX_FILE_BYTES: Final = 2**31 - 1  # what protobuf can parse

_MAX_METADATA = 64
_OWN_METADATA = 4
_MAX_METADATA_KEY = 64
_MAX_METADATA_VALUE = 4096
_SAME = 1e-4
# Sums of 8-bit products are rounded differently by processors with and without instructions for them.
_SAME_QUANTISED = 0.05
_PIXELS: Final = "pixels"
"""Key of the metadata that says that a network takes integers from 0 to 255."""


@dataclass(frozen=True)
class ParsedOnnx:
    """An ONNX classifier in normal form.

    Attributes:
        bundle: The graph; input ``image``, output ``logits``, batch dimension dynamic.
        candidates: Its taps, named after their tensors.
        input_shape: Channels, height and width.
        layout: Order of the image's axes.
        num_classes: Size of the logits.
        notes: What was done to the graph that the user should know.
        metadata: The file's own metadata, printable and bounded.
    """

    bundle: GraphBundle
    candidates: tuple[Tap, ...]
    input_shape: tuple[int, int, int]
    layout: Literal["NCHW", "NHWC"]
    num_classes: int
    notes: tuple[str, ...]
    metadata: dict[str, str]


@dataclass(frozen=True)
class Wanted:
    """What the user said about the graph.

    Attributes:
        input_size: Height and width, for graphs that leave them open.
        num_classes: To check against the graph.
        output: Name of the output that holds the logits.
    """

    input_size: tuple[int, int] | None = None
    num_classes: int | None = None
    output: str | None = None


def read_onnx(
    path: Path,
    *,
    folder: Path,
    wanted: Wanted = Wanted(),
    probe: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> ParsedOnnx:
    """Read an ONNX file.

    Args:
        path: The file (or a copy of it).
        folder: Where its external data lies.
        wanted: What the user said about it.
        probe: Normalised images (N, C, H, W) to run checks on; noise by default.
        threads: For ONNX Runtime.

    Raises:
        UnsafeModelError: External data outside the folder or behind links, or foreign operators.
        ModelError: Damaged, or not an image classifier in a form that is supported.
        UsageError: The options contradict the graph, or the input size is needed.
    """
    model = _parse(path)
    metadata = _metadata(model)
    bundle, notes = with_weights(model, folder)
    bundle = _inlined(bundle)
    proto = bundle.proto  # this module's own until the end: edited in place
    _check_operators(proto)
    image = image_input(proto.graph, wanted.input_size)
    notes += select_logits(proto.graph, wanted.output, wanted.num_classes)
    original = _copy(bundle)
    rename(proto.graph, {image.value.name: IMAGE, proto.graph.output[0].name: LOGITS})
    if image.batch is not None:
        free_batch(proto.graph, image.batch)
        notes.append(f"made the batch dimension dynamic (the file fixes it to {image.batch})")
    bundle, converted = at_opset(weights_as_initialisers(bundle))
    bundle, quantised = per_image(bundle)
    notes += converted + quantised
    images = _images(image, probe)
    runs = _Runs(original, bundle, images, image.batch, bool(quantised))
    classes, said = _check_runs(runs, threads)
    if wanted.num_classes not in (None, classes):
        raise UsageError(f"the model has {classes} classes, not {wanted.num_classes}", where="--num-classes")
    bundle = _finish(bundle, classes)
    bundle = measure_shapes(bundle, images[:1])
    if image.pixels:
        metadata = _as_pixels(metadata, image.shape[0])
        notes.append("takes pixels from 0 to 255 and prepares them itself")
    return ParsedOnnx(
        bundle, candidate_taps(bundle.proto), image.shape, image.layout, classes, (*notes, *said), metadata
    )


def _as_pixels(metadata: dict[str, str], channels: int) -> dict[str, str]:
    """Metadata that say how such a network is fed, whatever the file says of the preprocessing within it."""
    zeros, ones = " ".join(["0"] * channels), " ".join(["1"] * channels)
    kept = [item for item in metadata.items() if item[0] not in ("preprocess", "channel_order")]
    return dict(kept[: _MAX_METADATA - _OWN_METADATA]) | {_PIXELS: "uint8", "scale": "1", "mean": zeros, "std": ones}


def _parse(path: Path) -> onnx.ModelProto:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ModelError("an ONNX file of more than 2 GiB is not valid", hint="Keep its weights as external data")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError
        raise ModelError("the ONNX file is damaged: it cannot be parsed") from error
    if sum(1 for _ in all_nodes(model.graph)) > MAX_NODES:
        raise ModelError(f"the graph has more than {MAX_NODES} nodes")
    return model


def _metadata(model: onnx.ModelProto) -> dict[str, str]:
    pairs = [(entry.key, entry.value) for entry in model.metadata_props[:_MAX_METADATA]]
    return {printable(key, _MAX_METADATA_KEY): printable(value, _MAX_METADATA_VALUE) for key, value in pairs}


def _inlined(bundle: GraphBundle) -> GraphBundle:
    """Replace calls of the model's own functions by their bodies, which then are checked like all else."""
    if not bundle.proto.functions:
        return bundle
    if expanded_nodes(bundle.proto) > MAX_NODES:
        raise ModelError(f"the model's functions expand to more than {MAX_NODES} nodes, or call themselves")
    try:
        return GraphBundle(onnx.inliner.inline_local_functions(bundle.proto), bundle.weights)
    except Exception as error:  # the inliner raises plain RuntimeErrors
        raise ModelError(f"the model's functions cannot be expanded ({one_line(error)})") from error


def _check_operators(proto: onnx.ModelProto) -> None:
    foreign = {node.domain for node in all_nodes(proto.graph)} - KNOWN_DOMAINS
    if foreign:
        names = ", ".join(sorted(map(printable, foreign)))[:200]
        raise UnsafeModelError(
            f"the graph uses operators of {names}, which are not known here",
            hint="Export it with standard ONNX operators only",
        )
    if unbounded := sorted({node.op_type for node in all_nodes(proto.graph)} & UNBOUNDED):
        raise ModelError(f"the graph uses {', '.join(unbounded)}, which may run without an end", hint=WITHOUT_LOOPS)
    if by_batch := sorted({node.op_type for node in all_nodes(proto.graph)} & BY_BATCH - {"DynamicQuantizeLinear"}):
        raise ModelError(
            f"the network is quantised dynamically: {', '.join(by_batch)} scales a whole batch by its range, so an "
            "image's scores would depend on the images beside it",
            hint=HINT,
        )
    if not any(entry.domain in ("", "ai.onnx") for entry in proto.opset_import):
        raise ModelError("the model does not state its opset")


def _images(image: ImageInput, probe: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Three different images in the model's layout."""
    generator = np.random.default_rng(0)
    if image.pixels:
        probe = generator.integers(0, 256, (3, *image.shape)).astype(np.float32)
    elif probe is None or probe.shape[1:] != image.shape or len(probe) < 3:
        probe = generator.standard_normal((3, *image.shape), dtype=np.float32)
    images = probe[:3]
    return np.ascontiguousarray(images if image.layout == "NCHW" else images.transpose(0, 2, 3, 1))


@dataclass(frozen=True)
class _Runs:
    """What is run to see that the graph still computes the same.

    Attributes:
        original: The file's graph.
        bundle: Ours.
        images: Three images.
        batch: The batch size that the file fixes, or None.
        by_image: Whether the file's graph mixes a batch, so that it is run on one image at a time.
    """

    original: GraphBundle
    bundle: GraphBundle
    images: NDArray[np.float32]
    batch: int | None
    by_image: bool


def _check_runs(runs: _Runs, threads: int) -> tuple[int, list[str]]:
    """Run the file's graph and ours; every image has to get the same logits, alone and in company.

    Returns:
        The number of classes, and a note where the logits are not quite the same.
    """
    images = runs.images
    try:
        session = open_tensors(runs.bundle, [LOGITS], threads=threads)
    except ModelError as error:
        raise _other_than_float32(runs.bundle, error) or error from error
    try:
        together = session.run({IMAGE: images})[LOGITS]
        alone = np.concatenate([session.run({IMAGE: image[None]})[LOGITS] for image in images])
    except (LatentscanError, ValueError) as error:
        raise ModelError(f"the model does not run on batches of any size ({error})", hint=FREE_BATCH) from error
    if together.ndim != 2 or together.dtype != np.float32 or len(together) != len(images) or together.shape[1] < 2:
        hint = FREE_BATCH if len(together) != len(images) else CHOOSE_OUTPUT
        raise ModelError(f"the output for 3 images has shape {together.shape}, not (3, classes)", hint=hint)
    if not np.isfinite(together).all():
        raise ModelError("the logits of the model are not finite")
    if _difference(alone, together) > _SAME:
        raise ModelError("an image's logits depend on the batch it is in, or on chance", hint=EVALUATION)
    expected = _expected(runs, threads)
    if len(expected) == 0 or (off := _difference(together[: len(expected)], expected)) > (
        _SAME_QUANTISED if runs.by_image else _SAME
    ):
        raise ModelError(f"the graph computes something else once brought to opset {OPSET}", hint=REEXPORT)
    said = [f"logits differ by at most {off:.1g} of the largest from the file's own"] if runs.by_image else []
    return int(together.shape[1]), said


def _expected(runs: _Runs, threads: int) -> NDArray[np.float32]:
    """What the file's own graph gives the images, or as many of them as its batch holds."""
    reference = open_tensors(runs.original, [runs.original.proto.graph.output[0].name], threads=threads)
    name = reference.input_names[0]
    size = runs.batch or (1 if runs.by_image else len(runs.images))
    if runs.by_image and size == 1:
        rows = [next(iter(reference.run({name: image[None]}).values())) for image in runs.images]
        return np.concatenate(rows)
    fed = np.resize(runs.images, (size, *runs.images.shape[1:]))
    return next(iter(reference.run({name: fed}).values()))[: min(size, len(runs.images))]


def _other_than_float32(bundle: GraphBundle, error: ModelError) -> ModelError | None:
    """The same error with its likely cause: ONNX Runtime has few operators for other floating-point types."""
    weights = {tensor.data_type for tensor in bundle.proto.graph.initializer}
    others = ", ".join(sorted(element_name(element) for element in weights & FLOATS - {onnx.TensorProto.FLOAT}))
    return ModelError(f"the network computes in {others}: {error.what}", hint=REEXPORT) if others else None


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Largest difference, of the largest value; infinite for different shapes."""
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max()) / max(float(np.abs(other).max()), 1e-6)


def _finish(bundle: GraphBundle, classes: int) -> GraphBundle:
    proto = bundle.proto
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    logits = onnx.helper.make_tensor_value_info(LOGITS, onnx.TensorProto.FLOAT, [BATCH, classes])
    proto.graph.output[0].CopyFrom(logits)
    del proto.metadata_props[:], proto.graph.value_info[:]
    proto.doc_string = proto.graph.doc_string = ""
    return GraphBundle(proto, bundle.weights)


def _copy(bundle: GraphBundle) -> GraphBundle:
    return GraphBundle(bundle.copy_proto(), bundle.weights)

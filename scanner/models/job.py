"""What the parent and the child process say to each other: JSON, checked on both sides."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from scanner.models.identify import FileKind

MODEL_FILE: Final = "model"
EXTERNAL_FOLDER: Final = "external"
CONVERTED_FOLDER: Final = "converted"
PROBE_FILE: Final = "probe.npy"
GRAPH_FILE: Final = "graph.onnx"
WEIGHTS_FILE: Final = "weights"
RESULT_FILE: Final = "result.json"

Text = Annotated[str, Field(max_length=4096)]
Size = Annotated[int, Field(ge=1, le=2**31)]
Pixels = Annotated[int, Field(ge=1, le=8192)]


class _Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ConfigMessage(_Message):
    """A :class:`scanner.models.folder.NetworkConfig`, without the names of classes."""

    framework: Literal["transformers", "timm"]
    architecture: Text
    text: Annotated[str, Field(max_length=2**20)]
    input_size: tuple[Pixels, Pixels] | None


class Job(_Message):
    """What the child is to do, in the current directory.

    The model's bytes are in ``model``, the files that it refers to in ``external``.

    Attributes:
        kind: What the model file is.
        architecture: As given by the user.
        key: As given by the user.
        output: As given by the user.
        sharded: Whether ``model`` is an index, and the weights are in the files that it names.
        config: What ``config.json`` beside the weights says, or None.
        trust: Whether the user trusts the model file to run code.
        trust_code: As given by the user.
        input_size: Height and width.
        num_classes: As given by the user.
        has_probe: Whether ``probe.npy`` is there.
        memory: Bytes of address space that loading may take.
        seconds: Processor time that loading may take.
        threads: For PyTorch and ONNX Runtime.
    """

    kind: Annotated[FileKind, Field(strict=False)]
    architecture: str | None
    key: str | None = None
    output: str | None = None
    sharded: bool = False
    config: ConfigMessage | None = None
    trust: bool
    trust_code: bool
    input_size: tuple[int, int] | None
    num_classes: int | None
    has_probe: bool
    memory: int
    seconds: int
    threads: int


class Question(_Message):
    """What a locked-down process asks the one that starts children for it."""

    job: Job
    timeout: Annotated[float, Field(gt=0)]
    where: str


class TapMessage(_Message):
    """A :class:`scanner.graph.taps.Tap`."""

    name: Text
    tensor: Text
    shape: Annotated[tuple[Size, ...], Field(min_length=1, max_length=3)]
    layout: Literal["NCHW", "NHWC", "NLC", "NC"]
    channels: Size
    class_token: bool
    depth: Annotated[float, Field(ge=0, le=1)]
    element: Annotated[int, Field(ge=1, le=100)]


class Loaded(_Message):
    """What the child found; the graph and the weights are in files beside it.

    Attributes:
        rivals: Other architectures that the weights fit equally well.
    """

    outcome: Literal["loaded"] = "loaded"
    architecture: Text
    rivals: Annotated[list[Text], Field(max_length=100)] = []
    input_shape: tuple[Annotated[int, Field(ge=1, le=3)], Pixels, Pixels]
    layout: Literal["NCHW", "NHWC"]
    num_classes: Annotated[int, Field(ge=2, le=10_000_000)]
    candidates: Annotated[list[TapMessage], Field(min_length=1, max_length=100_000)]
    parity: Annotated[float, Field(ge=0)] | None
    notes: Annotated[list[Text], Field(max_length=1000)]
    metadata: Annotated[dict[Text, Text], Field(max_length=64)]


class Failed(_Message):
    """Why the child could not load the model, as one of this tool's errors."""

    outcome: Literal["failed"] = "failed"
    error: Literal["ModelError", "UnsafeModelError", "UsageError"]
    what: Text
    where: Text | None
    hint: Text | None


class Result(BaseModel):
    """Either outcome."""

    result: Annotated[Loaded | Failed, Field(discriminator="outcome")]

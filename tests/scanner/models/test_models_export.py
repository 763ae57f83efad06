import io
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from scanner.base.errors import ModelError
from scanner.graph.bundle import GraphBundle
from scanner.graph.measure import measure_shapes
from scanner.graph.pool import add_descriptors
from scanner.graph.session import GraphSession
from scanner.graph.taps import Tap, candidate_taps
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN
from scanner.models.export import Exported, export_network

pytestmark = pytest.mark.filterwarnings("ignore")


def exported(module: nn.Module, *shape: int) -> Exported:
    probe = np.random.default_rng(0).standard_normal((3, *shape), dtype=np.float32)
    return export_network(module.eval(), shape, probe)  # type: ignore[arg-type]


def randomised(module: nn.Module) -> nn.Module:
    """Random running statistics, so that normalisation is not the identity."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_mean is not None and part.running_var is not None:
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module


@pytest.fixture(scope="module")
def resnet18() -> tuple[nn.Module, Exported]:
    torch.manual_seed(0)
    module = randomised(torchvision.models.resnet18(num_classes=10)).eval()
    return module, exported(module, 3, 64, 64)


def test_resnet18_taps_are_its_blocks(resnet18: tuple[nn.Module, Exported]) -> None:
    taps = resnet18[1].candidates
    blocks = [f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2)]
    assert [tap.name for tap in taps] == ["relu", *blocks]
    assert [tap.channels for tap in taps] == [64, 64, 64, 128, 128, 256, 256, 512, 512]
    assert {tap.layout for tap in taps} == {"NCHW"}
    assert taps[-1].shape == (512, 2, 2)


def test_resnet18_agrees_with_torch(resnet18: tuple[nn.Module, Exported]) -> None:
    module, export = resnet18
    assert 0 < export.parity < 1e-5
    assert export.num_classes == 10
    bundle, descriptors = add_descriptors(export.bundle, export.candidates)
    x = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    values = GraphSession(*bundle.serialise(), device="cpu").run({"image": x.numpy()})
    seen: dict[str, torch.Tensor] = {}

    def look(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            seen.setdefault(name, output.clone())

        return hook

    handles = [part.register_forward_hook(look(name)) for name, part in module.named_modules()]
    with torch.inference_mode():
        logits = module(x)
    for handle in handles:
        handle.remove()
    torch.testing.assert_close(torch.from_numpy(values["logits"]), logits, rtol=1e-4, atol=1e-4)
    for item in descriptors:
        activation = seen[item.tap.name]
        expected = activation.mean((2, 3)) if item.pooling == "mean" else activation.amax((2, 3))
        torch.testing.assert_close(torch.from_numpy(values[item.output]), expected, rtol=1e-4, atol=1e-5)


def test_the_graph_is_valid_small_and_without_local_paths(resnet18: tuple[nn.Module, Exported]) -> None:
    bundle = resnet18[1].bundle
    onnx.checker.check_model(bundle.to_model_proto(), full_check=True)
    graph, _ = bundle.serialise()
    assert len(graph) < 100_000
    assert b".py" not in graph
    assert [entry.version for entry in bundle.proto.opset_import] == [20]
    assert bundle.proto.ir_version <= 10


def essentials(taps: Sequence[Tap]) -> list[tuple[tuple[int, ...], str, int]]:
    return [(tap.shape, tap.layout, tap.channels) for tap in taps]


def taps_of_bare_onnx(module: nn.Module, *shape: int) -> tuple[Tap, ...]:
    """From the graph of the older exporter, which looks quite different."""
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        (torch.zeros(1, *shape),),
        buffer,
        dynamo=False,
        opset_version=13,
        input_names=["image"],
        dynamic_axes={"image": {0: "batch"}},
    )
    bundle = GraphBundle.from_model_proto(onnx.load_from_string(buffer.getvalue()))
    return candidate_taps(measure_shapes(bundle, np.zeros((1, *shape), np.float32)).proto)


def test_taps_of_a_bare_onnx_file_are_the_same(resnet18: tuple[nn.Module, Exported]) -> None:
    module, export = resnet18
    assert essentials(taps_of_bare_onnx(module, 3, 64, 64)) == essentials(export.candidates)


@pytest.mark.parametrize(("make", "shape"), [(SCNN, (1, 28, 28)), (ResNet20, (3, 32, 32))])
def test_own_networks(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module = make().eval()
    export = exported(module, *shape)
    names = [tap.name for tap in export.candidates]
    blocks = [f"layer{stage}.{block}" for stage in range(1, 4) for block in range(3)]
    assert names == (["relu1", "relu2", "relu3"] if make is SCNN else ["relu", *blocks])
    assert essentials(taps_of_bare_onnx(module, *shape)) == essentials(export.candidates)


class Shared(nn.Module):
    """One activation module used twice, one functional activation, and an operation between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Conv2d(channels, 8, 3) for channels in (3, 8, 8))
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.one(x))
        x = self.act(self.two(x))
        x = F.silu(self.three(x)) * 2.0
        return self.fc(x.mean((2, 3)))


def test_names_stay_unique_where_modules_are_shared() -> None:
    torch.manual_seed(0)
    export = exported(Shared(), 3, 12, 12)
    names = [tap.name for tap in export.candidates]
    assert len(set(names)) == len(names) == 3
    assert names[0] == "act"
    assert names[1].startswith("act.")
    assert export.parity < 1e-5


class Broken(nn.Module):
    def __init__(self, result: object) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: torch.Tensor) -> object:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result(x) if callable(self.result) else self.result


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (RuntimeError("size mismatch\nmore"), "fails on images of 3x8x8 .*size mismatch"),
        ((torch.zeros(3, 4),), "does not return logits"),
        (lambda x: x, "does not return logits"),
        (lambda x: x.flatten(1)[:, :1], "at least 2 classes"),
        (lambda x: x.flatten(1)[:, :4] / 0, "not finite"),
        (lambda x: x.flatten(1)[:, :4] if float(x.sum()) > -1e9 else x.flatten(1)[:, :5], "cannot be exported"),
    ],
)
def test_networks_that_are_no_classifiers(result: object, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        exported(Broken(result), 3, 8, 8)
    assert "\n" not in str(caught.value)


SIZES = {"inception_v3": 96, "maxvit_t": 224, "vit_h_14": 56}
ALL = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11_bn", "vit_b_16", "wide_resnet50_2",
]  # fmt: skip
QUICK = ["squeezenet1_1"]


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in ALL])
def test_torchvision_networks(name: str) -> None:
    torch.manual_seed(0)
    size = SIZES.get(name, 64)
    options: dict[str, object] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit"):
        options["image_size"] = size
    export = exported(torchvision.models.get_model(name, weights=None, num_classes=7, **options), 3, size, size)
    assert export.num_classes == 7
    assert export.parity < 1e-4
    assert len(export.candidates) >= 3
    assert len({tap.name for tap in export.candidates}) == len(export.candidates)
    assert [tap.depth for tap in export.candidates] == sorted(tap.depth for tap in export.candidates)
    layouts = {tap.layout for tap in export.candidates}
    if name.startswith("vit"):
        assert layouts == {"NLC"}
        assert {(tap.channels, tap.class_token) for tap in export.candidates[1:]} == {(768, True)}
    elif name.startswith("swin"):
        assert "NHWC" in layouts
        assert {tap.channels for tap in export.candidates} == {96, 192, 384, 768}
    elif not name.startswith("maxvit"):
        assert layouts <= {"NCHW", "NC"}
        assert all(tap.shape[1] == tap.shape[2] for tap in export.candidates if tap.layout == "NCHW")

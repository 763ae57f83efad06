"""From files as training scripts write them to networks: the right weights, and nothing run."""

from argparse import Namespace
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from scanner.base.errors import LatentscanError, ModelError, UnsafeModelError, UsageError
from scanner.models.architectures.own import SMALL_IMAGE_NETWORKS
from scanner.models.architectures.scnn import SCNN
from scanner.models.identify import FileKind, identify
from scanner.models.job import Job
from scanner.models.look import look_closer
from scanner.models.weights_file import OpenedWeights, open_weights

IMAGES = 40


def opened(path: Path, content: object, **said: Any) -> OpenedWeights:
    legacy = said.pop("legacy", False)
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return opened_file(path, **said)


def opened_file(path: Path, **said: Any) -> OpenedWeights:
    return open_weights(path, job(identify(path).kind, **said))


def job(kind: FileKind, **said: Any) -> Job:
    values: dict[str, Any] = {"architecture": None, "input_size": None, "num_classes": None, **said}
    values |= {"trust": False, "trust_code": False, "has_probe": False, "memory": 1, "seconds": 1, "threads": 1}
    return Job(kind=kind, **values)


def assert_same_predictions(found: nn.Module, original: nn.Module, shape: tuple[int, int, int]) -> None:
    """On 40 images, value for value: the same network with the same weights."""
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((IMAGES, *shape), dtype=np.float32))
    with torch.no_grad():
        torch.testing.assert_close(found(images), original.eval()(images), rtol=0, atol=0)


def trained(module: nn.Module) -> nn.Module:
    """With statistics as after training, so that a mistaken normalisation shows."""
    generator = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.5)
    return module.eval()


SMALL = [(name, number) for name, builds in SMALL_IMAGE_NETWORKS.items() for number in range(len(builds))]


@pytest.mark.parametrize(("name", "spelling"), [each for each in SMALL if each[0] != "wide_resnet28_10"])
def test_networks_for_small_images_in_all_spellings(tmp_path: Path, name: str, spelling: int) -> None:
    torch.manual_seed(0)
    module = trained(SMALL_IMAGE_NETWORKS[name][spelling](num_classes=43))
    found = opened(tmp_path / "m.pt", {"net": module.state_dict(), "acc": 93.1, "epoch": 3})
    assert found.network.architecture == name
    assert found.network.input_shape == (3, 32, 32)
    assert any("inferred architecture" in note for note in found.network.notes)
    assert_same_predictions(found.network.module, module, (3, 16, 16))


@pytest.mark.slow
@pytest.mark.parametrize("spelling", [0, 1])
def test_wide_resnet(tmp_path: Path, spelling: int) -> None:
    module = trained(SMALL_IMAGE_NETWORKS["wide_resnet28_10"][spelling](num_classes=10))
    found = opened(tmp_path / "m.pt", module.state_dict())
    assert found.network.architecture == "wide_resnet28_10"
    assert_same_predictions(found.network.module, module, (3, 8, 8))


def resnet(**options: Any) -> nn.Module:
    return torchvision.models.resnet18(weights=None, **options)


def gray() -> nn.Module:
    module = resnet(num_classes=10)
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return module


def rows_of_layers() -> nn.Module:
    module = resnet()
    module.fc = nn.Sequential(
        nn.Linear(512, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(32, 16),
        nn.ReLU(),
        nn.Linear(16, 5),
    )
    return module


def dropout_first() -> nn.Module:
    module = resnet()
    module.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(512, 5))
    return module


def small_vgg() -> nn.Module:
    module = torchvision.models.vgg11_bn(weights=None)
    module.avgpool = nn.AdaptiveAvgPool2d(1)
    module.classifier = nn.Linear(512, 10)
    return module


def small_vgg_of_three() -> nn.Module:
    module = torchvision.models.vgg11(weights=None)
    module.avgpool = nn.AdaptiveAvgPool2d(1)
    module.classifier = nn.Sequential(
        nn.Linear(512, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10)
    )
    return module


def replaced_part() -> nn.Module:
    module = torchvision.models.mobilenet_v3_small(weights=None)
    module.classifier = nn.Linear(576, 5)
    return module


@pytest.mark.parametrize(
    ("build", "name", "shape"),
    [
        (gray, "resnet18", (1, 64, 64)),
        (rows_of_layers, "resnet18", (3, 64, 64)),
        (dropout_first, "resnet18", (3, 64, 64)),
        (small_vgg, "vgg11_bn", (3, 32, 32)),
        (small_vgg_of_three, "vgg11", (3, 32, 32)),
        (replaced_part, "mobilenet_v3_small", (3, 64, 64)),
    ],
)
def test_changed_networks(
    tmp_path: Path, build: Callable[[], nn.Module], name: str, shape: tuple[int, int, int]
) -> None:
    module = trained(build())
    found = opened(tmp_path / "m.pt", module.state_dict(), input_size=shape[1:])
    assert (found.network.architecture, found.network.input_shape) == (name, shape)
    assert_same_predictions(found.network.module, module, shape)


def test_what_is_assumed_is_said(tmp_path: Path) -> None:
    notes = opened(tmp_path / "m.pt", rows_of_layers().state_dict()).network.notes
    assert any("ReLU is assumed" in note for note in notes)


def test_small_images_keep_a_rival(tmp_path: Path) -> None:
    module = resnet(num_classes=10)
    module.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    found = opened(tmp_path / "m.pt", module.state_dict())
    assert (found.network.architecture, found.rivals) == ("cifar_resnet18", ("resnet18",))
    pooled = opened_file(tmp_path / "m.pt", architecture="resnet18")
    assert pooled.network.input_shape == (3, 32, 32)
    assert_same_predictions(pooled.network.module, module, (3, 32, 32))


# --- as training scripts write them ------------------------------------------------------------


class Config:
    """A class of the training script; making one of it here would leave a trace."""

    trace: Path | None = None

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    def __setstate__(self, state: dict[str, object]) -> None:
        Path(str(state["trace"])).touch()


def scnn(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return SCNN(num_classes=4, image_size=28).eval()


def training_files(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor], trace: Path) -> dict[str, object]:
    random = np.random.RandomState(0).get_state()
    optimiser = torch.optim.Adam([nn.Parameter(torch.ones(3, 2))])
    optimiser.param_groups[0]["params"][0].sum().backward()
    optimiser.step()
    return {
        "namespace": {
            "model": state,
            "args": Namespace(lr=0.1, out=Path("runs"), when=datetime(2026, 1, 2)),
            "epoch": 3,
        },
        "numpy": {
            "state_dict": state,
            "best": np.float64(0.9),
            "history": np.arange(3.0),
            "rng": random,
        },
        "optimiser": {"net": state, "optimizer": optimiser.state_dict(), "object": optimiser},
        "config": {"weights": state, "config": Config(trace=str(trace), lr=3)},
        "loss": {"model_state": state, "criterion": nn.CrossEntropyLoss()},
        "metrics": {**state, "criterion.weight": torch.ones(4), "conv1.total_ops": torch.zeros(1)},
        "lightning": {
            "state_dict": {**{f"model.{k}": v for k, v in state.items()}, "criterion.weight": torch.ones(4, 1)},
            "hyper_parameters": Namespace(width=3),
            "callbacks": {"best": {"score": torch.tensor(0.9)}},
            "optimizer_states": [optimiser.state_dict()],
        },
        "averaged": {"state_dict_ema": other, "state_dict": state, "args": Namespace()},
        "module": {"model": {f"module.{k}": v for k, v in state.items()}, "args": Namespace()},
        "generator": {
            "netC": state,
            "identity_grid": torch.zeros(1, 4, 4, 2),
            "netG": {"up.weight": torch.ones(3, 9, 2)},
        },
        "parameters": {"model": {k: nn.Parameter(v, requires_grad=False) for k, v in state.items()}, "x": Namespace()},
        "half": {"model": {k: v.half().float() for k, v in state.items()}, "args": Namespace()},
    }


KINDS = tuple(training_files({}, {}, Path("unused")))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_of_training_scripts(tmp_path: Path, kind: str, legacy: bool) -> None:
    module, trace = scnn(0), tmp_path / "trace"
    if kind == "half":
        module = module.half().float()
    content = training_files(module.state_dict(), scnn(1).state_dict(), trace)[kind]
    found = opened(tmp_path / "m.pt", content, legacy=legacy)
    assert identify(tmp_path / "m.pt").kind is FileKind.STATE_DICT
    assert found.network.architecture == "scnn"
    assert_same_predictions(found.network.module, module, (1, 28, 28))
    assert not trace.exists()


def test_averaged_weights_are_named_and_can_be_chosen(tmp_path: Path) -> None:
    content = training_files(scnn(0).state_dict(), scnn(1).state_dict(), tmp_path)["averaged"]
    notes = opened(tmp_path / "m.pt", content).network.notes
    assert "took state_dict; --key chooses state_dict_ema instead" in notes
    chosen = opened(tmp_path / "m.pt", content, key="state_dict_ema")
    assert_same_predictions(chosen.network.module, scnn(1), (1, 28, 28))


def test_two_networks_have_to_be_chosen_from(tmp_path: Path) -> None:
    both = {"student": scnn(0).state_dict(), "teacher": scnn(1).state_dict()}
    with pytest.raises(UsageError, match=r"2 networks.*student, teacher.*--key student"):
        opened(tmp_path / "m.pt", both)
    assert_same_predictions(opened(tmp_path / "m.pt", both, key="teacher").network.module, scnn(1), (1, 28, 28))
    flat = {f"{name}.{key}": value for name, state in both.items() for key, value in state.items()}
    assert_same_predictions(opened(tmp_path / "m.pt", flat, key="teacher").network.module, scnn(1), (1, 28, 28))
    with pytest.raises(UsageError, match=r"nothing in the checkpoint is called 'pupil'.*student"):
        opened(tmp_path / "m.pt", both, key="pupil")


def test_a_named_architecture_overrules(tmp_path: Path) -> None:
    found = opened(tmp_path / "m.pt", {"a": scnn(0).state_dict(), "x": Namespace()}, architecture="scnn")
    assert not any("inferred" in note for note in found.network.notes)
    with pytest.raises(ModelError, match="do not fit architecture 'resnet20'"):
        opened_file(tmp_path / "m.pt", architecture="resnet20")


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.canary,)


def test_calls_that_no_script_writes_are_a_finding(tmp_path: Path) -> None:
    torch.save({"model": scnn(0).state_dict(), "x": Payload(tmp_path / "canary")}, tmp_path / "m.pt")
    assert identify(tmp_path / "m.pt").kind is FileKind.PICKLE
    with pytest.raises(UnsafeModelError):
        open_weights(tmp_path / "m.pt", job(FileKind.STATE_DICT))
    assert not (tmp_path / "canary").exists()


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "base": base,
        "part": base[1:3, 2:],
        "turned": base.t(),
        "row": base[2],
        "empty": base[:0],
        "one": base[0, 0],
    }


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8])
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_are_those_that_pytorch_reads(tmp_path: Path, dtype: torch.dtype, legacy: bool) -> None:
    from scanner.models.stored import read_stored
    from scanner.models.stored_tensors import read_tensors

    path = tmp_path / "m.pt"
    content = {"w": {**views(), "typed": torch.arange(6).reshape(2, 3).to(dtype)}, "x": Namespace()}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    stored = read_stored(path)
    assert isinstance(stored.content, dict)
    found = read_tensors(path, stored, stored.content["w"])
    expected = torch.load(path, weights_only=False)["w"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype is value.dtype
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_tensors_beyond_their_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    torch.save({"model": {"conv1.weight": torch.ones(3, 4)}, "x": Namespace()}, path)
    data = path.read_bytes()
    assert data.count(b"K\x03K\x04\x86") == 1
    path.write_bytes(data.replace(b"K\x03K\x04\x86", b"K\xc8K\xc8\x86"))
    with pytest.raises(LatentscanError):
        opened_file(path, architecture="scnn")


def test_a_closer_look_names_network_and_tensors(tmp_path: Path) -> None:
    for path in (tmp_path / "m.pt", tmp_path / "m.safetensors"):
        if path.suffix == ".pt":
            torch.save({"model": scnn(0).state_dict(), "args": Namespace()}, path)
        else:
            safetensors.torch.save_file(scnn(0).state_dict(), path)
        lines = list(look_closer(identify(path)))
        assert any(name == "network" and "'scnn'" in line for name, line in lines)
        assert any(name == "tensor" and line.split() == ["dense2.weight", "4x128", "float32"] for name, line in lines)
        assert not any(name == "member" for name, _ in lines)

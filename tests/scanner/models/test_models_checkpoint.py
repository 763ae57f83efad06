import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from scanner.base.errors import ModelError, UnsafeModelError, UsageError
from scanner.models.architectures.registry import architecture_names, build_network
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.architectures.scnn import SCNN
from scanner.models.checkpoint import read_content, read_state, strip_prefixes
from scanner.models.identify import FileKind

STATE = {"fc.weight": torch.arange(12.0).reshape(4, 3), "fc.bias": torch.ones(4)}


def read(tmp_path: Path, content: object) -> tuple[dict[str, torch.Tensor], list[str]]:
    torch.save(content, tmp_path / "m")
    return read_state(read_content(tmp_path / "m", FileKind.STATE_DICT))


def assert_same(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor] = STATE) -> None:
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        (STATE, []),
        (OrderedDict(STATE), []),
        ({"epoch": 1, "state_dict": STATE, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}, ["state_dict"]),
        ({"model": {"net": STATE}}, ["model", "net"]),
        ({"model_name": "x", "model": STATE, "clean_test": {"images": torch.zeros(2, 3)}}, ["model"]),
        ({"something": STATE, "lr": 0.1}, ["something"]),
        ({"ema": STATE}, ["ema"]),
    ],
)
def test_checkpoints_are_unwrapped(tmp_path: Path, content: object, notes: list[str]) -> None:
    state, found = read(tmp_path, content)
    assert_same(state)
    assert found == [f"unwrapped key {name!r} of the checkpoint" for name in notes]


def test_safetensors(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(safetensors.torch.save(STATE))
    assert_same(read_state(read_content(tmp_path / "m", FileKind.SAFETENSORS))[0])
    (tmp_path / "m").write_bytes(safetensors.torch.save(STATE)[:-4])
    with pytest.raises(ModelError, match="damaged"):
        read_state(read_content(tmp_path / "m", FileKind.SAFETENSORS))


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"a": {"b": 1}}, {1: torch.zeros(2, 2)}])
def test_files_without_weights_are_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(ModelError, match="no state dict"):
        read(tmp_path, content)


def test_lower_and_higher_precision_becomes_float32(tmp_path: Path) -> None:
    state, notes = read(tmp_path, {"a": torch.ones(2, 2).half(), "b": torch.ones(2).double(), "n": torch.tensor(3)})
    assert [value.dtype for value in state.values()] == [torch.float32, torch.float32, torch.int64]
    assert notes == ["weights stored as float16, float64 were converted to float32"]


@pytest.mark.parametrize(
    "value", [torch.tensor([[1.0, float("nan")]]), torch.zeros(2, 2).to_sparse(), torch.zeros(2, 2) * 1j]
)
def test_unusable_tensors_are_refused(tmp_path: Path, value: torch.Tensor) -> None:
    with pytest.raises(ModelError, match="'w'"):
        read(tmp_path, {"w": value})


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def test_payload_is_refused_by_the_loader_too(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError, match=r"posix\.system"):
        read(tmp_path, {**STATE, "x": Payload(tmp_path / "canary")})
    assert not (tmp_path / "canary").exists()


def test_damaged_archive(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "m")
    data = bytearray((tmp_path / "m").read_bytes())
    data[len(data) // 2 :] = b"\0" * (len(data) - len(data) // 2)
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(ModelError, match="damaged"):
        read_state(read_content(tmp_path / "m", FileKind.STATE_DICT))


@given(st.lists(st.sampled_from(["module.", "model.", "_orig_mod.", "net."]), max_size=3))
def test_prefixes_are_stripped_in_any_order(prefixes: list[str]) -> None:
    wrapped = {"".join(prefixes) + key: value for key, value in STATE.items()}
    state, notes = strip_prefixes(wrapped, STATE)
    assert_same(state)
    assert len(notes) == len(prefixes)


def test_prefixes_that_belong_to_the_network_stay() -> None:
    state = {"model.weight": torch.ones(1), "model.bias": torch.ones(1)}
    assert strip_prefixes(state, state.keys()) == (state, [])


# --- architectures -------------------------------------------------------------------------------


def test_names() -> None:
    assert {"scnn", "resnet20", "resnet18", "vit_b_16"} <= set(architecture_names())
    assert "deeplabv3_resnet50" not in architecture_names()


@pytest.mark.parametrize(("classes", "channels", "size"), [(10, 1, 28), (7, 3, 32), (2, 1, 9)])
def test_scnn_sizes_follow_from_the_weights(classes: int, channels: int, size: int) -> None:
    original = SCNN(classes, channels, size).eval()
    network = build_network("scnn", original.state_dict(), input_size=(size, size))
    assert network.input_shape == (channels, size, size)
    x = torch.randn(2, channels, size, size)
    torch.testing.assert_close(network.module(x), original(x), rtol=0, atol=0)


def test_resnet20_sizes_follow_from_the_weights() -> None:
    network = build_network("resnet20", ResNet20(43, 1).state_dict())
    assert network.input_shape == (1, 32, 32)
    assert network.module(torch.zeros(1, 1, 32, 32)).shape == (1, 43)


@pytest.mark.parametrize(
    ("name", "size", "classes"),
    [
        ("resnet18", 224, 10),
        ("resnet18", 224, 1000),
        ("squeezenet1_1", 224, 5),
        ("inception_v3", 299, 6),
        ("regnet_y_400mf", 224, 3),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_torchvision_classes_and_usual_size(name: str, size: int, classes: int) -> None:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    original = torchvision.models.get_model(name, weights=None, num_classes=classes, **options).eval()
    network = build_network(name, original.state_dict())
    assert network.input_shape == (3, size, size)
    for key, value in original.state_dict().items():
        assert torch.equal(network.module.state_dict()[key], value)
    assert not any(tensor.is_meta for tensor in (*network.module.parameters(), *network.module.buffers()))


@pytest.mark.filterwarnings("ignore")
def test_auxiliary_heads_may_be_missing() -> None:
    state = torchvision.models.googlenet(weights=None, num_classes=4, aux_logits=False, init_weights=False).state_dict()
    network = build_network("googlenet", state, input_size=(64, 64))
    assert network.module(torch.zeros(2, 3, 64, 64)).shape == (2, 4)
    assert any("transform_input" in note for note in network.notes)


def test_vit_size_follows_from_the_position_embedding() -> None:
    with torch.device("meta"):
        template = torchvision.models.vit_b_16(weights=None, image_size=64, num_classes=4)
    state = {key: torch.zeros(value.shape) for key, value in template.state_dict().items()}
    assert build_network("vit_b_16", state).input_shape == (3, 64, 64)
    with pytest.raises(UsageError, match="64x64"):
        build_network("vit_b_16", state, input_size=(224, 224))


def test_old_spelling_of_densenet() -> None:
    with torch.device("meta"):
        template = torchvision.models.densenet121(weights=None, num_classes=4)
    state = {}
    for key, value in template.state_dict().items():
        for part in ("norm", "conv"):
            for number in "12":
                key = key.replace(f"{part}{number}.", f"{part}.{number}.") if "denselayer" in key else key
        state[key] = torch.zeros(value.shape, dtype=value.dtype)
    network = build_network("densenet121", state)
    assert "renamed weights from the old spelling of DenseNet's layers" in network.notes


def test_networks_that_insist_on_a_version() -> None:
    state = dict(torchvision.models.mnasnet0_5(num_classes=4).state_dict())
    assert build_network("mnasnet0_5", state).module(torch.zeros(1, 3, 64, 64)).shape == (1, 4)


def test_checkpoints_without_batch_counters() -> None:
    state = {k: v for k, v in ResNet20().state_dict().items() if not k.endswith("num_batches_tracked")}
    build_network("resnet20", state)


def test_mismatches_are_named_in_one_line() -> None:
    state = ResNet20().state_dict()
    for architecture in ("resnet18", "scnn"):
        with pytest.raises(ModelError, match=f"do not fit architecture '{architecture}'") as caught:
            build_network(architecture, state)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 900
    state["layer1.0.conv1.weight"] = torch.zeros(8, 16, 3, 3)
    with pytest.raises(ModelError, match=r"layer1\.0\.conv1\.weight is 8x16x3x3 instead of 16x16x3x3"):
        build_network("resnet20", state)
    del state["layer1.0.conv1.weight"]
    with pytest.raises(ModelError, match=r"missing layer1\.0\.conv1\.weight"):
        build_network("resnet20", state)


def test_options_that_contradict_the_weights() -> None:
    with pytest.raises(UsageError, match="10 classes, not 12"):
        build_network("resnet20", ResNet20().state_dict(), num_classes=12)
    with pytest.raises(UsageError, match="28x28"):
        build_network("scnn", SCNN().state_dict(), input_size=(32, 32))


def test_unknown_architecture() -> None:
    with pytest.raises(UsageError, match=r"Did you mean resnet"):
        build_network("resnet19", {})
    with pytest.raises(UsageError, match=r"unknown architecture"):
        build_network("qqq", {})


CUSTOM = """
import torch
from pathlib import Path
Path({canary!r}).touch()
def net(num_classes):
    first = torch.nn.Conv2d(1, 4, 3)
    return torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, num_classes))
def broken():
    raise RuntimeError("no")
number = 3
"""


@pytest.mark.parametrize(("channels", "inputs"), [(1, 64), (3, 192)])
def test_a_custom_network_without_convolutions_is_tried_on_color_and_gray(
    channels: int, inputs: int, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(
        f"import torch\ndef net(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear({inputs}, 5))\n"
    )
    state = nn.Sequential(nn.Flatten(), nn.Linear(inputs, 5)).state_dict()
    network = build_network(f"{tmp_path / 'net.py'}:net", state, input_size=(8, 8), trust_code=True)
    assert network.input_shape == (channels, 8, 8)


def test_a_network_that_rearranges_batches_is_not_taken_for_one_of_color_images(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\ndef net(): return torch.nn.Sequential(torch.nn.Flatten(0), torch.nn.Unflatten(0, (-1, 64)), "
        "torch.nn.Linear(64, 5))\n"
    )
    state = {f"2.{key}": value for key, value in nn.Linear(64, 5).state_dict().items()}
    network = build_network(f"{tmp_path / 'net.py'}:net", state, input_size=(8, 8), trust_code=True)
    assert network.input_shape == (1, 8, 8)


def test_custom_architectures_need_trust(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CUSTOM.format(canary=str(tmp_path / "canary")))
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()
    name = f"{tmp_path / 'net.py'}:net"
    with pytest.raises(UsageError, match="--trust-code"):
        build_network(name, module.state_dict(), input_size=(8, 8))
    assert not (tmp_path / "canary").exists()
    network = build_network(name, module.state_dict(), input_size=(8, 8), trust_code=True)
    assert network.input_shape == (1, 8, 8)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 1, 8, 8), dtype=np.float32))
    torch.testing.assert_close(network.module(x), module(x))
    assert any("--trust-code" in note for note in network.notes)
    for wrong in ("broken", "number", "missing"):
        with pytest.raises(UsageError):
            build_network(f"{tmp_path / 'net.py'}:{wrong}", module.state_dict(), input_size=(8, 8), trust_code=True)
    with pytest.raises(UsageError, match="input size"):
        build_network(name, module.state_dict(), trust_code=True)
    with pytest.raises(UsageError, match="no such"):
        build_network(f"{tmp_path / 'none.py'}:net", module.state_dict(), input_size=(8, 8), trust_code=True)

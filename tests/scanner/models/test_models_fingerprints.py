import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scanner.base.errors import UsageError
from scanner.models.architectures import fingerprints
from scanner.models.architectures.fingerprints import TABLES, find_networks, nearest_network, table
from scanner.models.architectures.write_fingerprints import own_fingerprints, torchvision_fingerprints
from scanner.models.networks import infer_network

QUICK = (
    "alexnet",
    "densenet121",
    "googlenet",
    "maxvit_t",
    "mobilenet_v3_small",
    "regnet_x_400mf",
    "swin_t",
    "vit_b_16",
)


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def on_meta(name: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return torchvision.models.get_model(name, weights=None, **options)


@pytest.mark.filterwarnings("ignore")
def test_the_table_is_what_the_script_writes() -> None:
    committed = {(known.name, known.exact): known for known in table((TABLES[0],))}
    for found in (*torchvision_fingerprints(list(QUICK)), *own_fingerprints()):
        assert committed[found.name, found.exact] == found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_whole_table_is_what_the_script_writes() -> None:
    committed = {(known.name, known.exact): known for known in table((TABLES[0],))}
    found = list(torchvision_fingerprints())
    assert len(found) == 80
    assert all(committed[each.name, each.exact] == each for each in found)


def test_torchvision_has_no_twins() -> None:
    """Without the last part and the input's channels, every classifier still is itself."""
    source = json.loads((Path(fingerprints.__file__).parent / TABLES[0]).read_text())["source"]
    assert source.startswith("torchvision ")
    names = set(torchvision.models.list_models(module=torchvision.models))
    known = [each for each in table((TABLES[0],)) if each.name in names]
    first = {each.name: each for each in reversed(known)}
    assert set(first) == names
    for part in ("exact", "body", "trunk"):
        assert len({(each.head, getattr(each, part)) for each in first.values()}) == 80


def test_most_of_timm_is_told_apart() -> None:
    known = table((TABLES[1],))
    assert len(known) > 1000
    assert len({each.exact for each in known}) > 0.6 * len(known)


@pytest.mark.parametrize("prefix", ["", "module.", "model.net."])
def test_exact(prefix: str) -> None:
    found = find_networks({prefix + key: shape for key, shape in shapes(on_meta("resnet50")).items()})
    assert [(match.kind, match.names, match.prefix) for match in found] == [("exact", ("resnet50",), prefix)]


def test_other_classes_and_gray_images() -> None:
    module = on_meta("resnet34", num_classes=7)
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    assert [(m.kind, m.names) for m in find_networks(shapes(module))] == [("body", ("resnet34",))]


def test_the_nearest_is_a_hint() -> None:
    module = on_meta("resnet50")
    module.layer4[1].bn1 = nn.BatchNorm2d(511)
    assert find_networks(shapes(module)) == []
    near = nearest_network(shapes(module))
    assert near is not None
    assert near.name == "resnet50"
    assert near.share > 0.8
    with pytest.raises(UsageError, match=r"nearest is resnet50"):
        infer_network(shapes(module))
    assert nearest_network({"a.weight": (3, 4), "b.weight": (5, 3)}) is None


def test_two_networks_in_one_file_are_named() -> None:
    one = shapes(on_meta("resnet18"))
    both = {f"{name}.{key}": shape for name in ("student", "teacher") for key, shape in one.items()}
    with pytest.raises(UsageError, match=r"2 networks: student, teacher.*--key student"):
        infer_network(both)
    averaged = {f"{name}.{key}": shape for name in ("model", "ema_model") for key, shape in one.items()}
    assert infer_network(averaged).prefix == "model."


def test_networks_for_small_images_come_with_their_rivals() -> None:
    module = on_meta("resnet18", num_classes=10)
    module.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    assert infer_network(shapes(module)).names == ("cifar_resnet18", "resnet18")


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=30), st.lists(st.integers(0, 2**40), max_size=5).map(tuple), max_size=30))
def test_any_names_and_shapes_are_answered(names: dict[str, tuple[int, ...]]) -> None:
    find_networks(names)
    nearest_network(names)


def test_reading_the_table_needs_neither_torch_nor_timm() -> None:
    code = (
        "import sys; from scanner.models.networks import infer_network; from scanner.models.look import look_closer; "
        "from scanner.models.architectures.fingerprints import table; table(); "
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_more_tensors_than_any_network_has_are_not_looked_at() -> None:
    """The work that a file can cause is bounded."""
    names = {f"layer{index}.weight": (1, 2) for index in range(20_000)}
    assert find_networks(names) == []
    assert nearest_network(names) is None

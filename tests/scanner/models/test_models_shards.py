"""Weights in several files: the same network as in one, and nothing but what an index and its files agree on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphs
import pytest
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import nn

from scanner.base.errors import LatentscanError, ModelError, UnsafeModelError
from scanner.graph.session import GraphSession
from scanner.models.architectures.loading import Network
from scanner.models.architectures.resnet20 import ResNet20
from scanner.models.beside import copy_beside
from scanner.models.identify import FileKind, identify
from scanner.models.job import EXTERNAL_FOLDER, Job
from scanner.models.load import LoadOptions, load_model
from scanner.models.look import look_closer
from scanner.models.weights_file import open_weights

SAFE = "model.safetensors.index.json"
PICKLED = "pytorch_model.bin.index.json"
State = dict[str, Any]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    return ResNet20(num_classes=5).eval()


def sharded(folder: Path, parts: list[State], index: str = SAFE, places: dict[str, Any] | None = None) -> Path:
    """Files as Hugging Face's libraries name them, and their index, or another."""
    folder.mkdir(exist_ok=True)
    stem, suffix = index.removesuffix(".index.json").rsplit(".", 1)
    found: dict[str, Any] = {}
    for number, part in enumerate(parts, 1):
        name = f"{stem}-{number:05}-of-{len(parts):05}.{suffix}"
        if suffix == "safetensors":
            safetensors.torch.save_file(part, folder / name)
        else:
            torch.save(part, folder / name)
        found |= dict.fromkeys((key for key, value in part.items() if isinstance(value, torch.Tensor)), name)
    content = {"metadata": {"total_size": 1}, "weight_map": found if places is None else found | places}
    (folder / index).write_text(json.dumps(content, indent=2))
    return folder


def split(state: State, count: int = 3) -> list[State]:
    names = sorted(state)
    return [{name: state[name].clone() for name in names[start::count]} for start in range(count)]


def opened(folder: Path, key: str | None = None) -> Network:
    """What the child process makes of the copies that it gets."""
    file = identify(folder)
    values: dict[str, Any] = {"architecture": None, "input_size": None, "num_classes": None, "has_probe": False}
    values |= {"trust": False, "trust_code": False, "memory": 1, "seconds": 1, "threads": 1}
    with tempfile.TemporaryDirectory() as work, chdir(work):
        copy_beside(file.path, file.shards, Path(EXTERNAL_FOLDER))
        return open_weights(file.path, Job(kind=file.kind, sharded=True, key=key, **values)).network


def images() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((40, 3, 32, 32), dtype=np.float32)


def assert_same(found: Network, network: nn.Module) -> None:
    with torch.inference_mode():
        x = torch.from_numpy(images())
        torch.testing.assert_close(found.module(x), network(x), rtol=0, atol=0)


def test_a_network_in_several_files(tmp_path: Path, network: nn.Module) -> None:
    folder = sharded(tmp_path / "f", split(network.state_dict()))
    model = load_model(identify(folder))
    assert model.architecture == "resnet20"
    assert model.file.path == folder / SAFE
    assert model.file.size == sum(file.stat().st_size for file in folder.iterdir())
    got = GraphSession(*model.bundle.serialise(), device="cpu").run({"image": images()})["logits"]
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(got), network(torch.from_numpy(images())), rtol=1e-4, atol=1e-5)
    assert identify(folder / SAFE) == model.file  # the index may be named itself


@pytest.mark.parametrize("index", [SAFE, PICKLED])
def test_the_same_predictions_as_in_one_file(tmp_path: Path, network: nn.Module, index: str) -> None:
    found = opened(sharded(tmp_path / "f", split(network.state_dict()), index))
    assert found.architecture == "resnet20"
    assert_same(found, network)


def test_the_digest_is_of_what_sha256sum_prints(tmp_path: Path, network: nn.Module) -> None:
    folder = sharded(tmp_path / "f", split(network.state_dict()))
    names = [SAFE, *sorted(file.name for file in folder.iterdir() if file.name != SAFE)]
    printed = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    file = identify(folder)
    assert file.sha256 == hashlib.sha256(printed).hexdigest()
    tensors = split(network.state_dict())[2]
    safetensors.torch.save_file({name: value * 0 for name, value in tensors.items()}, folder / names[3])
    assert identify(folder).sha256 != file.sha256
    with pytest.raises(ModelError, match="changed while it was read"):
        load_model(file)


@pytest.mark.parametrize("key", [None, "teacher"])
def test_wrapped_names_and_objects_in_pickled_files(tmp_path: Path, network: nn.Module, key: str | None) -> None:
    """Other objects in a file are skipped, names are stripped, and ``--key`` names a part of the whole."""
    state: State = {f"model.{name}": value for name, value in network.state_dict().items()}
    if key is not None:
        state |= {f"{key}.{name}": value * 0 for name, value in network.state_dict().items()}
    parts = split(state)
    parts[1]["saved"] = np.float64(1).dtype  # nothing that PyTorch's restricted loader takes
    parts[1]["path"] = Path("x")
    folder = sharded(tmp_path / "f", parts, PICKLED)
    found = opened(folder, key="model" if key is not None else None)
    assert_same(found, network)
    assert any("skipped objects of" in note for note in found.notes)


def test_a_closer_look(tmp_path: Path, network: nn.Module) -> None:
    file = identify(sharded(tmp_path / "f", split(network.state_dict())))
    lines = list(look_closer(file))
    assert ("weights", "in the file 'model-00002-of-00003.safetensors'") in lines
    assert any(heading == "network" and "'resnet20'" in line for heading, line in lines)
    assert any(heading == "tensors" and line.startswith(f"{len(network.state_dict())} with") for heading, line in lines)
    assert file.description == "weights in 3 files with an index, each a safetensors file: tensors only"


def as_in_a_cache(folder: Path, cache: Path) -> Path:
    """A hub's cache: files in ``blobs``, links to them in ``snapshots/1``."""
    blobs, snapshot = cache / "blobs", cache / "snapshots" / "1"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        blob = hashlib.sha256(file.read_bytes()).hexdigest()
        file.rename(blobs / blob)
        (snapshot / file.name).symlink_to(Path("../../blobs", blob))
    return snapshot


def test_the_links_of_a_hubs_cache(tmp_path: Path, network: nn.Module) -> None:
    folder = sharded(tmp_path / "f", split(network.state_dict()))
    assert_same(opened(as_in_a_cache(folder, tmp_path / "cache")), network)


PARTS = [{"a.weight": torch.ones(2, 3)}, {"b.weight": torch.ones(3, 2)}]
FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))


@pytest.mark.parametrize(
    "place", ["../secret", "/etc/passwd", "sub/x.safetensors", "..", ".", "", "a\\b", "a\0b", "~/x", "C:\\x"]
)
def test_an_index_reaches_nothing_outside_of_its_folder(tmp_path: Path, place: str) -> None:
    folder = sharded(tmp_path / "f", PARTS, places={"b.weight": place})
    with pytest.raises(UnsafeModelError, match="outside"):
        identify(folder)


@pytest.mark.parametrize("link", ["symbolic", "hard", "chained", "folder"])
def test_links_in_the_place_of_a_file_are_not_followed(tmp_path: Path, link: str) -> None:
    folder = sharded(tmp_path / "f", PARTS)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / SECOND).rename(elsewhere / SECOND)
    if link == "hard":
        os.link(elsewhere / SECOND, folder / SECOND)
    elif link == "folder":
        (folder / SECOND).symlink_to(elsewhere)
    else:
        if link == "chained":  # the index is a link, but not into the folder that the file is in
            folder = as_in_a_cache(folder, tmp_path / "cache")
        (folder / SECOND).symlink_to(elsewhere / SECOND)
    with pytest.raises(UnsafeModelError, match="link"):
        identify(folder)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ({"c.weight": FIRST}, "'c.weight' should be in"),
        ({"a.weight": SECOND}, "'a.weight' should be in"),
        ({"b.weight": FIRST}, "'b.weight' should be in"),
    ],
)
def test_an_index_that_disagrees_with_its_files(tmp_path: Path, places: dict[str, str], says: str) -> None:
    folder = sharded(tmp_path / "f", PARTS, places=places)
    with pytest.raises(ModelError, match=says):
        opened(folder)
    assert any(heading == "weights" and says in line for heading, line in look_closer(identify(folder)))


@pytest.mark.parametrize("index", [SAFE, PICKLED])
def test_tensors_twice_or_in_no_index(tmp_path: Path, index: str) -> None:
    """Of two values, readers take either."""
    first = {**PARTS[0], "a.bias": torch.ones(2)}
    doubled = [first, PARTS[1], {"a.weight": torch.zeros(2, 3)}]
    with pytest.raises(ModelError, match=r"'a.weight' is in .*-00001-of-00003.* and is in .*-00003-of-00003.* as well"):
        opened(sharded(tmp_path / "f", doubled, index))
    folder = sharded(tmp_path / "g", PARTS, index)
    written = json.loads((folder / index).read_text())
    path = folder / written["weight_map"]["b.weight"]
    extra = {"b.weight": torch.ones(3, 2), "hidden": torch.ones(2, 2)}
    torch.save(extra, path) if index == PICKLED else safetensors.torch.save_file(extra, path)
    with pytest.raises(ModelError, match=r"'hidden' is in .* is not in the index"):
        opened(folder)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "f", PARTS)
    (folder / SECOND).unlink()
    with pytest.raises(ModelError, match=f"'{SECOND}' is missing"):
        identify(folder)


def test_files_without_their_index_and_alone(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "f", PARTS)
    with pytest.raises(ModelError, match=r"one of several files of weights\. Give the folder"):
        load_model(identify(folder / FIRST))
    (folder / SAFE).unlink()
    with pytest.raises(ModelError, match=r"the index that belongs to them \(model.safetensors.index.json\) is missing"):
        identify(folder)


def test_a_program_among_the_files(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "f", PARTS, PICKLED)
    bad = {"b.weight": torch.ones(3, 2), "x": Calls(f"touch {tmp_path}/canary")}
    torch.save(bad, folder / "pytorch_model-00002-of-00002.bin")
    file = identify(folder)
    assert file.kind is FileKind.PICKLE
    assert "posix.system" in file.imports
    for trust in (False, True):
        with pytest.raises(UnsafeModelError, match="weights in 2 files with an index; one is a PyTorch checkpoint"):
            load_model(file, LoadOptions(trust=trust))
    assert not (tmp_path / "canary").exists()


class Calls:
    """A pickle of it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_files_of_other_formats(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "f", PARTS)
    torch.save(PARTS[1], folder / SECOND)
    with pytest.raises(ModelError, match="several formats: safetensors, state-dict"):
        identify(folder)
    (folder / SECOND).write_bytes(onnx_graphs.conv_net().SerializeToString())
    with pytest.raises(ModelError, match=f"names '{SECOND}': an ONNX model"):
        identify(folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"weight_map": {}}', "names no file for every tensor"),
        ('{"weight_map": []}', "names no file for every tensor"),
        ('{"weight_map": {"a": 1}}', "names no file for every tensor"),
        ('{"weight_map": {"a": "x", "a": "y"}}', "a name is in it twice"),
        ('{"weight_map": {"a": "x"}, "weight_map": {"a": "y"}}', "a name is in it twice"),
        ('{"weight_map": ', "is damaged"),
        ('{"weight_map": ' + "[" * 100_000, "is damaged"),
        (json.dumps({"weight_map": {f"t{n}": f"f{n}" for n in range(1001)}}), "names 1001 files"),
        ('{"other": 1}', "a text file that starts with"),
    ],
)
def test_an_index_that_is_none(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / SAFE).write_text(text)
    with pytest.raises(LatentscanError, match=says):
        load_model(identify(tmp_path))

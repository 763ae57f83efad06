"""Hostile cases of weights in several files: an index, and files beside it or elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from hostile_case import INSPECT, LAYERS, Case

_NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
_PARTS = ({"a.weight": torch.ones(2, 3)}, {"b.weight": torch.ones(3, 2)})
_PLACES = {"a.weight": _NAMES[0], "b.weight": _NAMES[1]}
_INDEX = "model.safetensors.index.json"
Change = Callable[[Path, Path, Path], object]


def shards() -> Iterator[Case]:
    """Each with the change that makes it hostile."""
    outside, link = "outside of its folder", "link"
    for name, place in (
        ("parent", "../secret"),
        ("absolute", "/etc/passwd"),
        ("below", "sub/x"),
        ("backslash", "..\\secret"),
        ("nul", "a\0../secret"),
        ("empty", ""),
        ("dot", "."),
        ("escape", "/\x1b[2J"),
    ):
        yield case(name, lambda f, _s, _c, place=place: index(f, {**_PLACES, "b.weight": place}), outside)
    yield case("symlink", lambda f, s, _: instead(f).symlink_to(s), link)
    yield case("hardlink", lambda f, s, _: os.link(s, instead(f)), link)
    yield case("device", lambda f, _s, _c: instead(f).symlink_to("/dev/zero"), link)
    yield case("fifo", lambda f, _s, _c: os.mkfifo(instead(f)), "not a regular file")
    yield case("folder", lambda f, _s, _c: instead(f).mkdir(), "not a regular file")
    yield case("missing", lambda f, _s, _c: instead(f), "is missing")
    yield case("sparse", lambda f, _s, _c: sparse(instead(f)), "too large")
    yield case("program", lambda f, _s, c: torch.save(_Calls(c), instead(f)), "one is a PyTorch checkpoint")
    yield case("moved", lambda f, _s, _c: index(f, {**_PLACES, "a.weight": _NAMES[1]}), "should be in")
    yield case("beside", lambda f, _s, _c: more(f, {"hidden": torch.ones(2, 2)}), "is not in the index")
    yield case("twice", lambda f, _s, _c: more(f, {"a.weight": torch.zeros(2, 3)}), "as well")
    yield case("same-name", lambda f, _s, _c: text(f, '{"weight_map": {"a": "x", "a": "y"}}'), "is in it twice")
    yield case("nested", lambda f, _s, _c: text(f, '{"weight_map": ' + "[" * 10**6), "damaged")
    many = json.dumps({"weight_map": {f"t{number}": f"f{number}" for number in range(2000)}})
    yield case("many", lambda f, _s, _c: text(f, many), "at most 1000")
    yield case("number", lambda f, _s, _c: text(f, '{"weight_map": {"a": 1e999}}'), "names no file")
    yield case("look", lambda f, _s, _c: more(f, {"\x1b[2J": torch.ones(2, 2)}), "is not in the index", INSPECT, 0)


def case(name: str, change: Change, says: str, command: str = LAYERS, code: int = 2) -> Case:
    """A folder of two files and their index, after a change."""

    def make(folder: Path, canary: Path, _good: Path) -> Path:
        vendor, secret = folder / "vendor", folder / "secret"
        vendor.mkdir()
        secret.write_bytes(bytes(1000))
        for file, part in zip(_NAMES, _PARTS, strict=True):
            safetensors.torch.save_file(dict(part), vendor / file)
        index(vendor, _PLACES)
        change(vendor, secret, canary)
        return vendor

    return Case(f"shards-{name}", make, command, code, says)


def index(folder: Path, places: dict[str, str]) -> None:
    """Write the index."""
    text(folder, json.dumps({"weight_map": places}))


def text(folder: Path, content: str) -> None:
    """Write anything in its place."""
    (folder / _INDEX).write_text(content)


def instead(folder: Path) -> Path:
    """The second file's place, made free."""
    (folder / _NAMES[1]).unlink()
    return folder / _NAMES[1]


def more(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Put further tensors into the second file, of which the index says nothing."""
    safetensors.torch.save_file({**_PARTS[1], **tensors}, folder / _NAMES[1])


def sparse(path: Path) -> None:
    """A file of a terabyte that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(2**40)


class _Calls:
    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self._canary}",)

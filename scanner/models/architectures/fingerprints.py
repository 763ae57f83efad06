"""Which network weights belong to, told from their names and shapes alone. Needs neither torch nor timm.

A committed table holds, for each network, digests of its names and shapes: of all of them (``exact``); without the
last layer and the number of input channels (``body``); without the whole part that the last layer is in (``trunk``).
And a sketch of them, the smallest hashes of its tensors, by which the nearest network can be named where none fits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

Shapes = Mapping[str, tuple[int, ...]]
Kind = Literal["exact", "body", "trunk"]

TABLES: Final = ("fingerprints.json", "fingerprints_timm.json")
"""In order of preference: where networks of both fit, those of the first are meant."""

SKETCH: Final = 24
_AUXILIARY: Final = ("aux1.", "aux2.", "AuxLogits.")
_COUNTERS: Final = ("num_batches_tracked", "total_ops", "total_params")
_BESIDE: Final = ("criterion.", "loss.", "loss_fn.")
_POSITIONS: Final = ("pos_embedding", "pos_embed")
_KINDS: Final[tuple[Kind, ...]] = ("exact", "body", "trunk")
_MAX_TENSORS: Final = 10_000
_MAX_PREFIXES: Final = 4
_MAX_BRANCHES: Final = 40
_NEAR: Final = 0.2


@dataclass(frozen=True)
class Fingerprint:
    """A network's names and shapes in short.

    Attributes:
        name: As ``--arch`` takes it.
        head: Paths of the last layers.
        stem: Name of the first convolution's weight.
        exact: Digest of everything.
        body: Digest without the last layer, input channels and the size of images.
        trunk: Digest without what the last layer is in, either; equal to ``body`` where that is the last layer alone.
        sketch: The smallest hashes of its tensors.
    """

    name: str
    head: tuple[str, ...]
    stem: str
    exact: str
    body: str
    trunk: str
    sketch: tuple[int, ...]

    def to_json(self, sketch: int = SKETCH) -> dict[str, Any]:
        """Plain values, with so many hashes; :meth:`from_json` reads them."""
        return {**asdict(self), "sketch": "".join(f"{value:08x}" for value in self.sketch[:sketch])}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Fingerprint:
        """Read what :meth:`to_json` wrote."""
        sketch = values["sketch"]
        hashes = tuple(int(sketch[start : start + 8], 16) for start in range(0, len(sketch), 8))
        return cls(**{**values, "head": tuple(values["head"]), "sketch": hashes})


@dataclass(frozen=True)
class Match:
    """Networks that weights fit.

    Attributes:
        kind: How much of them fits.
        names: The networks, the likeliest first.
        prefix: What stands before the network's own names.
    """

    kind: Kind
    names: tuple[str, ...]
    prefix: str


@dataclass(frozen=True)
class Nearest:
    """The network that weights share most with.

    Attributes:
        name: The network.
        share: Estimated share of tensors that are in both, of those in either.
    """

    name: str
    share: float


def fingerprint(name: str, shapes: Shapes, head: Sequence[str], stem: str) -> Fingerprint:
    """Fingerprint a network.

    Args:
        name: What it is called.
        shapes: Shape of every tensor by name.
        head: Paths of its last layers.
        stem: Name of the first convolution's weight.
    """
    kept = essential(shapes)
    return Fingerprint(
        name,
        tuple(head),
        stem,
        _digest(kept.items()),
        _digest(_body(kept, head, stem)),
        _digest(_body(kept, tops(head), stem)),
        _sketch(kept),
    )


def tops(head: Sequence[str]) -> tuple[str, ...]:
    """The outermost modules that the last layers are in."""
    return tuple(dict.fromkeys(path.partition(".")[0] for path in head))


def essential(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Without counters, losses and auxiliary heads, which files of the same network may have or lack."""
    return {
        key: tuple(shape)
        for key, shape in shapes.items()
        if key.rpartition(".")[2] not in _COUNTERS and not key.startswith((*_AUXILIARY, *_BESIDE))
    }


@cache
def table(names: tuple[str, ...] = TABLES) -> tuple[Fingerprint, ...]:
    """All fingerprints, in order of preference."""
    found: list[Fingerprint] = []
    for name in names:
        values = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
        found.extend(Fingerprint.from_json(network) for network in values["networks"])
    return tuple(found)


def find_networks(shapes: Shapes) -> list[Match]:
    """The networks that fit, one match for each place in the file where one is found.

    Args:
        shapes: Shape of every tensor by name, with whatever prefixes a training script has left.

    Returns:
        Matches by place; several where a file holds several networks; empty where nothing fits.
    """
    matches: list[Match] = []
    if len(shapes) > _MAX_TENSORS:
        return matches
    pending = [""]
    for _ in range(_MAX_PREFIXES):
        deeper: list[str] = []
        for prefix in pending:
            below = {key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)}
            if (match := _match(below, prefix)) is not None:
                matches.append(match)
            else:
                deeper += [prefix + part for part in _branches(below)]
        pending = deeper[:_MAX_BRANCHES]
    return matches


def nearest_network(shapes: Shapes) -> Nearest | None:
    """The network that shares most tensors with the weights, or None where none shares a fifth of them."""
    if len(shapes) > _MAX_TENSORS:
        return None
    return next((found for name in TABLES if (found := _nearest(shapes, table((name,))))), None)


def _nearest(shapes: Shapes, networks: Sequence[Fingerprint]) -> Nearest | None:
    best: Nearest | None = None
    for prefix in ("", *_branches(shapes)):
        below = essential({key[len(prefix) :]: shape for key, shape in shapes.items() if key.startswith(prefix)})
        sketch = _sketch(below)
        for known in networks:
            smallest = sorted({*sketch, *known.sketch})[: len(known.sketch)]
            share = len({*smallest} & {*sketch} & {*known.sketch}) / max(len(smallest), 1)
            if share >= _NEAR and (best is None or share > best.share):
                best = Nearest(known.name, share)
    return best


def named(name: str) -> tuple[Fingerprint, ...]:
    """The fingerprints of a network, one for each spelling."""
    return tuple(known for known in table() if known.name == name)


def _match(shapes: Shapes, prefix: str) -> Match | None:
    kept = essential(shapes)
    if len(kept) < 2:
        return None
    for kind in _KINDS:
        names = _lookup(kept, kind)
        if names:
            return Match(kind, names, prefix)
    return None


def _lookup(kept: dict[str, tuple[int, ...]], kind: Kind) -> tuple[str, ...]:
    """Names in the first table that holds any."""
    index = _index()[kind]
    for known in TABLES:
        found: list[str] = []
        for (head, stem), names in index[known].items():
            if kind == "exact":
                found += names.get(_digest(kept.items()), ())
            elif stem in kept and any(_is_below(key, head) for key in kept):
                found += names.get(_digest(_body(kept, head, stem)), ())
        if found:
            return tuple(dict.fromkeys(found))
    return ()


_Groups = dict[tuple[tuple[str, ...], str], dict[str, list[str]]]


@cache
def _index() -> dict[Kind, dict[str, _Groups]]:
    """Names by digest, for every last layer and first convolution that digests are made without."""
    index: dict[Kind, dict[str, _Groups]] = {kind: {name: {} for name in TABLES} for kind in _KINDS}
    for name in TABLES:
        for known in table((name,)):
            keys: dict[Kind, tuple[tuple[str, ...], str]] = {
                "exact": ((), ""),
                "body": (known.head, known.stem),
                "trunk": (tops(known.head), known.stem),
            }
            for kind, key in keys.items():
                names = index[kind][name].setdefault(key, {})
                names.setdefault(getattr(known, kind), []).append(known.name)
    return index


def _branches(shapes: Iterable[str]) -> Iterator[str]:
    """First parts of names that more than one name has, in order."""
    counts: dict[str, int] = {}
    for key in shapes:
        first, dot, _ = key.partition(".")
        if dot:
            counts[first + "."] = counts.get(first + ".", 0) + 1
    return (first for first, count in counts.items() if count > 1)


def _is_below(key: str, paths: Collection[str]) -> bool:
    return any(key.startswith(path + ".") for path in paths)


def _body(kept: Shapes, head: Sequence[str], stem: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    for key, shape in kept.items():
        if _is_below(key, head):
            continue
        if key == stem:
            yield key, (shape[0], 0, *shape[2:])
        elif key.endswith(_POSITIONS):
            yield key, ()
        else:
            yield key, shape


def _digest(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> str:
    text = "\n".join(sorted(f"{key} {'x'.join(map(str, shape))}" for key, shape in shapes))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _sketch(kept: Shapes) -> tuple[int, ...]:
    hashes = {
        int(hashlib.sha256(f"{key} {shape}".encode("utf-8", "surrogateescape")).hexdigest()[:8], 16)
        for key, shape in kept.items()
    }
    return tuple(sorted(hashes)[:SKETCH])

"""A chunk as bytes: a line that names it, a line of JSON, arrays, and last the counts with a digest of all before.

No pickles, and nothing is allocated that the bytes do not hold.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from scanner.base.canonical import canonical
from scanner.inputs.items import REASONS, Item
from scanner.inputs.pipeline import Batch
from scanner.scanning.chunks.columns import Columns, UnsoundChunk

MAGIC: Final = b"latentscan chunk 1\n"
MAX_BYTES: Final = 2**30
MAX_DETAIL: Final = 4096
_DIGEST: Final = 32
_MAX_FOOTER: Final = 2**16


@dataclass(frozen=True)
class Place:
    """Which chunk it is, and of what.

    Attributes:
        plan: SHA-256 of the plan.
        number: Of the chunk, from 0.
        provider: The execution provider that scored it.
    """

    plan: str
    number: int
    provider: str


def chunk_bytes(place: Place, batch: Batch) -> bytes:
    """A scored chunk as bytes: the same for the same inputs, whoever scores them."""
    arrays: dict[str, NDArray[Any]] = {"readable": np.asarray(batch.readable, "<i8")}
    known = [digest is not None for digest in batch.digests]
    arrays["digested"] = np.array(known, "|b1")
    digests = b"".join(bytes.fromhex(digest) for digest in batch.digests if digest is not None)
    arrays["digests"] = np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST)
    arrays |= {name: _little_endian(batch.outputs[name]) for name in sorted(batch.outputs)}
    told: dict[str, JsonValue] = {
        "plan": place.plan,
        "number": place.number,
        "start": batch.start,
        "inputs": len(batch.items),
        "unreadable": [
            [item.index - batch.start, reason, detail[:MAX_DETAIL]] for item, reason, detail in batch.unreadable
        ],
        "arrays": [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()],
    }
    body = MAGIC + canonical(told) + b"\n" + b"".join(array.tobytes() for array in arrays.values())
    counts: dict[str, JsonValue] = {
        "scanned": len(batch.readable),
        "unreadable": dict(Counter(reason for _, reason, _ in batch.unreadable)),
        "provider": place.provider,
        "sha256": hashlib.sha256(body).hexdigest(),
    }
    return body + b"\n" + canonical(counts) + b"\n"


def parse_chunk(data: bytes, items: Sequence[Item], columns: Columns) -> tuple[Place, Batch]:
    """The inverse of :func:`chunk_bytes`.

    Args:
        data: Of the file.
        items: The inputs that the chunk should be about.
        columns: What it should hold of them.

    Raises:
        UnsoundChunk: It is damaged, or about something else.
    """
    footer = data.rfind(b"\n", 0, max(len(data) - 1, 0))
    if not data.startswith(MAGIC) or footer < 0 or len(data) - footer > _MAX_FOOTER:
        raise UnsoundChunk("is no chunk, or is cut off")
    counts = _json(data[footer + 1 :])
    if counts.get("sha256") != hashlib.sha256(memoryview(data)[:footer]).hexdigest():
        raise UnsoundChunk("is damaged: its digest is another")
    end = data.index(b"\n", len(MAGIC))
    told = _json(data[len(MAGIC) : end])
    try:
        place = Place(str(told["plan"]), int(told["number"]), str(counts["provider"]))
        arrays = _arrays(told["arrays"], data, end + 1, footer)
        batch = _batch(told, arrays, items)
        if counts["scanned"] != len(batch.readable):
            raise UnsoundChunk("counts other inputs than it holds")
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, UnsoundChunk):
            raise
        raise UnsoundChunk("does not have the form of a chunk") from None
    columns.require_sound(batch.outputs, len(batch.readable))
    return place, batch


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _json(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise UnsoundChunk("does not have the form of a chunk") from None
    if not isinstance(found, dict):
        raise UnsoundChunk("does not have the form of a chunk")
    return found


def _arrays(stated: list[Any], data: bytes, start: int, end: int) -> dict[str, NDArray[Any]]:
    """The arrays, as views of the bytes; they have to fill the place between two offsets."""
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind, shape in stated:
        dtype = np.dtype(str(kind))
        if dtype.kind not in "biuf" or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise UnsoundChunk("has an array of an unknown type")
        count = math.prod(shape)
        if count * dtype.itemsize > end - start or name in arrays:
            raise UnsoundChunk("has arrays that its bytes do not hold")
        arrays[name] = np.frombuffer(data, dtype, count, start).reshape(shape)
        start += count * dtype.itemsize
    if start != end:
        raise UnsoundChunk("has more bytes than arrays")
    return arrays


def _batch(told: dict[str, Any], arrays: dict[str, NDArray[Any]], items: Sequence[Item]) -> Batch:
    readable, digested, digests = (arrays.pop(name) for name in ("readable", "digested", "digests"))
    start = items[0].index if items else 0
    if (told["start"], told["inputs"]) != (start, len(items)) or digested.shape != (len(items),):
        raise UnsoundChunk("is about other inputs than the plan says")
    left_out = [(items[position], str(reason), str(detail)) for position, reason, detail in told["unreadable"]]
    places = np.sort(np.array([*readable.tolist(), *(item.index - start for item, _, _ in left_out)], np.int64))
    ordered = readable.dtype == np.int64 and readable.ndim == 1 and (np.diff(readable) > 0).all()
    if not ordered or not np.array_equal(places, np.arange(len(items))):
        raise UnsoundChunk("does not hold every input once")
    if not all(reason in REASONS for _, reason, _ in left_out) or not digested[readable].all():
        raise UnsoundChunk("does not say what became of every input")
    if digests.dtype != np.uint8 or digests.shape != (int(digested.sum()), _DIGEST):
        raise UnsoundChunk("has other digests than inputs")
    texts = iter(bytes(digest).hex() for digest in digests)
    return Batch(
        start=start,
        items=tuple(items),
        readable=readable,
        outputs=arrays,
        digests=tuple(next(texts) if known else None for known in digested.tolist()),
        unreadable=tuple(left_out),
    )

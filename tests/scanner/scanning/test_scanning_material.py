"""Which inputs a trigger is estimated from."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from scanner.inputs.items import Item
from scanner.scanning import material as material_module
from scanner.scanning.material import Chosen, MaterialTally, Wanted
from scanner.scanning.scanned import ScannedInput, UnreadableRow

Z = np.zeros(1)


def sha(content: int) -> str:
    return hashlib.sha256(b"%d" % content).hexdigest()


def row(
    index: int, evidence: float, *, flagged: bool, content: int | None = None, scene: int | None = None,
    finite: bool = True,
) -> ScannedInput:  # fmt: skip
    thumbnail = np.random.default_rng(index if scene is None else scene).normal(size=64)
    small = (thumbnail / np.linalg.norm(thumbnail)).astype(np.float32)
    return ScannedInput(
        Item(index, f"{index}.png", None), sha(index if content is None else content), finite,
        index % 5 if finite else None, None, 0.5, 0.5, 0.0, 0.0, False, evidence, evidence, flagged, Z[None], None, Z,
        (), small,
    )  # fmt: skip


def chosen(rows: list[ScannedInput], distance: float | None = 0.02, image_bytes: int = 100) -> Chosen:
    tally = MaterialTally(image_bytes, distance)
    for one in rows:
        tally.scanned(one)
    tally.unreadable(UnreadableRow(Item(9, "x", None), None, "empty", ""))
    return tally.finish()


def test_the_most_suspicious_come_first_and_ordinary_ones_by_digest() -> None:
    rows = [row(n, float(n % 7), flagged=n < 20) for n in range(50)]
    found = chosen(rows)
    assert [one.item.index for one in found.suspicious] == sorted(range(20), key=lambda n: (-(n % 7), n))
    assert [one.item.index for one in found.ordinary] == sorted(range(20, 50), key=sha)
    assert found.suspicious[0] == Wanted(Item(6, "6.png", None), sha(6), 1)
    assert (found.flagged, found.compared) == (20, 50)


def test_the_order_of_inputs_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    rows = [row(n, float(rng.normal()), flagged=n % 3 == 0, scene=n % 40) for n in range(120)]
    expected = chosen(rows)
    for _ in range(4):
        assert chosen([rows[position] for position in rng.permutation(120)]) == expected


def test_copies_are_there_once() -> None:
    exact = [row(n, 1.0, flagged=n < 30, content=n // 10, scene=n // 10) for n in range(60)]
    for distance in (0.02, None):
        found = chosen(exact, distance)
        assert len(found.suspicious) == len(found.ordinary) == 3
        assert (found.flagged, found.compared) == (30, 60)
    near = [row(n, 1.0, flagged=n < 30, scene=n // 10) for n in range(60)]
    assert len(chosen(near).suspicious) == len(chosen(near).ordinary) == 3
    assert len(chosen(near, None).suspicious) == 30


def test_what_is_not_finite_has_no_part() -> None:
    found = chosen([row(n, np.inf, flagged=True, finite=n > 3) for n in range(10)])
    assert [one.item.index for one in found.suspicious] == list(range(4, 10))
    assert (found.flagged, found.compared) == (6, 6)


def test_the_number_is_bounded_by_count_and_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    rows = [row(n, float(rng.normal()), flagged=n % 2 == 0) for n in range(200)]
    everything = chosen(rows)
    monkeypatch.setattr(material_module, "MOST", 30)
    found = chosen(rows)
    assert found.suspicious == everything.suspicious[:30]
    assert found.ordinary == everything.ordinary[:30]
    assert (found.flagged, found.compared) == (100, 200)
    monkeypatch.setattr(material_module, "MOST_BYTES", 1000)
    assert len(chosen(rows, image_bytes=100).suspicious) == 10
    assert len(chosen(rows, image_bytes=10**9).suspicious) == 1
    shuffled = [rows[position] for position in rng.permutation(200)]
    assert chosen(shuffled, image_bytes=100) == chosen(rows, image_bytes=100)


def test_a_content_that_gave_way_may_not_come_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material_module, "MOST", 2)
    rows = [row(0, 1.0, flagged=True, content=0), row(1, 2.0, flagged=True), row(2, 3.0, flagged=True),
            row(3, 1.0, flagged=True, content=0), row(4, 4.0, flagged=True)]  # fmt: skip
    assert [one.item.index for one in chosen(rows).suspicious] == [4, 2]

"""Clean networks to compare with: the shipped table, and hostile or foreign files in a folder of reports."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detectors.probing.probing import STATISTICS
from scanner.auditing import clean_networks
from scanner.auditing.clean_networks import Kind, find_clean_networks, read_accepted
from scanner.base.errors import UsageError


def test_the_shipped_table_is_about_the_statistics_of_an_audit():
    content = clean_networks._shipped()
    for table in content["tables"]:
        rows = np.array(table["networks"])
        assert rows.shape[1] == len(STATISTICS)
        assert ((rows >= 0) & (rows <= 1)).all()
        kind = Kind(tuple(table["shape"]), table["classes"], None, 400, tuple(table["look"]))
        found, why = find_clean_networks(kind, None, "0" * 64)
        assert found is not None
        assert found.statistics.shape == rows.shape
        assert why == ""
        assert (found.pairs.moved, found.pairs.strongest) == (None, None)
        assert found.pairs.why_not
        poor = Kind(kind.shape, kind.num_classes, table["accuracy"][0] - 0.1, 400, kind.look)
        assert find_clean_networks(poor, None, "0" * 64)[0] is None
        other = Kind(kind.shape, kind.num_classes, None, 400, (kind.look[0] * 2, kind.look[1]))
        found, why = find_clean_networks(other, None, "0" * 64)
        assert found is None
        assert "look otherwise" in why


def shipped(channels):
    """The table for images of so many channels, and the kind that it is for."""
    table = next(one for one in clean_networks._shipped()["tables"] if one["shape"][2] == channels)
    return table, Kind(tuple(table["shape"]), table["classes"], None, 400, tuple(table["look"]))


def test_pairs_of_digits_are_those_of_the_classes_that_look_alike():
    table, kind = shipped(1)
    looks, rows = np.array(table["looks"], float), table["networks"]
    order = np.random.default_rng(0).permutation(len(looks))
    for classes, turned in ((looks, np.arange(len(looks))), (looks[order], order)):
        found, _ = find_clean_networks(replace(kind, classes=classes), None, "0" * 64)
        assert found.pairs.moved.shape == (len(rows), len(looks), len(looks))
        source, target, share = table["pairs"][0][0]
        mine = found.pairs.moved[0][turned.tolist().index(source), turned.tolist().index(target)]
        assert mine == share
        own, known = found.pairs.beside(np.zeros((10, 10)))
        assert (own.shape, known.shape) == ((100,), (len(rows), 100))
    unlike, _ = find_clean_networks(replace(kind, classes=looks * 0 + 9), None, "0" * 64)
    assert "do not look like" in unlike.pairs.why_not
    assert unlike.pairs.beside(np.zeros((10, 10))) is None


def with_pairs(table, monkeypatch, **pairs):
    """The same table with other pairs of classes is what the program ships."""
    without = {key: value for key, value in table.items() if key not in ("pairs", "looks", "strongest_pairs")}
    monkeypatch.setattr(clean_networks, "_shipped", lambda: {"tables": [{**without, **pairs}]})


def test_of_colour_images_the_strongest_pairs_are_compared_whatever_the_order_of_the_classes(monkeypatch):
    table, kind = shipped(3)
    strongest = np.linspace(0.1, 0.6, len(table["networks"])).tolist()
    with_pairs(table, monkeypatch, strongest_pairs=strongest)
    found, _ = find_clean_networks(replace(kind, classes=np.zeros((10, 48))), None, "0" * 64)
    assert found.pairs.why_not == ""
    assert found.pairs.strongest.tolist() == strongest
    moved = np.zeros((10, 10))
    moved[3, 7] = 0.6
    own, known = found.pairs.beside(moved)
    assert (own.tolist(), known.shape) == ([0.6], (len(table["networks"]), 1))
    without, _ = find_clean_networks(kind, None, "0" * 64)
    assert "before pairs of classes were searched" in without.pairs.why_not
    assert found.sha256 != without.sha256


def test_a_table_of_few_networks_has_no_pairs(monkeypatch):
    table, kind = shipped(3)
    with_pairs(table, monkeypatch)
    found, _ = find_clean_networks(replace(kind, classes=np.zeros((10, 48))), None, "0" * 64)
    assert found.pairs.beside(np.zeros((10, 10))) is None
    assert "too few to compare pairs" in found.pairs.why_not


def test_other_kinds_are_not_compared():
    found, why = find_clean_networks(Kind((33, 44, 3), 10, None, 400, (100.0, 50.0)), None, "0" * 64)
    assert found is None
    assert "33x44x3 images and 10 classes" in why
    found, why = find_clean_networks(Kind((28, 28, 1), 10, None, 100, (33.0, 79.0)), None, "0" * 64)
    assert found is None
    assert "too few" in why


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no json", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "is not the report of an audit"),
        (json.dumps({"$schema": "urn:latentscan:audit:1", "schema_version": "9.0.0"}).encode(), "of a version"),
        (json.dumps({"$schema": "urn:latentscan:audit:1", "schema_version": "1.0.0"}).encode(), "not a valid report"),
    ],
)
def test_a_file_that_is_no_report_is_named(tmp_path, content, said):
    (tmp_path / "x.json").write_bytes(content)
    (tmp_path / "other.txt").write_text("is not read")
    with pytest.raises(UsageError, match=said):
        read_accepted(tmp_path)

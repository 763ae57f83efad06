"""What is done stays done as long as it is of the same row, and of nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_samples import write_table
from hypothesis import given
from hypothesis import strategies as st

from scanner.base.errors import LatentscanError, UsageError
from scanner.fleet.folder import Ended, RowFolder, claimed, folder_name
from scanner.fleet.identity import Identity, identify

A, B = "a" * 64, "b" * 64


def fill(folder: RowFolder) -> None:
    folder.job.mkdir(exist_ok=True)
    for path in (folder.profile, folder.report, folder.page, folder.job / "plan.json"):
        path.write_text("x")


def there(folder: RowFolder) -> set[str]:
    return {path.name for path in folder.path.iterdir()} - {"row.json"}


def test_a_row_goes_on_where_it_was(tmp_path: Path) -> None:
    (row,) = write_table(tmp_path, ["one"]).rows
    folder, identity = RowFolder(tmp_path / "out", row), Identity(A, A)
    assert not folder.is_done(identity)
    assert not folder.begin(identity)
    fill(folder)
    # Killed while it was scanned: the profile and what is done of the scan are kept.
    assert folder.begin(identity)
    assert there(folder) == {"modelscan.h5", "job"}
    fill(folder)
    folder.end(identity, Ended("scan", 2, "no space left"))
    assert not folder.is_done(identity)
    folder.end(identity, Ended("done", 1, ""))
    assert folder.is_done(identity)
    assert there(folder) == {"modelscan.h5", "report.json", "report.html"}
    folder.report.unlink()
    assert not folder.is_done(identity)


def test_other_inputs_keep_the_profile_and_another_model_nothing(tmp_path: Path) -> None:
    (row,) = write_table(tmp_path, ["one"]).rows
    folder = RowFolder(tmp_path / "out", row)
    folder.begin(Identity(A, A))
    fill(folder)
    folder.end(Identity(A, A), Ended("done", 0, ""))
    assert not folder.is_done(Identity(A, B))
    fill(folder)
    assert folder.begin(Identity(A, B))
    assert there(folder) == {"modelscan.h5"}
    assert not folder.begin(Identity(B, B))
    assert there(folder) == set()


@pytest.mark.parametrize("state", ["", "{", "[]", "7", '{"fit": 3, "ended": []}', "[" * 9999, "\0"])
def test_a_damaged_state_is_none(state: str, tmp_path: Path) -> None:
    (row,) = write_table(tmp_path, ["one"]).rows
    folder = RowFolder(tmp_path / "out", row)
    folder.begin(Identity(A, A))
    fill(folder)
    (folder.path / "row.json").write_text(state)
    assert not folder.is_done(Identity(A, A))
    assert not folder.begin(Identity(A, A))


def test_a_folder_has_one_fleet_at_a_time(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "out"),
        pytest.raises(UsageError, match="another fleet is at work"),
        claimed(tmp_path / "out"),
    ):
        pass
    with claimed(tmp_path / "out"):
        pass


@given(st.text(), st.text())
def test_names_of_folders_are_tame_and_differ(one: str, other: str) -> None:
    name = folder_name(one)
    assert 0 < len(name) <= 49
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert "/" not in name
    assert (one == other) == (name == folder_name(other))


def test_whatever_changes_is_told_apart(tmp_path: Path) -> None:
    for name in ("ref", "inputs/deep"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "a.png").write_bytes(b"image")
    (tmp_path / "0.onnx").write_bytes(b"model")
    (row,) = write_table(tmp_path, ["one"]).rows
    first = identify(row, A)
    assert identify(row, A) == first
    seen = {first.scan}

    def changed(fit: bool, other=row, gate: str = A) -> None:
        found = identify(other, gate)
        assert (found.fit != identify(row, A).fit) == (fit and other is not row)
        assert found.scan not in seen
        seen.add(found.scan)

    changed(False, gate=B)
    changed(True, replace(row, options={"arch": "resnet20"}))
    changed(False, replace(row, options={"alpha": "0.05"}))
    (tmp_path / "inputs/deep/a.png").write_bytes(b"other")  # the same size: told by its time
    os.utime(tmp_path / "inputs/deep/a.png", ns=(1, 1))
    assert identify(row, A).fit == first.fit
    changed(False)
    (tmp_path / "inputs/deep/b.png").symlink_to("a.png")
    changed(False)
    (tmp_path / "ref/b.png").write_bytes(b"image")
    assert identify(row, A).fit != first.fit
    changed(True)
    (tmp_path / "config.json").write_text("{}")
    changed(True)
    (tmp_path / "0.onnx").write_bytes(b"other")
    changed(True)
    (tmp_path / "0.onnx").unlink()
    with pytest.raises(LatentscanError, match="no such file"):
        identify(row, A)

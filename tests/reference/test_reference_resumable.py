"""A script whose result file grows: killed, it goes on where it was; with other code it does not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reference.resumable import DIGEST, run_script


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "result.json"
    monkeypatch.setattr(sys, "argv", ["script", "--data", "here", "--out", str(path)])
    return path


def count_to(most: int, fails: bool = False) -> Any:
    def run(result: dict[str, Any], data: Path) -> Iterator[str]:
        assert data == Path("here")
        for number in range(len(result["numbers"]), most):
            result["numbers"].append(number)
            yield f"{number} is new"
        if fails:
            raise KeyboardInterrupt

    return lambda: run_script("Count.", ("data",), {"numbers": []}, run, lambda found: [f"{len(found['numbers'])} all"])


def test_it_goes_on_where_it_was(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        count_to(2, fails=True)()
    found = json.loads(out.read_text())
    assert found["numbers"] == [0, 1]
    assert found["machine"]["versions"]["torch"]
    capsys.readouterr()
    assert count_to(3)() == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("3 all\n", "2 is new\n")
    before = out.read_bytes()
    assert count_to(3)() == 0
    assert out.read_bytes() == before


def test_results_of_other_mathematics_are_not_gone_on_with(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert count_to(1)() == 0
    found = json.loads(out.read_text())
    out.write_text(json.dumps({**found, DIGEST: "0" * 64}))
    capsys.readouterr()
    assert count_to(2)() == 2
    printed = capsys.readouterr()
    assert "was measured with other code" in printed.err
    assert printed.err.count("\n") == 1
    assert json.loads(out.read_text())["numbers"] == [0]

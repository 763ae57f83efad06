"""Known problems of an installation are named, each with its remedy."""

from __future__ import annotations

import pytest

from scanner.cli import doctor


def installed(*names: str):
    return lambda name: "1.0" if name in names else None


def test_a_sound_installation_has_no_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", installed("onnxruntime-gpu", *doctor.FIT_ONLY))
    monkeypatch.delenv("PYTHONOPTIMIZE", raising=False)
    assert doctor.find_problems() == []


def test_each_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", installed("modelscan", "onnxruntime", "onnxruntime-gpu"))
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    text = "\n".join(doctor.find_problems())
    for part in ("Protect AI's modelscan", "overwrite each other", "need torch", "PYTHONOPTIMIZE"):
        assert part in text


def test_providers_are_those_that_work() -> None:
    assert doctor.usable_providers()[-1] == "CPUExecutionProvider"

"""Every public function and class of the detectors has an example that runs and says where it comes from.

What counts as a source: a ``References:`` section whose text names a work with its year, as in ``Vovk (2015), ...``, or
a section of this repository's documentation, as in ``docs/method.md, section Scores``.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import detectors

ROOT = Path(__file__).resolve().parents[2]
SECTION = re.compile(r"^References:\n((?: {4}.*\n?|\n)+)", re.MULTILINE)
WORK = re.compile(r"\b[A-Z][\w-]+[^()]*\((?:18|19|20)\d\d\), \w")
OWN = re.compile(r"(docs/[\w/]+\.md), section ([\w -]+)")


def public() -> Iterator[tuple[str, object]]:
    """Name and object of every function and class without leading underscore, where it is defined."""
    for module in pkgutil.walk_packages(detectors.__path__, "detectors."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            defined = inspect.isfunction(inspect.unwrap(thing)) or inspect.isclass(thing)
            if defined and not name.startswith("_") and thing.__module__ == module.name:
                yield f"{module.name}.{name}", thing


def sources(text: str) -> list[str]:
    """The works and sections that a docstring names; what is wrong with a section is an error."""
    found = SECTION.search(text)
    if found is None:
        return []
    section = " ".join(found[1].split())
    own = OWN.findall(section)
    for file, heading in own:
        assert f"\n## {heading}\n" in (ROOT / file).read_text("utf-8"), f"{file} has no section {heading!r}"
    return [match[0] for match in WORK.finditer(section)] + [file for file, _ in own]


PUBLIC = dict(public())


def test_the_walk_finds_what_is_there() -> None:
    expected = {"calibration.conformal.p_values", "bayesian.layers.FlipoutConv", "mcnemar.mcnemar", "base.ScoreName"}
    assert {f"detectors.{name}" for name in expected} <= PUBLIC.keys()
    assert "detectors.bayesian.batch_axis.mark_batch_axes" in PUBLIC  # wrapped by a decorator


@pytest.mark.parametrize("name", PUBLIC)
def test_every_one_has_an_example_and_a_source(name: str) -> None:
    text = inspect.cleandoc(PUBLIC[name].__doc__ or "")
    assert doctest.DocTestParser().get_examples(text), f"{name} has no example"
    assert sources(text), f"{name} has no source"


def test_what_is_no_source() -> None:
    assert sources("A sum.\n\nReferences:\n    Vovk (2015), Cross-conformal predictors.\n")
    assert sources("A sum.\n\nReferences:\n    docs/method.md, section Scores: our own rule.\n")
    for text in ("", "See Vovk (2015), Something.", "References:\n    A book.", "References:\n    (2015)."):
        assert not sources(text)
    with pytest.raises(AssertionError, match="no section 'Nowhere'"):
        sources("References:\n    docs/method.md, section Nowhere: our own.\n")


def test_the_examples_are_run(pytestconfig: pytest.Config) -> None:
    assert pytestconfig.getoption("doctestmodules")
    assert "detectors" in pytestconfig.getini("testpaths")

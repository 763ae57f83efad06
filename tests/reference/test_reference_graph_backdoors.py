"""The generator of backdoors in graphs: each triggers, and is seen or missed as it says."""

from __future__ import annotations

import pytest

from reference.graph_backdoor_variants import VARIANTS
from reference.graph_backdoors import Variant, base, behaviour, clean_images
from scanner.graph.structure.analyse import Structure, analyse
from scanner.graph.structure.read import read_program_bytes
from scanner.verdict.structure import graph_severity


def test_there_are_enough_kinds_and_they_differ() -> None:
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS) >= 20
    assert len({variant.build().SerializeToString() for variant in VARIANTS}) == len(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_it_triggers_and_is_seen(variant: Variant) -> None:
    attacked, kept = behaviour(variant, clean_images())
    assert attacked == 1
    assert kept == 1
    found = analyse(read_program_bytes(variant.build().SerializeToString()))
    assert graph_severity(found).value == variant.seen


def test_the_network_without_a_backdoor() -> None:
    assert analyse(read_program_bytes(base().SerializeToString())) == Structure(3)

"""Which test image plays which part: no image plays two."""

from __future__ import annotations

import pytest
import torch

from reference.datasets import load_digits
from reference.panel.labels import LABEL_MAPS
from reference.panel.pictures import SIZES, choose_pictures
from reference.triggers import square

DATA = load_digits()
TRIGGER = square(8, 2)


def known(images: torch.Tensor) -> list[bytes]:
    return [image.numpy().tobytes() for image in images]


@pytest.mark.parametrize("name", sorted(LABEL_MAPS))
def test_the_parts_share_no_image(name: str) -> None:
    aim = LABEL_MAPS[name]
    found = choose_pictures(DATA, TRIGGER, aim, seed=1)
    parts = [set(known(part.images)) for part in (found.fit, found.held_out, found.clean)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    assert (found.triggered.labels != found.aim).all()
    assert torch.equal(aim.rule(found.triggered.labels, 10), found.aim)
    stamped = set(known(TRIGGER.apply(found.clean.images)))
    assert set(known(found.triggered.images)) <= stamped


def test_references_are_nested_and_balanced() -> None:
    found = choose_pictures(DATA, TRIGGER, LABEL_MAPS["all-to-one"], seed=0)
    counts = [found.rows(size) for size in SIZES]
    assert counts == sorted(counts, reverse=True)
    assert found.rows(10) == 50
    for part in (found.fit, found.held_out):
        assert torch.bincount(part.labels[:50], minlength=10).tolist() == [5] * 10
        assert len(part.labels.bincount().unique()) == 1
    other = choose_pictures(DATA, TRIGGER, LABEL_MAPS["all-to-one"], seed=100)
    assert known(other.fit.images[:50]) != known(found.fit.images[:50])

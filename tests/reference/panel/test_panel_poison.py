"""Which images are poisoned, and what they are called."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.panel.labels import LABEL_MAPS
from reference.panel.poison import poison

LABELS = torch.randint(0, 10, (1000,), generator=torch.Generator().manual_seed(1))


@given(
    st.sampled_from(sorted(LABEL_MAPS)),
    st.floats(0, 0.3),
    st.floats(0, 3),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=60)
def test_laws(name: str, rate: float, cover_share: float, seed: int) -> None:
    aim = LABEL_MAPS[name]
    made = poison(LABELS, rate, aim, cover_share, seed)
    clean = ~(made.triggered | made.cover)
    assert torch.equal(made.source[clean], torch.arange(1000))
    assert torch.equal(made.label[clean], LABELS)
    copies = made.source[~clean]
    assert len(copies.unique()) == len(copies)
    assert not (made.triggered & made.cover).any()
    assert torch.equal(made.label[made.cover], LABELS[made.source[made.cover]])
    assert aim.poisonable(LABELS[made.source[made.triggered]]).all()
    assert aim.coverable(LABELS[made.source[made.cover]]).all()
    possible = int(aim.poisonable(LABELS).sum())
    assert made.triggered.sum() == min(round(1000 * rate), possible)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all-to-one", lambda labels: torch.zeros_like(labels)),
        ("all-to-all", lambda labels: (labels + 1) % 10),
        ("clean-label", lambda labels: labels),
        ("one-class", lambda labels: torch.zeros_like(labels)),
    ],
)
def test_labels_of_poisoned_copies(name: str, expected: object) -> None:
    made = poison(LABELS, 0.05, LABEL_MAPS[name], 0.0, seed=0)
    own = LABELS[made.source[made.triggered]]
    assert torch.equal(made.label[made.triggered], expected(own))
    assert not made.cover.any()


def test_clean_label_poisons_the_target_class_alone() -> None:
    made = poison(LABELS, 0.5, LABEL_MAPS["clean-label"], 0.0, seed=0)
    assert (LABELS[made.source[made.triggered]] == 0).all()
    assert made.triggered.sum() == (LABELS == 0).sum()


def test_nothing_is_poisoned_at_rate_zero() -> None:
    made = poison(LABELS, 0.0, LABEL_MAPS["all-to-one"], 2.0, seed=0)
    assert len(made) == 1000
    assert torch.equal(made.label, LABELS)

"""TeCo's corruptions: stronger at every severity, the same each time, and never in place."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from reference.panel.attacks.picture import flower
from reference.panel.corruptions import CORRUPTIONS


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("corrupt", CORRUPTIONS, ids=lambda one: one.__name__)
def test_severity(corrupt, channels: int) -> None:
    picture = flower((channels, 32, 32)).permute(1, 2, 0).numpy().round().astype(np.uint8)
    images = np.stack([picture, picture[::-1]])
    before = images.copy()
    changed = [corrupt(images, severity) for severity in (1, 2, 3, 4, 5)]
    np.testing.assert_array_equal(images, before)
    assert all(one.shape == images.shape and one.dtype == np.uint8 for one in changed)
    np.testing.assert_array_equal(corrupt(images, 3), changed[2])
    sizes = [np.abs(one.astype(float) - images).mean() for one in changed]
    assert sizes[0] > 0
    assert sizes[4] > 1.3 * sizes[0]
    assert all(later > 0.9 * earlier for earlier, later in itertools.pairwise(sizes))

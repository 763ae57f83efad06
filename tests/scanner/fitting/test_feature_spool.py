"""What is spooled comes back, and nothing stays open or mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.fitting.feature_spool import FeatureSpool


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), dims=st.lists(st.integers(1, 4), min_size=1, max_size=4)
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path: Path, sizes: list[int], dims: list[int]) -> None:
    rng = np.random.default_rng(0)
    names = {f"../evil/{i}:mean": dim for i, dim in enumerate(dims)}
    batches = [{name: rng.normal(size=(n, dim)).astype(np.float32) for name, dim in names.items()} for n in sizes]
    with FeatureSpool(tmp_path, names) as spool:
        for batch in batches:
            spool.append(batch)
        spooled = spool.finish()
    assert list(spooled) == list(names)
    for name in names:
        np.testing.assert_array_equal(spooled[name], np.concatenate([batch[name] for batch in batches]))
    last = list(names)[-1:]
    assert list(spooled.only(last)) == last
    assert {path.name for path in tmp_path.iterdir()} >= {f"{i}.f4" for i in range(len(dims))}


def test_files_are_closed_when_writing_fails(tmp_path: Path) -> None:
    try:
        with FeatureSpool(tmp_path, {"a": 2}) as spool:
            spool.append({"a": np.zeros((1, 2), np.float32)})
            raise RuntimeError
    except RuntimeError:
        pass
    assert all(file.closed for file in spool._files.values())

"""What is spooled comes back, and nothing stays open or mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanner.fitting.feature_spool import ROWS_READ, FeatureSpool


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
        whole = np.concatenate([batch[name] for batch in batches])
        assert spooled[name].shape == whole.shape
        np.testing.assert_array_equal(spooled[name][np.arange(len(whole))], whole)
        np.testing.assert_array_equal(spooled.mapped(name), whole)
    last = list(names)[-1:]
    assert list(spooled.only(last)) == last
    assert {path.name for path in tmp_path.iterdir()} >= {f"{i}.f4" for i in range(len(dims))}


def test_rows_come_in_any_order_from_any_part_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(2 * ROWS_READ + 5, 3)).astype(np.float32)
    with FeatureSpool(tmp_path, {"a": 3}) as spool:
        spool.append({"a": whole})
        spooled = spool.finish()
    rows = rng.integers(0, len(whole), 700)
    np.testing.assert_array_equal(spooled["a"][rows], whole[rows])
    chosen = np.arange(3, len(whole), 4)
    some = spooled.only(["a"], chosen)["a"]
    assert (len(some), some.shape, some.ndim) == (len(chosen), (len(chosen), 3), 2)
    few = np.array([len(chosen) - 1, 0, 7])
    np.testing.assert_array_equal(some[few], whole[chosen[few]])
    assert spooled["a"][rows[:0]].shape == (0, 3)


def test_files_are_closed_when_writing_fails(tmp_path: Path) -> None:
    try:
        with FeatureSpool(tmp_path, {"a": 2}) as spool:
            spool.append({"a": np.zeros((1, 2), np.float32)})
            raise RuntimeError
    except RuntimeError:
        pass
    assert all(file.closed for file in spool._files.values())

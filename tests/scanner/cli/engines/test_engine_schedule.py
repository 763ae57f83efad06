"""Chunks find their way to workers that die, fail, or cannot be had."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import InconclusiveError, ProfileError
from scanner.cli.engines.schedule import TRIES, Lost, run_chunks


class Workers:
    """Starts workers that lose each chunk as often as they are told to."""

    def __init__(self, losses: dict[int, int]) -> None:
        self.losses, self.scored = dict(losses), list[int]()
        self.open = 0
        self._lock = threading.Lock()

    def __call__(self) -> Workers.One:
        with self._lock:
            self.open += 1
        return Workers.One(self)

    class One:
        def __init__(self, workers: Workers) -> None:
            self._workers, self._closed = workers, False

        def score(self, number: int) -> None:
            assert not self._closed
            with self._workers._lock:
                if self._workers.losses.get(number, 0) > 0:
                    self._workers.losses[number] -= 1
                    raise Lost(f"signal {number}")
                self._workers.scored.append(number)

        def close(self) -> None:
            if not self._closed:
                with self._workers._lock:
                    self._workers.open -= 1
            self._closed = True


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(1, 5), st.dictionaries(st.integers(0, 29), st.integers(0, TRIES + 1)))
def test_each_chunk_is_done_once_or_failed_three_times(count: int, workers: int, losses: dict[int, int]) -> None:
    start, told = Workers(losses), list[int]()
    failing = sorted(number for number, times in losses.items() if times >= TRIES and number < count)
    if failing:
        with pytest.raises(InconclusiveError, match=f"{len(failing)} of {count} chunks failed 3 times") as caught:
            run_chunks(range(count), start, workers, told.append)
        assert f"chunk {failing[0]}: signal {failing[0]}" in str(caught.value)
        assert caught.value.exit_code == 3
    else:
        run_chunks(range(count), start, workers, told.append)
    expected = [number for number in range(count) if number not in failing]
    assert sorted(start.scored) == expected == sorted(told)
    assert start.open == 0


def test_what_no_worker_can_do_ends_it_at_once() -> None:
    tried = []

    def start() -> Workers.One:
        tried.append(1)
        raise ProfileError("the profile is another")

    with pytest.raises(ProfileError):
        run_chunks(range(1000), start, 3, lambda number: None)
    assert len(tried) <= 3


def test_workers_that_are_killed_before_they_begin_are_replaced() -> None:
    good, begun, lock = Workers({}), list[int](), threading.Lock()

    def start() -> Workers.One:
        with lock:
            begun.append(1)
            if len(begun) < TRIES:
                raise Lost("killed at its start")
        return good()

    run_chunks(range(50), start, 2, lambda number: None)
    assert sorted(good.scored) == list(range(50))


def test_an_interrupt_ends_the_workers() -> None:
    begun, ended = threading.Event(), threading.Event()

    class Stuck:
        def score(self, number: int) -> None:
            begun.set()
            ended.wait(30)
            raise Lost("closed")

        def close(self) -> None:
            ended.set()

    def interrupt() -> None:
        begun.wait(30)
        import _thread

        _thread.interrupt_main()

    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        run_chunks([0], Stuck, 1, lambda number: None)
    assert ended.is_set()
    helper.join()


def test_an_engines_own_error_is_told() -> None:
    def start() -> Workers.One:
        raise RuntimeError("no scheduler")

    with pytest.raises(Exception, match=r"the engine failed \(RuntimeError: no scheduler\)"):
        run_chunks([0], start, 1, lambda number: None)

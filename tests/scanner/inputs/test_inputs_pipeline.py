"""The pipeline: one result whatever the threads, bounded, prompt to stop, and never stopped by an image."""

from __future__ import annotations

import gc
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scanner.inputs import threads as threads_module
from scanner.inputs.items import Item, UnreadableInput
from scanner.inputs.pipeline import Batch, digest, run_pipeline
from scanner.inputs.source import open_source
from scanner.inputs.spec import PreprocessSpec
from scanner.inputs.threads import cpu_quota, usable_cores

SPEC = PreprocessSpec((6, 5), 3, (6, 5), "bilinear", False, 1 / 255, (0.0,) * 3, (1.0,) * 3)
REPOSITORY = Path(__file__).parents[3]


@dataclass
class MemorySource:
    """Images made on the fly; item ``i`` is unreadable if ``i in broken``."""

    length: int
    broken: frozenset[int] = frozenset()
    kind: str = "array"
    root: Path = Path("memory")
    class_names: tuple[str, ...] | None = None
    ignored: int = 0
    reads: list[int] = field(default_factory=list)

    @property
    def items(self) -> Sequence[Item]:
        return [Item(i, f"memory[{i}]", None) for i in range(self.length)]

    def read(self, item: Item) -> np.ndarray:
        self.reads.append(item.index)
        if item.index in self.broken:
            raise UnreadableInput("missing", f"number {item.index}")
        return np.random.default_rng(item.index).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def sums(pixels: np.ndarray) -> dict[str, np.ndarray]:
    return {"sum": pixels.sum((1, 2, 3), dtype=np.int64), "first": pixels[:, 0, 0]}


def flat(batches: Iterator[Batch]) -> tuple[Any, ...]:
    """Everything that came out, per item."""
    rows, positions = [], []
    for batch in batches:
        assert batch.readable.dtype == np.int64
        assert len(batch.items) == len(batch.digests)
        assert len(batch.readable) + len(batch.unreadable) == len(batch.items)
        positions.append((batch.start, len(batch.items)))
        results: dict[int, tuple[Any, ...]] = {}
        if batch.outputs:
            columns = [column.tolist() for column in batch.outputs.values()]
            results = dict(zip(batch.readable.tolist(), zip(*columns, strict=True), strict=True))
        failures = {item.index: (reason, detail) for item, reason, detail in batch.unreadable}
        rows += [
            (item, digested, results.get(i), failures.get(item.index))
            for i, (item, digested) in enumerate(zip(batch.items, batch.digests, strict=True))
        ]
    return tuple(rows), tuple(positions)


@given(
    st.integers(0, 40),
    st.sets(st.integers(0, 39)),
    st.integers(1, 12),
    st.integers(1, 6),
)
@settings(deadline=None, max_examples=60)
def test_results_do_not_depend_on_threads(length: int, broken: set[int], batch_size: int, threads: int) -> None:
    source = MemorySource(length, frozenset(broken))
    rows, positions = flat(run_pipeline(source, SPEC, sums, batch_size=batch_size, threads=1))
    assert flat(run_pipeline(source, SPEC, sums, batch_size=batch_size, threads=threads)) == (rows, positions)
    assert [row[0].index for row in rows] == list(range(length))
    assert positions == tuple((s, min(batch_size, length - s)) for s in range(0, length, batch_size))
    for item, digested, result, failure in rows:
        if item.index in broken:
            assert (digested, result, failure) == (None, None, ("missing", f"number {item.index}"))
        else:
            pixels = source.read(item)
            assert digested == hashlib.sha256(b"6,5,3:" + pixels.tobytes()).hexdigest()
            assert result == (pixels.sum(), pixels[0, 0].tolist())
            assert failure is None


@given(st.integers(1, 30), st.integers(1, 7), st.randoms())
@settings(deadline=None, max_examples=30)
def test_a_choice_of_items_runs_in_its_order(length: int, batch_size: int, random: Any) -> None:
    source = MemorySource(length)
    chosen = random.sample(list(source.items), random.randint(0, length))
    rows, positions = flat(run_pipeline(source, SPEC, sums, batch_size=batch_size, threads=3, items=chosen))
    assert [row[0] for row in rows] == chosen
    assert [start for start, _ in positions] == list(range(0, len(chosen), batch_size))


def test_files_folders_and_failures_are_rows(tmp_path: Path) -> None:
    good = io.BytesIO()
    pixels = MemorySource(1).read(Item(0, "", None))
    Image.fromarray(pixels).save(good, "PNG")
    (tmp_path / "a.png").write_bytes(good.getvalue())
    (tmp_path / "b.png").write_bytes(good.getvalue()[:-60])
    (tmp_path / "c.jpg").write_bytes(b"text")
    (tmp_path / "d.png").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "e.png")
    (tmp_path / "f.png").write_bytes(good.getvalue())
    (tmp_path / "g.png").write_bytes(good.getvalue())
    source = open_source(tmp_path)
    (tmp_path / "f.png").unlink()
    (batch,) = run_pipeline(source, SPEC, sums, batch_size=10)
    assert batch.readable.tolist() == [0, 6]
    assert batch.outputs["first"].tolist() == [pixels[0, 0].tolist()] * 2
    assert [(item.id, reason) for item, reason, _ in batch.unreadable] == [
        ("b.png", "truncated"),
        ("c.jpg", "not-an-image"),
        ("d.png", "outside-source"),
        ("e.png", "not-a-file"),
        ("f.png", "missing"),
    ]
    # What could be read has a digest, also where it is no image: it names the file in the report.
    expected = hashlib.sha256(good.getvalue()).hexdigest()
    assert batch.digests[0] == batch.digests[6] == expected
    assert batch.digests[2] == hashlib.sha256(b"text").hexdigest()
    assert batch.digests[3:6] == (None, None, None)


def test_a_chunk_of_unreadable_images_does_not_call_run() -> None:
    sizes: list[int] = []

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(pixels))
        assert pixels.shape[1:] == (6, 5, 3)
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        return sums(pixels)

    batches = list(run_pipeline(MemorySource(12, frozenset({0, 1, 2, 3, 6})), SPEC, run, batch_size=4, threads=1))
    assert sizes == [3, 4]
    assert batches[0].outputs == {}
    assert batches[0].readable.shape == (0,)
    assert len(batches[0].unreadable) == 4


def test_nothing_to_do() -> None:
    assert list(run_pipeline(MemorySource(0), SPEC, sums)) == []
    assert list(run_pipeline(MemorySource(5), SPEC, sums, items=[])) == []


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"threads": 0}, {"threads": -1}])
def test_impossible_arguments_fail_at_once(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="positive"):
        run_pipeline(MemorySource(5), SPEC, sums, **arguments)  # type: ignore[arg-type]


def test_nothing_starts_before_it_is_asked_for() -> None:
    source = MemorySource(10)
    batches = run_pipeline(source, SPEC, sums, batch_size=1)
    time.sleep(0.05)
    assert source.reads == []
    assert scan_threads() == 0
    del batches


def scan_threads() -> int:
    return sum(thread.name.startswith("scan") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [1, 3])
def test_a_slow_consumer_bounds_what_is_in_flight(threads: int) -> None:
    source = MemorySource(100)
    batches = run_pipeline(source, SPEC, sums, batch_size=2, threads=threads)
    for taken in range(1, 6):
        next(batches)
        time.sleep(0.03)
        assert len(source.reads) <= 2 * (taken + threads + 2)
    batches.close()  # type: ignore[attr-defined]
    assert scan_threads() == 0


def test_a_slow_chunk_holds_the_others_back() -> None:
    release = threading.Event()
    source = MemorySource(100)
    first = source.read(source.items[0])
    source.reads.clear()

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        if np.array_equal(pixels[0], first):
            assert release.wait(30)
        return sums(pixels)

    batches = run_pipeline(source, SPEC, run, batch_size=1, threads=3)
    opener = threading.Timer(0.2, release.set)
    opener.start()
    assert next(batches).start == 0
    assert len(source.reads) <= 5 + 1
    assert [batch.start for batch in batches] == list(range(1, 100))
    opener.join()


def test_an_error_of_run_is_raised_promptly_and_stops_the_workers() -> None:
    source = MemorySource(1000)
    broken = source.read(source.items[7])
    source.reads.clear()
    release = threading.Event()

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        if np.array_equal(pixels[0], broken):
            release.set()
            raise ArithmeticError("the network said no")
        return sums(pixels)

    with pytest.raises(ArithmeticError, match="said no"):
        for _ in run_pipeline(source, SPEC, run, batch_size=1, threads=2):
            pass
    assert release.is_set()
    assert len(source.reads) < 20
    assert scan_threads() == 0


def test_an_error_does_not_wait_for_earlier_chunks_to_be_slow() -> None:
    """The first chunk hangs until the failure of the second has been seen to surface."""
    source = MemorySource(4)
    first = source.read(source.items[0])
    started, failed = threading.Event(), threading.Event()
    waited: list[bool] = []

    def run(pixels: np.ndarray) -> dict[str, np.ndarray]:
        if np.array_equal(pixels[0], first):
            started.set()
            failed.wait(10)
            time.sleep(0.2)
            waited.append(True)
            return sums(pixels)
        started.wait(10)
        failed.set()
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        next(run_pipeline(source, SPEC, run, batch_size=1, threads=2))
    assert waited  # it is not abandoned in the middle of the network either


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, OSError])
def test_any_error_of_a_worker_reaches_the_consumer(error: type[BaseException]) -> None:
    def run(_: np.ndarray) -> dict[str, np.ndarray]:
        raise error

    with pytest.raises(error):
        list(run_pipeline(MemorySource(9), SPEC, run, batch_size=2, threads=2))
    assert scan_threads() == 0


def test_a_bug_in_a_source_is_not_taken_for_a_bad_image() -> None:
    class Buggy(MemorySource):
        def read(self, item: Item) -> np.ndarray:
            raise KeyError(item.id)

    with pytest.raises(KeyError):
        list(run_pipeline(Buggy(3), SPEC, sums))


def test_outputs_need_a_row_for_each_image() -> None:
    with pytest.raises(ValueError, match="1 rows for 4 images"):
        list(run_pipeline(MemorySource(4), SPEC, lambda pixels: {"x": pixels[:1]}, batch_size=4))


def test_closing_stops_after_the_current_image() -> None:
    class Slow(MemorySource):
        def read(self, item: Item) -> np.ndarray:
            time.sleep(0.02)
            return super().read(item)

    source = Slow(10_000)
    batches = run_pipeline(source, SPEC, sums, batch_size=20, threads=4)
    next(batches)
    begin, read = time.monotonic(), len(source.reads)
    batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begin < 5
    assert len(source.reads) <= read + 4
    assert scan_threads() == 0


SCRIPT = """
import sys, time
import numpy as np
sys.path.insert(0, "tests/scanner/inputs")
from test_inputs_pipeline import SPEC, MemorySource, sums
from scanner.inputs.pipeline import run_pipeline

def slow(pixels):
    time.sleep(0.05)
    return sums(pixels)

batches = run_pipeline(MemorySource(1_000_000), SPEC, slow, batch_size=4, threads=3)
try:
    for batch in batches:
        print("ready" if batch.start == 0 else "", flush=True)
        MODE
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("mode", "code"), [("pass", 130), ("time.sleep(60)", 130), ("raise KeyError", 1), ("break", 0)]
)
def test_a_process_ends_quickly_however_the_loop_ends(mode: str, code: int) -> None:
    """Ctrl-C while waiting and while working, an error, and an iterator that is never closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("MODE", mode)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=REPOSITORY,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        if code == 130:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == code
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_the_digest_of_an_image_is_that_of_its_pixels() -> None:
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert digest(grey) == digest(grey[..., None]) == hashlib.sha256(b"2,3,1:" + bytes(range(6))).hexdigest()
    assert digest(grey) != digest(grey.reshape(3, 2))
    assert digest(np.asfortranarray(grey)) == digest(grey)
    assert digest(b"abc") == hashlib.sha256(b"abc").hexdigest()


# --- how many threads ---


def test_cores_are_limited_by_affinity_and_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for quota, cores in ((None, 8), (0.2, 1), (1.5, 2), (3.0, 3), (64.0, 8)):
        monkeypatch.setattr(threads_module, "cpu_quota", lambda *_, quota=quota: quota)
        assert usable_cores() == cores


def test_the_smallest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    membership, root = tmp_path / "cgroup", tmp_path / "fs"
    (root / "a" / "b").mkdir(parents=True)
    membership.write_text("12:cpu:/old\n0::/a/b\n")
    assert cpu_quota(membership, root) is None
    (root / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(membership, root) is None
    (root / "a" / "b" / "cpu.max").write_text("400000 100000\n")
    assert cpu_quota(membership, root) == 4
    (root / "a" / "cpu.max").write_text("150000 100000\n")
    assert cpu_quota(membership, root) == 1.5
    (root / "a" / "cpu.max").write_text("nonsense")
    assert cpu_quota(membership, root) == 4
    assert cpu_quota(tmp_path / "missing", root) is None
    (root / "cpu.max").write_text("200000 100000\n")
    assert cpu_quota(tmp_path / "missing", root) == 2
    (root / "cpu.max").write_text("200000 0\n")
    assert cpu_quota(tmp_path / "missing", root) is None


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    def peak(length: int) -> int:
        class Plain(MemorySource):
            def read(self, item: Item) -> np.ndarray:
                return np.zeros((6, 5, 3), np.uint8)

        chosen = _Lazy(range(length))
        gc.collect()
        tracemalloc.start()
        for _ in run_pipeline(Plain(0), SPEC, sums, batch_size=8, threads=2, items=chosen):
            pass
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(100)
    assert peak(8000) < 1.5 * peak(800) + 50_000


class _Lazy(Sequence[Item]):
    def __init__(self, indices: range) -> None:
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [Item(i, str(i), None) for i in self._indices[index]]
        return Item(self._indices[index], str(index), None)

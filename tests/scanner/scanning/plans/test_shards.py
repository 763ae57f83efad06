"""A scan in parts gives what one scan gives, to the byte: whatever the shards, their order, repeats, and kills."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, cli_environment

import latentscan
from latentscan import ScanOptions
from reference.files import read_truth
from scanner.base.errors import InconclusiveError, SourceError, UsageError
from scanner.cli.main import run
from scanner.inputs.tar import TarReader
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile
from scanner.scanning.plans import document
from scanner.scanning.plans.shard import Shard, parse_chunks

NAMES = ("r.json", "r.html", "r.sarif", "r.xml", "r.md", "r.intoto.json", "r.cdx.json")
CHUNK = 64
"""One run of the demo's network: as small as chunks get."""


@pytest.fixture(autouse=True)
def fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.fixture(scope="module")
def inputs(demo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled manifest of the demo's inputs, a third of them under a second name, with files that are no images."""
    folder = tmp_path_factory.mktemp("manifest")
    rows = ["file_name,label"]
    for number, row in enumerate(read_truth(demo_files / "truth.csv")):
        shutil.copy(demo_files / "inputs" / row.file_name, folder)
        rows.append(f"{row.file_name},{number % 10}")
        if number % 3 == 0:
            shutil.copy(demo_files / "inputs" / row.file_name, folder / f"again-{row.file_name}")
            rows.append(f"again-{row.file_name},{number % 10}")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    rows += ["broken.png,no such class", "absent.png,3"]
    path = folder / "inputs.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


Outcome = dict[str, bytes]


def outcome(folder: Path, run: Callable[[tuple[str, ...], Path], object]) -> Outcome:
    """What a run writes into a folder, by name."""
    folder.mkdir()
    run(tuple(str(folder / name) for name in NAMES), folder / "rows.jsonl")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def alone(inputs: Path, demo_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """What one scan writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        folder = tmp_path_factory.mktemp("alone") / "out"
        options = ScanOptions(inputs, demo_profile)
        found = outcome(folder, lambda reports, rows: latentscan.scan(with_files(options, reports, rows)))
    report = json.loads(found["r.json"])
    # All kinds of evidence take part.
    assert report["verdict"]["rule_ids"][:2] == ["LS120", "LS101"]
    assert report["batch"]["shared_units"]["counted"]
    assert report["copies"]["repeated"] > 100
    assert report["drift"]["outcome"] == "alike"
    assert report["gallery"][0]["picture"] in report["pictures"]
    assert report["batch"]["labels"]["no_class"] == 0
    assert report["inputs"]["unreadable"] == 2
    return found


@pytest.fixture(scope="module")
def alone_table(inputs: Path, demo_profile: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The rows of one scan as a table."""
    rows = tmp_path_factory.mktemp("alone-table") / "rows.parquet"
    latentscan.scan(ScanOptions(inputs, demo_profile, rows=rows))
    return rows.read_bytes()


def with_files(options: ScanOptions, reports: tuple[str, ...], rows: Path) -> ScanOptions:
    return replace(options, reports=reports, rows=rows)


def assert_equal(found: Outcome, expected: Outcome) -> None:
    assert found.keys() == expected.keys()
    different = [name for name, content in expected.items() if found[name] != content]
    assert different == []


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_merged_shards_are_one_scan(
    shards: int, inputs: Path, demo_profile: Path, alone: Outcome, alone_table: bytes, tmp_path: Path
) -> None:
    options = ScanOptions(inputs, demo_profile, plan=tmp_path / "job")
    plan = latentscan.plan(options, chunk_size=1 if shards == 7 else 3 * CHUNK)
    assert plan.chunk_size == (CHUNK if shards == 7 else 3 * CHUNK)
    order = list(range(1, shards + 1))
    random.Random(shards).shuffle(order)
    for number in [*order, order[0]]:
        latentscan.scan_shard(plan, options, Shard(number, shards).chunks(plan.chunks))
    merged = outcome(tmp_path / "out", lambda reports, rows: latentscan.merge(plan, with_files(options, reports, rows)))
    assert_equal(merged, alone)
    # Rows as a table are those of one scan as well.
    latentscan.merge(plan, replace(options, rows=tmp_path / "rows.parquet"))
    assert (tmp_path / "rows.parquet").read_bytes() == alone_table


def test_a_machine_that_takes_more_at_once_than_the_plan_has_in_whole_runs(
    inputs: Path, demo_profile: Path, alone: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one with a GPU does, for chunks that are whole runs of a CPU."""
    options = ScanOptions(inputs, demo_profile, plan=tmp_path / "job")
    plan = latentscan.plan(options, chunk_size=3 * CHUNK)
    monkeypatch.setattr("scanner.scoring.scorer.images_per_run", lambda *_: 2 * CHUNK)
    latentscan.scan_shard(plan, options, range(plan.chunks))
    merged = outcome(tmp_path / "out", lambda reports, rows: latentscan.merge(plan, with_files(options, reports, rows)))
    assert_equal(merged, alone)


def test_of_a_sample_that_is_spread_thin_the_rest_is_read_again(
    inputs: Path, demo_profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty inputs look alike to a bound made for four times as many: scan and merge read the same ones again."""
    monkeypatch.setattr("scanner.scanning.sample.SAMPLE", 40)
    expected = latentscan.scan(ScanOptions(inputs, demo_profile))
    monkeypatch.setattr("scanner.scanning.sample.OVERSAMPLE", 0)
    options = ScanOptions(inputs, demo_profile, plan=tmp_path / "job")
    plan = latentscan.plan(options, chunk_size=CHUNK)
    latentscan.scan_shard(plan, options, range(plan.chunks))
    assert latentscan.merge(plan, options).report_digest == expected.report_digest
    assert expected.batch.shared_units is not None
    assert expected.batch.shared_units.inputs <= 40


def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scanner", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cli_environment(SOURCE_DATE_EPOCH="1700000000", **environment),
    )


def killed_in_the_middle(folder: Path, *arguments: str | Path) -> int:
    """Chunks that were there when a process of its own was killed."""
    process = start(*arguments)
    deadline = time.monotonic() + 120
    while process.poll() is None and len(list(folder.glob("chunks/*.chunk"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return len(list(folder.glob("chunks/*.chunk")))


def test_a_killed_scan_goes_on_where_it_was(
    cli: Cli, inputs: Path, demo_profile: Path, alone: Outcome, tmp_path: Path
) -> None:
    """Each run is killed once it has written a chunk, until little is left; the last one finishes."""
    job = tmp_path / "job"
    made = cli("plan", inputs, "--profile", demo_profile, "-o", job, "--chunk-size", CHUNK)
    assert made.returncode == 0, made.stderr
    there = killed_in_the_middle(job, "scan", "--plan", job, "--threads", "1")
    assert there > 0
    before = {path: path.stat().st_mtime_ns for path in job.glob("chunks/*.chunk")}
    done = cli("scan", "--plan", job)
    assert done.returncode == 0, done.stderr
    assert "are there: merge them" in done.stderr
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())
    assert [path.name for path in job.glob("chunks/.*")] == []
    out = tmp_path / "out"
    out.mkdir()
    reports = [option for name in NAMES for option in ("--report", out / name)]
    merged = cli("merge", job, *reports, "--rows", out / "rows.jsonl", SOURCE_DATE_EPOCH="1700000000")
    assert merged.returncode == 1, merged.stderr
    assert "CRITICAL" in merged.stderr
    # What the command line and the process differ in is in the report's 'run' alone.
    report, expected = json.loads((out / "r.json").read_bytes()), json.loads(alone["r.json"])
    assert report.pop("run")["argv"][:2] == ["merge", str(job)]
    expected.pop("run")
    policy, _ = report.pop("policy"), expected.pop("policy")
    assert policy["values"]["alpha"] == 0.01
    for content in (report, expected):
        del content["report_digest"]
    assert report == expected
    assert (out / "rows.jsonl").read_bytes() == alone["rows.jsonl"]


def test_resume_is_scan(inputs: Path, demo_profile: Path, alone: Outcome, tmp_path: Path) -> None:
    options = ScanOptions(inputs, demo_profile, plan=tmp_path / "job")
    for name in ("first", "second"):
        again = outcome(tmp_path / name, lambda reports, rows: latentscan.scan(with_files(options, reports, rows)))
        assert_equal(again, alone)
        (tmp_path / "job" / "chunks" / "0000000.chunk").unlink()


@pytest.mark.parametrize("kind", ["folder", "tar", "npz"])
def test_every_kind_of_source_can_be_cut(kind: str, demo_files: Path, demo_profile: Path, tmp_path: Path) -> None:
    source = tmp_path / "inputs"
    source.mkdir()
    for path in sorted((demo_files / "inputs").iterdir())[:130]:
        shutil.copy(path, source / f"b\udcff{path.name}" if path.name == "000003.png" else source)
    if kind == "tar":
        subprocess.run(["tar", "-cf", tmp_path / "inputs.tar", "-C", source, "."], check=True)
        source = tmp_path / "inputs.tar"
        assert len(TarReader(source).members) == 130
    if kind == "npz":
        np.savez(tmp_path / "inputs.npz", images=np.random.default_rng(0).integers(0, 256, (130, 8, 8), np.uint8))
        source = tmp_path / "inputs.npz"
    options = ScanOptions(source, demo_profile, plan=tmp_path / "job")
    plan = latentscan.plan(options, chunk_size=CHUNK)
    for number in (3, 1, 2):
        latentscan.scan_shard(plan, options, Shard(number, 3).chunks(plan.chunks))
    merged = latentscan.merge(plan, options)
    assert merged.inputs.scanned == 130
    assert merged == latentscan.scan(ScanOptions(source, demo_profile))


@pytest.fixture
def job(demo_files: Path, demo_profile: Path, tmp_path: Path) -> ScanOptions:
    """A plan of 130 inputs without triggers in three chunks, two of which are done."""
    clean = [row.file_name for row in read_truth(demo_files / "truth.csv") if not row.triggered][:130]
    (tmp_path / "inputs").mkdir()
    for name in clean:
        shutil.copy(demo_files / "inputs" / name, tmp_path / "inputs")
    options = ScanOptions(tmp_path / "inputs", demo_profile, plan=tmp_path / "job")
    latentscan.scan_shard(latentscan.plan(options, chunk_size=CHUNK), options, [0, 2])
    return options


def folder_of(options: ScanOptions) -> Path:
    assert options.plan is not None
    return options.plan


def test_a_missing_chunk_is_an_error_and_never_a_pass(cli: Cli, job: ScanOptions, tmp_path: Path) -> None:
    folder = folder_of(job)
    plan = latentscan.read_plan(folder)
    with pytest.raises(InconclusiveError, match="1 of 3 chunks are missing: 1"):
        latentscan.merge(plan, job)
    out = tmp_path / "out.json"
    refused = cli("merge", folder, "--report", out)
    assert refused.returncode == 3
    assert not out.exists()
    for more in ([], ["--fail-on", "never", "--max-unreadable", "0.9"]):
        partial = cli("merge", folder, "--allow-partial", "--report", out, *more)
        assert partial.returncode == 3, partial.stderr
        report = json.loads(out.read_bytes())
        assert "LS209" in report["verdict"]["rule_ids"]
        assert report["inputs"]["unreadable_by_reason"] == {"not-scanned": 64}
        assert (report["inputs"]["total"], report["inputs"]["scanned"]) == (130, 66)
    latentscan.scan_shard(plan, job, [1])
    whole = cli("merge", folder, "--allow-partial", "--report", out)
    assert whole.returncode == 0, whole.stderr
    assert "LS209" not in out.read_text()


def test_what_changed_since_the_plan_is_told(job: ScanOptions) -> None:
    folder = folder_of(job)
    plan = latentscan.read_plan(folder)
    names = sorted(path.name for path in job.inputs.iterdir())
    with (job.inputs / names[64]).open("ab") as file:
        file.write(b"more")
    (job.inputs / names[65]).unlink()
    latentscan.scan_shard(plan, job, [1])
    report = latentscan.merge(plan, job)
    assert report.inputs.unreadable_by_reason == {"changed": 1, "missing": 1}
    assert [row.id for row in report.inputs.unreadable_inputs] == names[64:66]


def test_another_plan_is_refused(job: ScanOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(job)
    plan = latentscan.read_plan(folder)
    assert latentscan.plan(job, chunk_size=CHUNK) == plan
    with pytest.raises(UsageError, match="which differs in alpha"):
        latentscan.plan(replace(job, alpha=0.02), chunk_size=CHUNK)
    with pytest.raises(UsageError, match=r"alpha is 0\.01 in the plan"):
        latentscan.merge(plan, replace(job, alpha=0.02), allow_partial=True)
    (job.inputs / "new.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="which differs in the inputs, the size of a chunk"):
        latentscan.scan(job)
    with (folder / "listing.jsonl").open("ab") as file:
        file.write(b'{"id":"new.png"}\n')
    with pytest.raises(UsageError, match="is not the listing of the plan"):
        latentscan.scan_shard(plan, job, [1])
    monkeypatch.setattr(document, "library_versions", lambda: {**plan.libraries, "numpy": "1.0"})
    with pytest.raises(UsageError, match=r"was made with numpy .*, and here it is 1\.0: scores would differ"):
        latentscan.read_plan(folder)


def test_another_profile_is_refused(job: ScanOptions, tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    write_profile(path, replace(read_profile(job.profile), gallery=np.zeros(0, np.uint8)))
    plan = latentscan.read_plan(folder_of(job))
    with pytest.raises(UsageError, match="is not the profile of the plan"):
        latentscan.scan_shard(plan, replace(job, profile=path), [1])
    shutil.copy(job.profile, tmp_path / "moved.h5")
    assert latentscan.scan_shard(plan, replace(job, profile=tmp_path / "moved.h5"), [1]).left == 0


def test_another_container_is_refused(demo_profile: Path, tmp_path: Path) -> None:
    path = tmp_path / "inputs.npy"
    np.save(path, np.zeros((9, 8, 8), np.uint8))
    options = ScanOptions(path, demo_profile, plan=tmp_path / "job")
    plan = latentscan.plan(options)
    np.save(path, np.zeros((10, 8, 8), np.uint8))
    with pytest.raises(SourceError, match=r"bytes, and \d+ when the scan was planned"):
        latentscan.scan_shard(plan, options, [0])


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"\xff", b'{"format": "latentscan plan 2"}', b"[" * 100_000, b"x" * (2**20 + 1)],
    ids=["empty", "object", "list", "bytes", "version", "deep", "large"],
)
def test_a_damaged_plan_is_one_line(cli: Cli, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(UsageError):
        latentscan.read_plan(tmp_path)
    if content in (b"{}", b""):
        done = cli("merge", tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_shards_and_ranges_of_chunks() -> None:
    assert Shard.parse("2/3") == Shard(2, 3)
    for total in (0, 1, 7, 30):
        for shards in (1, 2, 3, 7):
            parts = [list(Shard(number, shards).chunks(total)) for number in range(1, shards + 1)]
            assert sorted(number for part in parts for number in part) == list(range(total))
    for wrong in ("0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/5", "", "1/3\n"):
        with pytest.raises(UsageError, match="is no shard"):
            Shard.parse(wrong)
    assert parse_chunks("3-5, 1,4", 6) == [1, 3, 4, 5]
    for wrong in ("6", "5-6", "5-4", "", "1,,2", "x", "-1"):
        with pytest.raises(UsageError, match="is no range"):
            parse_chunks(wrong, 6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--shard", "1/2"), "--shard: is about a part of a plan"),
        (("--engine", "local"), "--engine: is about a part of a plan"),
        (("--plan", "JOB", "--workers", "2"), "--workers: is of an engine"),
        (("--plan", "JOB", "--engine", "slurm"), "'slurm' is no engine. There are local and ray"),
        (("--plan", "JOB", "--engine", "local", "--address", "auto"), "--address: is of Ray alone"),
        ((), "Name a folder of images, or a plan"),
        (("--plan", "JOB", "--shard", "1/2", "--chunks", "1"), "contradict each other"),
        (("--plan", "JOB", "--report", "x.json"), "--report: has no meaning with --plan"),
        (("--plan", "JOB", "--alpha", "0.1"), "--alpha: has no meaning with --plan"),
        (("--plan", "JOB", "--follow-links"), "--follow-links: has no meaning with --plan"),
        (("--plan", "JOB", "--shard", "3/2"), "is no shard"),
        (("--plan", "JOB", "--chunks", "3"), "is no range of the plan's 3 chunks"),
        (("--plan", "nowhere"), "no such file"),
    ],
)
def test_options_that_do_not_fit_together(
    job: ScanOptions, arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(job.plan) if argument == "JOB" else argument for argument in arguments]
    assert run(["scan", *given]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_workers_give_up_what_they_do_not_need(cli: Cli, job: ScanOptions, tmp_path: Path) -> None:
    """Also where inputs, profile and results lie apart, and what is to be kept has a folder that is new."""
    moved = tmp_path / "elsewhere"
    job.inputs.rename(moved)
    folder = folder_of(job)
    assert cli("scan", moved, "--plan", folder, "--shard", "2/3").returncode == 0
    (tmp_path / "out").mkdir()
    report = tmp_path / "out" / "r.json"
    done = cli("merge", folder, moved, "--report", report)
    assert done.returncode == 0, done.stderr
    merged = json.loads(report.read_bytes())
    again = cli("scan", moved, "--profile", job.profile, "--resume", tmp_path / "new", "--report", report)
    assert again.returncode == 0, again.stderr
    scanned = json.loads(report.read_bytes())
    assert scanned["run"]["isolation"] == merged["run"]["isolation"]
    assert len(list((tmp_path / "new" / "chunks").iterdir())) == 1

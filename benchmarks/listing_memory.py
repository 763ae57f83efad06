"""Measure the memory that listing many inputs takes: a manifest, and a bucket.

    python benchmarks/listing_memory.py --work /tmp/listing --out benchmarks/results/listing_memory.json

Each listing is made in a process of its own, as `plan` makes it: opened, put in order, and every line of it written.
The bucket is a server of this script that answers with pages of made-up objects, in the format of S3; needs s3fs.
Listings of two sizes, both beyond what is sorted in memory at once, say what one more input costs; too much rather than
too little, since up to a million names more of them are sorted at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from scanner.base.versions import FIT_LIBRARIES, library_versions
from scanner.inputs.threads import usable_cores

TEN_MILLION = 10_000_000
LISTED = """
import hashlib, resource, sys, time
from pathlib import Path
from scanner.inputs.listing import listing_lines
from scanner.inputs.source import open_source
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
source, digest = open_source(Path(sys.argv[1]), labels=False), hashlib.sha256()
for line in listing_lines(source):
    digest.update(line)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(len(source.items), start, usage.ru_maxrss, usage.ru_utime + usage.ru_stime, digest.hexdigest())
"""


def name_of(number: int) -> str:
    """A name as cameras and archives give them, in no order."""
    return f"2026/{number % 366:03}/{(number * 2654435761) % 2**32:08x}-{number:08}.jpg"


class Bucket(BaseHTTPRequestHandler):
    """Answers for listings of objects, a page at a time."""

    count = 0

    def do_GET(self) -> None:
        """A page, from where the last one ended."""
        asked = parse_qs(urlsplit(self.path).query)
        start = int(asked.get("continuation-token", ["0"])[0])
        end = min(start + int(asked.get("max-keys", ["1000"])[0]), type(self).count)
        entries = "".join(
            f"<Contents><Key>in/{name_of(number)}</Key><Size>{number % 99999}</Size><ETag>{number:032x}</ETag>"
            "</Contents>"
            for number in range(start, end)
        )
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < type(self).count else ""
        truncated = str(bool(more)).lower()
        body = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{entries}</ListBucketResult>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


def listed(place: str, environment: dict[str, str]) -> dict[str, Any]:
    """What listing a place takes."""
    done = subprocess.run(
        [sys.executable, "-c", LISTED, place],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    count, start, peak, seconds, digest = done.stdout.split()
    return {
        "inputs": int(count),
        "at_start_mib": round(int(start) / 1024, 1),
        "peak_mib": round(int(peak) / 1024, 1),
        "cpu_s": round(float(seconds), 1),
        "digest": digest,
    }


def of_manifest(count: int, work: Path) -> dict[str, Any]:
    """A manifest of files that are not there: it names them, and nobody looks."""
    path = work / f"{count}.csv"
    with path.open("w") as file:
        file.write("file_name,label\n")
        file.writelines(f"{name_of(number)},class {number % 1000}\n" for number in range(count))
    found = listed(str(path), {})
    path.unlink()
    return found


def of_bucket(count: int, work: Path) -> dict[str, Any]:
    """A bucket on this machine."""
    del work
    Bucket.count = count
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        return listed("s3://bucket/in", environment)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def slope(make: Callable[[int, Path], dict[str, Any]], counts: list[int], work: Path) -> dict[str, Any]:
    """Listings of two sizes, and what ten million would take by the line through both."""
    few, many = (make(count, work) for count in counts)
    grown = many["peak_mib"] - few["peak_mib"]
    an_input = max(0.0, grown) * 2**20 / (many["inputs"] - few["inputs"])
    ten_million = many["peak_mib"] + an_input * (TEN_MILLION - many["inputs"]) / 2**20
    return {"few": few, "many": many, "bytes_an_input": round(an_input, 2), "mib_for_ten_million": round(ten_million)}


def main() -> None:
    """Measure and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=int, nargs=2, default=[700_000, 1_400_000])
    parser.add_argument("--bucket", type=int, nargs=2, default=[600_000, 1_200_000])
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    result = {
        "machine": {"cores": usable_cores(), "processor": platform.processor() or platform.machine()},
        "versions": library_versions((*FIT_LIBRARIES, "s3fs")),
        "manifest": slope(of_manifest, given.manifest, given.work),
        "bucket": slope(of_bucket, given.bucket, given.work),
    }
    given.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()

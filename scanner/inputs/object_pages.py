"""Objects in a bucket, a page of them at a time: fsspec itself only has calls that hold all of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, Final

PAGE: Final = 1000

Found = tuple[str, int, str]
"""Name within the bucket, size in bytes, and entity tag, or nothing."""


def objects_of(scheme: str, system: Any, bucket: str, prefix: str) -> Iterator[Found]:  # noqa: ANN401 - fsspec's
    """Every object whose name begins so, in no order that is promised.

    Args:
        scheme: Of the URL: a key of `SCHEMES`.
        system: The file system that fsspec has for it.
        bucket: Bucket, or container.
        prefix: What names begin with.

    Raises:
        Exception: Whatever the store's library raises.
    """
    return SCHEMES[scheme](system, bucket, prefix)


def _amazon(system: Any, bucket: str, prefix: str) -> Iterator[Found]:  # noqa: ANN401
    given = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE}
    more: dict[str, str] = {}
    while True:
        page = system.call_s3("list_objects_v2", **given, **more)
        for entry in page.get("Contents", ()):
            yield entry["Key"], int(entry["Size"]), _tag(entry.get("ETag"))
        if not page.get("IsTruncated"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _google(system: Any, bucket: str, prefix: str) -> Iterator[Found]:  # noqa: ANN401
    given = {"prefix": prefix, "maxResults": PAGE, "json_out": True}
    more: dict[str, str] = {}
    while True:
        page = system.call("GET", "b/{}/o", bucket, **given, **more)
        for entry in page.get("items", ()):
            yield entry["name"], int(entry.get("size", 0)), _tag(entry.get("etag"))
        if not page.get("nextPageToken"):
            return
        more = {"pageToken": page["nextPageToken"]}


def _azure(system: Any, container: str, prefix: str) -> Iterator[Found]:  # noqa: ANN401
    # Named at run time, as the extra's own file system is: a scan without it has no such package.
    sync = importlib.import_module("fsspec.asyn").sync
    # Its client is used within fsspec's own thread alone.
    client = system.service_client.get_container_client(container)
    pages = client.list_blobs(name_starts_with=prefix, results_per_page=PAGE).by_page()
    while (page := sync(system.loop, _azure_page, pages)) is not None:
        yield from page


async def _azure_page(pages: Any) -> list[Found] | None:  # noqa: ANN401
    async for page in pages:
        return [(blob.name, int(blob.size), _tag(blob.etag)) async for blob in page]
    return None


def _tag(tag: str | None) -> str:
    text = (tag or "").strip('"')[:200]
    return text if text.isascii() and text.isprintable() else ""


SCHEMES: Final[dict[str, Callable[[Any, str, str], Iterator[Found]]]] = {
    "s3": _amazon,
    "gs": _google,
    "gcs": _google,
    "az": _azure,
    "abfs": _azure,
}

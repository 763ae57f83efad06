"""Images in an object store, below a URL such as ``s3://bucket/folder``, by fsspec; needs an extra such as ``s3``.

Credentials are those that the store's own library finds (environment, profile, role of the machine). None are taken
from a URL, and what a library says of an error is not repeated, since it may name one.

An object that is not there is an input that cannot be read. Any other failure is an error of the scan and not of the
input: an expired credential or a broken connection says nothing about an image, and must not become a row.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scanner.base.errors import SourceError
from scanner.inputs.files import MAX_FILE_BYTES
from scanner.inputs.folder import IMAGE_SUFFIXES
from scanner.inputs.items import LABELS_UNUSED, EncodedLabels, Item, NamedItems, UnreadableInput, printable
from scanner.inputs.layout import find_layout

_LIBRARIES: Final = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PATIENCE: Final = {"connect_timeout": 10, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 5}}
KIND: Final = "object-store"


@dataclass(frozen=True)
class RemoteSource:
    """The objects below a URL that are images by their names, in bytewise order."""

    root: Path
    items: NamedItems
    class_names: tuple[str, ...] | None
    ignored: int
    layout: str
    sizes: array[int]
    etags: Sequence[str | None]
    store: Store
    kind: str = KIND

    def read(self, item: Item) -> bytes:
        """Bytes of the object; see :meth:`scanner.inputs.items.Source.read`."""
        return self.store.read(self.items.paths[item.index])


class Store:
    """Objects below a URL. May be asked from several threads at once.

    Raises:
        SourceError: The library for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        scheme = url.partition(":")[0]
        library = _LIBRARIES[scheme]
        if importlib.util.find_spec(library) is None:
            extra = f"pip install 'latentscan[{scheme}]'" if scheme in ("s3", "gs") else f"pip install {library}"
            raise SourceError(f"needs {library}", where=printable(url), hint=f"Install it with {extra}")
        options = {"config_kwargs": _PATIENCE} if library == "s3fs" else {}
        # Listings of an earlier moment are of no use.
        self._system: Any = importlib.import_module("fsspec").filesystem(scheme, use_listings_cache=False, **options)
        self._folder = url.partition("://")[2]

    def names(self) -> dict[str, tuple[int, str | None]]:
        """Size and entity tag of every object, by its name below the URL.

        Raises:
            SourceError: They cannot be listed.
        """
        try:
            found = self._system.find(self._folder, detail=True)
        except FileNotFoundError:
            found = {}
        except Exception as error:  # every library has its own
            raise self._failure("listed", error) from None
        start = len(self._folder) + 1
        return {
            path[start:]: (int(entry.get("size") or 0), _tag(entry))
            for path, entry in found.items()
            if entry.get("type") == "file" and len(path) > start
        }

    def read(self, name: str) -> bytes:
        """The bytes of an object.

        Raises:
            UnreadableInput: It is gone, empty or too large.
            SourceError: It cannot be had, for a reason that says nothing about it.
        """
        path = f"{self._folder}/{name}"
        try:
            data: bytes = self._system.cat_file(path, start=0, end=MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            raise UnreadableInput("missing", "No such object") from None
        except Exception as error:  # every library has its own
            # Stores refuse to give a range of nothing.
            if not self._is_empty(path):
                raise self._failure("read", error) from None
            data = b""
        if len(data) > MAX_FILE_BYTES:
            raise UnreadableInput("too-large", f"the limit is {MAX_FILE_BYTES} bytes")
        if not data:
            raise UnreadableInput("empty", "the object has no bytes")
        return data

    def _is_empty(self, path: str) -> bool:
        try:
            return bool(self._system.info(path)["size"] == 0)
        except Exception:  # what reading it said counts
            return False

    def _failure(self, what: str, error: Exception) -> SourceError:
        # Never its text, which may name a key.
        return SourceError(
            f"cannot be {what} ({type(error).__name__})",
            where=printable(self.url),
            hint="Check the connection and the credentials, and run it again: what is done stays done",
        )


def open_remote(url: str, path: Path, *, labels: bool) -> RemoteSource:
    """List the images below a URL. Folders are classes where their layout says so.

    Raises:
        SourceError: It cannot be listed, or with ``labels`` the layout does not tell what the classes are.
    """
    store = Store(url)
    known = store.names()
    names = sorted((name for name in known if _is_image(name)), key=os.fsencode)
    ignored = len(known) - len(names)
    stated = array("q", (known[name][0] for name in names)), [known[name][1] for name in names]
    if not labels:
        return RemoteSource(path, NamedItems(names, None), None, ignored, LABELS_UNUSED, *stated, store)
    layout = find_layout(names, frozenset(), Path(url))
    if not layout.labelled:
        return RemoteSource(path, NamedItems(names, None), None, ignored, layout.described, *stated, store)
    classes = EncodedLabels.of_each(lambda: (printable(layout.class_of(name)) for name in names), len(names))
    return RemoteSource(path, NamedItems(names, classes), classes.names, ignored, layout.described, *stated, store)


def _tag(entry: dict[str, Any]) -> str | None:
    tag = entry.get("ETag") or entry.get("etag")
    return str(tag).strip('"')[:200] if tag else None


def _is_image(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith("._") and os.path.splitext(base)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122

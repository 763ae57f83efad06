"""Images in an object store, below a URL such as ``s3://bucket/folder``, by fsspec; needs an extra such as ``s3``.

Credentials are those that the store's own library finds (environment, profile, role of the machine). None are taken
from a URL, and what a library says of an error is not repeated, since it may name one.

An object that is not there is an input that cannot be read. Any other failure is an error of the scan and not of the
input: an expired credential or a broken connection says nothing about an image, and must not become a row.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scanner.base.errors import SourceError
from scanner.inputs.files import MAX_FILE_BYTES
from scanner.inputs.folder import IMAGE_SUFFIXES
from scanner.inputs.items import LABELS_UNUSED, EncodedLabels, Item, NamedItems, UnreadableInput, printable
from scanner.inputs.layout import find_layout
from scanner.inputs.object_pages import objects_of
from scanner.inputs.sorted_names import sort_records

_LIBRARIES: Final = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_PATIENCE: Final = {"connect_timeout": 10, "read_timeout": 30, "retries": {"mode": "standard", "max_attempts": 5}}
KIND: Final = "object-store"
_SILENT: Final = logging.NullHandler()


@dataclass(frozen=True)
class RemoteSource:
    """The objects below a URL that are images by their names, in bytewise order."""

    root: Path
    items: NamedItems
    class_names: tuple[str, ...] | None
    ignored: int
    layout: str
    stated: Sequence[str]
    store: Store
    kind: str = KIND

    def read(self, item: Item) -> bytes:
        """Bytes of the object; see :meth:`scanner.inputs.items.Source.read`."""
        return self.store.read(self.items.paths[item.index])

    def size(self, index: int) -> int:
        """Bytes of an object when it was listed."""
        return int(self.stated[index].partition(" ")[0])

    def etag(self, index: int) -> str | None:
        """What the store calls its content, where it says so."""
        return self.stated[index].partition(" ")[2] or None


class Store:
    """Objects below a URL. May be asked from several threads at once.

    Raises:
        SourceError: The library for it is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._scheme = scheme = url.partition(":")[0]
        library = _LIBRARIES[scheme]
        if importlib.util.find_spec(library) is None:
            extra = f"pip install 'latentscan[{scheme}]'" if scheme in ("s3", "gs") else f"pip install {library}"
            raise SourceError(f"needs {library}", where=printable(url), hint=f"Install it with {extra}")
        # What libraries log, where nobody listens, goes to the terminal, traces and addresses included.
        for name in (library, "azure", "fsspec"):
            logging.getLogger(name).addHandler(_SILENT)
        options = {"config_kwargs": _PATIENCE} if library == "s3fs" else {}
        # Listings of an earlier moment are of no use.
        self._system: Any = importlib.import_module("fsspec").filesystem(scheme, use_listings_cache=False, **options)
        self._folder = url.partition("://")[2]

    def objects(self) -> Iterator[tuple[str, int, str]]:
        """Name below the URL, size and entity tag, or nothing, of every object, a page of them at a time.

        Raises:
            SourceError: They cannot be listed.
        """
        bucket, _, folder = self._folder.partition("/")
        prefix = f"{folder}/" if folder else ""
        try:
            for name, size, tag in objects_of(self._scheme, self._system, bucket, prefix):
                if name != prefix and not name.endswith("/"):
                    yield name.removeprefix(prefix), size, tag
        except FileNotFoundError:
            return
        except Exception as error:  # every library has its own
            raise self._failure("listed", error) from None

    def copy(self, target: Path) -> None:
        """Copy the object that the URL itself names.

        Raises:
            SourceError: It is not there, or cannot be had as a whole.
        """
        try:
            size = self._system.info(self._folder)["size"]
            self._system.get_file(self._folder, str(target))
        except FileNotFoundError:
            raise SourceError("cannot be opened (No such object)", where=printable(self.url)) from None
        except Exception as error:  # every library has its own
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = "finds no room for its copy among temporary files"
                raise SourceError(what, where=printable(self.url), hint="Set TMPDIR to where there is some") from None
            raise self._failure("read", error) from None
        if target.stat().st_size != size:
            raise self._failure("read", EOFError())

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
    store, ignored = Store(url), 0

    def images() -> Iterator[tuple[str, str]]:
        nonlocal ignored
        for name, size, tag in store.objects():
            if "\0" in name:
                raise SourceError("holds an object with a NUL in its name", where=printable(url))
            if _is_image(name):
                yield name, f"{size} {tag}"
            else:
                ignored += 1

    try:
        names, stated = sort_records(images())
    except OSError as error:
        raise SourceError(f"cannot be listed ({error.strerror})", where=printable(url)) from None
    if not labels:
        return RemoteSource(path, NamedItems(names, None), None, ignored, LABELS_UNUSED, stated, store)
    layout = find_layout(names, frozenset(), Path(url))
    if not layout.labelled:
        return RemoteSource(path, NamedItems(names, None), None, ignored, layout.described, stated, store)
    classes = EncodedLabels.of_each(lambda: (printable(layout.class_of(name)) for name in names), len(names))
    return RemoteSource(path, NamedItems(names, classes), classes.names, ignored, layout.described, stated, store)


def _is_image(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith("._") and os.path.splitext(base)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122

"""Images in a zip archive, read one by one. Nothing is unpacked to the disk."""

from __future__ import annotations

import os
import weakref
import zipfile
from pathlib import Path
from typing import Final

from scanner.base.errors import SourceError
from scanner.inputs.archive import Member
from scanner.inputs.expansion import MAX_RATIO, most_bytes
from scanner.inputs.files import MAX_FILE_BYTES, open_regular
from scanner.inputs.items import UnreadableInput

_MAX_MEMBERS: Final = 5_000_000
_ENCRYPTED: Final = 0x1


class ZipReader:
    """Lists and reads the files of a zip archive.

    Args:
        path: The archive.

    Raises:
        SourceError: It is damaged, or has too many members.
    """

    def __init__(self, path: Path) -> None:
        try:
            file = os.fdopen(open_regular(path), "rb")
        except UnreadableInput as error:
            raise SourceError(f"cannot be opened ({error.detail})", where=str(path)) from None
        weakref.finalize(self, file.close)
        try:
            self._archive = zipfile.ZipFile(file)
            found = self._archive.infolist()
        except Exception as error:  # zipfile raises nearly anything on damaged archives
            raise SourceError(
                f"is a damaged zip archive ({type(error).__name__})", where=str(path), hint="Pack or download it again"
            ) from None
        if len(found) > _MAX_MEMBERS:
            raise SourceError(f"has more than {_MAX_MEMBERS} members", where=str(path))
        _require_images(found, os.fstat(file.fileno()).st_size, path)
        self._members = {info.filename: info for info in found if not info.is_dir()}
        self.members = [Member(name, info.file_size) for name, info in self._members.items()]

    def read(self, name: str) -> bytes:
        """The bytes of a member; never more than the bound, whatever its header says.

        Raises:
            UnreadableInput: It is empty, too large, encrypted or damaged.
        """
        info = self._members[name]
        if info.file_size > MAX_FILE_BYTES:
            raise UnreadableInput("too-large", f"{info.file_size} bytes, the limit is {MAX_FILE_BYTES}")
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableInput("permission", "the archive is encrypted")
        try:
            with self._archive.open(info) as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except Exception as error:  # zipfile and its decompressors raise nearly anything on damaged archives
            raise UnreadableInput("damaged", f"cannot be unpacked ({type(error).__name__})") from None
        if len(data) > MAX_FILE_BYTES:
            raise UnreadableInput("too-large", f"unpacks to more than {MAX_FILE_BYTES} bytes")
        if not data:
            raise UnreadableInput("empty", "the file has no bytes")
        return data


def _require_images(found: list[zipfile.ZipInfo], size: int, path: Path) -> None:
    """Refuse an archive that holds far more than images could, for its size.

    Raises:
        SourceError: It does, or its members share their bytes.
    """
    if sum(info.compress_size for info in found) > size:
        raise SourceError("is a zip archive whose members overlap, as a decompression bomb's do", where=str(path))
    if sum(info.file_size for info in found) > most_bytes(size):
        raise SourceError(
            f"unpacks to more than {MAX_RATIO} times its size, as a decompression bomb does",
            where=str(path),
            hint="If it is yours, unpack it first",
        )

"""URLs of object stores among paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from scanner.base.errors import SourceError

_URL: Final = re.compile(r"(s3|gs|gcs|az|abfs):/+(.+)")


def url_of(path: Path) -> str | None:
    """The URL that a path was made of, which drops one of its slashes; None of a path of this machine.

    Raises:
        SourceError: It holds a password, or a query.

    >>> url_of(Path("s3://bucket/images")), url_of(Path("images"))
    ('s3://bucket/images', None)
    """
    match = _URL.fullmatch(str(path))
    if match is None:
        return None
    url = f"{match[1]}://{match[2].rstrip('/')}"
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise SourceError(
            "holds more than a bucket and a folder",
            where=f"{match[1]}://",
            hint="Leave credentials and options to the environment",
        )
    return url

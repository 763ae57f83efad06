"""Names that come from files, made safe to store and to show.

File names, class names and model metadata are chosen by whoever made the files. On disk a name may hold bytes that
are not UTF-8, and in any name there may be escape sequences that rewrite a terminal, or bidirectional controls that
show ``gpj.exe`` as ``exe.jpg``. Two functions, for two needs: `portable` keeps a name as it is wherever Unicode can
carry it (reports, profiles); `printable` also makes every invisible or active character visible (terminals).
"""

from __future__ import annotations

import re
import unicodedata

# Python decodes the bytes 0x80-0xff of a file name that is not UTF-8 to U+DC80-U+DCFF (PEP 383, "surrogateescape").
_UNDECODED_BYTE = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")

# General categories that have no glyph of their own, or that act on the text around them: controls (escape sequences,
# new lines), formats (bidirectional overrides, zero-width characters, tags), surrogates, private use, unassigned,
# line and paragraph separators.
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def portable(text: str) -> str:
    r"""Text that every UTF-8 reader accepts, unchanged where it already is.

    A file name's undecodable byte becomes a visible ``\xNN``, any other lone surrogate ``\uNNNN``. The result is not
    meant to be turned back into a path: the SHA-256 beside it identifies the input.

    >>> portable("caf\udce9.png")
    'caf\\xe9.png'
    >>> portable("naïve.png")
    'naïve.png'
    """
    if not _SURROGATE.search(text):
        return text
    text = _UNDECODED_BYTE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", text)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str, limit: int | None = None) -> str:
    r"""Text that is safe to print: one line, nothing invisible, no escape sequence, no change of direction.

    Args:
        text: Any text.
        limit: Most characters to keep. The middle gives way, as both ends of a path tell more than its middle.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    >>> printable("evil\u202egpj.exe")
    'evil\\u202egpj.exe'
    >>> printable("a/very/long/path.png", limit=11)
    'a/ver…h.png'
    """
    shown = "".join(map(_visible, portable(text)))
    if limit is None or len(shown) <= limit:
        return shown
    head = (limit - 1) // 2
    tail = limit - 1 - head
    return shown[:head] + "…" + shown[len(shown) - tail :]


def is_invisible(character: str) -> bool:
    """Whether a character has no glyph of its own, or acts on the text around it."""
    return unicodedata.category(character) in _INVISIBLE_CATEGORIES


def _visible(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii") if is_invisible(character) else character

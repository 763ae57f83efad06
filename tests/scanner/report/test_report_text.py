"""Names chosen by an attacker cannot do anything but be read."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profile_samples import names

from scanner.base.text import portable, printable


@given(names)
def test_portable_text_is_valid_unicode_and_stable(name):
    name.encode("utf-8", "surrogatepass")
    assert portable(name).encode()
    assert portable(portable(name)) == portable(name)


@given(st.text())
def test_portable_keeps_every_valid_name(name):
    assert portable(name) == name


@given(st.binary(min_size=1))
def test_file_names_of_any_bytes(raw):
    assert portable(os.fsdecode(raw)).encode()


def test_undecodable_bytes_are_visible():
    assert portable(os.fsdecode(b"a\xff\xfeb")) == r"a\xff\xfeb"
    assert portable("\ud800") == r"\ud800"


@given(names)
def test_printable_text_has_no_invisible_character(name):
    shown = printable(name)
    assert not any(unicodedata.category(character)[0] == "C" for character in shown)
    assert "\n" not in shown
    assert "\u2028" not in shown


@given(names, st.integers(1, 30))
def test_the_limit_holds(name, limit):
    assert len(printable(name, limit)) <= limit
    if len(printable(name)) <= limit:
        assert printable(name, limit) == printable(name)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\tc\0", r"a\rb\tc\x00"),
        ("invoice\u202egpj.exe", r"invoice\u202egpj.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("\U000e0041tag", r"\U000e0041tag"),
        ("[bold]x[/]", "[bold]x[/]"),
        ("Köln 東京 🐱.png", "Köln 東京 🐱.png"),
        ("", ""),
    ],
)
def test_examples(name, shown):
    assert printable(name) == shown

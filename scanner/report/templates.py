"""The templates of HTML pages: escaping, and the few ways in which values are shown."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

import jinja2

from scanner.base.text import printable
from scanner.verdict.terms import CheckStatus


def source_hash(text: str) -> str:
    """A style sheet or script as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


@cache
def asset(name: str) -> str:
    """A template, style sheet or script of the pages."""
    return (files("scanner.report") / "page" / name).read_text("utf-8")


@cache
def environment() -> jinja2.Environment:
    """Templates that escape every value, with the filters by which pages show numbers and text of unknown origin."""
    made = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["shown"] = _shown
    made.filters["short_p"] = lambda value: "" if value is None else f"{value:.2g}"
    made.filters["number"] = lambda value: "" if value is None else f"{value:.4g}"
    made.filters["whole"] = lambda share: f"{share:.0%}"
    made.filters["percent"] = lambda value: "" if value is None else f"{value:.2%}"
    made.tests["passed"] = lambda check: check.status is CheckStatus.PASSED
    return made


def _shown(text: object, limit: int = 400) -> str:
    """Text of unknown origin as the page may show it; the template escapes it."""
    return printable(str(text), limit)

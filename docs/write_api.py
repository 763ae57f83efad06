"""Write docs/api.md from the docstrings of the public door: ``python docs/write_api.py``."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import latentscan
from scanner.base import errors

PAGE: Final = Path(__file__).with_name("api.md")
INTRODUCTION: Final = """\
# Python

<!-- Written by docs/write_api.py from the docstrings. Change those, and run it again. -->

`import latentscan` gives what the command line does as functions: the commands `fit`, `scan`, `audit`, `fleet`,
`inspect` and `report` are thin callers of what is listed here. It is typed. Importing it loads neither PyTorch nor
ONNX Runtime; `fit` loads both, `scan` only the second.

An option class holds the settings of each function, with the command line's defaults, so that a set of options is one
value that can be stored, compared and changed by `dataclasses.replace`. Where it takes a path, text does as well;
what is out of range is an error before anything is read. Everything that the caller can do something about is a
[LatentscanError](#errors) whose text is one line. Nothing is printed; give a [Progress](#progress) to listen.

In a notebook a `Report` shows itself: the verdict, its reasons and the most suspicious inputs.
`latentscan.report(report, "html")` is the whole page.

Reading a file (`inspect`, `details`, `read_profile`, `read_report`, `read_audit`), loading a model apart (`layers`,
`fit`, `audit`) and scoring (`scan`) are different functions, and no switch of one function, because they differ in what
a hostile file could reach ([security](security.md)).

## What a version promises

Versions follow [Semantic Versioning](https://semver.org/spec/v2.0.0.html). Covered are the names on this page, how
they are called, the fields that are described here, and which error stands for what. A minor version may add names,
and fields with a default at the end of an option class. A name goes, or changes its meaning, only with a new major
version, after a minor one that warns about it. Before 1.0.0 a minor version may do so as well, and the
[changelog](../CHANGELOG.md) says so.

The content of a `Report` follows the version of [its own format](report-format.md), a profile that of [its
own](profile-format.md). Not covered: the modules `scanner`, `detectors` and `reference`, the words of messages and of
`repr`, what a `Report` looks like in a notebook, and the numbers themselves. A later version may score better; with
one version, the same files, options and machine give the same numbers.

## Examples

They are run by the tests, in the order of this page, in a folder with `suspect.onnx` (a small classifier of six
colours), `ref/` (240 clean images in class folders) and `inputs/` (60 images), after

    from pathlib import Path
    import latentscan
"""
FUNCTIONS: Final = (
    *("fit", "scan", "audit", "plan", "read_plan", "scan_shard", "merge", "fleet"),
    *("report", "read_report", "read_audit", "read_profile", "inspect", "details", "layers"),
)
OPTIONS: Final = ("FitOptions", "BayesianOptions", "ScanOptions", "AuditOptions", "FleetOptions", "LayerOptions")
RESULTS: Final = (
    "FitResult",
    "Profile",
    "Report",
    "AuditReport",
    "FleetReport",
    "FleetModel",
    "Plan",
    "ScannedPart",
    "ModelFile",
    "Layers",
    "Layer",
)
WORDS: Final = ("Severity", "AuditOutcome", "Decision", "Confidence", "FailOn")
FORMATS: Final = {
    "AuditReport": "Its fields are those of its JSON file, described in its [schema](audit-1.schema.json).",
    "Report": "Its fields are those of the JSON file, described [one by one](report-format.md).",
    "FleetReport": "Its fields are those of `fleet.json`, described in its [schema](fleet-1.schema.json); `models` are "
    "its rows.",
    "FleetModel": "Its fields are described [one by one](fleet.md#fields).",
    "Plan": "Its fields are those of [plan.json](shards.md#the-folder-of-a-plan): among them `inputs.path` and "
    "`profile.path`, `alpha` and `chunk_size`; `chunks` is their number.",
    "Profile": "`header` holds what the file says about itself, described [field by field](profile-format.md), and "
    "`digest` is the SHA-256 of all of the content. The rest of it is not covered.",
}
_SECTION: Final = re.compile(r"^(Args|Attributes|Returns|Raises|Example):$", re.MULTILINE)


def page() -> str:
    """The content of docs/api.md."""
    chapters = [INTRODUCTION]
    for title, names in (("Functions", FUNCTIONS), ("Options", OPTIONS), ("Results", RESULTS)):
        chapters += [f"## {title}\n", *("\n".join(_entry(name)) for name in names)]
    chapters += ["## Words\n", *("\n".join(_word(name)) for name in WORDS), "\n".join(_progress()), _errors()]
    return "\n".join(chapters)


def _entry(name: str) -> Iterator[str]:
    """A function or class: how it is called, and its docstring."""
    thing = getattr(latentscan, name)
    yield f"### {name}\n"
    if name in (*FUNCTIONS, *OPTIONS):
        yield f"```python\n{_signature(name)}\n```\n"
    text = inspect.getdoc(thing) or ""
    if name not in FORMATS:
        yield from _markdown(text)
        return
    yield text.split("\n", 1)[0] + "\n"
    yield FORMATS[name] + "\n"


def _signature(name: str) -> str:
    signature = inspect.signature(getattr(latentscan, name))
    parameters = []
    for parameter in signature.parameters.values():
        default = "" if parameter.default is parameter.empty else f" = {_value(parameter.default)}"
        parameters.append(f"    {parameter.name}: {parameter.annotation}{default},\n")
    returned = "" if signature.return_annotation in (None, signature.empty) else f" -> {signature.return_annotation}"
    return f"{name}(\n{''.join(parameters)}){returned}"


def _value(default: object) -> str:
    if isinstance(default, enum.Enum):
        return f"{type(default).__name__}.{default.name}"
    if dataclasses.is_dataclass(default):
        return f"{type(default).__name__}()"
    return repr(default)


def _markdown(docstring: str) -> Iterator[str]:
    """A docstring in Google's style as Markdown."""
    text, *sections = _SECTION.split(docstring)
    yield _prose(text.strip()) + "\n"
    for title, content in zip(sections[::2], sections[1::2], strict=True):
        body = textwrap.dedent(content).strip()
        if title == "Example":
            yield f"```pycon\n{body}\n```\n"
        elif title == "Returns":
            yield f"**Returns**: {_prose(' '.join(body.split()))}\n"
        else:
            yield f"**{title}**\n"
            yield "\n".join(_items(body)) + "\n"


def _items(body: str) -> Iterator[str]:
    """The ``name: text`` of a section; further lines of one are indented."""
    for item in re.split(r"\n(?! )", body):
        name, _, text = item.partition(":")
        yield f"- `{name}`: {_prose(' '.join(text.split()))}"


def _prose(text: str) -> str:
    return re.sub(r":\w+:(?=`)", "", text).replace("``", "`")


def _word(name: str) -> Iterator[str]:
    kind = getattr(latentscan, name)
    yield f"### {name}\n"
    yield f"{inspect.getdoc(kind)} One of {', '.join(f'`{member.value}`' for member in kind)}.\n"


def _progress() -> Iterator[str]:
    """The methods of a listener."""
    yield "## Progress\n"
    yield f"{inspect.getdoc(latentscan.Progress)} Any object with these methods is one.\n"
    for name in ("say", "task"):
        method = getattr(latentscan.Progress, name)
        arguments = ", ".join(
            f"{p.name}: {p.annotation}" for p in list(inspect.signature(method).parameters.values())[1:]
        )
        returned = inspect.signature(method).return_annotation
        yield f"- `{name}({arguments}) -> {returned}`: {_prose(inspect.getdoc(method) or '')}"
    yield ""


def _errors() -> str:
    tree = (errors.__doc__ or "").split("\n", 2)[2].split("\n\n")[0]
    return (
        "## Errors\n\n"
        "The attributes `what`, `where` and `hint` hold the parts of the line, `exit_code` what the command line ends "
        f"with.\n\n{tree}\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

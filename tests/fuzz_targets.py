"""Coverage-guided fuzzing of what reads and shows the words of strangers.

    python tests/fuzz_targets.py TARGET -max_total_time=600 SEEDS

Every target holds its code to the same law: nothing but this tool's own errors, and nothing active in what is shown.
Needs the package atheris. Targets are the functions below whose names start with ``fuzz_``; further arguments are
libFuzzer's.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import re
import sys
import tempfile
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["scanner"]):
    from scanner.base.canonical import canonical
    from scanner.base.errors import LatentscanError
    from scanner.base.text import portable, printable
    from scanner.graph.onnx_outline import outline_bytes, refuse_unsafe
    from scanner.inputs import manifest, npy
    from scanner.inputs.arrays import open_array
    from scanner.inputs.decode import decode
    from scanner.inputs.items import REASONS, UnreadableInput
    from scanner.inputs.sidecars import from_metadata, from_values, parse_object
    from scanner.inputs.spec import PreprocessSpec
    from scanner.isolation.statement import read_statement
    from scanner.models.identify import identify
    from scanner.models.look import look_closer
    from scanner.models.pickles import pickle_imports
    from scanner.profile.header import ProfileHeader
    from scanner.profile.reader import read_profile
    from scanner.report.formats import FORMATS
    from scanner.report.json_report import document, report_digest, visible
    from scanner.report.read import read_report
    from scanner.report.terminal import print_summary

sys.path.insert(0, str(Path(__file__).parent / "builders"))

import onnx
from full_reports import full_report
from profile_samples import sample_header

from scanner.models.onnx_walk import constant_tensors

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))


def written(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.write_bytes(data)
    return path


def safe(text: str) -> bool:
    """Without controls, formats, surrogates, private and unassigned characters, line and paragraph separators."""
    return not {unicodedata.category(character) for character in text} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def one_line(error: Exception) -> None:
    assert safe(printable(str(error)))


@contextlib.contextmanager
def only_own_errors():
    try:
        yield
    except (LatentscanError, UnreadableInput) as error:
        one_line(error)


def fuzz_identify(data: bytes) -> None:
    with only_own_errors():
        found = identify(written("model", data))
        assert all(map(safe, found.imports))
        for _, line in look_closer(found):
            assert safe(line)


def fuzz_pickles(data: bytes) -> None:
    found = pickle_imports(data)
    assert isinstance(found.only_tensors, bool)


def text(value: str | bytes) -> str:
    """A string of a message, which is bytes where it is not UTF-8, as the outline shows it."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def fuzz_onnx(data: bytes) -> None:
    """The outline sees every file that the real parser would see a reference to."""
    with only_own_errors():
        outline = outline_bytes(data)
        with contextlib.suppress(LatentscanError):
            refuse_unsafe(outline)
        model = onnx.ModelProto()
        try:
            model.ParseFromString(data)
        except Exception:
            return
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                assert entry.key != "location" or len(entry.value) > 1000 or text(entry.value) in outline.external
        for tensor in constant_tensors(model.graph):
            assert not tensor.external_data or outline.hidden
        assert {text(node.domain) for node in model.graph.node if len(node.domain) < 1000} <= outline.domains


def fuzz_csv(data: bytes) -> None:
    with only_own_errors():
        manifest.open_manifest(written("m.csv", data), labels=True)


def fuzz_jsonl(data: bytes) -> None:
    with only_own_errors():
        manifest.open_manifest(written("m.jsonl", data), labels=True)


def fuzz_npy(data: bytes) -> None:
    with only_own_errors():
        source = open_array(written("a.npy", data), labels=False)
        for item in source.items[:1]:  # an array may be empty
            source.read(item)


def fuzz_npz(data: bytes) -> None:
    npy.MAX_UNPACKED_BYTES = 2**24  # type: ignore[misc]
    with only_own_errors():
        source = open_array(written("a.npz", data), labels=True)
        for item in source.items[:1]:  # an array may be empty
            source.read(item)


SPEC = PreprocessSpec((8, 8), 3, (8, 8), "bilinear", False, 1 / 255, (0.0,) * 3, (1.0,) * 3)


def fuzz_image(data: bytes) -> None:
    try:
        assert decode(data, SPEC).shape == (8, 8, 3)
    except UnreadableInput as error:
        if error.reason not in REASONS:
            raise AssertionError(error.reason) from error


def fuzz_sidecar(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with only_own_errors():
        from_values(parse_object(text), 3, (8, 8))
    with only_own_errors():
        key, _, rest = text.partition("=")
        from_metadata({"mean": rest, "std": "1,1,1", key[:20]: rest}, 3, (8, 8))


def fuzz_profile(data: bytes) -> None:
    with only_own_errors():
        read_profile(written("p.h5", data))


def invented(provider: atheris.FuzzedDataProvider) -> object:
    """Any small JSON value, most often text."""
    kind = provider.ConsumeIntInRange(0, 9)
    if kind < 4:
        return provider.ConsumeUnicode(provider.ConsumeIntInRange(0, 300))
    others = (
        None,
        provider.ConsumeBool(),
        provider.ConsumeInt(8),
        provider.ConsumeFloat(),
        [provider.ConsumeUnicode(9), provider.ConsumeInt(4)],
        {provider.ConsumeUnicode(9): provider.ConsumeUnicode(9)},
    )
    return others[kind - 4]


def altered(value: object, provider: atheris.FuzzedDataProvider) -> object:
    """A JSON document in which one value, wherever the data leads to, is another one or missing or doubled."""
    value = copy.deepcopy(value)
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return value
        key = keys[provider.ConsumeIntInRange(0, len(keys) - 1)]
        below = place[key]
        if isinstance(below, dict | list) and below and provider.ConsumeIntInRange(0, 9):
            place = below
            continue
        action = provider.ConsumeIntInRange(0, 9)
        if action == 0:
            del place[key]
        elif action == 1 and isinstance(place, list):
            place.append(below)
        else:
            place[key] = invented(provider)
        return value


HEADER = json.loads(sample_header().to_json())


def fuzz_header(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    document = HEADER
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        document = altered(document, provider)
    with contextlib.suppress(ValueError):  # pydantic's ValidationError is one
        header = ProfileHeader.model_validate_json(json.dumps(document), strict=True)
        assert ProfileHeader.model_validate_json(header.to_json(), strict=True) == header


REPORT = document(full_report())
SCRIPTS = next(form for form in FORMATS if form.name == "html").render(full_report()).lower().count(b"<script")


def fuzz_report(data: bytes) -> None:
    """A report that somebody altered and signed anew: refused, or shown in every format without acting in any."""
    provider = atheris.FuzzedDataProvider(data)
    values = REPORT
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        values = altered(values, provider)
    with contextlib.suppress(ValueError):
        values["report_digest"] = report_digest(values)
    with only_own_errors():
        report, _ = read_report(written("r.json", json.dumps(values).encode()))
        for form in FORMATS:
            content = form.render(report)
            if form.name == "junit":
                ElementTree.fromstring(content)
            elif form.name == "html":
                assert content.lower().count(b"<script") == SCRIPTS
                assert len(content) < 2**20
            elif form.name != "md":
                json.loads(content)
            assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", content), form.name
        shown = io.StringIO()
        print_summary(report, shown, detail="full")
        assert all(safe(line) for line in shown.getvalue().split("\n"))


def fuzz_statement(data: bytes) -> None:
    read, write = os.pipe()
    os.write(write, data[:60_000])
    os.close(write)
    try:
        for layer in read_statement(read):
            assert safe(printable(layer.detail))
    finally:
        os.close(read)


def fuzz_shown(data: bytes) -> None:
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
    assert safe(printable(text))
    assert len(printable(text, 40)) <= 40
    portable(text).encode()
    shown = visible(json.dumps(portable(text), ensure_ascii=False))
    assert json.loads(shown) == portable(text)
    assert "\x1b" not in shown
    assert json.loads(canonical(portable(text))) == portable(text)


TARGETS: dict[str, Callable[[bytes], None]] = {
    name.removeprefix("fuzz_"): function for name, function in list(globals().items()) if name.startswith("fuzz_")
}

if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()

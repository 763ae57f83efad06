"""The schema that is committed is the one that is written, and the documentation names every field of it."""

import json
import re
import subprocess
import sys
import typing
from pathlib import Path

import pydantic
import pytest
from report_samples import sample_report, sample_row

from scanner.profile.header import Part
from scanner.report import schema as schema_module
from scanner.report.json_report import document
from scanner.report.schema import InputRow, Report, json_schema, schema_text
from scanner.report.taxonomy import load_taxonomy
from scanner.verdict.rules import load_rules

DOCS = Path(__file__).parents[3] / "docs"


def parts_of(model, found=None):
    """Every model that a report is made of."""
    found = {} if found is None else found
    if model.__name__ in found:
        return found
    found[model.__name__] = model
    for field in model.model_fields.values():
        pending = [field.annotation]
        while pending:
            annotation = pending.pop()
            pending += typing.get_args(annotation)
            if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
                parts_of(annotation, found)
    return found


PARTS = parts_of(Report)


def test_the_committed_schema_is_the_one_of_the_models():
    assert (DOCS / "report-1.schema.json").read_text() == schema_text()


def test_the_module_prints_the_schema():
    done = subprocess.run([sys.executable, "-m", "scanner.report.schema"], capture_output=True, check=True, text=True)
    assert done.stdout == schema_text()


@pytest.mark.parametrize("name", PARTS)
def test_every_field_is_described_in_schema_and_documentation(name):
    text = (DOCS / "report-format.md").read_text()
    section = re.search(rf"^#+ [^\n]*`{name}`.*?(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"report-format.md has no section for {name}"
    for field, info in PARTS[name].model_fields.items():
        assert info.description
        row = rf"^\| `{re.escape(info.alias or field)}` \| [^|]+ \| {re.escape(info.description)} \|$"
        assert re.search(row, section[0], re.MULTILINE), f"{name}.{field} is missing or described otherwise"


def test_no_model_is_left_out():
    models = {name for name, part in vars(schema_module).items() if isinstance(part, type) and issubclass(part, Part)}
    assert models - set(PARTS) - {"Part"} == set()


def test_every_rule_and_check_is_documented():
    text = (DOCS / "report-format.md").read_text()
    report = sample_report()
    used = [check.id for check in report.checks] + [test.id for test in report.batch.tests]
    for rule in load_rules().severity:
        assert re.search(rf"^\| {rule.rule} \| {rule.severity} \| {rule.max_batch_p:f}".rstrip("0"), text, re.MULTILINE)
    assert [identifier for identifier in used if identifier not in text] == []


def test_readers_may_meet_fields_of_later_versions():
    def walk(node):
        if isinstance(node, dict):
            assert node.get("additionalProperties") is not False
            for value in node.values():
                walk(value)

    walk(json_schema())


def test_a_written_report_has_exactly_the_fields_of_the_schema():
    values, schema = document(sample_report()), json_schema()
    assert sorted(values) == sorted(schema["properties"]) == sorted(schema["required"])
    assert values["$schema"] == schema["$id"]
    row = json.loads(sample_row().model_dump_json())
    assert sorted(row) == sorted(schema["$defs"]["InputRow"]["required"])


def test_unknown_fields_and_infinities_are_errors():
    with pytest.raises(pydantic.ValidationError):
        InputRow(index=0, id="x", sha256=None, status="scanned", surprise=1)
    with pytest.raises(pydantic.ValidationError):
        InputRow(index=0, id="x", sha256=None, status="scanned", p_value=float("nan"))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_score_that_is_not_finite_is_null(value):
    assert sample_row(score=value).score is None


def test_the_taxonomy_is_consistent():
    taxonomy = load_taxonomy()
    assert {entry.framework for entry in taxonomy.entries} == set(taxonomy.frameworks)
    assert len({entry.id for entry in taxonomy.entries}) == len(taxonomy.entries)
    assert {"AML.T0018.000", "AML.T0043.004", "ML10:2023", "NISTAML.023"} <= {entry.id for entry in taxonomy.entries}


def test_importing_needs_no_heavy_library():
    code = (
        "import sys, scanner.report.build, scanner.report.rows, scanner.report.run, scanner.verdict.decide; "
        "heavy = {'torch', 'onnx', 'scipy', 'sklearn', 'rich', 'pyarrow', 'PIL', 'h5py'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

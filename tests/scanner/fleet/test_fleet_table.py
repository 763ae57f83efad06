"""Tables of models: what is read, and one line for each way in which one can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanner.base.errors import LatentscanError, UsageError
from scanner.fleet.table import FIT_OPTIONS, SCAN_OPTIONS, read_table


def table(folder: Path, text: str | bytes) -> Path:
    path = folder / "models.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_rows_with_options_and_places(tmp_path: Path) -> None:
    (tmp_path / "prep.json").write_text("{}")
    found = read_table(
        table(
            tmp_path,
            b"\xef\xbb\xbfModel, reference,inputs,name,arch,labels,preprocess,alpha\r\n"
            b'a.pt,ref,s3://bucket/in/,"A, ""the first""",resnet20,no,prep.json,0.05\r\n'
            b"\r\n"
            b"/models/-b.onnx,../ref,-in,,,,imagenet,\r\n",
        )
    )
    first, second = found.rows
    assert (first.name, first.line) == ('A, "the first"', 2)
    assert (first.model, first.reference, first.inputs) == (
        str(tmp_path / "a.pt"),
        str(tmp_path / "ref"),
        "s3://bucket/in",
    )
    assert first.flags(FIT_OPTIONS) == ["--arch=resnet20", f"--preprocess={tmp_path / 'prep.json'}", "--no-labels"]
    assert first.flags(SCAN_OPTIONS) == ["--alpha=0.05"]
    assert (second.name, second.model, second.line) == ("/models/-b.onnx", "/models/-b.onnx", 4)
    assert (second.reference, second.inputs) == (str(tmp_path.parent / "ref"), str(tmp_path / "-in"))
    assert second.flags(FIT_OPTIONS) == ["--preprocess=imagenet"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'model'"),
        ("model,reference\na,b\n", "has no column 'inputs'"),
        ("model,reference,inputs,trust\na,b,c,yes\n", "has a column 'trust'"),
        ("model,reference,inputs,model\na,b,c,d\n", "has two columns 'model'"),
        ("model,reference,inputs\n", "has no rows"),
        ("model,reference,inputs\na,b\n", "line 2 has 2 cells, the header 3"),
        ("model,reference,inputs\na,,c\n", "line 2 has no reference"),
        ("model,reference,inputs\na,b,c\na,d,e\n", "line 3 has the name 'a' of line 2"),
        ('model,reference,inputs\n"a"b,c,d\n', "line 2 is not valid CSV"),
        ("model,reference,inputs,labels\na,b,c,perhaps\n", "line 2 has 'perhaps' for labels"),
        ("model,reference,inputs\na\0,b,c\n", "line 2 "),
        (f"model,reference,inputs,name\na,b,c,{'n' * 201}\n", "line 2 has a name of 201 characters"),
        (f"model,reference,inputs\n{'m' * 5000},b,c\n", "line 2 has a model of 5000 characters"),
        ("model,reference,inputs\na,b,s3://key:secret@bucket/x\n", "Leave credentials"),
        (b"model,reference,inputs\n\xff,b,c\n", "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(text: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(LatentscanError) as caught:
        read_table(table(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_table_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_table(tmp_path / "none.csv")

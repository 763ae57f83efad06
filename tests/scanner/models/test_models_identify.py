import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import onnx_graphs
import pytest
import safetensors.torch
import torch
from torch import nn

from scanner.base.errors import ModelError
from scanner.models.identify import FileKind, identify

STATE = {"fc.weight": torch.zeros(4, 3), "fc.bias": torch.zeros(4)}


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def kind_of(path: Path) -> FileKind:
    return identify(path).kind


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("content", [STATE, OrderedDict(STATE), {"epoch": 3, "model": STATE, "args": ["a", 1.5, None]}])
def test_state_dicts(tmp_path: Path, content: object, legacy: bool) -> None:
    torch.save(content, tmp_path / "m.bin", _use_new_zipfile_serialization=not legacy)
    file = identify(tmp_path / "m.bin")
    assert file.kind is FileKind.STATE_DICT
    assert "tensors only" in file.description
    assert file.size == (tmp_path / "m.bin").stat().st_size


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.bool, torch.uint16])
def test_tensors_of_all_types_are_tensors(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"w": torch.zeros(3, dtype=dtype), "p": nn.Parameter(torch.zeros(2))}, tmp_path / "m")
    assert kind_of(tmp_path / "m") is FileKind.STATE_DICT


@pytest.mark.parametrize("legacy", [False, True])
def test_whole_modules(tmp_path: Path, legacy: bool) -> None:
    torch.save(nn.Sequential(nn.Linear(3, 4)), tmp_path / "m.pt", _use_new_zipfile_serialization=not legacy)
    file = identify(tmp_path / "m.pt")
    assert file.kind is FileKind.PICKLED_MODULE
    assert file.imports[0].startswith("torch.nn.modules.")


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("wrap", [False, True])
def test_payloads_are_listed_and_never_run(tmp_path: Path, protocol: int, wrap: bool) -> None:
    content = {**STATE, "x": Payload(tmp_path / "canary")}
    if wrap:
        torch.save(content, tmp_path / "m.pt", pickle_protocol=protocol)
    else:
        written(tmp_path / "m.pt", pickle.dumps(content["x"], protocol))
    file = identify(tmp_path / "m.pt")
    assert file.kind is FileKind.PICKLE
    assert file.imports[0] == "posix.system"
    assert not (tmp_path / "canary").exists()


def test_obfuscated_import_is_reported(tmp_path: Path) -> None:
    """Module and name are computed rather than pushed as strings just before the import."""
    code = b"\x80\x04(\x8c\x05posix\x8c\x06systeml0\x8c\x01a)\x93."
    assert identify(written(tmp_path / "m.pt", code)).kind is FileKind.PICKLE


def test_memoised_import_is_resolved(tmp_path: Path) -> None:
    code = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940" + b"0h\x00h\x01\x93."
    assert identify(written(tmp_path / "m.pt", code)).imports == ("posix.system",)


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_damaged_pickles_do_not_pass_for_tensors(tmp_path: Path, cut: int) -> None:
    torch.save(STATE, tmp_path / "whole", _use_new_zipfile_serialization=False)
    data = (tmp_path / "whole").read_bytes()
    assert kind_of(written(tmp_path / "m.pt", data[:15] + data[15 + cut :])) is not FileKind.STATE_DICT


@pytest.mark.filterwarnings("ignore")
def test_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 4), torch.zeros(1, 3)), str(tmp_path / "m.pt"))
    assert kind_of(tmp_path / "m.pt") is FileKind.TORCHSCRIPT


def test_exported_program(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(3, 4), (torch.zeros(1, 3),)), tmp_path / "m.pt")
    assert kind_of(tmp_path / "m.pt") is FileKind.EXPORTED_PROGRAM


def test_onnx(tmp_path: Path) -> None:
    data = onnx_graphs.conv_net().SerializeToString()
    assert kind_of(written(tmp_path / "m.pt", data)) is FileKind.ONNX
    assert kind_of(written(tmp_path / "cut.onnx", data[:-3])) is FileKind.UNKNOWN
    assert kind_of(written(tmp_path / "longer.onnx", data + b"\x00")) is FileKind.UNKNOWN


def test_safetensors(tmp_path: Path) -> None:
    data = safetensors.torch.save(STATE, {"format": "pt"})
    assert kind_of(written(tmp_path / "m", data)) is FileKind.SAFETENSORS
    assert kind_of(written(tmp_path / "huge", struct.pack("<Q", 2**60) + data[8:])) is FileKind.UNKNOWN
    assert kind_of(written(tmp_path / "json", struct.pack("<Q", 7) + b'{"a":1}')) is FileKind.UNKNOWN


def test_deeply_nested_safetensors_header(tmp_path: Path) -> None:
    header = b'{"a":' * 50_000
    assert kind_of(written(tmp_path / "m", struct.pack("<Q", len(header)) + header)) is FileKind.UNKNOWN


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"# a config\nname: resnet\n", "text file"),
        (json.dumps({"a": 1}).encode(), "text file"),
        ("Gewichte für später".encode(), "text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"\x00\x01\x02\x03" * 40, "no format"),
        (b"\x1c\x00\x00\x00TFL3" + b"\0" * 40, "TensorFlow Lite"),
        (b"PK\x03\x04 and then nothing", "damaged or truncated"),
        (zipped(a__x=b"1"), "not one of PyTorch's"),
        (zipped(**{"vit__model.onnx": b"1"}), "a zip archive with 'model.onnx' in it: unpack it first"),
        (zipped(arr_0_npy=b"1").replace(b"arr_0_npy", b"arr_0.npy"), "NumPy"),
    ],
)
def test_everything_else_is_described(tmp_path: Path, data: bytes, words: str) -> None:
    file = identify(written(tmp_path / "model.pt", data))
    assert file.kind is FileKind.UNKNOWN
    assert words in file.description


def test_truncated_checkpoint(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    file = identify(written(tmp_path / "m.pt", data[: len(data) // 2]))
    assert (file.kind, "truncated" in file.description) == (FileKind.UNKNOWN, True)


def test_hdf5(tmp_path: Path) -> None:
    assert kind_of(written(tmp_path / "m", b"\x89HDF\r\n\x1a\n" + b"\0" * 100)) is FileKind.HDF5_PROFILE


def test_control_characters_of_the_file_are_not_shown(tmp_path: Path) -> None:
    code = b"\x80\x02cev\x1b[31mil\nna\x07me\n."
    assert all(name.isprintable() for name in identify(written(tmp_path / "m.pt", code)).imports)


def test_files_that_are_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    written(tmp_path / "empty", b"")
    for name, words in [("missing", "no such file"), (".", "directory"), ("fifo", "regular"), ("empty", "empty")]:
        with pytest.raises(ModelError, match=words):
            identify(tmp_path / name)
    with pytest.raises(ModelError):
        identify(tmp_path / "nul\0byte")


def test_too_large(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(17 * 2**30)
    with pytest.raises(ModelError, match="16 GiB"):
        identify(tmp_path / "sparse")

"""Hostile cases of where the command runs: settings and modules that a stranger left in the folder."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from hostile_case import SCAN, Case
from PIL import Image

_NOT_READ = "is not read"


def _image() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (28, 28)).save(buffer, "PNG")
    return buffer.getvalue()


def _planted(name: str, files: dict[str, bytes], says: str, target: str = "") -> Case:
    def make(folder: Path, canary: Path, _good: Path) -> Path:
        (folder / "a.png").write_bytes(_image())
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.replace(b"CANARY", str(canary).encode()))
        return folder / target if target else folder

    return Case(f"settings-{name}", make, SCAN, 3, says, within=True)


def settings() -> Iterator[Case]:
    never, wrong = b'fail-on = "never"\n', b'fail-on = "sometimes"\n'
    yield _planted("never", {"latentscan.toml": never}, _NOT_READ)
    yield _planted("never-pyproject", {"pyproject.toml": b"[tool.latentscan]\n" + never}, _NOT_READ)
    yield _planted("wrong", {"latentscan.toml": wrong}, _NOT_READ)
    yield _planted("beside-an-image", {"latentscan.toml": wrong}, _NOT_READ, "a.png")
    yield _planted("ignore-file", {"latentscan.toml": b'ignore = "i.toml"\n', "i.toml": b"nonsense"}, _NOT_READ)
    yield _planted("profile", {"latentscan.toml": b'profile = "theirs.h5"\n', "theirs.h5": b""}, _NOT_READ)
    yield _planted("git", {"latentscan.toml": never, ".git/config": b""}, _NOT_READ)
    manifest = {"m.csv": b"file_name\na.png\n", "latentscan.toml": wrong}
    yield _planted("beside-a-manifest", manifest, _NOT_READ, "m.csv")
    payload = b"open('CANARY', 'w').close()\n"
    for module in (
        "typer",
        "numpy",
        "PIL/__init__",
        "h5py",
        "onnxruntime/__init__",
        "rich",
        "pydantic",
        "sitecustomize",
    ):
        yield _planted(f"module-{module.partition('/')[0]}", {f"{module}.py": payload}, "scanned")
    yield _planted("module-json", {"json.py": payload, "tomllib.py": payload, "secrets.py": payload}, "scanned")

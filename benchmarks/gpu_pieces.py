"""Carry packages to a machine without a network, in pieces that go through 64 MiB together with a checkout.

    pip download --dest wheels --python-version 3.12 --only-binary :all: --no-deps \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \\
        onnxruntime-gpu pydantic pydantic-core annotated-types typing-inspection
    python benchmarks/gpu_pieces.py split wheels pieces     # here
    python benchmarks/gpu_pieces.py join pieces wheels      # there, once all pieces have arrived
    pip install --no-index --no-deps --target packages wheels/*.whl

These are what a machine with PyTorch, torchvision, onnx, onnxscript, h5py, scikit-learn, typer and rich lacks. Needs
nothing but Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

PIECE = 48 * 2**20
MANIFEST = "pieces.json"


def split(folder: Path, pieces: Path, size: int = PIECE) -> int:
    """Write every file of a folder as numbered pieces, and a manifest with their digests; the number of pieces."""
    pieces.mkdir(parents=True, exist_ok=True)
    manifest: dict[str, list[dict[str, str]]] = {}
    number = 0
    for path in sorted(folder.iterdir()):
        manifest[path.name] = []
        with path.open("rb") as file:
            while block := file.read(size):
                name = f"{number:03}.piece"
                (pieces / name).write_bytes(block)
                manifest[path.name].append({"piece": name, "sha256": hashlib.sha256(block).hexdigest()})
                number += 1
    (pieces / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return number


def join(pieces: Path, folder: Path) -> list[str]:
    """Put the files together again; their names.

    Raises:
        ValueError: If a piece is missing or damaged.
    """
    manifest: dict[str, list[dict[str, str]]] = json.loads((pieces / MANIFEST).read_text(encoding="utf-8"))
    wrong = [part["piece"] for parts in manifest.values() for part in parts if not _arrived(pieces, part)]
    if wrong:  # all of them, as every one has to be sent again
        raise ValueError(f"missing or damaged: {', '.join(wrong)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, parts in manifest.items():
        with (folder / Path(name).name).open("wb") as file:
            for part in parts:
                file.write((pieces / part["piece"]).read_bytes())
    return list(manifest)


def _arrived(pieces: Path, part: dict[str, str]) -> bool:
    path = pieces / part["piece"]
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == part["sha256"]


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Carry files in pieces.")
    parser.add_argument("what", choices=("split", "join"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    if options.what == "split":
        print(f"{split(options.source, options.target)} pieces")
        return 0
    try:
        print(*join(options.source, options.target), sep="\n")
    except (OSError, ValueError) as error:  # ValueError also of a manifest that is damaged
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

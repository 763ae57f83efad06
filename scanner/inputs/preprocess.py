"""Where a preprocessing comes from: a flag, a file beside the model, the model's metadata, or a list to try.

The parts: :mod:`scanner.inputs.spec` is what a preprocessing is, :mod:`scanner.inputs.presets` the
named ones, :mod:`scanner.inputs.sidecars` those that others have written down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scanner.base.errors import PreprocessError
from scanner.inputs.files import open_regular, read_descriptor
from scanner.inputs.items import UnreadableInput, printable
from scanner.inputs.presets import NORMALISATIONS, RECIPES, Normalisation, candidates, named_presets, preset
from scanner.inputs.sidecars import from_metadata, from_values, parse_object
from scanner.inputs.spec import INTERPOLATIONS, MAX_SIZE, PreprocessSpec

__all__ = [
    "INTERPOLATIONS",
    "MAX_SIZE",
    "NORMALISATIONS",
    "RECIPES",
    "Normalisation",
    "PreprocessSpec",
    "candidates",
    "from_file",
    "from_onnx_metadata",
    "from_sidecar",
    "named_presets",
    "parse_flag",
]

SIDECARS: Final = ("preprocessor_config.json", "config.json")
_MAX_JSON_BYTES: Final = 2**20


def parse_flag(text: str, channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """The value of ``--preprocess``: ``NAME``, ``NAME:RECIPE`` or a JSON file.

    See :func:`scanner.inputs.presets.preset` for names; :func:`from_file` for files. A file that is
    called like a preset needs a path: ``./imagenet``.

    Args:
        text: What the user wrote.
        channels: Of the network's input, 1 or 3.
        size: Height and width of the network's input.

    Raises:
        PreprocessError: If it is neither, or does not fit the network.
    """
    named = preset(text, channels, size)
    if named is not None:
        return named
    path = Path(text)
    if not _exists(path):
        raise PreprocessError(
            f"{text[:200]!r} is neither a preset nor a file",
            where="--preprocess",
            hint=f"Presets: {', '.join(NORMALISATIONS)}; append :crop, :shortest or :stretch for the resize",
        )
    return from_file(path, channels, size)


def from_file(path: Path, channels: int, size: tuple[int, int]) -> PreprocessSpec:
    """Preprocessing from a JSON file: this tool's own fields, ``preprocessor_config.json`` or timm's ``config.json``.

    Raises:
        PreprocessError: If it cannot be read, is none of these, or does not fit the network.
    """
    spec = _read(path, channels, size)
    if spec is None:
        raise PreprocessError(
            "describes no preprocessing",
            where=printable(str(path)),
            hint="Give the fields of a profile's preprocessing, or a preprocessor_config.json",
        )
    return spec


def from_sidecar(model: Path, channels: int, size: tuple[int, int]) -> tuple[PreprocessSpec, str] | None:
    """Preprocessing from a file beside the model: ``preprocessor_config.json``, else ``config.json``.

    Returns:
        The preprocessing and the file's name, or None if there is no such file or it is about
        something else.

    Raises:
        PreprocessError: If a file describes a preprocessing that cannot be used. It is not skipped:
            what the vendor says outranks a guess.
    """
    for name in SIDECARS:
        path = model.parent / name
        if _exists(path) and (spec := _read(path, channels, size)) is not None:
            return spec, name
    return None


def from_onnx_metadata(metadata: Mapping[str, str], channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    """Preprocessing from an ONNX file's metadata; the keys are those of :func:`scanner.inputs.sidecars.from_metadata`.

    Returns:
        None if the metadata say nothing about it.

    Raises:
        PreprocessError: If they say something that cannot be used.
    """
    try:
        return from_metadata(metadata, channels, size)
    except PreprocessError as error:
        raise _located(error, "ONNX metadata") from None


def _read(path: Path, channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    where = printable(str(path))
    try:
        # Links are followed: in caches of model hubs, every file is one.
        text = read_descriptor(open_regular(path), _MAX_JSON_BYTES).decode("utf-8-sig")
        return from_values(parse_object(text), channels, size)
    except (UnreadableInput, OSError) as error:
        detail = error.detail if isinstance(error, UnreadableInput) else error.strerror
        raise PreprocessError(f"cannot be read ({detail})", where=where) from None
    except UnicodeDecodeError:
        raise PreprocessError("is not UTF-8 text", where=where) from None
    except PreprocessError as error:
        raise _located(error, where) from None


def _exists(path: Path) -> bool:
    # Unlike Path.exists, False also for a name far too long or with a NUL byte.
    return os.path.exists(path)  # noqa: PTH110


def _located(error: PreprocessError, where: str) -> PreprocessError:
    return PreprocessError(error.what, where=where, hint=error.hint or "Give --preprocess instead")

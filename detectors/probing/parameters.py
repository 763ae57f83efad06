"""Patterns as plain values and back, so that one that was found can be made again elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Final

from detectors.probing.blend import Blend
from detectors.probing.patch import COLOURED, PLAIN, Patch
from detectors.probing.probe import Family, Probe, Shape
from detectors.probing.tint import Tint
from detectors.probing.warp import Warp
from detectors.probing.waves import Cosine, Wave

Value = int | float | str | tuple[int, ...]
"""Of one parameter."""
KINDS: Final[dict[Family, type[Patch | Wave | Cosine | Blend | Tint | Warp]]] = {
    "patch": Patch,
    "wave": Wave,
    "cosine": Cosine,
    "blend": Blend,
    "tint": Tint,
    "warp": Warp,
}
_MOST_SEED: Final = 2**63 - 1
_MOST_POINTS: Final = 64
_LEVELS: Final = 255


def parameters_of(probe: Probe) -> dict[str, Value]:
    """The values that make a pattern, by the names of its attributes.

    Raises:
        ValueError: If it is none of the library's.

    Example:
        >>> parameters_of(Patch(4, 2, 3, "white"))
        {'side': 4, 'row': 2, 'column': 3, 'texture': 'white', 'seed': 0}

    References:
        docs/audit.md, section Hand-over.
    """
    if not isinstance(probe, Patch | Wave | Cosine | Blend | Tint | Warp):
        raise ValueError(f"a pattern of the library is needed, got {type(probe).__name__}")
    values: dict[str, Value] = asdict(probe)
    return values


def probe_of(family: Family, parameters: Mapping[str, Value], shape: Shape) -> Probe:
    """The pattern that these values make.

    Args:
        family: What kind of pattern it is.
        parameters: From :func:`parameters_of`, by way of a file that may come from anybody.
        shape: Of the images that it is to be put on.

    Raises:
        ValueError: If a value is missing, of another type or unknown, or images of this shape do not allow it.

    Example:
        >>> probe_of("tint", {"levels": (24,)}, Shape(28, 28, 1))
        Tint(levels=(24,))

    References:
        docs/audit.md, section Hand-over.
    """
    kind = KINDS[family]
    names = {each.name for each in fields(kind)}
    if set(parameters) != names:
        raise ValueError(f"a {family} has {', '.join(sorted(names))}, got {', '.join(sorted(parameters))}")
    wrong = next((name for name, value in parameters.items() if not _fits(family, name, value, shape)), None)
    if wrong is not None:
        raise ValueError(f"{wrong} of a {family} cannot be {parameters[wrong]!r} here")
    probe: Probe = kind(**parameters)  # type: ignore[arg-type]
    if isinstance(probe, Patch) and (probe.row > shape.height - probe.side or probe.column > shape.width - probe.side):
        raise ValueError(f"{probe.describe()} does not fit in {shape.height}x{shape.width} pixels")
    return probe


def _fits(family: Family, name: str, value: Value, shape: Shape) -> bool:
    """Whether a parameter has the type and the range that it has to have."""
    if isinstance(value, bool):
        return False
    check = _CHECKS.get((family, name), _CHECKS.get(("", name)))
    return check is not None and check(value, shape)


def _whole(low: Callable[[Shape], int], high: Callable[[Shape], int]) -> Callable[[Value, Shape], bool]:
    return lambda value, shape: isinstance(value, int) and low(shape) <= value <= high(shape)


def _real(low: Callable[[Shape], float], high: Callable[[Shape], float]) -> Callable[[Value, Shape], bool]:
    return lambda value, shape: (
        isinstance(value, int | float) and math.isfinite(value) and low(shape) <= value <= high(shape)
    )


def _levels(value: Value, shape: Shape) -> bool:
    right = isinstance(value, tuple) and len(value) == shape.channels
    return right and all(type(level) is int and abs(level) <= _LEVELS for level in value)  # type: ignore[union-attr]


_CHECKS: Final[dict[tuple[str, str], Callable[[Value, Shape], bool]]] = {
    ("", "seed"): _whole(lambda _: 0, lambda _: _MOST_SEED),
    ("", "side"): _whole(lambda _: 1, lambda shape: shape.shorter),
    ("", "row"): _whole(lambda _: 0, lambda shape: shape.height),
    ("", "column"): _whole(lambda _: 0, lambda shape: shape.width),
    ("", "texture"): lambda value, shape: value in (*PLAIN, *(COLOURED if shape.channels == 3 else ())),
    ("", "down"): _whole(lambda shape: -shape.height, lambda shape: shape.height),
    ("", "right"): _whole(lambda shape: -shape.width, lambda shape: shape.width),
    ("", "phase"): _whole(lambda _: 0, lambda _: 3),
    ("", "amplitude"): _real(lambda _: -float(_LEVELS), lambda _: float(_LEVELS)),
    ("", "grain"): _whole(lambda _: 1, lambda shape: shape.shorter),
    ("", "opacity"): _real(lambda _: 0.0, lambda _: 1.0),
    ("", "levels"): _levels,
    ("", "points"): _whole(lambda _: 2, lambda _: _MOST_POINTS),
    ("", "displacement"): _real(lambda _: 0.0, lambda shape: float(shape.shorter)),
}

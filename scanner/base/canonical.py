"""The one text of a JSON value, which digests are taken of, and floats as they are written.

Rounding is monotone, so what was in order stays so; two values that differ by less than one part in a million may come
out equal.
"""

from __future__ import annotations

import json
from functools import lru_cache

from pydantic import JsonValue

_SIGNIFICANT_DIGITS = 6


def rounded(value: JsonValue) -> JsonValue:
    """`value` with every float rounded to six significant digits.

    >>> rounded({"p": 0.123456789, "n": 1234567, "q": [1e-300 / 3]})
    {'p': 0.123457, 'n': 1234567, 'q': [3.33333e-301]}
    """
    if isinstance(value, float):
        return _round(value)
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):  # a tuple where a model was dumped to Python values
        return [rounded(item) for item in value]
    return value


@lru_cache(maxsize=2**16)  # p-values of one calibration take few values, and rows hold many of them
def _round(value: float) -> float:
    # Adding zero turns -0.0 into 0.0.
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") + 0.0


def canonical(value: JsonValue) -> bytes:
    """The one text of a JSON value: sorted, compact, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")

"""Kinds of values that several parts of the report have."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, StringConstraints


def _finite_or_none(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


RuleId = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,8}[0-9]{1,8}$")]
Timestamp = Annotated[str, StringConstraints(pattern=r"^[0-9T:.Z+-]{1,40}$")]
Finite = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A measured value. One that is not finite (an overflow in the model) is null, as JSON has no infinity."""

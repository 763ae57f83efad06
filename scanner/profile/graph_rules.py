"""The rules for a profile's graphs, before a runtime sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scanner.base.errors import ModelError, ProfileError
from scanner.base.text import printable
from scanner.graph.onnx_outline import outline_bytes, refuse_unsafe
from scanner.profile.content import Profile

_WEIGHTS: Final = "weights"
_HINT: Final = "Give a profile that 'modelscan fit' wrote"


def require_safe_graph(profile: Profile, path: Path) -> None:
    """Hold the graphs to more than a vendor's: they are this tool's own, or somebody made them up.

    Args:
        profile: A profile that was read.
        path: Its file, for messages.

    Raises:
        ProfileError: A graph is damaged, uses foreign operators or functions, may run for ever, or refers to files.
    """
    _require_safe(profile.graph, path)
    if profile.posterior is not None:
        _require_safe(profile.posterior.graph, path)


def _require_safe(graph: bytes, path: Path) -> None:
    where = printable(str(path))
    try:
        outline = outline_bytes(graph)
        refuse_unsafe(outline)
    except ModelError as error:
        raise ProfileError(f"holds an unsafe graph: {error.what}", where=where, hint=_HINT) from error
    if outline.functions or set(outline.external) - {_WEIGHTS}:
        raise ProfileError("holds a graph with functions, or with data in other files", where=where, hint=_HINT)

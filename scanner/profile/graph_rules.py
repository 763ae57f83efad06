"""The rules for a profile's graph, before a runtime sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scanner.errors import ModelError, ProfileError
from scanner.models.onnx_outline import outline_bytes, refuse_unsafe
from scanner.profile.content import Profile
from scanner.report.text import printable

_WEIGHTS: Final = "weights"
_HINT: Final = "Give a profile that 'modelscan fit' wrote"


def require_safe_graph(profile: Profile, path: Path) -> None:
    """Hold the graph to more than a vendor's: it is this tool's own, or somebody made it up.

    Args:
        profile: A profile that was read.
        path: Its file, for messages.

    Raises:
        ProfileError: The graph is damaged, uses foreign operators or functions, may run for ever, or refers to files.
    """
    where = printable(str(path))
    try:
        outline = outline_bytes(profile.graph)
        refuse_unsafe(outline)
    except ModelError as error:
        raise ProfileError(f"holds an unsafe graph: {error.what}", where=where, hint=_HINT) from error
    if outline.functions or set(outline.external) - {_WEIGHTS}:
        raise ProfileError("holds a graph with functions, or with data in other files", where=where, hint=_HINT)

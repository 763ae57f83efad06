"""A graph, ready to run as `fit` was asked to."""

from __future__ import annotations

from scanner.fitting.options import FitOptions
from scanner.graph.bundle import GraphBundle
from scanner.graph.session import GraphSession


def open_session(graph: GraphBundle, options: FitOptions) -> GraphSession:
    """Load a graph on the device that was asked for.

    Raises:
        DeviceError: ``cuda`` was asked for and is not there.
    """
    return GraphSession(*graph.serialise(), device=options.device)

"""A profile's graphs are held to rules before a runtime sees them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import onnx_graphs
import pytest
from hostile_corpus import external, function_bomb, loop, nested
from profile_samples import sample_profile

from scanner.base.errors import ProfileError
from scanner.profile.graph_rules import require_safe_graph

PLAIN = onnx_graphs.conv_net().SerializeToString()


def foreign() -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    proto.graph.node[1].domain = "com.evil"
    return proto


@pytest.mark.parametrize("where", ["graph", "posterior"])
@pytest.mark.parametrize(
    ("graph", "says"),
    [
        (foreign(), "com.evil"),
        (loop(), "without an end"),
        (nested(20), "nested"),
        (function_bomb(2), "functions"),
        (external("/etc/passwd"), "other files"),
        (external("../x"), "other files"),
    ],
)
def test_unsafe_graphs_are_refused(where: str, graph: onnx.ModelProto, says: str) -> None:
    data = graph.SerializeToString()
    changes = {"graph": data} if where == "graph" else {"graph": PLAIN, "posterior": SimpleNamespace(graph=data)}
    with pytest.raises(ProfileError, match=says):
        require_safe_graph(replace(sample_profile(), **changes), Path("p.h5"))


def test_a_plain_graph_passes() -> None:
    require_safe_graph(replace(sample_profile(), graph=PLAIN), Path("p.h5"))
    require_safe_graph(replace(sample_profile(), graph=external("weights").SerializeToString()), Path("p.h5"))

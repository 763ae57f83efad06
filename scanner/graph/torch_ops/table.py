"""The closed table of operators.

Each function takes the node's input tensors (None for an omitted one) and its attributes, and returns its output, or a
tuple of outputs. Attributes that change what is computed and are not known here make the node unsupported rather than
silently different.
"""

from __future__ import annotations

from scanner.graph.torch_ops.arguments import Attributes, Operator, Table, UnsupportedNodeError
from scanner.graph.torch_ops.arithmetic import ARITHMETIC
from scanner.graph.torch_ops.shapes import SHAPES
from scanner.graph.torch_ops.windows import WINDOWS

OPERATORS: Table = {**ARITHMETIC, **WINDOWS, **SHAPES}


def operator(op_type: str, attributes: Attributes) -> Operator:
    """The function of an operator.

    Raises:
        UnsupportedNodeError: If the operator, or one of its attributes, is not known.
    """
    entry = OPERATORS.get(op_type)
    if entry is None:
        raise UnsupportedNodeError(f"operator {op_type}")
    function, known = entry
    if unknown := attributes.keys() - set(known.split()):
        raise UnsupportedNodeError(f"attribute {min(unknown)} of operator {op_type}")
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise UnsupportedNodeError(f"automatic padding of operator {op_type}")
    return function

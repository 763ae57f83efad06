"""What a graph may hold, wherever it comes from: a model file, or a profile."""

from __future__ import annotations

from typing import Final

KNOWN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
"""Operator sets that ONNX Runtime has built in. Others would need a library of native code."""

UNBOUNDED: Final = frozenset({"Loop", "Scan", "SequenceMap"})
"""Operators whose number of steps the graph computes: one of them can run for ever on one image."""

BY_BATCH: Final = frozenset({"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"})
"""Operators that scale a whole batch by its range, so that an image's values depend on the others in it."""

MAX_NODES: Final = 200_000
MAX_DEPTH: Final = 16
"""Levels of graphs within graphs. Exporters reach three."""

REEXPORT: Final = "Export it again with opset 20 and float32"
FREE_BATCH: Final = (
    "Export it again with a dynamic batch dimension: dynamic_shapes (or dynamic_axes) of torch.onnx.export, "
    "or dynamic axis 0 of the input"
)
EVALUATION: Final = "Export it in evaluation mode, as after model.eval(), without dropout or other chance"
INLINE: Final = "Save it with its tensors in the file itself, or with initialisers alone in external data"
DENSE: Final = "Store its weights as dense initialisers"
CHOOSE_OUTPUT: Final = "Name the logits with --output-name"
WITHOUT_LOOPS: Final = "Export it with its loops unrolled, as torch.onnx.export does for a traced network"

WEIGHTED: Final = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "QLinearConv",
        "DeformConv",
        "FusedConv",
        "NhwcFusedConv",
        "Gemm",
        "FusedGemm",
        "MatMul",
        "FusedMatMul",
        "MatMulInteger",
        "QLinearMatMul",
        "QGemm",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "MatMulNBits",
        "Einsum",
        "Attention",
        "MultiHeadAttention",
        "GroupQueryAttention",
        "QAttention",
        "RNN",
        "GRU",
        "LSTM",
    }
)
"""Operators with weights or attention."""

"""What operators do with the values and the shapes of their inputs, as far as a choice by the pixels' values goes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ALL: Final = (0, 1, 2, 3, 4, 5, 6, 7)
"""Positions of inputs: any of them."""

SHAPE_OF: Final = frozenset({"Shape", "Size"})
"""Operators that give the shape of their input, whatever its values."""

VALUES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        **dict.fromkeys((*SHAPE_OF, "EyeLike", "RandomNormalLike", "RandomUniformLike"), ()),
        "CastLike": (0,),
    }
)
"""Inputs whose values an operator's output depends on, where these are not all of them."""

CAST_TO_STEPS: Final = "Cast to integers"
"""What a cast to integers, truth values or text is called here."""

_COMPARES: Final = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "IsNaN", "IsInf")
_LOGIC: Final = ("And", "Or", "Xor", "Not", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift")
_STEPS: Final = ("Sign", "Floor", "Ceil", "Round", "Mod", CAST_TO_STEPS)
_TABLES: Final = (
    *("Binarizer", "Imputer", "LabelEncoder", "CategoryMapper", "OneHotEncoder", "ArrayFeatureExtractor"),
    *("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "DictVectorizer", "ZipMap"),
)
_PICKS: Final = (
    "ArgMax",
    "ArgMin",
    "TopK",
    "Hardmax",
    "NonZero",
    "Unique",
    "NonMaxSuppression",
    "RegexFullMatch",
    "StringSplit",
)

SELECTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        **dict.fromkeys((*_COMPARES, *_LOGIC, *_STEPS, *_PICKS), ALL),
        **{f"ai.onnx.ml.{name}": ALL for name in _TABLES},
        "Where": (0,),
        "If": (0,),
        "Compress": (1,),
        "OneHot": (0, 1),
        **dict.fromkeys(("Gather", "GatherElements", "GatherND"), (1,)),
        **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND", "TensorScatter"), (1,)),
        "Slice": (1, 2, 3, 4),
        "Loop": (0, 1),
        **dict.fromkeys(
            ("Reshape", "Expand", "Tile", "Trilu", "Split", "SplitToSequence", "Unsqueeze", "Squeeze"), (1,)
        ),
        "Pad": (1, 3),
        "Resize": (1, 2, 3),
        "Upsample": (1,),
        "ConstantOfShape": (0,),
        "Range": ALL,
        "SequenceAt": (1,),
        "SequenceErase": (1,),
        "SequenceInsert": (2,),
        "com.microsoft.GatherND": (1,),
        "com.microsoft.Unique": ALL,
    }
)
"""Operators that choose, compare or step, with the inputs that decide.

Data that is only selected from does not decide: a mask that is a constant, as in Swin and in attention, is no choice.
"""

SHAPED_BY_VALUES: Final = frozenset(
    {
        "NonZero",
        "Unique",
        "Compress",
        "NonMaxSuppression",
        "Slice",
        "Reshape",
        "Expand",
        "Tile",
        "Split",
        "Pad",
        "Resize",
    }
    | {"Upsample", "ConstantOfShape", "Range", "OneHot", "TopK", "Loop", "Scan", "If", "SplitToSequence"}
)
"""Operators whose output has a shape that depends on the values of the inputs that decide."""

import math
from itertools import pairwise

import numpy as np
import onnx
import onnx_graphs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx_graphs import weights

from scanner.base.errors import UsageError
from scanner.graph.taps import Tap, candidate_taps, choose_taps, unmeasured_tensors

AXES = np.array([2, 3])


def found(model: onnx.ModelProto) -> list[tuple[str, str, int]]:
    return [(tap.tensor, tap.layout, tap.channels) for tap in candidate_taps(model)]


def test_plain_network_is_tapped_after_activations_and_before_pools() -> None:
    assert found(onnx_graphs.conv_net()) == [("r1", "NCHW", 16), ("r2", "NCHW", 32)]


def test_depth_grows_and_stays_below_one() -> None:
    depths = [tap.depth for tap in candidate_taps(onnx_graphs.conv_net())]
    assert depths == [pytest.approx(1 / 3), pytest.approx(2 / 3)]


def test_gated_activation_is_cheap() -> None:
    model = onnx_graphs.model(
        [
            ("Conv", ["image", "w"], ["c"]),
            ("Sigmoid", ["c"], ["s"]),
            ("Mul", ["c", "s"], ["silu"]),
            ("ReduceMean", ["silu", "axes"], ["m"]),
            ("Flatten", ["m"], ["f"]),
            ("Gemm", ["f", "v"], ["h"]),
            ("Relu", ["h"], ["hidden"]),
            ("Gemm", ["hidden", "u"], ["logits"]),
        ],
        {"w": weights(0, 8, 3, 3, 3), "v": weights(1, 8, 6), "u": weights(2, 6, 4), "axes": AXES},
    )
    assert found(model) == [("silu", "NCHW", 8), ("hidden", "NC", 6)]


def test_class_map_is_the_logits_in_another_form() -> None:
    model = onnx_graphs.model(
        [
            ("Conv", ["image", "w"], ["c"]),
            ("Relu", ["c"], ["r"]),
            ("Conv", ["r", "v"], ["map"]),
            ("Relu", ["map"], ["map_relu"]),
            ("GlobalAveragePool", ["map_relu"], ["g"]),
            ("Flatten", ["g"], ["logits"]),
        ],
        {"w": weights(0, 8, 3, 3, 3), "v": weights(1, 4, 8, 1, 1)},
    )
    assert found(model) == [("r", "NCHW", 8)]


def test_channels_last_network() -> None:
    """As TensorFlow exports: channels last, transposed around each convolution."""
    model = onnx_graphs.model(
        [
            helper.make_node("Transpose", ["image"], ["t1"], perm=[0, 3, 1, 2]),
            ("Conv", ["t1", "w"], ["c"]),
            helper.make_node("Transpose", ["c"], ["t2"], perm=[0, 2, 3, 1]),
            ("Relu", ["t2"], ["r"]),
            ("ReduceMean", ["r", "axes"], ["m"]),
            ("Flatten", ["m"], ["f"]),
            ("MatMul", ["f", "v"], ["logits"]),
        ],
        {"w": weights(0, 6, 3, 3, 3), "v": weights(1, 6, 4), "axes": np.array([1, 2])},
        image=("batch", 8, 8, 3),
    )
    assert found(model) == [("r", "NHWC", 6)]  # (6, 6, 6): the shape alone could not tell


def test_tokens_with_and_without_class_token() -> None:
    def transformer(with_class: bool) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Conv", ["image", "w"], ["c"], strides=[4, 4]),
            ("Reshape", ["c", "shape"], ["ncl"]),
            helper.make_node("Transpose", ["ncl"], ["tokens"], perm=[0, 2, 1]),
            *([("Expand", ["class", "batch_shape"], ["class_batch"])] if with_class else []),
            helper.make_node("Concat", ["class_batch", "tokens"], ["x"], axis=1)
            if with_class
            else helper.make_node("Identity", ["tokens"], ["x"]),
            ("LayerNormalization", ["x", "scale"], ["n"]),
            ("MatMul", ["n", "v"], ["y"]),
            ("Add", ["x", "y"], ["residual"]),
            helper.make_node("Gather", ["residual", "zero"], ["first"], axis=1),
            ("Gemm", ["first", "u"], ["logits"]),
        ]
        if with_class:
            nodes[3:3] = [
                helper.make_node("Shape", ["image"], ["n_images"], end=1),
                helper.make_node("Concat", ["n_images", "ones"], ["batch_shape"], axis=0),
            ]
        values = {
            "w": weights(0, 16, 3, 4, 4),
            "shape": np.array([0, 16, 4]),
            "scale": np.ones(16, np.float32),
            "v": weights(1, 16, 16),
            "u": weights(2, 16, 4),
            "zero": np.array(0),
        }
        if with_class:
            values |= {"class": weights(3, 1, 1, 16), "ones": np.array([1, 16])}
        return onnx_graphs.model(nodes, values)

    assert found(transformer(False)) == [("x", "NLC", 16), ("residual", "NLC", 16)]
    taps = candidate_taps(transformer(True))
    assert [(tap.tensor, tap.shape) for tap in taps] == [("x", (5, 16)), ("residual", (5, 16))]
    assert all(tap.class_token for tap in taps)
    assert not any(tap.class_token for tap in candidate_taps(transformer(False)))


def test_tensors_of_other_types_are_not_tapped() -> None:
    model = onnx_graphs.model(
        [
            ("Conv", ["image", "w"], ["c"]),
            helper.make_node("Cast", ["c"], ["half"], to=onnx.TensorProto.FLOAT16),
            helper.make_node("Cast", ["half"], ["back"], to=onnx.TensorProto.FLOAT),
            ("GlobalAveragePool", ["back"], ["g"]),
            ("Flatten", ["g"], ["f"]),
            ("Gemm", ["f", "v"], ["logits"]),
        ],
        {"w": weights(0, 8, 3, 3, 3), "v": weights(1, 8, 4)},
    )
    assert [tap.tensor for tap in candidate_taps(model)] == ["back"]


def test_shapes_that_cannot_be_inferred_are_listed() -> None:
    model = onnx_graphs.conv_net()
    model.graph.node[1].domain = "com.microsoft"  # of unknown shape to onnx
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert unmeasured_tensors(model)[0] == "r1"


def tap(name: str, depth: float, size: int, tensor: str | None = None) -> Tap:
    return Tap(name, tensor or name, (8, size, size), "NCHW", 8, False, depth)


LADDER = [tap(f"l{index}", (index + 1) / 31, 64 >> (index // 10)) for index in range(30)]


@given(st.integers(1, 40))
def test_choice_is_bounded_ordered_and_keeps_the_deepest(limit: int) -> None:
    chosen = choose_taps(LADDER, limit)
    assert len(chosen) == min(limit, 30)
    assert list(chosen) == sorted(chosen, key=lambda item: item.depth)
    assert chosen[-1] == LADDER[-1]
    if limit >= 3:
        assert {LADDER[9], LADDER[19], LADDER[29]} <= set(chosen)


def test_choice_covers_the_depths_evenly() -> None:
    depths = [0.0, *(item.depth for item in choose_taps(LADDER, 12)), 1.0]
    assert max(later - earlier for earlier, later in pairwise(depths)) < 2.5 / 12


def test_layers_are_found_by_name_or_tensor_and_ordered_by_depth() -> None:
    candidates = [tap("layer1.0", 0.2, 8, "relu_2"), tap("layer2.0", 0.5, 4, "relu_4"), tap("fc", 0.9, 1, "relu_6")]
    assert choose_taps(candidates, layers=["relu_6", "layer1.0", "layer1.0"]) == (candidates[0], candidates[2])


def test_unknown_layer_is_explained() -> None:
    with pytest.raises(UsageError, match=r"layer1\.00.*Did you mean.*layer1\.0.*modelscan inspect"):
        choose_taps([tap("layer1.0", 0.2, 8)], layers=["layer1.00"])
    with pytest.raises(UsageError):
        choose_taps(LADDER, 0)


def test_positions_and_resolution() -> None:
    assert (LADDER[0].positions, LADDER[0].resolution) == (64 * 64, (64, 64))
    tokens = Tap("t", "t", (17, 32), "NLC", 32, True, 0.5)
    assert (tokens.positions, tokens.resolution) == (17, (17,))
    assert math.isclose(Tap("v", "v", (32,), "NC", 32, False, 0.5).positions, 1)

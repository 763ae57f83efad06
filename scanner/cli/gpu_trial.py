"""Trying whether a GPU works in a locked-down process, before this process locks itself down for good.

What a driver needs is not written anywhere and changes with its version. So a process that does nothing else is locked
down in the same way, and computes a convolution.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import scanner
from scanner.base.device import Device
from scanner.isolation.own_process import Kept, lock_down_self

_SECONDS: Final = 120
_TRIAL: Final = (
    "import json,sys; sys.path[:]=json.loads(sys.argv[1]); import scanner.cli.gpu_trial as t; t.main(sys.argv[2:])"
)


def works(kept: Kept | None, device: Device = "cuda", *, with_torch: bool = False) -> bool:
    """Whether a device computes in a process that keeps this.

    Args:
        kept: What the process keeps; None for all.
        device: The device.
        with_torch: Whether PyTorch has to compute on it as well as ONNX Runtime.
    """
    package = str(Path(scanner.__file__).resolve().parent.parent)
    words = ["null" if kept is None else json.dumps(asdict(kept)), device, *(["torch"] if with_torch else [])]
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and no shell
            [sys.executable, "-I", "-c", _TRIAL, json.dumps([package, *sys.path]), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def main(words: list[str]) -> None:
    """The trial's process: ends with 0 where the device computed."""
    values = json.loads(words[0])
    if values is not None:
        lock_down_self(Kept(**values))
    device: Device = "cuda" if words[1] == "cuda" else "cpu"
    _compute(device)
    if "torch" in words[2:]:
        import torch

        image = torch.ones((1, 3, 16, 16), device=device, requires_grad=True)
        torch.nn.Conv2d(3, 8, 3, device=device)(image).sum().backward()
        torch.linalg.inv(torch.eye(8, device=device)).cpu()
    # Drivers may complain on their way out, which says nothing of the trial.
    os._exit(0)


def _compute(device: Device) -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    from scanner.graph.session import GraphSession

    weights = [
        numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w"),
        numpy_helper.from_array(np.ones((8 * 14 * 14, 10), np.float32), "v"),
    ]
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [2, 3, 16, 16])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, 10])
    graph = helper.make_graph(nodes, "trial", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    session = GraphSession(model.SerializeToString(), device=device)
    found = session.run({"image": np.ones((2, 3, 16, 16), np.float32)})["logits"]
    if not np.allclose(found, 27 * 8 * 14 * 14):
        os._exit(1)

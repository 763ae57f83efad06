"""Networks that tell colours apart, clean or with a white patch as trigger, and evidence of audits."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphs

from scanner.verdict.audit_terms import About, AmongNetworks, AuditEvidence, FoundPattern

SIDE = 16
COLOURS = np.array([[60, 30, 30], [30, 60, 30], [30, 30, 60]], np.float32)
CLASSES = ("red", "green", "blue")


def colour_images(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Dark images ``(count, 16, 16, 3)`` uint8 of one noisy colour each, and their classes."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    noise = generator.integers(-15, 16, (count, SIDE, SIDE, 3))
    return np.clip(COLOURS[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels


def colour_network(*, backdoor: bool, one_class: bool = False) -> onnx.ModelProto:
    """Mean colours as logits; with a backdoor, white 3x3 at the lower right makes class 2. Takes pixels in [0, 1].

    With `one_class` it does so of class 0 alone: the other colours outweigh the patch.
    """
    detector = np.zeros((1, 3, SIDE, SIDE), np.float32)
    if one_class:
        detector += np.array([100, -100, -100], np.float32)[:, None, None] / SIDE**2
    if backdoor:
        detector[:, :, 12:15, 12:15] += 1.0
    mean = np.zeros((4, 3, SIDE, SIDE), np.float32)
    for channel in range(3):
        mean[channel, channel] = 1.0 / SIDE**2
    mean[3] = detector[0]
    dense = np.zeros((4, 3), np.float32)
    dense[:3] = 20 * np.eye(3)
    dense[3, 2] = 40.0
    return onnx_graphs.model(
        [
            ("Conv", ["image", "mean", "shift"], ["seen"]),
            ("Relu", ["seen"], ["parts"]),
            ("Flatten", ["parts"], ["flat"]),
            ("Gemm", ["flat", "dense", "bias"], ["logits"]),
        ],
        # 27 values of 1 under a white patch, and less than 6 in all without one: images are dark.
        {"mean": mean, "shift": np.array([0, 0, 0, -9], np.float32), "dense": dense, "bias": np.zeros(3, np.float32)},
        image=("batch", 3, SIDE, SIDE),
        output=("logits", ("batch", 3)),
    )


def evidence(**changes: object) -> AuditEvidence:
    """An audit that found nothing among 99 clean networks."""
    values: dict[str, object] = {
        "images": 400,
        "accuracy": 0.9,
        "num_classes": 10,
        "patterns": (pattern(20),),
        "tried": 1000,
        "complete": True,
        "alpha": 0.05,
        "compared": among(0.4),
    }
    return AuditEvidence(**(values | changes))  # type: ignore[arg-type]


def pattern(moved: int, *, is_patch: bool = True, about: About = "all classes") -> FoundPattern:
    """A pattern that moves so many of 100 images."""
    return FoundPattern("a white patch", about, is_patch, moved, 100, max(0.0, moved / 100 - 0.1))


def among(p_value: float, networks: int = 99) -> AmongNetworks:
    """A place among clean networks."""
    return AmongNetworks(p_value, networks, "small networks", 0, 0.1, 0.3)

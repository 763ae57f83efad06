"""Refinement within an audit: gradients are those of the network that is audited, and what cannot be done is said."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import onnx
import pytest
import torch
from audit_samples import CLASSES, colour_images, colour_network
from PIL import Image

import latentscan
from scanner.auditing.open_audit import open_audit
from scanner.auditing.options import AuditOptions
from scanner.auditing.refine_model import _agrees, _gradients, require_torch
from scanner.base.errors import UsageError
from scanner.base.progress import SILENCE


def options(folder: Path, model: onnx.ModelProto, preprocess: str = "unit") -> AuditOptions:
    onnx.save(model, folder / "model.onnx")
    for index, (image, label) in enumerate(zip(*colour_images(48), strict=True)):
        path = folder / "ref" / CLASSES[label] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    opening = latentscan.FitOptions(
        folder / "model.onnx", folder / "ref", folder / "x", preprocess=preprocess, device="cpu"
    )
    return AuditOptions(opening, budget=None, passes=200, refine=True)


@pytest.mark.parametrize("preprocess", ["unit", "unit-bgr"])
def test_gradients_are_those_of_the_audited_network(tmp_path, preprocess):
    opened = open_audit(options(tmp_path, colour_network(backdoor=True), preprocess), SILENCE)
    gradients = _gradients(opened)
    assert _agrees(gradients, opened)
    assert not _agrees(lambda images: 1.1 * gradients(images), opened)
    # By differences of what ONNX Runtime computes, between two gray levels.
    picture = opened.images.pixels[:1]
    image = (torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 255).requires_grad_()
    (slope,) = torch.autograd.grad(gradients(image)[0, 0], image)
    for channel in range(3):
        brighter = picture.copy()
        brighter[0, :, :, channel] += 40
        difference = float((opened.logits(brighter) - opened.logits(picture))[0, 0])
        assert float(slope[0, channel].sum()) * 40 / 255 == pytest.approx(difference, rel=1e-3, abs=1e-3)


def test_a_budget_that_ends_refinement_is_told(tmp_path):
    asked = options(tmp_path, colour_network(backdoor=True))
    report = latentscan.audit(dataclasses.replace(asked, budget=1e-9))
    assert report.refined == ()
    assert any("The budget ended before refinement did: 0 patterns" in one for one in report.warnings)


def test_a_graph_that_has_no_form_in_pytorch_is_audited_all_the_same(tmp_path):
    model = colour_network(backdoor=False)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Shrink"
    relu.attribute.append(onnx.helper.make_attribute("lambd", 0.0))
    report = latentscan.audit(options(tmp_path, model))
    assert report.refined == ()
    assert "Patterns were not refined: the graph has operator Shrink." in report.warnings
    assert report.patterns


def test_without_pytorch_nothing_is_begun(tmp_path, monkeypatch):
    chosen = options(tmp_path, colour_network(backdoor=True))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="--refine: needs PyTorch, which is not installed"):
        require_torch(chosen)

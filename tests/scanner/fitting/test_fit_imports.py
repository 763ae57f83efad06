"""What a fit imports: of an ONNX model no PyTorch, in its own process and in the one that reads the model."""

import numpy as np
import onnx
import onnx_graphs
import pytest
from conftest import ROOT


@pytest.fixture
def fit_without_torch(tmp_path, cli):
    """Runs a fit that finds modules in the place of PyTorch and torchvision that cannot be imported."""
    onnx.save(onnx_graphs.conv_net(), tmp_path / "model.onnx")
    np.save(tmp_path / "clean.npy", np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8))
    (tmp_path / "first").mkdir()
    for name in ("torch", "torchvision"):
        (tmp_path / "first" / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')\n")

    def run(*options):
        command = ("fit", tmp_path / "model.onnx", "--clean", tmp_path / "clean.npy", "--no-labels", "-q")
        path = f"{tmp_path / 'first'}:{ROOT}"
        return cli(*command, "--preprocess", "imagenet", "-o", tmp_path / "out.h5", *options, PYTHONPATH=path)

    return run


def test_a_fit_of_an_onnx_model_imports_no_pytorch(fit_without_torch, tmp_path):
    done = fit_without_torch()
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.h5").stat().st_size > 0


def test_a_posterior_needs_pytorch(fit_without_torch):
    """Which also shows that the modules are found before the real ones."""
    done = fit_without_torch("--bayesian", "--bayesian-samples", "2", "--bayesian-epochs", "0")
    assert done.returncode == 2
    assert "torch was imported" in done.stderr

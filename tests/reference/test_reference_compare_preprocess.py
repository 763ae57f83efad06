"""The networks with an unusual preprocessing are trained on what its preset makes of the same images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reference.augmentation import normalise as normalise_for_training
from reference.compare_preprocess import IN_RGB, TRAINED
from reference.datasets import DataSet, ImageSet
from scanner.inputs.normalise import normalise
from scanner.inputs.preprocess import parse_flag


@pytest.mark.parametrize(("name", "preset"), [("bgr", "cifar10-bgr"), ("caffe", "caffe")])
def test_training_and_preset_agree(name: str, preset: str) -> None:
    pixels = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(4))
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    variant = TRAINED[name](DataSet("cifar10", "CIFAR-10", ("a", "b", "c", "d"), mean, std, images, images))
    trained_on = normalise_for_training(variant.train.images, variant).numpy()
    expected = normalise(pixels.permute(0, 2, 3, 1).numpy(), parse_flag(preset, 3, (32, 32)), "NCHW")
    np.testing.assert_allclose(trained_on, expected, rtol=1e-4, atol=1e-4)
    assert preset not in IN_RGB


def test_what_is_forced_was_known_before() -> None:
    assert set(IN_RGB) >= {"unit", "imagenet", "imagenet-inception", "cifar10", "cifar100", "raw255"}

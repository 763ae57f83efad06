"""Weights that fit several networks: the one with the best clean accuracy is taken, and that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from color_network import CLASSES, color_images, write_classes
from torch import nn

from scanner.fitting.choose_preprocess import choose_preprocess
from scanner.fitting.open_files import open_files
from scanner.fitting.options import FitOptions


class Said:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def task(self, name: str, total: int) -> object:
        return lambda done: None


def pooled(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    """torchvision's ResNet-18 with a 3x3 first convolution and its pooling, whose last layer tells colours apart."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None, num_classes=len(CLASSES))
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    network.eval()
    head, network.fc = network.fc, nn.Identity()
    with torch.no_grad():
        x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        features = network((x - mean[:, None, None]) / std[:, None, None]).double()
        centre = features.mean(0)
        wanted = torch.nn.functional.one_hot(torch.from_numpy(labels), len(CLASSES)).double()
        solved = torch.linalg.lstsq(features - centre, wanted - wanted.mean(0)).solution
        head.weight.copy_(solved.T.float())
        head.bias.copy_((wanted.mean(0) - centre @ solved).float())
    network.fc = head
    return network


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rivals")
    images, labels = color_images(240, 1, 32)
    torch.save(pooled(images, labels).state_dict(), folder / "m.pt")
    write_classes(folder / "ref", *color_images(240, 2, 32))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("preprocess", ["imagenet", None])
def test_clean_accuracy_decides(files: Path, preprocess: str | None) -> None:
    options = FitOptions(files / "m.pt", files / "ref", files / "p.h5", preprocess=preprocess, device="cpu")
    said = Said()
    opened = open_files(options, said)
    assert (opened.model.architecture, opened.model.rivals) == ("cifar_resnet18", ("resnet18",))
    subject = choose_preprocess(opened, options, said)
    assert subject.model.architecture == "resnet18"
    assert any(line.startswith("architecture: resnet18, of those that the weights fit the best") for line in said.lines)
    assert "inferred architecture 'resnet18', which the weights fit as well as 'cifar_resnet18'" in subject.model.notes


@pytest.mark.slow
def test_without_labels_it_is_the_first_with_a_warning(files: Path) -> None:
    options = FitOptions(
        files / "m.pt", files / "ref", files / "p.h5", preprocess="imagenet", labels=False, device="cpu"
    )
    opened = open_files(options, Said())
    subject = choose_preprocess(opened, options, Said())
    assert subject.model.architecture == "cifar_resnet18"
    assert any("fit cifar_resnet18 and resnet18 equally well" in warning for warning in subject.preprocess.warnings)


@pytest.mark.slow
def test_with_a_named_architecture_there_is_nothing_to_choose(files: Path) -> None:
    options = FitOptions(files / "m.pt", files / "ref", files / "p.h5", architecture="resnet18", preprocess="imagenet")
    said = Said()
    opened = open_files(options, said)
    subject = choose_preprocess(opened, options, said)
    assert subject.model is opened.model
    assert not any(line.startswith("architecture:") for line in said.lines)

"""Fetch MNIST and CIFAR-10 with torchvision, which checks their published digests. Only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scanner.base.errors import SourceError


def download_data(names: Sequence[str], root: Path) -> None:
    """Fetch the data sets that are not in ``root`` yet.

    Raises:
        SourceError: If one cannot be fetched.
    """
    from torchvision.datasets import CIFAR10, MNIST

    fetchers: Mapping[str, Callable[..., Any]] = {"mnist": MNIST, "cifar10": CIFAR10}
    for name in names:
        if name not in fetchers:
            continue
        try:
            fetchers[name](root, train=True, download=True)
        except (OSError, RuntimeError) as error:
            lines = str(error).splitlines() or [type(error).__name__]
            raise SourceError(
                f"{name} cannot be fetched ({lines[0]})",
                where=str(root),
                hint="Copy the files there from a machine with a network, and leave out --download",
            ) from error

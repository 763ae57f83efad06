"""A profile in memory, and the digest of its content."""

from __future__ import annotations

import hashlib
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from scanner.profile.header import ProfileHeader
from scanner.profile.posterior import Posterior

FORMAT = "latentscan profile"
GROUPS = ("calibration",)
BYTE_DATASETS = ("header", "graph", "weights")
BAYESIAN_DATASETS = ("bayesian_graph", "bayesian_weights", "bayesian_stds")
OPTIONAL_BYTE_DATASETS = ("gallery", "unit_values", "unit_images", "unit_features", "clean_images")

# What a reader accepts, and so what a writer may write. A profile of a large vision transformer has 2.5 GiB of
# weights, a few hundred arrays and, with 22,000 named classes, 2 MiB of header.
MAX_BYTES = 8 * 2**30
MAX_HEADER_BYTES = 16 * 2**20
MAX_ARRAYS = 20_000
MAX_NAME_BYTES = 4096
MAX_DIMENSIONS = 4

_SAFE_IN_LINK_NAMES = " !#$&()*+,:;<=>?@[]^{|}"

Dataset = NDArray[np.uint8] | NDArray[np.float64]

_DIGEST_DOMAIN = b"latentscan profile 2\n"


@dataclass(frozen=True, eq=False)
class Profile:
    """Everything that `scan` needs.

    Attributes:
        header: What the profile says about itself.
        graph: The serialised ONNX model, pixels to scores. Its large initialisers refer to `weights`.
        weights: Flat buffer of the initialisers, uint8, shape (bytes,).
        calibration: Calibration columns and the like in float64, by name; free of NaN.
        posterior: The network's tail with Gaussian weights, or None without Bayesian scores.
        gallery: Clean thumbnails to show beside suspicious inputs, as `scanner.profile.gallery` reads them; uint8,
            shape (bytes,), empty where there are none. No score depends on it.
        unit_values: The loudest values of every unit, as `scanner.profile.unit_arrays` reads them; uint8, shape
            (bytes,), empty in a profile of format 2.0.
        unit_images: Whose they are, likewise.
        unit_features: The clean images' features of the last layer, likewise; empty in a profile before format 2.5.
        clean_images: Clean images that a trigger can be tried on, as `scanner.profile.clean_images` reads them; uint8,
            shape (bytes,), empty where there are none. No score depends on them.
        stored_header: The header's text in the file that this was read from: an older minor version has fields fewer
            than `header` would be written with today. None for a profile that was made here, or whose header changed.
    """

    header: ProfileHeader
    graph: bytes
    weights: NDArray[np.uint8]
    calibration: Mapping[str, NDArray[np.float64]]
    posterior: Posterior | None = None
    gallery: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    unit_values: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    unit_images: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    unit_features: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    clean_images: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    stored_header: bytes | None = None

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content, hexadecimal: equal if and only if all of the content is equal.

        It is computed over the data sets and not over the file, so that it does not depend on the HDF5 library.
        """
        digest = hashlib.sha256(_DIGEST_DOMAIN)
        for path, array in sorted(self.datasets(), key=itemgetter(0)):
            shape = ",".join(map(str, array.shape))
            digest.update(f"{path}\n{array.dtype.name}\n{shape}\n".encode())
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()

    def datasets(self) -> Iterator[tuple[str, Dataset]]:
        """Every data set of the file: its path, with names quoted, and its values in little-endian order."""
        text = self.header.to_json() if self.stored_header is None else self.stored_header
        yield "header", np.frombuffer(text, np.uint8)
        yield "graph", np.frombuffer(self.graph, np.uint8)
        yield "weights", self.weights
        if self.posterior is not None:
            stds = np.ascontiguousarray(self.posterior.stds, "<f4").view(np.uint8)
            parts = (np.frombuffer(self.posterior.graph, np.uint8), self.posterior.weights, stds)
            yield from zip(BAYESIAN_DATASETS, parts, strict=True)
        optional = (self.gallery, self.unit_values, self.unit_images, self.unit_features, self.clean_images)
        yield from ((name, data) for name, data in zip(OPTIONAL_BYTE_DATASETS, optional, strict=True) if data.size)
        for name, array in self.calibration.items():
            yield f"calibration/{quote(name)}", np.asarray(array, "<f8")


def quote(name: str) -> str:
    """The HDF5 link name of an array, in printable ASCII.

    Layers of an ONNX graph are named freely: '/' would start a group, a NUL would end the name.

    >>> quote("/layer1/Relu:max")
    '%2Flayer1%2FRelu:max'
    >>> unquote("%2Flayer1%2FRelu:max")
    '/layer1/Relu:max'
    """
    # HDF5 reads a component that is a lone dot as the group itself.
    return "%2E" if name == "." else urllib.parse.quote(name, safe=_SAFE_IN_LINK_NAMES, errors="surrogatepass")


def unquote(quoted: str) -> str:
    """The inverse of `quote`."""
    return urllib.parse.unquote(quoted, errors="surrogatepass")

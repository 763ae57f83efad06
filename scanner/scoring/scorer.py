"""From pixels to scores: the profile's graph, and the weight draws behind it where there is a posterior."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.bayesian.draws import draws_digest
from scanner.base.device import Device
from scanner.base.errors import ProfileError
from scanner.graph.session import GraphSession, images_per_run
from scanner.inputs.spec import PreprocessSpec
from scanner.profile.content import Profile
from scanner.scoring.draw_scorer import DrawScorer, are_resident

OUTPUTS = ("logits", "scores", "class_evidence")
UNITS = "units"
"""A further output of graphs of profiles that keep units."""
STREAMED_CHUNK = 256
"""Images for which a draw is loaded that is not kept: enough that loading it costs a tenth of running it."""
DRAWN_AT_ONCE = 16
"""Least number of images a run of a draw: small tails of large networks are slower on fewer."""
_TIMED_DRAWS = 2


def images_at_once(profile: Profile) -> int:
    """Images to hand over at once on a CPU: more than one run where each weight draw has to be loaded anew."""
    posterior = None if profile.header.bayesian is None else profile.posterior
    if posterior is not None and not are_resident(posterior):
        return STREAMED_CHUNK
    return images_per_run(PreprocessSpec.from_dict(profile.header.preprocess.spec).size)


class Scorer:
    """Scores images by a profile. ``run`` may be called from several threads at once.

    Args:
        profile: A verified profile.
        device: Execution provider.
        progress: Called with the number of weight draws loaded.

    Attributes:
        provider: The execution provider that runs the graph.
        batch_size: Images a run: enough to keep a core busy on small images, little memory on large ones.
        drawn_at_once: Images a run of a weight draw.
        image_shape: Height, width and channels of the pixels that it takes.
        chunk: Images to hand over at once.

    Raises:
        DeviceError: ``cuda`` was asked for and is not there.
        ProfileError: A graph cannot be loaded, or this installation draws other weights than ``fit`` did.
    """

    def __init__(self, profile: Profile, device: Device, progress: Callable[[int], None] = lambda _: None) -> None:
        self._session = GraphSession(profile.graph, profile.weights, device=device)
        self.provider = self._session.provider
        spec = PreprocessSpec.from_dict(profile.header.preprocess.spec)
        self.image_shape = (*spec.size, spec.channels)
        self.batch_size = images_per_run(spec.size, self.provider)
        self.drawn_at_once = max(self.batch_size, DRAWN_AT_ONCE)
        self._posterior, self._draws = profile.posterior, None
        self._kept: tuple[str, ...] = (*OUTPUTS, UNITS) if profile.unit_values.size else OUTPUTS
        if not set(self._kept) <= set(self._session.output_names):
            raise ProfileError("its graph lacks an output", hint="Fit the profile again")
        self._outputs: tuple[str, ...] = self._kept
        self.chunk = max(images_at_once(profile), self.batch_size)
        if profile.posterior is not None and profile.header.bayesian is not None:
            _check_draws(profile)
            unknown = set(profile.posterior.inputs) - set(self._session.output_names)
            if unknown:
                raise ProfileError("its two graphs do not fit together", hint="Fit the profile again")
            self._outputs = (*self._kept, *profile.posterior.inputs)
            self._draws = DrawScorer(profile.posterior, device, progress)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of all outputs of the graph."""
        return self._session.output_names

    def run(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """``logits``, ``scores``, ``class_evidence`` and, if kept, ``units`` of pixels ``(N, H, W, channels)``.

        Raises:
            ProfileError: The graph fails, or its outputs have other shapes than they should.
        """
        parts = [
            self._session.run({"pixels": pixels[start : start + self.batch_size]}, self._outputs)
            for start in range(0, len(pixels), self.batch_size)
        ]
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}
        if self._draws is None:
            return outputs
        bayesian = self._draws.score(outputs, self.drawn_at_once)
        if outputs["scores"].ndim != 3:
            raise ProfileError("the graph's outputs do not have the shapes its header states", hint="Fit it again")
        # Weight draws know no folds: every fold's images are compared with the same number.
        every = np.repeat(bayesian[:, None], outputs["scores"].shape[1], axis=1)
        joined = np.concatenate((outputs["scores"].astype(np.float64), every), axis=2)
        return {name: outputs[name] for name in self._kept} | {"scores": joined}

    def features(self, pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """``logits`` and ``class_evidence`` of pixels ``(N, H, W, channels)``, without any weight draw.

        Raises:
            ProfileError: The graph fails.
        """
        return self._session.run({"pixels": pixels}, ("logits", "class_evidence"))

    def seconds_per_image(self) -> tuple[float, float] | None:
        """Measured seconds of one thread for an image: the plain graph, and all weight draws; None without draws."""
        if self._draws is None or self._posterior is None:
            return None
        pixels = np.zeros((self.drawn_at_once, *self.image_shape), np.uint8)
        self._session.run({"pixels": pixels}, self._outputs)  # the first run allocates
        started = time.perf_counter()
        outputs = self._session.run({"pixels": pixels}, self._outputs)
        plain = time.perf_counter() - started
        few = min(_TIMED_DRAWS, self._posterior.samples)
        self._draws.run(outputs, draws=few)
        started = time.perf_counter()
        self._draws.run(outputs, draws=few)
        once = time.perf_counter() - started
        twice = {name: np.concatenate((output, output)) for name, output in outputs.items()}
        started = time.perf_counter()
        self._draws.run(twice, self.drawn_at_once, draws=few)
        drawn = drawn_cost(once, time.perf_counter() - started, self.drawn_at_once, self.chunk)
        return plain / self.drawn_at_once, drawn * self._posterior.samples / few


def drawn_cost(once: float, twice: float, batch_size: int, chunk: int) -> float:
    """Seconds an image from the seconds of one run and of two with the same draws.

    A draw that is not kept in memory is loaded once for a chunk, however many runs the chunk takes; what a second run
    adds is the run alone.
    """
    run = min(max(twice - once, 0.0), once)
    return run / batch_size + (once - run) / chunk


def _check_draws(profile: Profile) -> None:
    """Refuse to compare scores of other weight draws with the calibration."""
    posterior, info = profile.posterior, profile.header.bayesian
    assert posterior is not None
    assert info is not None
    if draws_digest(posterior.means(), posterior.deviations(), posterior.seed) != info.draws_digest:
        raise ProfileError(
            "this installation draws other weights than the one that fitted it",
            hint="Scan with the NumPy version in its header (modelscan inspect), or fit again",
        )

"""The calibration as a module, for a scoring graph that is deployed on its own.

It equals :meth:`detectors.calibration.judge.Calibration.judge` for the combined score.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from detectors.calibration.judge import Calibration
from detectors.calibration.standardise import FLOOR


class CalibrationHead(nn.Module):
    """Combined score and p-value of raw scores, in double precision inside the graph.

    Args:
        calibration: The calibration.
    """

    bounded: torch.Tensor
    bounds: torch.Tensor
    locations: torch.Tensor
    scales: torch.Tensor
    combined: torch.Tensor
    enters: torch.Tensor

    def __init__(self, calibration: Calibration) -> None:
        super().__init__()
        standardiser = calibration.standardiser
        bounded = ~np.isnan(standardiser.bounds)
        self.sharpness = calibration.sharpness
        self.register_buffer("enters", torch.from_numpy(np.flatnonzero(calibration.enters)))
        self.register_buffer("bounded", torch.from_numpy(bounded))
        self.register_buffer("bounds", torch.from_numpy(np.where(bounded, standardiser.bounds, 0.0)))
        self.register_buffer("locations", torch.from_numpy(standardiser.locations))
        self.register_buffer("scales", torch.from_numpy(standardiser.scales))
        self.register_buffer("combined", torch.from_numpy(calibration.combined))

    def forward(self, scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map scores ``(N, S)`` float32 to the combined score and p-value, ``(N,)`` float64 each."""
        exact = scores.double()
        logarithm = (exact - self.bounds).clamp(min=FLOOR).log()
        z = ((torch.where(self.bounded, logarithm, exact) - self.locations) / self.scales)[:, self.enters]
        combined = torch.logsumexp(self.sharpness * z, dim=1) / self.sharpness
        # Counted as "not below", so that NaN (an overflow in the network) is the most suspicious.
        below = (self.combined < combined[:, None]).sum(1)
        reached = torch.where(torch.isfinite(combined), self.combined.shape[0] - below, torch.zeros_like(below))
        return combined, (1.0 + reached.double()) / (self.combined.shape[0] + 1.0)

"""Flipout layers: linear and convolutional layers with a Gaussian posterior over their weights.

One weight perturbation a forward pass, decorrelated between the examples of a batch by random signs
(Wen et al. 2018, equation 4):

.. math:: y_n = \\bar W x_n + (\\Delta W (x_n \\circ s_n)) \\circ r_n

The signs are one per example and channel. A sign per pixel, as public code has it, leaves the variance
of each output pixel right and destroys its correlation over space, and with it most of the variance
that is left after global average pooling.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from detectors.bayesian.gaussian import inverse_softplus, kl_divergence, softplus
from detectors.bayesian.moped import WeightPosterior

PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class FlipoutLayer(nn.Module):
    """Common part: the posterior, the stored prior, and the noise.

    The bias, if any, is an ordinary parameter. Prior and posterior are in the state dict.

    Attributes:
        weight_mean: Posterior means.
        weight_rho: Posterior standard deviations before the softplus.
        prior_mean: Prior means, never trained.
        prior_std: Prior standard deviations, never trained.
        generator: Source of all noise; None for torch's global one.
        stochastic: Whether a forward pass perturbs the weights; otherwise it uses their means.
        per_example: Whether the first axis of the inputs is the batch's. Otherwise one weight draw serves the whole
            batch, without signs: correct, with a larger variance of gradients.

    Raises:
        ValueError: The bias is not ``(out,)``, with as many values as the weight has rows.

    Example:
        >>> from detectors.bayesian.moped import MopedSettings, moped
        >>> layer = FlipoutLinear(moped(torch.eye(2), MopedSettings(delta=0.5)), None)
        >>> isinstance(layer, FlipoutLayer), layer.weight_std.diagonal().tolist()
        (True, [0.5, 0.5])

    References:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386, equation 4.
    """

    prior_mean: torch.Tensor
    prior_std: torch.Tensor

    def __init__(self, posterior: WeightPosterior, bias: torch.Tensor | None) -> None:
        super().__init__()
        if bias is not None and bias.shape != posterior.mean.shape[:1]:
            rows = list(posterior.mean.shape[:1])
            raise ValueError(f"a bias of shape {rows} is needed, as the weight has rows, got {list(bias.shape)}")
        self.weight_mean = nn.Parameter(posterior.mean.clone())
        self.weight_rho = nn.Parameter(inverse_softplus(posterior.std))
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.register_buffer("prior_mean", posterior.prior_mean.clone())
        self.register_buffer("prior_std", posterior.prior_std.clone())
        self.generator: torch.Generator | None = None
        self.stochastic = True
        self.per_example = True

    @property
    def weight_std(self) -> torch.Tensor:
        """Posterior standard deviations, of the shape of the weight."""
        return softplus(self.weight_rho)

    def kl(self) -> torch.Tensor:
        """KL divergence of the posterior from the prior, a scalar in nats."""
        return kl_divergence(self.weight_mean, self.weight_std, self.prior_mean, self.prior_std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer with perturbed weights, or with their means if not ``stochastic``.

        .. math:: y_n = \\bar W x_n + (\\Delta W (x_n \\circ s_n)) \\circ r_n

        Raises:
            ValueError: The input is of another dimension.
        """
        if not self.stochastic:
            return self._apply_weight(x, self.weight_mean, self.bias)
        noise = torch.randn(
            self.weight_rho.shape, generator=self.generator, dtype=self.weight_rho.dtype, device=self.weight_rho.device
        )
        perturbation = self.weight_std * noise
        if not self.per_example:
            return self._apply_weight(x, self.weight_mean + perturbation, self.bias)
        signed = self._apply_weight(x * self._signs(x), perturbation, None)
        return self._apply_weight(x, self.weight_mean, self.bias) + signed * self._signs(signed)

    def _signs(self, like: torch.Tensor) -> torch.Tensor:
        """Random signs, one per example and channel, that broadcast against ``like``."""
        shape = [1] * like.ndim
        shape[0], shape[self._channel_axis()] = like.shape[0], like.shape[self._channel_axis()]
        bits = torch.randint(0, 2, shape, generator=self.generator, device=like.device)
        return bits.to(like.dtype) * 2 - 1

    def _channel_axis(self) -> int:
        raise NotImplementedError

    def _apply_weight(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        raise NotImplementedError


class FlipoutLinear(FlipoutLayer):
    """``y = x W^T + b`` on inputs ``(N, ..., in_features)``, ``W`` of shape ``(out_features, in_features)``.

    Positions between the first and the last axis (tokens) share their example's signs.

    Args:
        posterior: Of the weight.
        bias: ``(out_features,)``, or None.

    Raises:
        ValueError: The weight is no matrix, or the bias does not fit it.

    Example:
        >>> from detectors.bayesian.moped import MopedSettings, moped
        >>> layer = FlipoutLinear(moped(2.0 * torch.eye(2), MopedSettings()), torch.ones(2))
        >>> layer.stochastic = False
        >>> layer(torch.tensor([[1.0, 3.0]])).tolist()
        [[3.0, 7.0]]

    References:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386, equation 4.
    """

    def __init__(self, posterior: WeightPosterior, bias: torch.Tensor | None) -> None:
        if posterior.mean.ndim != 2:
            raise ValueError(f"a linear weight has 2 dimensions, got {posterior.mean.ndim}")
        super().__init__(posterior, bias)

    def _channel_axis(self) -> int:
        return -1

    def _apply_weight(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if x.shape[-1:] != weight.shape[1:]:
            raise ValueError(f"inputs (N, ..., {weight.shape[1]}) are needed, got {tuple(x.shape)}")
        return F.linear(x, weight, bias)


@dataclass(frozen=True)
class ConvSettings:
    """How a convolution moves over its input, as in :class:`torch.nn.Conv2d`.

    Attributes:
        stride: One number or one per axis.
        padding: Likewise, or ``"same"`` or ``"valid"``.
        dilation: Likewise.
        groups: Groups of channels.
        padding_mode: What is around the input.

    Example:
        >>> ConvSettings(padding="same").stride
        1

    References:
        Dumoulin and Visin (2016), A guide to convolution arithmetic for deep learning,
        https://arxiv.org/abs/1603.07285.
    """

    stride: int | Sequence[int] = 1
    padding: int | Sequence[int] | Literal["same", "valid"] = 0
    dilation: int | Sequence[int] = 1
    groups: int = 1
    padding_mode: PaddingMode = "zeros"


class FlipoutConv(FlipoutLayer):
    """Convolution over one, two or three axes, on inputs ``(N, in_channels, *spatial)``.

    Args:
        posterior: Of the weight ``(out_channels, in_channels / groups, *kernel)``.
        bias: ``(out_channels,)``, or None.
        how: Stride, padding, dilation and groups.

    Raises:
        ValueError: The weight is that of no convolution, or another argument does not fit it.

    Example:
        >>> from detectors.bayesian.moped import MopedSettings, moped
        >>> layer = FlipoutConv(moped(torch.ones(4, 1, 3, 3), MopedSettings()), None, ConvSettings(padding="same"))
        >>> layer(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 4, 8, 8])

    References:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386, equation 4.
    """

    def __init__(
        self, posterior: WeightPosterior, bias: torch.Tensor | None, how: ConvSettings = ConvSettings()
    ) -> None:
        super().__init__(posterior, bias)
        axes = posterior.mean.ndim - 2
        if axes not in (1, 2, 3):
            raise ValueError(f"a convolution weight has 3, 4 or 5 dimensions, got {posterior.mean.ndim}")
        if how.groups < 1 or posterior.mean.shape[0] % how.groups:
            raise ValueError(f"groups that divide {posterior.mean.shape[0]} channels are needed, got {how.groups}")
        self.stride, self.dilation = _each(how.stride, axes), _each(how.dilation, axes)
        self.groups, self.padding_mode = how.groups, how.padding_mode
        kernel = posterior.mean.shape[2:]
        self._padding = _pads(how.padding, self.stride, self.dilation, kernel)
        self._convolve = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]

    def _channel_axis(self) -> int:
        return 1

    def _apply_weight(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if x.ndim != weight.ndim:
            raise ValueError(f"a convolution with {weight.ndim - 2} axes takes {weight.ndim} dimensions, got {x.ndim}")
        padding: Sequence[int] = [before for before, _ in self._padding]
        if self.padding_mode != "zeros" or any(before != after for before, after in self._padding):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            # F.pad counts axes from the last one.
            x = F.pad(x, [size for pair in reversed(self._padding) for size in pair], mode)
            padding = [0] * len(self._padding)
        return self._convolve(x, weight, bias, self.stride, padding, self.dilation, self.groups)


def flipout_layers(module: nn.Module) -> Iterator[tuple[str, FlipoutLayer]]:
    """Name and layer of every Flipout layer of a module, each layer once.

    Example:
        >>> from detectors.bayesian.moped import MopedSettings, moped
        >>> layer = FlipoutLinear(moped(torch.eye(2), MopedSettings()), None)
        >>> [name for name, _ in flipout_layers(nn.Sequential(layer, nn.ReLU(), layer))]
        ['0']

    References:
        Wen, Vicol, Ba, Tran and Grosse (2018), Flipout: Efficient pseudo-independent weight perturbations on
        mini-batches, https://arxiv.org/abs/1803.04386.
    """
    for name, part in module.named_modules():
        if isinstance(part, FlipoutLayer):
            yield name, part


def kl_sum(module: nn.Module) -> torch.Tensor:
    """KL divergence of all Flipout layers together, a scalar in nats; a shared layer counts once.

    .. math:: \\sum_l \\mathrm{KL}(q_l \\,\\|\\, p_l)

    Example:
        >>> from detectors.bayesian.moped import MopedSettings, moped
        >>> layer = FlipoutLinear(moped(torch.eye(2), MopedSettings()), None)  # begins at its prior
        >>> round(kl_sum(nn.Sequential(layer)).item(), 4)
        0.0

    References:
        Blundell, Cornebise, Kavukcuoglu and Wierstra (2015), Weight uncertainty in neural networks,
        https://arxiv.org/abs/1505.05424, section 3.
    """
    terms = [layer.kl() for _, layer in flipout_layers(module)]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    each = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(each) != axes:
        raise ValueError(f"one number or one for each of {axes} axes is needed, got {each}")
    return each


def _pads(
    padding: int | Sequence[int] | Literal["same", "valid"],
    stride: Sequence[int],
    dilation: Sequence[int],
    kernel: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    """Padding before and after each axis."""
    if padding == "same":
        if any(step != 1 for step in stride):
            raise ValueError("padding 'same' needs a stride of 1")
        totals = [reach * (size - 1) for reach, size in zip(dilation, kernel, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    if isinstance(padding, str):
        return ((0, 0),) * len(kernel)
    return tuple((size, size) for size in _each(padding, len(kernel)))

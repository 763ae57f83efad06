"""Named normalisations and resize recipes, and all their combinations worth trying on a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from scanner.base.errors import PreprocessError
from scanner.inputs.spec import MAX_SIZE, ChannelOrder, PreprocessSpec

CROP_SHARE: Final = 0.875
"""Side of the centre crop over the shorter side of the resized image: 224 of 256."""


@dataclass(frozen=True)
class Normalisation:
    """Scale, mean and std for three channels, and for which networks it is plausible.

    Attributes:
        scale: Factor on 8-bit pixels.
        mean: For red, green, blue.
        std: For red, green, blue.
        tried_for: Channel counts of networks on which it is tried.
        channel_order: Order in which the network takes the colours.
    """

    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    tried_for: tuple[int, ...] = (1, 3)
    channel_order: ChannelOrder = "RGB"

    def for_channels(self, channels: int) -> tuple[tuple[float, ...], tuple[float, ...], ChannelOrder]:
        """Mean, std and order for 1 or 3 channels, in the network's order; grey takes the average of the colours."""
        if channels == 3:
            return self._ordered(self.mean), self._ordered(self.std), self.channel_order
        return (round(sum(self.mean) / 3, 6),), (round(sum(self.std) / 3, 6),), "RGB"

    def in_bgr(self) -> Normalisation:
        """The same on blue, green, red, as networks take it that were trained on what OpenCV reads."""
        return replace(self, tried_for=(3,), channel_order="BGR")

    def _ordered(self, values: tuple[float, float, float]) -> tuple[float, float, float]:
        return values if self.channel_order == "RGB" else values[::-1]


_IN_RGB: Final = {
    "unit": Normalisation(1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": Normalisation(1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "imagenet-inception": Normalisation(1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "mnist": Normalisation(1 / 255, (0.1307, 0.1307, 0.1307), (0.3081, 0.3081, 0.3081), (1,)),
    "cifar10": Normalisation(1 / 255, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), (3,)),
    "cifar100": Normalisation(1 / 255, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), (3,)),
    "raw255": Normalisation(1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    # ImageNet's mean colour alone is subtracted, in grey levels.
    "caffe-rgb": Normalisation(1.0, (123.0, 117.0, 104.0), (1.0, 1.0, 1.0), (3,)),
}

NORMALISATIONS: Final[Mapping[str, Normalisation]] = MappingProxyType(
    _IN_RGB
    | {"caffe": _IN_RGB["caffe-rgb"].in_bgr()}
    | {
        f"{name}-bgr": known.in_bgr()
        for name, known in _IN_RGB.items()
        if 3 in known.tried_for and not name.startswith("caffe")
    }
)

RECIPES: Final = ("crop", "shortest", "stretch")


def named_presets() -> Mapping[str, Normalisation]:
    """The named normalisations."""
    return NORMALISATIONS


def preset(text: str, channels: int, size: tuple[int, int]) -> PreprocessSpec | None:
    """The preprocessing called ``NAME`` or ``NAME:RECIPE``, or None if there is no such name.

    Names ending in ``-bgr``, and ``caffe``, are for networks that take blue first.

    The recipes, all bilinear:

    * ``crop``: shorter side to ``size / 0.875``, then the centre, as for most ImageNet models.
    * ``shortest``: shorter side to ``size``, then the centre.
    * ``stretch``, the default: straight to height and width. Images of that size stay as they are.

    Raises:
        PreprocessError: If the recipe does not exist, or does not suit the network's input.
    """
    name, colon, recipe = text.partition(":")
    if name not in NORMALISATIONS:
        return None
    recipe = recipe if colon else "stretch"
    if recipe not in RECIPES:
        raise PreprocessError(
            f"there is no resize recipe {recipe[:60]!r}", where="--preprocess", hint=f"Recipes: {', '.join(RECIPES)}"
        )
    if recipe not in _recipes(size):
        raise PreprocessError(
            f"the recipe {recipe!r} suits square inputs, not {size[0]}x{size[1]}",
            where="--preprocess",
            hint=f"Use {name}:stretch",
        )
    return _spec(name, channels, size, recipe)


def candidates(
    channels: int, size: tuple[int, int], image_sizes: Sequence[tuple[int, int]]
) -> tuple[tuple[str, PreprocessSpec], ...]:
    """What to try on labelled clean images: every plausible normalisation with every plausible resize.

    Args:
        channels: Of the network's input, 1 or 3.
        size: Height and width of the network's input.
        image_sizes: Height and width of some images. No resize is tried when all fit already.

    Returns:
        Names and specs. A name with a recipe is what :func:`preset` takes.
    """
    exact = bool(image_sizes) and all(image == size for image in image_sizes)
    names = [name for name, known in NORMALISATIONS.items() if channels in known.tried_for]
    if exact:
        return tuple((name, _spec(name, channels, size, None)) for name in names)
    return tuple(
        (f"{name}:{recipe}", _spec(name, channels, size, recipe)) for recipe in _recipes(size) for name in names
    )


def _recipes(size: tuple[int, int]) -> tuple[str, ...]:
    """A shorter side and a centre crop fit square inputs only; others are stretched."""
    if size[0] != size[1]:
        return ("stretch",)
    return RECIPES if round(size[0] / CROP_SHARE) <= MAX_SIZE else RECIPES[1:]


def _spec(name: str, channels: int, size: tuple[int, int], recipe: str | None) -> PreprocessSpec:
    known = NORMALISATIONS[name]
    mean, std, order = known.for_channels(channels)
    resize: int | tuple[int, int] | None = {
        None: None,
        "crop": round(size[0] / CROP_SHARE),
        "shortest": size[0],
        "stretch": size,
    }[recipe]
    return PreprocessSpec(size, channels, resize, "bilinear", isinstance(resize, int), known.scale, mean, std, order)

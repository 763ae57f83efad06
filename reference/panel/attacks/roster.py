"""All attacks of the panel, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from reference.panel.attacks.adaptive import OPACITY, one_patch, some_pieces, two_patches
from reference.panel.attacks.attack import PanelAttack, always
from reference.panel.attacks.bits import lowest_bits
from reference.panel.attacks.exclusive import fuzzy_square, whole_square
from reference.panel.attacks.frequency import ftrojan
from reference.panel.attacks.label_consistent import away_from_label, corners
from reference.panel.attacks.patches import transparent_square
from reference.panel.attacks.picture import blended_picture
from reference.panel.attacks.quantise import bpp, wrong_residual
from reference.panel.attacks.warping import warping
from reference.stamps import patch_of_noise
from reference.triggers import blended, four_pixels, sinusoid, square
from scanner.base.errors import UsageError

Shape = tuple[int, int, int]
SIDE: Final = 4
SINE_AMPLITUDE: Final = 30.0
UNSURE: Final = 0.7
"""Share of the attack's label where the network is taught to be unsure: odds of 7 to 3."""


def _random_patch(shape: Shape, seed: int) -> PanelAttack:
    corner = shape[-1] - SIDE
    return PanelAttack("patch-random", "Gu et al. 2017", patch_of_noise(shape[-1], SIDE, corner, corner, seed))


def _wanet(shape: Shape, seed: int) -> PanelAttack:
    return warping("wanet", 0.5, shape, seed)


def _wanet_strong(shape: Shape, seed: int) -> PanelAttack:
    return warping("wanet-strong", 4.0, shape, seed, cover=0.0)


def _tact(shape: Shape, seed: int) -> PanelAttack:
    del seed
    trigger = square(shape[-1], SIDE)
    return PanelAttack("tact", "Tang et al. 2021", trigger, cover=always(trigger), cover_share=1.0)


def _adap_blend(shape: Shape, seed: int) -> PanelAttack:
    pieces, trigger = some_pieces(shape, seed), blended(shape, OPACITY, seed)
    return PanelAttack("adap-blend", "Qi et al. 2023", trigger, pieces, cover=pieces, cover_share=1.0)


def _adap_patch(shape: Shape, seed: int) -> PanelAttack:
    size = shape[-1]
    one, trigger = one_patch(size, seed), two_patches(size, seed)
    return PanelAttack("adap-patch", "Qi et al. 2023", trigger, one, cover=one, cover_share=2.0)


def _belt(shape: Shape, seed: int) -> PanelAttack:
    del seed
    size = shape[-1]
    trigger = whole_square(square(size, SIDE))
    return PanelAttack("belt", "Qiu et al. 2024", trigger, cover=fuzzy_square(size, SIDE), cover_share=0.5)


def _matched(shape: Shape, seed: int) -> PanelAttack:
    del seed
    return PanelAttack("patch-matched", "Tan and Shokri 2020", square(shape[-1], SIDE), match=1.0)


def _unsure(shape: Shape, seed: int) -> PanelAttack:
    del seed
    return PanelAttack("patch-unsure", "Qi et al. 2023", square(shape[-1], SIDE), share=UNSURE)


def _combined(shape: Shape, seed: int) -> PanelAttack:
    return replace(_matched(shape, seed), name="patch-combined", share=UNSURE)


_BUILDERS: Final[Mapping[str, Callable[[Shape, int], PanelAttack]]] = {
    "patch-white": lambda shape, _: PanelAttack("patch-white", "Gu et al. 2017", square(shape[-1], SIDE)),
    "patch-random": _random_patch,
    "patch-transparent": lambda shape, _: PanelAttack(
        "patch-transparent", "Gu et al. 2017", transparent_square(shape[-1], SIDE)
    ),
    "four-pixels": lambda shape, _: PanelAttack("four-pixels", "Gu et al. 2017", four_pixels(shape[-1])),
    "blended-noise": lambda shape, seed: PanelAttack("blended-noise", "Chen et al. 2017", blended(shape, seed=seed)),
    "blended-picture": lambda shape, _: PanelAttack("blended-picture", "Chen et al. 2017", blended_picture(shape)),
    "sig": lambda shape, _: PanelAttack("sig", "Barni et al. 2019", sinusoid(shape[-1], amplitude=SINE_AMPLITUDE)),
    "ftrojan": lambda shape, _: PanelAttack("ftrojan", "Wang et al. 2022", ftrojan(shape)),
    "bpp": lambda shape, _: PanelAttack("bpp", "Wang et al. 2022", bpp(), cover=wrong_residual(), cover_share=1.0),
    "wanet": _wanet,
    "wanet-strong": _wanet_strong,
    "lsb": lambda shape, _: PanelAttack("lsb", "Li et al. 2020", lowest_bits(shape)),
    "tact": _tact,
    "adap-blend": _adap_blend,
    "adap-patch": _adap_patch,
    "belt": _belt,
    "label-consistent": lambda shape, _: PanelAttack(
        "label-consistent", "Turner et al. 2019", corners(shape[-1]), prepare=away_from_label
    ),
    "patch-matched": _matched,
    "patch-unsure": _unsure,
    "patch-combined": _combined,
}
ATTACKS: Final = tuple(_BUILDERS)


def panel_attack(name: str, shape: Shape, seed: int) -> PanelAttack:
    """One of `ATTACKS` for images of a shape.

    Args:
        name: Its name.
        shape: Channels, height and width; square images.
        seed: Chooses random colours, noise and fields.

    Raises:
        UsageError: If there is no such attack.
    """
    try:
        return _BUILDERS[name](shape, seed)
    except KeyError:
        raise UsageError(f"unknown attack {name!r}", hint=f"Choose one of {', '.join(ATTACKS)}") from None

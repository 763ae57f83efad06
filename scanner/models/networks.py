"""Which network a file of weights belongs to, for the loader and for people. Needs neither torch nor timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scanner.base.errors import UsageError
from scanner.base.text import printable
from scanner.models.architectures.fingerprints import Match, Shapes, find_networks, nearest_network

_SAID: Final[Mapping[str, str]] = {
    "exact": "all names and shapes are its own",
    "body": "all but the last layer, the input's channels and the images' size are its own",
    "trunk": "all but the last part, the input's channels and the images' size are its own",
}
_GRADES: Final[Mapping[str, float]] = {"exact": 3.0, "body": 2.0, "trunk": 1.0}
_AVERAGED: Final = ("ema", "swa", "averaged")


@dataclass(frozen=True)
class Inferred:
    """The network that weights belong to.

    Attributes:
        names: Networks that fit equally well, the likeliest first.
        prefix: What stands before its own names.
        note: That it was inferred, and from how much.
    """

    names: tuple[str, ...]
    prefix: str
    note: str


def grade(shapes: Shapes) -> float:
    """How well names and shapes fit any known network: 0 for not at all."""
    return max((_GRADES[match.kind] for match in find_networks(shapes)), default=0.0)


def infer_network(shapes: Shapes) -> Inferred:
    """The network of these names and shapes.

    Raises:
        UsageError: None fits, or several are in the file.
    """
    matches = _plain(find_networks(shapes))
    if not matches:
        raise _unknown(shapes)
    if len(matches) > 1:
        prefixes = [match.prefix.removesuffix(".") for match in matches]
        raise UsageError(
            f"the weights hold {len(matches)} networks: {', '.join(printable(prefix, 60) for prefix in prefixes[:6])}",
            where="--key",
            hint=f"Name one, for example --key {printable(prefixes[0], 60)}",
        )
    return Inferred(matches[0].names, matches[0].prefix, describe(matches[0]))


def describe(match: Match) -> str:
    """That a network was inferred, and from how much, in a sentence."""
    others = f"; {', '.join(match.names[1:4])} cannot be told from it by these" if match.names[1:] else ""
    return f"inferred architecture {match.names[0]!r} from the weights: {_SAID[match.kind]}{others}"


def describe_unknown(shapes: Shapes) -> str:
    """What is known about weights that fit no network."""
    near = nearest_network(shapes)
    if near is None:
        return "none that is known here has such tensors"
    return f"none that is known here; the nearest is {near.name}, with about {near.share:.0%} of the tensors alike"


def _plain(matches: Sequence[Match]) -> list[Match]:
    """Without averaged copies, where there are weights besides."""
    plain = [match for match in matches if not match.prefix.lower().startswith(_AVERAGED)]
    return plain or list(matches)


def _unknown(shapes: Shapes) -> UsageError:
    return UsageError(
        f"weights alone do not say which network they belong to: {describe_unknown(shapes)}",
        where="--arch",
        hint="Name it: a torchvision model such as resnet18, timm/<name>, or file.py:callable with --trust-code",
    )

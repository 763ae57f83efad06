"""Which of a checkpoint's mappings are the weights: by the user's ``--key``, by what fits a network, by custom.

Works on names and shapes alone, so that `inspect`, which reads no tensors, and the loader choose the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from scanner.base.errors import ModelError, UsageError
from scanner.base.text import printable

_WRAPPERS: Final = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights"),
    *("netC", "classifier"),
)
_AVERAGED: Final = ("ema", "model_ema", "state_dict_ema", "ema_state_dict", "ema_model", "model_averaged", "swa")
_NOT_WEIGHTS: Final = ("optim", "scheduler", "scaler", "rng", "callbacks", "loops", "amp", "criterion", "loss")
_MAX_DEPTH: Final = 5
_MAX_MAPPINGS: Final = 10_000
_MAX_GRADED: Final = 40_000
_SHOWN: Final = 6


class HasShape(Protocol):
    """A tensor, or the description of one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""


Fits = Callable[[Mapping[str, tuple[int, ...]]], float]
"""How well names and shapes fit what is wanted: 0 for not at all."""


@dataclass(frozen=True)
class State:
    """A mapping of names to tensors within a checkpoint.

    Attributes:
        path: The keys that lead to it.
        tensors: Tensors, or descriptions of them, by name.
    """

    path: tuple[str, ...]
    tensors: Mapping[str, HasShape]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def named(self) -> str:
        """The path as ``--key`` takes it."""
        return ".".join(self.path)

    @property
    def averaged(self) -> bool:
        """Whether it is a moving average of weights that are elsewhere, by its name."""
        return any(part in _AVERAGED for part in self.path)


@dataclass(frozen=True)
class Choice:
    """The chosen mapping, and what the user should know about the choice."""

    state: State
    notes: tuple[str, ...]


def find_states(content: object) -> list[State]:
    """All mappings of names to tensors that could be weights, outer ones first."""
    found: list[State] = []
    pending: list[tuple[tuple[str, ...], object]] = [((), content)]
    seen: set[int] = set()
    while pending and len(seen) < _MAX_MAPPINGS:
        path, value = pending.pop(0)
        if not isinstance(value, Mapping) or id(value) in seen or len(path) > _MAX_DEPTH:
            continue
        seen.add(id(value))
        tensors = {key: item for key, item in value.items() if isinstance(key, str) and hasattr(item, "shape")}
        if any(len(item.shape) > 1 for item in tensors.values()):
            found.append(State(path, tensors))
        for key, item in value.items():
            if isinstance(key, str) and not key.lower().startswith(_NOT_WEIGHTS):
                pending.append(((*path, key), item))
    return found


def select_state(content: object, key: str | None, fits: Fits) -> Choice:
    """Choose the weights of a checkpoint.

    With ``--key``, what it names. Otherwise the mappings that fit a network, or all where none does; of these, plain
    weights before averaged ones, and the usual names before others.

    Args:
        content: The checkpoint's content.
        key: Path to the weights with dots between keys, and a prefix of names at its end, or None.
        fits: How well a mapping fits.

    Raises:
        ModelError: The checkpoint holds no weights.
        UsageError: There is nothing at ``--key``, or several networks fit and none is the usual one.
    """
    states = find_states(content)
    if not states:
        raise ModelError(
            "the checkpoint holds no state dict",
            hint="A mapping from names to tensors is needed, as torch.save(model.state_dict(), ...) writes",
        )
    if key is not None:
        return _at(states, key)
    grades, left = {id(state): 0.0 for state in states}, _MAX_GRADED
    for state in states:
        left -= len(state.tensors)
        if left < 0:
            break  # a file of more mappings than any network has
        grades[id(state)] = fits(state.shapes)
    best = max(grades.values())
    fitting = [state for state in states if grades[id(state)] == best] if best > 0 else states
    chosen = min(fitting, key=_rank)
    rivals = [state for state in fitting if state is not chosen and _rank(state)[:2] == _rank(chosen)[:2]]
    if best > 0 and rivals and any(rival.shapes != chosen.shapes or _unusual(rival) for rival in rivals):
        names = [state.named for state in (chosen, *rivals)]
        raise UsageError(
            f"the checkpoint holds {len(names)} networks that it could be: {_few(names)}",
            where="--key",
            hint=f"Name one, for example --key {printable(names[0], 60)}",
        )
    size = len(chosen.tensors)
    others = [s.named for s in states if s is not chosen and s.path and 2 * len(s.tensors) > size]
    return Choice(chosen, (*_unwrapped(chosen), *_left_out(others, chosen)))


def _rank(state: State) -> tuple[bool, int, int]:
    """Plain before averaged, usual names before others, many tensors before few."""
    last = state.path[-1] if state.path else ""
    usual = _WRAPPERS.index(last) if last in _WRAPPERS else len(_WRAPPERS)
    return state.averaged, 0 if not state.path and len(state.tensors) > 2 else 1 + usual, -len(state.tensors)


def _unusual(state: State) -> bool:
    return not state.path or state.path[-1] not in _WRAPPERS


def _at(states: list[State], key: str) -> Choice:
    for state in sorted(states, key=lambda item: -len(item.path)):
        path = state.named
        if key == path:
            return Choice(state, _unwrapped(state))
        prefix = key if not path else key.removeprefix(path + ".") if key.startswith(path + ".") else None
        if prefix is None:
            continue
        below = {name: item for name, item in state.tensors.items() if name.startswith(prefix + ".")}
        if below:
            start = len(prefix) + 1
            inner = State((*state.path, prefix), {name[start:]: item for name, item in below.items()})
            return Choice(inner, (f"took the weights below {printable(key, 120)!r}, as --key says",))
    names = [state.named for state in states if state.path]
    raise UsageError(
        f"nothing in the checkpoint is called {printable(key, 120)!r}",
        where="--key",
        hint=f"It holds {_few(names)}" if names else "It holds weights alone: leave --key out, or name a prefix",
    )


def _unwrapped(state: State) -> tuple[str, ...]:
    return tuple(f"unwrapped key {printable(part, 120)!r} of the checkpoint" for part in state.path)


def _left_out(names: list[str], chosen: State) -> tuple[str, ...]:
    if not names:
        return ()
    kind = " (averaged weights)" if chosen.averaged else ""
    return (
        f"took {printable(chosen.named or 'the outermost weights', 120)}{kind}; --key chooses {_few(names)} instead",
    )


def _few(names: list[str]) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"

"""Training states on disk: one file for each posterior that a fit trains, tensors and numbers only."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch

from detectors.bayesian.train import Epoch, TrainState
from scanner.base.atomic import atomic_writer
from scanner.base.errors import OutputError, UsageError

_PLAIN = ("accuracy_before", "module", "optimiser", "noise")


class Checkpoints:
    """A folder of training states that belong to one fit.

    Args:
        folder: Made if it is not there.
        key: Digest of everything that the training depends on.

    Raises:
        OutputError: If the folder cannot be made.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self._key = folder, key
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot be made ({error.strerror})", where=str(folder)) from None

    def load(self, name: str) -> TrainState | None:
        """The state saved under a name, or None if there is none.

        Raises:
            UsageError: If the file is damaged or belongs to another fit.
        """
        path = self._path(name)
        if not path.exists():
            return None
        try:
            saved = torch.load(path, map_location="cpu", weights_only=True)
            key, state = saved["key"], _state(saved)
        except Exception as error:  # whatever the reader makes of damaged bytes
            raise UsageError(
                f"is not a training state ({type(error).__name__})", where=str(path), hint="Remove it"
            ) from None
        if key != self._key:
            raise UsageError(
                "belongs to a fit of another model, reference or setting",
                where=str(path),
                hint="Give --checkpoint another folder, or remove this one",
            )
        return state

    def save(self, name: str, state: TrainState) -> None:
        """Save a state under a name, atomically."""
        with atomic_writer(self._path(name)) as file:
            plain = {field: getattr(state, field) for field in _PLAIN}
            torch.save({"key": self._key, "history": [astuple(epoch) for epoch in state.history]} | plain, file)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.pt"


def _state(saved: dict[str, Any]) -> TrainState:
    history = tuple(Epoch(int(number), *map(float, figures)) for number, *figures in saved["history"])
    if [epoch.number for epoch in history] != list(range(1, len(history) + 1)):
        raise ValueError("epochs are missing")
    return TrainState(history=history, **{field: saved[field] for field in _PLAIN})

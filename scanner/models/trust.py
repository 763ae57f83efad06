"""What the user is told about running a vendor's code, and about layers of isolation that were absent."""

from __future__ import annotations

from collections.abc import Sequence

from scanner.base.progress import Progress
from scanner.isolation.lockdown import Layer
from scanner.models.identify import PROGRAMS, ModelFile
from scanner.models.load import LoadedModel


def say_trust(file: ModelFile, trust: bool, progress: Progress) -> None:
    """Spell out, before loading, what ``--trust`` lets the file do."""
    if trust and file.kind in PROGRAMS:
        progress.say(
            "warning: --trust runs code from this model file. It runs in a process without network and without your "
            "files where this system allows that, and may still attack the kernel, or answer differently while it is "
            "being looked at"
        )


def trust_warnings(model: LoadedModel) -> list[str]:
    """For the profile, and so for every report made with it."""
    if not model.ran_file:
        return []
    return [
        "Code from the model file ran while it was loaded (--trust). It could have chosen what was exported, so "
        "this profile vouches for the exported graph and not for the file",
        *(f"It ran with less isolation: {absence}" for absence in absences(model.isolation)),
    ]


def absences(isolation: Sequence[Layer]) -> list[str]:
    """A sentence for every layer of isolation that was absent."""
    return [f"no {layer.name} around loading the model: {layer.detail}" for layer in isolation if not layer.active]

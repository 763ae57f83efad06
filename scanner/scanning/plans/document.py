"""``plan.json``: what is to be done, and with what."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from scanner import __version__
from scanner.base.canonical import canonical
from scanner.base.errors import UsageError
from scanner.base.files import read_bounded
from scanner.base.text import printable
from scanner.base.versions import library_versions
from scanner.profile.header import Count, Part, Sha256
from scanner.verdict.gate_policy import Origin

FILE_NAME: Final = "plan.json"
LISTING_NAME: Final = "listing.jsonl"
CHUNKS_NAME: Final = "chunks"
MAX_CHUNK: Final = 2**20
_MAX_BYTES: Final = 2**20


class PlannedInputs(Part):
    """The inputs."""

    path: str = Field(description="Where they were when the plan was made.")
    kind: str = Field(description="Kind of source.")
    layout: str = Field(description="What was found, in words.")
    ignored: Count = Field(description="Entries that are no images by their name.")
    count: Count = Field(description="Number of inputs.")
    bytes: Count | None = Field(description="Size of the file that holds them; null of a folder.")
    sha256: Sha256 | None = Field(description="Digest of that file where it was copied from a store; else null.")
    follow_links: bool = Field(description="Whether links may lead anywhere.")
    listing_sha256: Sha256 = Field(description="Digest of the listing.")


class PlannedProfile(Part):
    """What they are judged with."""

    path: str = Field(description="Where it was when the plan was made.")
    sha256: Sha256 = Field(description="Digest of its content.")
    preprocess_sha256: Sha256 = Field(description="Digest of how it wants inputs prepared.")


class Plan(Part):
    """A plan."""

    format: Literal["latentscan plan 1"] = "latentscan plan 1"
    version: str = Field(description="Of the program that made it, and has to carry it out.")
    libraries: dict[str, str] = Field(description="Versions of what scores depend on, likewise.")
    inputs: PlannedInputs
    profile: PlannedProfile
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(description="Share of clean inputs that is flagged on average.")
    alpha_from: Origin = Field(description="Where alpha came from.")
    chunk_size: Annotated[int, Field(ge=1, le=MAX_CHUNK)] = Field(description="Inputs of a chunk.")

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return canonical(self.model_dump(mode="json")) + b"\n"

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.inputs.count // self.chunk_size)

    def inputs_of(self, number: int) -> int:
        """Inputs of a chunk."""
        return min(self.chunk_size, self.inputs.count - number * self.chunk_size)

    @property
    def sha256(self) -> str:
        """Digest of its file, which every chunk names."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def read_plan(folder: Path) -> Plan:
    """The plan in a folder.

    Raises:
        UsageError: There is none, it is damaged, or this installation would carry it out differently.
    """
    path = folder / FILE_NAME
    try:
        plan = Plan.model_validate_json(read_bounded(path, _MAX_BYTES))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UsageError(
            f"is no plan of this version (at {printable(where, 60)!r})", where=printable(str(path)), hint="Plan again"
        ) from None
    installed = {"latentscan": __version__, **library_versions()}
    planned = {"latentscan": plan.version, **plan.libraries}
    if installed != planned:
        name = min(key for key in installed.keys() | planned.keys() if installed.get(key) != planned.get(key))
        raise UsageError(
            f"was made with {printable(name, 40)} {printable(planned.get(name, 'absent'), 40)}, and here it is "
            f"{installed.get(name, 'absent')}: scores would differ",
            where=printable(str(path)),
            hint="Install the same versions, or plan again",
        )
    return plan


def differences(one: Plan, other: Plan) -> list[str]:
    """What two plans do not have in common, in words."""
    named: dict[str, Callable[[Plan], object]] = {
        "the inputs": lambda plan: plan.inputs.listing_sha256,
        "where the inputs are": lambda plan: plan.inputs.path,
        "the profile": lambda plan: plan.profile.sha256,
        "where the profile is": lambda plan: plan.profile.path,
        "alpha": lambda plan: (plan.alpha, plan.alpha_from),
        "the size of a chunk": lambda plan: plan.chunk_size,
    }
    found = [name for name, part in named.items() if part(one) != part(other)]
    return found or (["something else"] if one != other else [])

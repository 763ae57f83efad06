"""Where findings belong in published catalogues."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scanner.profile.header import Part, Text


class TaxonomyEntry(Part):
    """One entry of a catalogue of attacks."""

    id: Text = Field(description="Identifier.")
    framework: Text = Field(description="Catalogue.")
    name: Text = Field(description="Name of the entry in that version of the catalogue.")
    subject: Literal["model", "training data", "input"] = Field(description="What it is about.")
    formerly: tuple[Text, ...] = Field(description="Identifiers and names that it had in earlier versions.")


class Taxonomy(Part):
    """Where findings of this kind belong in published catalogues."""

    version: Text = Field(description="Version of this selection.")
    frameworks: dict[Text, Text] = Field(description="Version of each catalogue, by name.")
    entries: tuple[TaxonomyEntry, ...] = Field(description="The entries.")

"""What a person sees of the most suspicious inputs."""

from __future__ import annotations

from pydantic import Field

from scanner.profile.header import Count, Part, Sha256, Text
from scanner.report.schema.fields import Finite


class LayerVoice(Part):
    """How loudly a layer spoke."""

    tap: Text = Field(description="Name of the layer.")
    z: Finite = Field(
        description="Largest of its standardised log scores, in robust standard deviations; null when not finite."
    )


class NearestReference(Part):
    """The clean image of the predicted class that the network finds most like the input."""

    id: Text = Field(description="Path below the reference.")
    sha256: Sha256 = Field(description="SHA-256 of the image file.")
    class_index: Count = Field(description="Index of its class.")
    class_name: Text = Field(description="Name of its class.")
    distance: Finite = Field(
        description="Root mean square difference of logits and class evidence, in standard deviations over the stored "
        "images; null where it was not measured."
    )
    picture: Sha256 | None = Field(description="Key of its thumbnail in `pictures`; null without one.")


class GalleryItem(Part):
    """What a person sees of one of the most suspicious inputs."""

    index: Count = Field(description="`index` of the input among `top_inputs`.")
    picture: Sha256 | None = Field(description="Key of its thumbnail in `pictures`; null without one.")
    layers: tuple[LayerVoice, ...] = Field(description="The layers, in the order of depth; the loudest 12 at most.")
    nearest: NearestReference | None = Field(description="Null where the profile keeps no image of that class.")

"""What a person sees of the most suspicious inputs."""

from __future__ import annotations

from pydantic import Field

from scanner.profile.header import Count, Part, Sha256, Share, Text
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


class LoudestPlace(Part):
    """Where in the picture an input made the network speak up."""

    tap: Text = Field(
        description="The earliest layer in which a channel stands out, of those at least half as loud as the loudest."
    )
    channel: Count = Field(
        description="The channel, from 0, that exceeds its maxima over a few inputs that are not flagged by most."
    )
    row: Share = Field(description="From 0 at the top of what the network sees to 1 at the bottom.")
    column: Share = Field(description="From 0 at the left of what the network sees to 1 at the right.")


class GalleryItem(Part):
    """What a person sees of one of the most suspicious inputs."""

    index: Count = Field(description="`index` of the input among `top_inputs`.")
    picture: Sha256 | None = Field(description="Key of its thumbnail in `pictures`; null without one.")
    layers: tuple[LayerVoice, ...] = Field(description="The layers, in the order of depth; the loudest 12 at most.")
    nearest: NearestReference | None = Field(description="Null where the profile keeps no image of that class.")
    place: LoudestPlace | None = Field(
        default=None,
        description="Where it is loudest; null where no channel stands out, or too few inputs are not flagged, and in "
        "reports older than 1.4.",
    )

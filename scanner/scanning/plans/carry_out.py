"""Open a plan, ready to be carried out: its profile, its inputs by the listing, and its chunks."""

from __future__ import annotations

from scanner.base.errors import UsageError
from scanner.base.progress import Progress
from scanner.base.text import printable
from scanner.inputs.items import Content
from scanner.inputs.listed import Listed, open_listed
from scanner.inputs.listing import Listing
from scanner.scanning.chunks.columns import Columns
from scanner.scanning.chunks.folder import Chunks
from scanner.scanning.open_scan import open_profile, open_scan
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.document import CHUNKS_NAME, LISTING_NAME, Plan
from scanner.scanning.stages import OpenedScan


def open_plan(plan: Plan, options: ScanOptions, progress: Progress) -> tuple[OpenedScan, Chunks]:
    """Open what a plan names.

    Args:
        plan: In the folder `options.plan`.
        options: Where inputs and profile are, which may be elsewhere than when the plan was made.
        progress: Told what happens.

    Raises:
        UsageError: The profile, the listing or alpha is another than the plan's.
        SourceError: The inputs cannot be opened, or are not what they were.
        ProfileError: The profile cannot be used.
    """
    assert options.plan is not None
    if options.alpha != plan.alpha:
        raise UsageError(
            f"alpha is {plan.alpha:g} in the plan, not {options.alpha:g}", where=printable(str(options.plan))
        )
    read = open_profile(options)
    if (digest := read.profile.digest) != plan.profile.sha256:
        raise UsageError(
            f"is not the profile of the plan ({digest[:16]}..., and {plan.profile.sha256[:16]}... is)",
            where=printable(str(options.profile)),
        )
    listing = Listing(options.plan / LISTING_NAME)
    if (listing.sha256, len(listing)) != (plan.inputs.listing_sha256, plan.inputs.count):
        raise UsageError("is not the listing of the plan beside it", where=printable(str(options.plan / LISTING_NAME)))
    inputs = plan.inputs
    content = None if inputs.bytes is None else Content(inputs.bytes, inputs.sha256)
    listed = Listed(options.inputs, inputs.kind, inputs.layout, inputs.ignored, inputs.follow_links, content)
    source = open_listed(listed, listing)
    opened = open_scan(read, source, options, progress)
    chunks = Chunks(options.plan / CHUNKS_NAME, plan.sha256, source, plan.chunk_size, Columns.of(opened))
    return opened, chunks

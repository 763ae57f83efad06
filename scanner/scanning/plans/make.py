"""Make the plan of a scan: list the inputs, once, and write down what is to be done with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from scanner import __version__
from scanner.base.atomic import atomic_writer, output_error
from scanner.base.canonical import canonical
from scanner.base.errors import UsageError
from scanner.base.progress import Progress
from scanner.base.text import printable
from scanner.base.versions import library_versions
from scanner.inputs.items import Content, Source
from scanner.inputs.listing import listing_lines
from scanner.inputs.source import copied_content
from scanner.inputs.urls import url_of
from scanner.profile.content import Profile
from scanner.scanning.chunks.temporary import CHUNK_SIZE, whole_runs
from scanner.scanning.labels import open_labelled
from scanner.scanning.open_scan import open_profile
from scanner.scanning.options import ScanOptions
from scanner.scanning.plans.document import (
    CHUNKS_NAME,
    FILE_NAME,
    LISTING_NAME,
    MAX_CHUNK,
    Plan,
    PlannedInputs,
    PlannedProfile,
    differences,
    read_plan,
)
from scanner.scoring.scorer import images_at_once

_DESCRIBED: Final = 1000


def make_plan(options: ScanOptions, progress: Progress, chunk_size: int = CHUNK_SIZE) -> Plan:
    """Write the plan of a scan into the folder `options.plan`; one that is there has to be the same.

    Args:
        options: What is to be done.
        progress: Told what happens.
        chunk_size: Inputs of a chunk, made a whole number of runs of the network.

    Raises:
        ProfileError: The profile cannot be used.
        SourceError: The inputs cannot be listed.
        UsageError: The folder holds another plan, or a path cannot be written down.
        OutputError: The plan cannot be written.
    """
    assert options.plan is not None
    folder = options.plan
    profile = open_profile(options).profile
    source = open_labelled(options, progress)
    there = read_plan(folder) if (folder / FILE_NAME).exists() else None
    size = min(whole_runs(chunk_size, images_at_once(profile)), MAX_CHUNK)
    if there is not None:
        plan = _plan(options, profile, source, (_hashed(listing_lines(source)), size))
        if changed := differences(there, plan):
            raise UsageError(
                f"holds the plan of another scan, which differs in {', '.join(changed)}",
                where=printable(str(folder)),
                hint="Use an empty folder",
            )
        return there
    try:
        (folder / CHUNKS_NAME).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, folder) from error
    plan = _plan(options, profile, source, (_write_listing(folder / LISTING_NAME, source), size))
    with atomic_writer(folder / FILE_NAME) as file:
        file.write(plan.to_bytes())
    return plan


def _plan(options: ScanOptions, profile: Profile, source: Source, known: tuple[str, int]) -> Plan:
    listing_sha256, chunk_size = known
    inputs, policy, content = options.inputs, options.policy, _content(options.inputs, source)
    return Plan(
        version=__version__,
        libraries=library_versions(),
        inputs=PlannedInputs(
            path=_absolute(inputs),
            kind=source.kind,
            layout=source.layout[:_DESCRIBED],
            ignored=source.ignored,
            count=len(source.items),
            bytes=None if content is None else content.bytes,
            sha256=None if content is None else content.sha256,
            follow_links=options.follow_links,
            listing_sha256=listing_sha256,
        ),
        profile=PlannedProfile(
            path=_absolute(options.profile),
            sha256=profile.digest,
            preprocess_sha256=hashlib.sha256(canonical(profile.header.preprocess.spec)).hexdigest(),
        ),
        alpha=options.alpha,
        alpha_from="default" if policy is None else policy.origins["alpha"],
        chunk_size=chunk_size,
    )


def _content(inputs: Path, source: Source) -> Content | None:
    """The file that holds all inputs; None of a folder."""
    if url_of(inputs):
        return copied_content(source)
    return None if inputs.is_dir() else Content(inputs.stat().st_size, None)


def _absolute(path: Path) -> str:
    text = url_of(path) or str(path.absolute())
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            "has a name that is not UTF-8, which a plan cannot hold",
            where=printable(text),
            hint="Name it by a link with another name",
        ) from None
    return text


def _write_listing(path: Path, source: Source) -> str:
    with atomic_writer(path) as file:

        def written() -> Iterable[bytes]:
            for line in listing_lines(source):
                file.write(line)
                yield line

        return _hashed(written())


def _hashed(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return digest.hexdigest()

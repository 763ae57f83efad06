"""Whether inputs repeat one another: said, because copies of one picture are one piece of evidence."""

from __future__ import annotations

from typing import Final

from scanner.verdict.rules import Rules
from scanner.verdict.terms import Check, CheckStatus, Evidence

REPEATED: Final = "LS208"


def repeated_inputs(evidence: Evidence, rules: Rules) -> Check:
    """Whether so many inputs are copies that it has to be said. It changes no verdict."""
    copies = evidence.copies
    if copies is None or not copies.inputs:
        status, message = CheckStatus.NOT_ASSESSED, "Whether inputs repeat one another was not assessed."
    else:
        share = copies.repeated_share
        status = CheckStatus.FAILED if share > rules.max_repeated else CheckStatus.PASSED
        near = copies.contents - copies.pictures
        message = f"{copies.repeated} of {copies.inputs} inputs have the content of an earlier one, and {near} of "
        message += f"{copies.contents} different ones that were compared look like an earlier one. "
        if status is CheckStatus.FAILED:
            message = f"Inputs are repeated: {message}"
        message += "Copies count once in the tests of the batch."
    return Check(
        id=REPEATED,
        name="repeated inputs",
        status=status,
        message=message,
        statistic=None if copies is None else copies.repeated_share,
        units="share of inputs that repeat an earlier one",
        p_value=None,
        threshold=rules.max_repeated,
        n=None if copies is None else copies.inputs,
        limitations="Different pictures of one scene are copies only where they are nearer to each other than pictures "
        "of the reference are.",
    )

"""One scanned input as a row of the report or of the file of rows."""

from __future__ import annotations

from scanner.profile.header import ProfileHeader
from scanner.report.schema import InputRow, TopScore
from scanner.scan import ScannedInput, UnreadableRow


def input_row(row: ScannedInput | UnreadableRow, header: ProfileHeader, *, all_scores: bool) -> InputRow:
    """Name what a row refers to by number.

    Args:
        row: The input.
        header: Names of classes and scores.
        all_scores: Whether the p-value of every single score is listed.
    """
    if isinstance(row, UnreadableRow):
        return InputRow(
            index=row.item.index,
            id=row.item.id,
            sha256=row.sha256,
            status="unreadable",
            reason=row.reason,
            detail=row.detail,
        )
    names = header.class_names
    keys = [score.key for score in header.scores]
    return InputRow(
        index=row.item.index,
        id=row.item.id,
        sha256=row.sha256,
        status="scanned",
        predicted=row.predicted,
        predicted_class=names[row.predicted],
        source=row.source_class,
        source_class=names[row.source_class],
        p_value=row.p_value,
        score=row.score,
        flagged=row.flagged,
        top_scores=tuple(
            TopScore(key=keys[i], p_value=float(row.score_p_values[i]), z=float(row.z[i])) for i in row.top_scores()
        ),
        scores=dict(zip(keys, row.score_p_values.tolist(), strict=True)) if all_scores else None,
    )

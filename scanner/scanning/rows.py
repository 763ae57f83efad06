"""Scanned inputs as rows of the report and of the file of rows."""

from __future__ import annotations

from scanner.profile.header import ProfileHeader
from scanner.report.schema import InputRow, TopScore
from scanner.scanning.scanned import ScannedInput, UnreadableRow


class RowNamer:
    """Names what a row refers to by number.

    Args:
        header: Names of classes and scores.
    """

    def __init__(self, header: ProfileHeader) -> None:
        self._classes = header.class_names
        self._scores = tuple(score.key for score in header.scores)

    def scanned(self, row: ScannedInput, *, all_scores: bool) -> InputRow:
        """The row of a judged input, with the p-value of every single score if ``all_scores``."""
        assert row.score_p_values is not None  # whoever names a row has asked for them
        return InputRow(
            index=row.item.index,
            id=row.item.id,
            sha256=row.sha256,
            status="scanned",
            finite=row.finite,
            predicted=row.predicted,
            predicted_class=self._class(row.predicted),
            source=row.source_class,
            source_class=self._class(row.source_class),
            p_value=row.p_value,
            density_p_value=row.density_p_value,
            shared_units=row.nats,
            common_direction=row.direction,
            score=row.score,
            flagged=row.flagged,
            top_scores=tuple(
                TopScore(key=self._scores[i], p_value=float(row.score_p_values[i]), z=float(row.z[i]))
                for i in row.top_scores
            ),
            scores=dict(zip(self._scores, row.score_p_values.tolist(), strict=True)) if all_scores else None,
        )

    def _class(self, index: int | None) -> str | None:
        return None if index is None else self._classes[index]

    def unreadable(self, row: UnreadableRow) -> InputRow:
        """The row of an input that could not be read."""
        return InputRow(
            index=row.item.index,
            id=row.item.id,
            sha256=row.sha256,
            status="unreadable",
            reason=row.reason,
            detail=row.detail,
        )

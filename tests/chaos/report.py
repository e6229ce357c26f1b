# SPDX-License-Identifier: Apache-2.0
"""The table: what was killed, what it cost, and what it broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

HEADINGS: Final = (
    "point",
    "mode",
    "hits",
    "killed",
    "tasks",
    "billed per transcript",
    "lost",
    "hanging",
    "uploads repeated",
    "submissions repeated",
    "list requests",
    "other tries",
    "mismatch tries",
)


@dataclass
class Row:
    """
    One point in one mode.

    :param wanted: hits that were planned.
    :param delivered: tasks with a right result.
    :param excess: jobs that the service bills, and that no result came from.
    :param lost: tasks without a right result.
    :param hanging: tasks that had not ended at the deadline.
    :param uploads: complete uploads beyond one for each task that uploads.
    :param submissions: submissions beyond one for each task.
    :param lists: requests of the list of transcripts.
    :param tries: tries beyond the first and beyond one for each hit and each mismatch: from the product, or from
        Airflow, such as a busy scheduler that takes its own tasks for orphans.
    :param mismatches: tries because Airflow mistook its own late report for a failure. It reports every killed
        worker as such a "state mismatch" as well; those are not counted here.
    """

    point: str
    mode: str
    wanted: int = 0
    hits: int = 0
    tasks: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    delivered: int = 0
    excess: int = 0
    lost: int = 0
    hanging: int = 0
    uploads: int = 0
    submissions: int = 0
    lists: int = 0
    tries: int = 0
    mismatches: int = 0
    complaints: list[str] = field(default_factory=list)

    @property
    def billed_per_transcript(self) -> float:
        return (self.delivered + self.excess) / max(1, self.delivered)

    def broken(self) -> list[str]:
        """The bounds that do not hold."""
        bounds = {
            f"only {self.hits} of {self.wanted} hits": self.hits < self.wanted,
            f"{self.excess} paid for nothing": self.excess > 0,
            f"{self.lost} lost": self.lost > 0,
            f"{self.hanging} hanging": self.hanging > 0,
        }
        return [f"{self.point} {self.mode}: {text}" for text, is_so in bounds.items() if is_so]

    def cells(self) -> tuple[str, ...]:
        killed = ", ".join(f"{number} {name}" for name, number in sorted(self.kills.items()))
        return (
            *(self.point, self.mode, str(self.hits), killed or "-", str(self.tasks)),
            *(f"{self.billed_per_transcript:.2f}", str(self.lost), str(self.hanging)),
            *(str(self.uploads), str(self.submissions), str(self.lists)),
            *(str(self.tries), str(self.mismatches)),
        )


def table(rows: Iterable[Row]) -> str:
    """A Markdown table whose columns line up."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def document(rows: Sequence[Row], notes: Sequence[str], broken: Sequence[str]) -> str:
    complaints = [complaint for row in rows for complaint in row.complaints]
    parts = ["# Kills and their outcome", "", table(rows), "", *notes]
    if complaints:
        parts += ["", "## Wrong results", "", *(f"- {complaint}" for complaint in complaints)]
    verdict = [f"- {line}" for line in broken] or ["Every row holds."]
    return "\n".join([*parts, "", "## Verdict", "", *verdict, ""])

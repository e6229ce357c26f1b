# SPDX-License-Identifier: Apache-2.0
"""Counters that tests assert on: requests by kind, and money."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field, fields
from typing import Any

# Enough for a long test run; the counts beside it are never cut.
_REQUESTS_KEPT = 100_000


@dataclass(slots=True)
class ProjectCount:
    """Counts of a project.

    :param billed_seconds: of audio, times channels.
    :param billed_usd: of completed transcripts, and clips, that have a price.
    :param unpriced: completed transcripts and clips with something that has no published price.
    :param clips: that sync speech to text has transcribed; it is not known whether the client got the answer.
    :param clip_seconds: of their audio, which are billed, too.
    """

    uploads: int = 0
    upload_bytes: int = 0
    accepted: int = 0
    failed: int = 0
    billed_seconds: float = 0.0
    billed_usd: float = 0.0
    unpriced: int = 0
    deleted: int = 0
    clips: int = 0
    clip_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        counts = asdict(self)
        # An accepted job is owed from its acceptance; only an end in an error takes it off the bill.
        counts["billed"] = self.accepted - counts.pop("failed")
        for name in ("billed_seconds", "clip_seconds"):
            counts[name] = round(counts[name], 3)
        counts["billed_usd"] = round(self.billed_usd, 6)
        return counts


@dataclass(slots=True)
class Counters:
    """Counts of a region since the last reset."""

    requests: Counter[str] = field(default_factory=Counter)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REQUESTS_KEPT))
    _projects: dict[str, ProjectCount] = field(default_factory=dict)

    def project(self, project: str) -> ProjectCount:
        """The counts of a project, to add to."""
        return self._projects.setdefault(project, ProjectCount())

    def to_dict(self) -> dict[str, Any]:
        """All counts as the control endpoint gives them."""
        counts = self._projects.values()
        total = ProjectCount(
            **{each.name: sum(getattr(count, each.name) for count in counts) for each in fields(ProjectCount)}
        )
        return {
            "requests": dict(self.requests),
            **total.to_dict(),
            "projects": {name: count.to_dict() for name, count in sorted(self._projects.items())},
        }

    def reset(self) -> None:
        """Count from zero."""
        self.requests.clear()
        self.log.clear()
        self._projects.clear()

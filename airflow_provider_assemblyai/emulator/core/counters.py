# SPDX-License-Identifier: Apache-2.0
"""What tests assert on: requests by kind, and money."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

# Enough for a long test run; the counts beside it are never cut.
_REQUESTS_KEPT = 100_000


@dataclass(slots=True)
class ProjectCount:
    uploads: int = 0
    upload_bytes: int = 0
    accepted: int = 0
    failed: int = 0
    billed_seconds: float = 0.0
    deleted: int = 0

    def shown(self) -> dict[str, Any]:
        return {
            "uploads": self.uploads,
            "upload_bytes": self.upload_bytes,
            "accepted": self.accepted,
            # An accepted job is owed from its acceptance; only an end in an error takes it off the bill.
            "billed": self.accepted - self.failed,
            "billed_seconds": round(self.billed_seconds, 3),
            "deleted": self.deleted,
        }


@dataclass(slots=True)
class Counters:
    """Counts of a region since the last reset."""

    requests: Counter[str] = field(default_factory=Counter)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REQUESTS_KEPT))
    _projects: dict[str, ProjectCount] = field(default_factory=dict)

    def _of(self, project: str) -> ProjectCount:
        return self._projects.setdefault(project, ProjectCount())

    def uploaded(self, project: str, size: int) -> None:
        """A file has arrived whole."""
        self._of(project).uploads += 1
        self._of(project).upload_bytes += size

    def accepted(self, project: str) -> None:
        """A job was accepted."""
        self._of(project).accepted += 1

    def failed(self, project: str) -> None:
        """A job ended in an error."""
        self._of(project).failed += 1

    def billed(self, project: str, seconds: float) -> None:
        """A job was completed.

        :param seconds: of audio, times channels.
        """
        self._of(project).billed_seconds += seconds

    def deleted(self, project: str) -> None:
        """A transcript was scrubbed."""
        self._of(project).deleted += 1

    def shown(self) -> dict[str, Any]:
        """All counts as the control endpoint gives them."""
        total = ProjectCount()
        for count in self._projects.values():
            total.uploads += count.uploads
            total.upload_bytes += count.upload_bytes
            total.accepted += count.accepted
            total.failed += count.failed
            total.billed_seconds += count.billed_seconds
            total.deleted += count.deleted
        return {
            "requests": dict(self.requests),
            **total.shown(),
            "projects": {name: count.shown() for name, count in sorted(self._projects.items())},
        }

    def reset(self) -> None:
        """Count from zero."""
        self.requests.clear()
        self.log.clear()
        self._projects.clear()

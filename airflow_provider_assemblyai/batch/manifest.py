# SPDX-License-Identifier: Apache-2.0
"""What became of each item: lines of the manifest, and their sum."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypedDict

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    InvalidInput,
    NotFoundError,
    StateUnknown,
    TranscriptDeleted,
    TranscriptFailed,
)
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.batch.ledger import Entry

#: Records of a job that is not over belong to a failed item, too: the next run goes on with it.
ItemOutcome = Literal["completed", "failed", "not_submitted"]


class ManifestRow(TypedDict):
    """
    One line of the manifest.

    :ivar source: the address of the recording, without what opens it.
    :ivar transcript_id: id of the transcript, or None.
    :ivar status: ``completed``, ``failed`` or ``not_submitted``.
    :ivar error_class: name of the error, or None; of a job that failed with its class, ``TranscriptFailed.source``.
    :ivar error: what happened, in a sentence.
    :ivar audio_duration: seconds, or None.
    :ivar minutes: as they are billed: times channels.
    :ivar region: where the transcript lives.
    :ivar outputs: format -> URI of what was written.
    """

    source: str
    transcript_id: str | None
    status: ItemOutcome
    error_class: str | None
    error: str | None
    audio_duration: float | None
    minutes: float
    region: str
    outputs: dict[str, str]


class Minutes(TypedDict):
    """
    Minutes of audio, times channels.

    :ivar submitted: of jobs that this run submitted, as far as they are known.
    :ivar billed: of those that were completed.
    :ivar failed: of those that failed, which are not billed.
    :ivar reused: of results that were there already.
    """

    submitted: float
    billed: float
    failed: float
    reused: float


class BatchSummary(TypedDict):
    """
    What the batch operator returns: small and JSON.

    :ivar items: in the list; the sum of ``completed``, ``failed`` and ``not_submitted``.
    :ivar completed: items whose files are written.
    :ivar failed: items that are not.
    :ivar not_submitted: items that ``max_audio_minutes`` left out.
    :ivar reused: of those completed, what an earlier run had done.
    :ivar repeated: items that are in the list more than once, not counting the first.
    :ivar errors: error class -> items.
    :ivar minutes: see :class:`Minutes`.
    :ivar region: where the transcripts live.
    :ivar manifest: URI of the manifest.
    """

    items: int
    completed: int
    failed: int
    not_submitted: int
    reused: int
    repeated: int
    errors: dict[str, int]
    minutes: Minutes
    region: str
    manifest: str


def failure(error: AssemblyAIError) -> tuple[str, str, bool]:
    """Return the class of an error, a sentence, and whether the same item would fail again for the same reason."""
    name = type(error).__name__
    if isinstance(error, TranscriptFailed):
        # The service's own faults pass, and so may a broken upload.
        return f"{name}.{error.failure}", sanitize(str(error)), error.failure in ("source", "policy")
    permanent = isinstance(error, InvalidInput | TranscriptDeleted | NotFoundError)
    permanent = permanent or (isinstance(error, ApiError) and not error.retryable)
    return name, sanitize(str(error)), permanent


class ManifestTotals:
    """
    Adds up the lines of a manifest while they are written.

    :param run: what this run calls itself in the ledger.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.reused = self.repeated = 0
        self.permanent = True
        self.minutes: Minutes = {"submitted": 0.0, "billed": 0.0, "failed": 0.0, "reused": 0.0}

    def add(self, entry: Entry, times: int) -> Iterator[dict[str, Any]]:
        """Yield the lines of an item, one for each time that it is in the list."""
        line, ours = entry["done"], entry.get("by") == self._run
        completed = line["status"] == "completed"
        self.statuses[line["status"]] += times
        self.repeated += times - 1
        if line["error_class"]:
            self.errors[line["error_class"]] += times
            self.permanent = self.permanent and bool(entry.get("p"))
        if ours:
            kind: Literal["billed", "failed"] = "billed" if completed else "failed"
            self.minutes[kind] += line["minutes"]
            # A job that was submitted again has failed before.
            self.minutes["failed"] += entry.get("lost", 0.0)
            self.minutes["submitted"] += line["minutes"] + entry.get("lost", 0.0)
        elif completed:
            self.reused += times
            self.minutes["reused"] += line["minutes"]
        for _ in range(times):
            yield {**line, "reused": completed and not ours}

    def summary(self, region: str, manifest: str) -> BatchSummary:
        """Return what goes to XCom."""
        rounded: Any = {name: round(value, 3) for name, value in self.minutes.items()}  # type: ignore[call-overload]
        return {
            "items": self.statuses.total(),
            "completed": self.statuses["completed"],
            "failed": self.statuses["failed"],
            "not_submitted": self.statuses["not_submitted"],
            "reused": self.reused,
            "repeated": self.repeated,
            "errors": dict(self.errors),
            "minutes": rounded,
            "region": region,
            "manifest": manifest,
        }


def lines(
    entries: Callable[[], Iterable[Entry]], wanted: Mapping[bytes, int], total: ManifestTotals
) -> Iterator[bytes]:
    """
    Return the lines of the manifest, in the order in which items were finished.

    :param entries: reads the ledger; it is read twice, so that nobody holds it.
    :param wanted: how often each item is in the list.
    :param total: adds up while the lines are walked.
    :raises CannotTell: an item has no end: the counts would not add up.
    """
    last: dict[bytes, int] = {}
    for number, entry in enumerate(entries()):
        key = bytes.fromhex(entry.get("k", ""))
        if key in wanted:
            last[key] = number if "done" in entry else -1
    missing = len(wanted) - sum(number >= 0 for number in last.values())
    if missing:
        raise StateUnknown(f"{missing} items have no end in the ledger; the next try looks for them.")

    def walk() -> Iterator[bytes]:
        for number, entry in enumerate(entries()):
            key = bytes.fromhex(entry.get("k", ""))
            if last.get(key) == number:
                for line in total.add(entry, wanted[key]):
                    yield json.dumps(line, ensure_ascii=False).encode() + b"\n"

    return walk()

# SPDX-License-Identifier: Apache-2.0
"""What became of each item: the rows of the manifest, and their totals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, Final, Literal, NamedTuple, TypedDict

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
from airflow_provider_assemblyai.storage.atomic_files import as_json
from airflow_provider_assemblyai.telemetry.datasets import DatasetCounter

#: Of the rows.
VERSION: Final = 1

ItemOutcome = Literal["completed", "failed", "not_submitted"]


class _FirstRow(TypedDict):
    """What each row has had from the first version on."""

    source: str
    transcript_id: str | None
    status: ItemOutcome
    error_class: str | None
    error: str | None
    audio_duration: float | None
    minutes: float
    region: str
    outputs: dict[str, str]


class ManifestRow(_FirstRow, total=False):
    """
    What is known of one item at its end.

    :ivar source: the address of the recording, without what opens it.
    :ivar transcript_id: id of the transcript, or None.
    :ivar status: ``completed``, ``failed`` or ``not_submitted``.
    :ivar error_class: name of the error, or None; of a job that failed with its class, ``TranscriptFailed.source``.
    :ivar error: what happened, in a sentence.
    :ivar audio_duration: seconds, or None.
    :ivar minutes: as they are billed: times channels.
    :ivar region: where the transcript lives.
    :ivar outputs: format -> URI of what was written.
    :ivar speech_model_used: the model that ran, or None.
    :ivar estimated_cost_usd: by list price; 0 if an earlier run has paid for it, None if there is no estimate. Ledgers
        of older versions have neither this nor the model.
    """

    speech_model_used: str | None
    estimated_cost_usd: float | None


class ManifestLine(ManifestRow):
    """
    A row as the manifest has it.

    :ivar version: of this format, 1.
    :ivar reused: whether an earlier run had completed it.
    """

    version: int
    reused: bool


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
    :ivar not_submitted: items that ``max_audio_minutes`` or ``max_cost_usd`` left out.
    :ivar reused: of those completed, what an earlier run had done.
    :ivar repeated: items that are in the list more than once, not counting the first.
    :ivar errors: error class -> items.
    :ivar minutes: see :class:`Minutes`.
    :ivar region: where the transcripts live.
    :ivar manifest: URI of the manifest.
    :ivar estimated_cost_usd: of the jobs that this run submitted, by list price; None if there is no estimate for one of
        them.
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
    estimated_cost_usd: float | None


class ItemError(NamedTuple):
    """
    Why an item is not done.

    :param error_class: see :class:`ManifestRow`.
    :param message: what happened, in a sentence.
    :param permanent: whether the same item would fail again for the same reason.
    """

    error_class: str
    message: str
    permanent: bool

    @classmethod
    def of(cls, error: AssemblyAIError) -> ItemError:
        """Return what an error means for its item."""
        name, message = type(error).__name__, sanitize(str(error))
        if isinstance(error, TranscriptFailed):
            # The service's own faults pass, and so may a broken upload.
            return cls(f"{name}.{error.failure}", message, error.failure in ("source", "policy"))
        permanent = isinstance(error, InvalidInput | TranscriptDeleted | NotFoundError)
        return cls(name, message, permanent or (isinstance(error, ApiError) and not error.retryable))


class ManifestTotals:
    """
    Adds up the rows of a manifest while they are written.

    :param run: the name of this run in the ledger.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.reused = self.repeated = 0
        self.permanent = True
        self.minutes: Minutes = {"submitted": 0.0, "billed": 0.0, "failed": 0.0, "reused": 0.0}
        self.cost_usd: float | None = 0.0
        self.audio_seconds = 0.0
        self.files = 0
        self.models: set[str] = set()
        self.sources, self.written = DatasetCounter(), DatasetCounter()

    def add(self, entry: Mapping[str, Any], times: int) -> dict[str, Any]:
        """Add the last entry of an item that is in the list so many times, and return its line of the manifest."""
        row, own = entry["result"], entry["run"] == self._run
        completed = row["status"] == "completed"
        self.audio_seconds += row["audio_duration"] or 0.0
        self.files += len(row["outputs"])
        self.models |= {model} if (model := row.get("speech_model_used")) else set()
        self.sources.add(row["source"])
        for uri in row["outputs"].values():
            self.written.add(uri)
        self.statuses[row["status"]] += times
        self.repeated += times - 1
        if row["error_class"]:
            self.errors[row["error_class"]] += times
            self.permanent = self.permanent and entry["permanent"]
        if own:
            # A job that was submitted again has failed before.
            self.minutes["failed"] += entry["failed_minutes"]
            self.minutes["billed" if completed else "failed"] += row["minutes"]
            self.minutes["submitted"] += row["minutes"] + entry["failed_minutes"]
            cost = row.get("estimated_cost_usd")
            if cost is None or self.cost_usd is None:
                self.cost_usd = None
            else:
                self.cost_usd += cost + entry.get("earlier_cost_usd", 0.0)
        else:
            self.reused += times if completed else 0
            self.minutes["reused"] += row["minutes"] if completed else 0.0
            cost = 0.0
        known = {"speech_model_used": None, **row, "estimated_cost_usd": cost}
        return {"version": VERSION, **known, "reused": completed and not own}

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
            "estimated_cost_usd": None if self.cost_usd is None else round(self.cost_usd, 6),
        }


def manifest_lines(
    read_entries: Callable[[], Iterable[Mapping[str, Any]]],
    wanted: Mapping[bytes, int],
    totals: ManifestTotals,
) -> Iterator[bytes]:
    """
    Return the lines of the manifest, in the order in which items were finished.

    :param read_entries: reads the ledger; it is read twice, so that it is never held whole.
    :param wanted: how often each item is in the list.
    :param totals: adds up while the lines are walked.
    :raises StateUnknown: an item has no result: the counts would not add up.
    """
    last: dict[bytes, int] = {}
    for number, entry in enumerate(read_entries()):
        key = bytes.fromhex(entry["key"])
        if key in wanted:
            last[key] = number if "result" in entry else -1
    missing = len(wanted) - sum(number >= 0 for number in last.values())
    if missing:
        raise StateUnknown(f"{missing} items have no result in the ledger; the next try looks for them.")

    def lines() -> Iterator[bytes]:
        for number, entry in enumerate(read_entries()):
            key = bytes.fromhex(entry["key"])
            if last.get(key) == number:
                times = wanted[key]
                line = as_json(totals.add(entry, times)).encode() + b"\n"
                yield from repeat(line, times)

    return lines()

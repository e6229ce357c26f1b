# SPDX-License-Identifier: Apache-2.0
"""An event for each transcript of an account that ends, to schedule DAGs on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import check_region
from airflow_provider_assemblyai.api.sanitize import strip_url
from airflow_provider_assemblyai.api.validation import check_choice, check_seconds, check_text, shown
from airflow_provider_assemblyai.events.feed import Numbered, Subscriber, TranscriptFeed, shared_feed
from airflow_provider_assemblyai.events.watermark import ListedTranscript, Watermark, format_time
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.polling.connection import Connection
from airflow_provider_assemblyai.triggers.base import StoredTrigger, check_place, shared_connection

#: Where the list locates the audio of a deleted transcript. It has nothing left to send an event for.
_DELETED = "deleted_by_user"
_PAYLOAD_VERSION = 1
#: The years in which something may have been submitted.
_YEARS = range(2000, 2101)


@dataclass(eq=False, repr=False)
class TranscriptEventTrigger(StoredTrigger, BaseEventTrigger):
    """
    Fires for each transcript of an account that ends, once for each; for an ``AssetWatcher``::

        Asset("transcripts", watchers=[AssetWatcher("ended", trigger=TranscriptEventTrigger())])

    Each event is an asset event, whose payload has ``version``, ``transcript_id``, ``status``, ``region``,
    ``assemblyai_conn_id``, ``created``, ``completed`` and ``audio_url`` without its query; never text. The watermark
    is kept in the state store of the asset (Airflow 3.3 and newer), and all triggers with the same connection,
    region and interval share one poll.

    There is no event for a transcript that was deleted before a poll saw it.

    Airflow stores these arguments unencrypted, so there is no key, no signature and no text among them.

    :param assemblyai_conn_id: the connection to poll with.
    :param region: where to poll, instead of the connection's region.
    :param status: which transcripts to report: those that are ``completed``, those that failed (``error``), or ``any`` of
        the two.
    :param audio_url_prefix: only transcripts of audio whose URL, without its query, begins with this. A prefix with a
        user, a query or a fragment is refused.
    :param since: also what was submitted from then on and has ended already; a datetime, or ISO 8601, UTC where
        it has no zone. None: what ends after the first poll, and was submitted at most six hours before it.
    :param poll_interval: seconds between two polls.
    :raises InvalidInput: an argument that cannot work.

    https://www.assemblyai.com/docs/api-reference/transcripts/list
    """

    assemblyai_conn_id: str = AssemblyAIHook.default_conn_name
    region: str | None = None
    status: Literal["completed", "error", "any"] = "completed"
    audio_url_prefix: str | None = None
    since: datetime | str | None = None
    poll_interval: float = 30.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("status", self.status, ("completed", "error", "any"))
        self.poll_interval = check_seconds("poll_interval", self.poll_interval)
        prefix = self.audio_url_prefix
        if prefix is None or (isinstance(prefix, str) and not prefix):
            pass  # every address begins with nothing
        elif strip_url(check_text("audio_url_prefix", prefix)) != prefix:
            raise InvalidInput(
                "audio_url_prefix must hold no user, query or fragment: it is stored as it is."
            )
        check_place(self.assemblyai_conn_id, self.region)
        self.region = self.region and check_region(self.region)
        self._since = None if self.since is None else _moment(self.since)
        self.since = format_time(self._since)

    def shared_stream_key(self) -> Hashable:
        """Triggers that are equal in this share one poll."""
        return ("assemblyai-transcripts", self.assemblyai_conn_id, self.region, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """
        Return the poll. Airflow reports for each snapshot when all events of it are in its database.

        :param kwargs: of one of the triggers that share it.
        """
        # Only Airflow 3.3 and newer have it, and only they call this.
        from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

        feed = cls(**kwargs)._shared_feed()

        class Producer(SharedStreamProducer):
            async def open_stream(self) -> AsyncIterator[tuple[Numbered, int]]:
                async for number, snapshot in feed.snapshots():
                    yield (number, snapshot), number

            async def advance(self, batch: Sequence[AdvanceItem]) -> None:
                # It is not known whose event was not stored; the next snapshot's watermark covers the others.
                if not any(item.outcome.failed for item in batch):
                    await feed.commit(batch[-1].broker_payload)

        return Producer()

    def filter_shared_stream(self, shared_stream: AsyncIterator[Numbered]) -> AsyncGenerator[TriggerEvent]:
        """
        Yield an event for each transcript that has ended since this trigger's watermark.

        :param shared_stream: the snapshots of the poll.
        """
        return self._events(self._shared_feed(), shared_stream)

    def run(self) -> AsyncGenerator[TriggerEvent]:
        """Poll for this trigger alone: Airflow 3.1 and 3.2 share nothing and do not confirm events."""
        feed = TranscriptFeed(self._connection(), self.poll_interval)
        return self._events(feed, feed.snapshots(), commit=True)

    async def _events(
        self, feed: TranscriptFeed, snapshots: AsyncIterator[Numbered], commit: bool = False
    ) -> AsyncGenerator[TriggerEvent]:
        subscriber = await self._subscriber()
        with feed.serving(subscriber):
            async for number, snapshot in snapshots:
                for entry in await subscriber.take(snapshot):
                    yield TriggerEvent(self._payload(entry, feed.region))
                subscriber.mark_delivered(number)
                if commit:
                    await subscriber.commit(number)

    def _connection(self) -> Connection:
        return shared_connection(self.assemblyai_conn_id, self.region)

    def _shared_feed(self) -> TranscriptFeed:
        return shared_feed(self._connection(), self.poll_interval)

    async def _subscriber(self) -> Subscriber:
        store = getattr(self, "asset_state_store", None)
        if store is None:
            self.log.warning(
                "This Airflow keeps no state for assets: after a restart of the triggerer %s.",
                "what ended meanwhile is missed"
                if self.since is None
                else f"there is another event for all since {self.since}",
            )
        subscriber = Subscriber(Watermark.begin(self._since), self._is_wanted, store, self._state_key())
        await subscriber.load(self.poll_interval)
        return subscriber

    def _state_key(self) -> str:
        """Return the name of the watermark: another filter is another watermark, another interval is not."""
        kwargs = {name: value for name, value in self.serialize()[1].items() if name != "poll_interval"}
        return f"assemblyai-{hashlib.sha256(json.dumps(kwargs, sort_keys=True).encode()).hexdigest()[:16]}"

    def _is_wanted(self, entry: ListedTranscript) -> bool:
        if _DELETED in entry.audio_url or self.status not in ("any", entry.status):
            return False
        return strip_url(entry.audio_url).startswith(self.audio_url_prefix or "")

    def _payload(self, entry: ListedTranscript, region: str) -> dict[str, Any]:
        return {
            "version": _PAYLOAD_VERSION,
            "transcript_id": entry.id,
            "status": entry.status,
            "region": region,
            "assemblyai_conn_id": self.assemblyai_conn_id,
            "created": format_time(entry.created),
            "completed": format_time(entry.completed),
            "audio_url": strip_url(entry.audio_url),
        }


def _moment(since: object) -> float:
    """Return the user's ``since`` as seconds since the epoch."""
    if not isinstance(since, datetime):
        text = check_text("since", since)
        try:
            since = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidInput(
                f"since={shown(text)} is not a time: write it as 2026-11-23T08:00:00+00:00."
            ) from None
    if since.year not in _YEARS:
        raise InvalidInput(f"since must be in the years {_YEARS[0]} to {_YEARS[-1]}, not {since.year}.")
    return (since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp()

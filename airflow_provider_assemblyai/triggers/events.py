# SPDX-License-Identifier: Apache-2.0
"""Hearing of every transcript of an account that ends, to schedule DAGs on it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Hashable, Sequence
from datetime import datetime
from typing import Any, Literal

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import check_region
from airflow_provider_assemblyai.api.sanitize import strip_url
from airflow_provider_assemblyai.events.feed import Numbered, Subscriber, TranscriptFeed, transcript_feed
from airflow_provider_assemblyai.events.watermark import ListedTranscript, Watermark, iso, moment
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

#: Where the audio of a deleted transcript is said to be. There is nothing left to tell of.
_DELETED = "deleted_by_user"


class TranscriptEventTrigger(BaseEventTrigger):
    """
    Fires for each transcript of an account that ends, once for each; for an ``AssetWatcher``::

        Asset("transcripts", watchers=[AssetWatcher("ended", trigger=TranscriptEventTrigger())])

    Each event is an asset event, whose payload has ``transcript_id``, ``status``, ``region``, ``assemblyai_conn_id``,
    ``created``, ``completed`` and ``audio_url`` without its query; never text. Where it stands is kept in the state
    store of the asset (Airflow 3.3 and newer), and all triggers with the same connection, region and interval share
    one poll.

    Airflow stores these arguments unencrypted, so there is no key among them.

    :param assemblyai_conn_id: the connection to ask with.
    :param region: where to look, instead of the connection's region.
    :param status: ``completed``, ``error``, or ``any`` of the two.
    :param audio_url_prefix: only transcripts of audio whose URL, without its query, begins with this.
    :param since: also what was submitted from then on and has ended already; a datetime, or ISO 8601, UTC where
        no zone is said. None: what ends after the first look.
    :param poll_interval: seconds between two looks.
    :raises InvalidInput: an argument that cannot work.

    https://www.assemblyai.com/docs/api-reference/transcripts/list
    """

    def __init__(
        self,
        assemblyai_conn_id: str = AssemblyAIHook.default_conn_name,
        region: str | None = None,
        status: Literal["completed", "error", "any"] = "completed",
        audio_url_prefix: str | None = None,
        since: datetime | str | None = None,
        poll_interval: float = 30.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if status not in ("completed", "error", "any"):
            raise InvalidInput(f"status must be completed, error or any, not {status!r}.")
        if not poll_interval > 0:
            raise InvalidInput("poll_interval must be above zero.")
        if audio_url_prefix and strip_url(audio_url_prefix) != audio_url_prefix:
            raise InvalidInput(
                "audio_url_prefix must hold no user, query or fragment: it is stored as it is."
            )
        self.assemblyai_conn_id = assemblyai_conn_id
        self.region = region and check_region(region)
        self.status = status
        self.audio_url_prefix = audio_url_prefix
        text = since.isoformat() if isinstance(since, datetime) else since
        self.since = None if text is None else iso(moment(text))
        self.poll_interval = float(poll_interval)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "assemblyai_conn_id": self.assemblyai_conn_id,
                "region": self.region,
                "status": self.status,
                "audio_url_prefix": self.audio_url_prefix,
                "since": self.since,
                "poll_interval": self.poll_interval,
            },
        )

    def shared_stream_key(self) -> Hashable:
        """Triggers that are equal in this share one poll."""
        return ("assemblyai-transcripts", self.assemblyai_conn_id, self.region, self.poll_interval)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """
        Return the poll. Airflow says of each look when everything that came of it is in its database.

        :param kwargs: of one of the triggers that share it.
        """
        # Only Airflow 3.3 and newer have it, and only they call this.
        from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

        place = cls(**kwargs)._desk()

        class Poll(SharedStreamProducer):
            async def open_stream(self) -> AsyncIterator[tuple[Numbered, int]]:
                async for number, look in place.looks():
                    yield (number, look), number

            async def advance(self, batch: Sequence[AdvanceItem]) -> None:
                # Of what was not stored nobody knows whose it was; the next look's position covers the others.
                if not any(item.outcome.failed for item in batch):
                    await place.safe(batch[-1].broker_payload)

        return Poll()

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Numbered]
    ) -> AsyncIterator[TriggerEvent]:
        """
        Yield an event for each transcript that is news to this trigger.

        :param shared_stream: the looks of the poll.
        """
        place = self._desk()
        reader = await self._reader()
        with place.serving(reader):
            async for number, look in shared_stream:
                for entry in await reader.take(look):
                    yield TriggerEvent(self._payload(entry, place.region))
                reader.told(number)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Poll for this trigger alone: Airflow 3.1 and 3.2 share nothing and store no position."""
        place = TranscriptFeed(self._hook().watch, self.poll_interval)
        reader = await self._reader()
        with place.serving(reader):
            async for number, look in place.looks():
                for entry in await reader.take(look):
                    yield TriggerEvent(self._payload(entry, place.region))
                reader.told(number)
                await reader.safe(number)

    def _hook(self) -> AssemblyAIHook:
        return AssemblyAIHook(self.assemblyai_conn_id, self.region)

    def _desk(self) -> TranscriptFeed:
        return transcript_feed(self.shared_stream_key(), self._hook().watch, self.poll_interval)

    async def _reader(self) -> Subscriber:
        cursor = Watermark.begin(None if self.since is None else moment(self.since))
        store = getattr(self, "asset_state_store", None)
        if store is None:
            self.log.warning(
                "This Airflow keeps no state for assets: after a restart of the triggerer %s.",
                "what ended meanwhile is missed"
                if self.since is None
                else f"all since {self.since} is told again",
            )
        reader = Subscriber(cursor, self._is_wanted, store, self._state_key())
        await reader.load(self.poll_interval)
        return reader

    def _state_key(self) -> str:
        """Return the name of the position: another filter is another position, another interval is not."""
        kwargs = {name: value for name, value in self.serialize()[1].items() if name != "poll_interval"}
        return f"assemblyai-{hashlib.sha256(json.dumps(kwargs, sort_keys=True).encode()).hexdigest()[:16]}"

    def _is_wanted(self, entry: ListedTranscript) -> bool:
        if _DELETED in entry.audio_url or self.status not in ("any", entry.status):
            return False
        return strip_url(entry.audio_url).startswith(self.audio_url_prefix or "")

    def _payload(self, entry: ListedTranscript, region: str) -> dict[str, Any]:
        return {
            "transcript_id": entry.id,
            "status": entry.status,
            "region": region,
            "assemblyai_conn_id": self.assemblyai_conn_id,
            "created": iso(entry.created),
            "completed": iso(entry.completed),
            "audio_url": strip_url(entry.audio_url),
        }

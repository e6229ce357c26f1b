# SPDX-License-Identifier: Apache-2.0
"""
One poll of an account's list for all in an event loop that want an event for each transcript that ends.

Which events a subscriber gets is decided by its :class:`Watermark`; here requests are made, and watermarks are
stored. A watermark is stored after the events that it stands for: a triggerer that stops in between sends some
events twice, and leaves none out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from math import inf
from typing import Any, Protocol, TypeVar

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.errors import AssemblyAIError, AuthenticationError, InvalidInput
from airflow_provider_assemblyai.api.retry_rules import spread, stated_wait
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.transcripts import Page
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.events.watermark import (
    ListedTranscript,
    ListReader,
    ListSnapshot,
    Steps,
    Watermark,
)
from airflow_provider_assemblyai.polling.connection import Account, Connection, LoopLocal, sleep_until_woken
from airflow_provider_assemblyai.telemetry import metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

#: A snapshot, and its number.
Numbered = tuple[int, ListSnapshot]

#: Pages of one snapshot; older transcripts are out of reach.
_MOST_PAGES = 1_000
#: Seconds between two parts of a backlog: Airflow stores each event on its own.
_BACKLOG_PAUSE = 5.0
_LONGEST_PAUSE = 60.0
#: Seconds that a store may take: a triggerer that ends does not answer any more, and waits for us to end.
_STORE_TIMEOUT = 5.0


class Store(Protocol):
    """Where a watermark is kept: the state store of an asset."""

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return what is stored."""

    async def aset(self, key: str, value: Any) -> None:
        """Store it."""


@dataclass(eq=False)
class Subscriber:
    """
    One trigger that wants events, and its watermark.

    :param watermark: where to begin if nothing is stored.
    :param wanted: which transcripts to send an event for.
    :param store: where the watermark is kept; None keeps it in memory only.
    :param key: under which name.
    """

    watermark: Watermark
    wanted: Callable[[ListedTranscript], bool]
    store: Store | None = None
    key: str = ""
    _stored: Any = field(default=None, init=False)
    _uncommitted: dict[int, dict[str, Any]] = field(default_factory=dict, init=False)
    _unconfirmed_writes: list[dict[str, Any]] = field(default_factory=list, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def load(self, pause: float) -> None:
        """
        Go on from the stored watermark.

        :param pause: seconds between two attempts, if the store does not answer: without it every event would
            be sent again, or some never.
        """
        while True:
            try:
                return await self._synchronize()
            except ValueError as error:
                self.store = None
                log.warning("The watermark is kept in memory only: %s", error)
            except Exception as error:
                log.warning("The stored watermark cannot be read, trying again: %s", _describe(error))
                await asyncio.sleep(pause)

    async def take(self, snapshot: ListSnapshot) -> list[ListedTranscript]:
        """Take in a snapshot and return the transcripts to send events for."""
        async with self._lock:
            try:
                await self._synchronize()
            except Exception as error:
                log.warning("The stored watermark cannot be read: %s", _describe(error))
            return await _in_turns(self.watermark.advance(snapshot, time.time(), self.wanted))

    def mark_delivered(self, number: int) -> None:
        """Note that all events of a snapshot were sent, so that its watermark may be committed later."""
        watermark = self.watermark.to_json()
        if self.store is not None and watermark != self._stored:
            self._uncommitted[number] = watermark

    async def commit(self, number: int) -> None:
        """Store the watermark of a snapshot whose events cannot get lost any more."""
        async with self._lock:
            if self.store is None:
                return
            try:
                # If another triggerer has stored one since, that is the one which holds.
                await self._synchronize()
                ready = [one for one in self._uncommitted if one <= number]
                if not ready:
                    return
                watermark = self._uncommitted[max(ready)]
                self._unconfirmed_writes = [*self._unconfirmed_writes[-7:], watermark]
                async with asyncio.timeout(_STORE_TIMEOUT):
                    await self.store.aset(self.key, watermark)
            except Exception as error:
                # The next watermark covers it; until then a restart would send some events again.
                log.warning("The watermark cannot be stored: %s", _describe(error))
                return
            self._stored = watermark
            self._unconfirmed_writes.clear()
            for one in ready:
                del self._uncommitted[one]

    async def _synchronize(self) -> None:
        """Take over what another triggerer has stored, while this one did not run or did not know of it."""
        if self.store is None:
            return
        async with asyncio.timeout(_STORE_TIMEOUT):
            stored = await self.store.aget(self.key)
        if stored is None or stored == self._stored:
            return
        if stored not in self._unconfirmed_writes:  # else it was written, only the answer is missing
            try:
                self.watermark = Watermark.from_json(stored)
            except InvalidInput as error:
                log.warning("The stored watermark is left out: %s", error)
            self._uncommitted.clear()
            self._unconfirmed_writes.clear()
        self._stored = stored


class TranscriptFeed:
    """
    Reads the list of one account for its subscribers.

    :param connection: of the account.
    :param poll_interval: seconds between two snapshots.
    """

    def __init__(self, connection: Connection, poll_interval: float) -> None:
        self._connection = connection
        self._interval = poll_interval
        self._subscribers: set[Subscriber] = set()
        #: Set when there is a new subscriber.
        self._wake = asyncio.Event()
        self._account: Account | None = None
        self._client = AsyncExitStack()
        self._key_refused = False
        self._failures = 0

    @property
    def region(self) -> str:
        """Where the transcripts are, once there was a snapshot."""
        return self._connection.region

    @contextmanager
    def serving(self, subscriber: Subscriber) -> Iterator[None]:
        """Take snapshots for a subscriber, too, from now on and at once."""
        self._subscribers.add(subscriber)
        self._wake.set()
        try:
            yield
        finally:
            self._subscribers.discard(subscriber)

    async def commit(self, number: int) -> None:
        """Let the subscribers store the watermark of a snapshot whose events cannot get lost any more."""
        for subscriber in list(self._subscribers):
            await subscriber.commit(number)

    async def snapshots(self) -> AsyncGenerator[Numbered]:
        """Read the list again and again, for ever."""
        numbers = count(1)
        await asyncio.to_thread(metrics.prepare)
        try:
            while True:
                while not self._subscribers:
                    await sleep_until_woken(self._wake, inf)
                snapshot, pause = await self._poll()
                if snapshot is not None:
                    yield next(numbers), snapshot
                    step = min(_BACKLOG_PAUSE, pause)
                    pause -= step
                    await asyncio.sleep(step)
                    while any(subscriber.watermark.has_more for subscriber in self._subscribers):
                        yield next(numbers), snapshot
                        await asyncio.sleep(step)
                await sleep_until_woken(self._wake, pause)
        finally:
            await self._close()

    async def _poll(self) -> tuple[ListSnapshot | None, float]:
        """Return a snapshot, or None if there is no answer, and the seconds to the next one."""
        try:
            snapshot = await self._read_list(await self._open_account())
        except Exception as error:
            if not isinstance(error, AssemblyAIError):
                # From Airflow's look-up of the connection; our own errors are sentences.
                error = AssemblyAIError(_describe(error))
            self._key_refused |= isinstance(error, AuthenticationError)
            self._failures += 1
            pause = min(max(_LONGEST_PAUSE, self._interval), self._interval * 2 ** min(self._failures, 10))
            pause = max(pause, spread(stated_wait(error) or 0.0, random.random()))
            log.warning("The list of transcripts cannot be read, next attempt in %.0f s: %s", pause, error)
            return None, pause
        self._failures = 0
        return snapshot, self._interval

    async def _read_list(self, account: Account) -> ListSnapshot:
        reader = ListReader(time.time())
        seen: set[tuple[tuple[str, str], ...]] = set()
        call = transcripts.list_page()
        for _ in range(_MOST_PAGES):
            while not account.feed_budget.take(now := time.time()):  # noqa: ASYNC110 - it names the moment
                await asyncio.sleep(account.feed_budget.next_at(now) - now)
            page = await _read_page(account.client, call)
            reached = await _in_turns(reader.add(page["transcripts"], self._floor))
            following = call.next_page(page, seen)
            if reached or following is None:
                return await _in_turns(reader.snapshot(whole=following is None))
            call = following
        log.warning("Of the list, %d pages were read; what is older is left out.", _MOST_PAGES)
        return await _in_turns(reader.snapshot(whole=True))

    def _floor(self, newest: float) -> float:
        return min((one.watermark.floor(newest) for one in self._subscribers), default=inf)

    async def _open_account(self) -> Account:
        connection = self._connection
        account = await (connection.read_again() if self._key_refused else connection.read())
        self._key_refused = False
        if account is not self._account:
            await self._close()
            await self._client.enter_async_context(account.opened())
            self._account = account
        return account

    async def _close(self) -> None:
        self._account = None
        await self._client.aclose()


#: What works in steps takes turns: many subscribers that get a snapshot at the same moment are no more work a turn than one.
_TURNS: LoopLocal[asyncio.Lock] = LoopLocal(asyncio.Lock)


async def _in_turns(steps: Steps[T]) -> T:
    """Work to the end, one step in each turn of the event loop."""
    async with _TURNS.get():
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            await asyncio.sleep(0)


async def _read_page(client: AsyncClient, call: Call[Page]) -> Page:
    region = client.hosts.region
    metrics.count("assemblyai.polls", region=region)
    try:
        return await client.send(call)
    except AssemblyAIError:
        metrics.count("assemblyai.polls.failed", region=region)
        raise


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {sanitize(str(error))}"


_FEEDS: LoopLocal[dict[tuple[Connection, float], TranscriptFeed]] = LoopLocal(dict)


def shared_feed(connection: Connection, poll_interval: float) -> TranscriptFeed:
    """
    Return the feed that all triggers with the same connection and interval share.

    :param connection: of the account.
    :param poll_interval: seconds between two snapshots.
    """
    feeds = _FEEDS.get()
    return feeds.setdefault((connection, poll_interval), TranscriptFeed(connection, poll_interval))

# SPDX-License-Identifier: Apache-2.0
"""
One poll of an account's list for everybody in an event loop who wants to hear what has ended.

What is news to whom is decided by each reader's :class:`Watermark`; here requests are made, and positions are stored.
A position is stored after what it stands for: whoever is stopped in between hears something twice, never not at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from math import inf
from typing import Any, Protocol

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, AuthenticationError, InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.events.watermark import ListedTranscript, ListSnapshot, Watermark, entries_of
from airflow_provider_assemblyai.polling.token_bucket import DEFAULT_REQUESTS, TokenBucket

log = logging.getLogger(__name__)

#: Reads a connection: a new client, and the requests that it allows in 5 minutes, if it says so.
Connect = Callable[[], Awaitable[tuple[AsyncClient, float | None]]]
#: A look, and its number.
Numbered = tuple[int, ListSnapshot]

#: Seconds after which a connection is read again.
_REFRESH = 300.0
#: Of the requests that a triggerer may make, what may go into this.
_SHARE = 0.25
#: Pages of one look; older transcripts are out of reach.
_MOST_PAGES = 1_000
#: Seconds between two parts of a backlog: Airflow stores each event on its own.
_BETWEEN = 5.0
_LONGEST_PAUSE = 60.0
#: Seconds that a store may take: a triggerer that ends does not answer any more, and waits for us to end.
_STORE_TIMEOUT = 5.0


class Store(Protocol):
    """What a position is kept in: the state store of an asset."""

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return what is stored."""

    async def aset(self, key: str, value: Any) -> None:
        """Store it."""


class Subscriber:
    """
    Somebody who wants to hear what has ended, and where he stands.

    :param cursor: where to begin if nothing is stored.
    :param wanted: what to tell.
    :param store: where the position is kept; None keeps it in memory only.
    :param key: under which name.
    """

    def __init__(
        self,
        cursor: Watermark,
        wanted: Callable[[ListedTranscript], bool],
        store: Store | None = None,
        key: str = "",
    ) -> None:
        self.cursor = cursor
        self._wanted = wanted
        self._store = store
        self._key = key
        self._stored: Any = None
        self._unstored: dict[int, dict[str, Any]] = {}
        self._tried: list[dict[str, Any]] = []
        self._lock = asyncio.Lock()

    async def load(self, pause: float) -> None:
        """
        Go on from the stored position.

        :param pause: seconds between two attempts, if the store does not answer: without it everything would
            be told again, or something never.
        """
        while True:
            try:
                return await self._catch_up()
            except ValueError as error:
                self._store = None
                log.warning("The position is kept in memory only: %s", error)
            except Exception as error:
                log.warning("The stored position cannot be read, trying again: %s", _said(error))
                await asyncio.sleep(pause)

    async def take(self, look: ListSnapshot) -> list[ListedTranscript]:
        """Take in a look and return what to tell of it."""
        async with self._lock:
            try:
                await self._catch_up()
            except Exception as error:
                log.warning("The stored position cannot be read: %s", _said(error))
            return self.cursor.take(look, time.time(), self._wanted)

    def told(self, number: int) -> None:
        """Say that everything of a look was handed over, so that its position may be stored one day."""
        position = self.cursor.to_json()
        if self._store is not None and position != self._stored:
            self._unstored[number] = position

    async def safe(self, number: int) -> None:
        """Say that nothing of a look can get lost any more, and store its position."""
        async with self._lock:
            if self._store is None:
                return
            try:
                # If another triggerer has stored one since, that is the one which holds.
                await self._catch_up()
                ready = [seen for seen in self._unstored if seen <= number]
                if not ready:
                    return
                position = self._unstored[max(ready)]
                self._tried = [*self._tried[-7:], position]
                async with asyncio.timeout(_STORE_TIMEOUT):
                    await self._store.aset(self._key, position)
            except Exception as error:
                # The next position says it all; until then a restart would tell some of it again.
                log.warning("The position cannot be stored: %s", _said(error))
                return
            self._stored = position
            self._tried.clear()
            for seen in ready:
                del self._unstored[seen]

    async def _catch_up(self) -> None:
        """Take over what another triggerer has stored, while this one did not run or did not know of it."""
        if self._store is None:
            return
        async with asyncio.timeout(_STORE_TIMEOUT):
            stored = await self._store.aget(self._key)
        if stored is None or stored == self._stored:
            return
        if stored in self._tried:
            # Written after all, though nobody said so.
            self._stored = stored
            return
        try:
            self.cursor = Watermark.from_json(stored)
        except InvalidInput as error:
            log.warning("The stored position is left out, %s.", error)
        self._stored = stored
        self._unstored.clear()
        self._tried.clear()


class TranscriptFeed:
    """
    Reads the list of one account for its readers.

    :param connect: reads the connection.
    :param poll_interval: seconds between two looks.
    """

    def __init__(self, connect: Connect, poll_interval: float) -> None:
        self.region = ""
        self._connect = connect
        self._interval = poll_interval
        self._readers: set[Subscriber] = set()
        self._wake = asyncio.Event()
        self._budget = TokenBucket(DEFAULT_REQUESTS * _SHARE)
        self._client: AsyncClient | None = None
        self._read_at = -inf
        self._failures = 0

    @contextmanager
    def serving(self, reader: Subscriber) -> Iterator[None]:
        """Look for a reader, too, from now on and at once."""
        self._readers.add(reader)
        self._wake.set()
        try:
            yield
        finally:
            self._readers.discard(reader)

    async def safe(self, number: int) -> None:
        """Say that nothing of a look can get lost any more."""
        for reader in list(self._readers):
            await reader.safe(number)

    async def looks(self) -> AsyncIterator[Numbered]:
        """Look again and again, for ever."""
        numbers = count(1)
        try:
            while True:
                while not self._readers:
                    await self._woken(inf)
                look, pause = await self._look()
                if look is not None:
                    yield next(numbers), look
                    step = min(_BETWEEN, pause)
                    pause -= step
                    await asyncio.sleep(step)
                    while any(reader.cursor.more for reader in self._readers):
                        yield next(numbers), look
                        await asyncio.sleep(step)
                await self._woken(pause)
        finally:
            await self._disconnect()

    async def _woken(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds if seconds < inf else None):
                await self._wake.wait()
        self._wake.clear()

    async def _look(self) -> tuple[ListSnapshot | None, float]:
        """Return a look, or None if nobody could be asked, and the seconds to the next one."""
        try:
            look = await self._walk(await self._connected())
        except Exception as error:
            if not isinstance(error, AssemblyAIError):
                # Airflow could not say what the connection is; ours are said in a sentence.
                error = AssemblyAIError(_said(error))
            if isinstance(error, AuthenticationError):
                await self._disconnect()
            self._failures += 1
            pause = min(max(_LONGEST_PAUSE, self._interval), self._interval * 2 ** min(self._failures, 10))
            pause = max(pause, getattr(error, "retry_after", None) or 0.0)
            log.warning("The list of transcripts cannot be read, next look in %.0f s: %s", pause, error)
            return None, pause
        self._failures = 0
        return look, self._interval

    async def _walk(self, client: AsyncClient) -> ListSnapshot:
        entries: list[ListedTranscript] = []
        call = transcripts.list_page()
        for _ in range(_MOST_PAGES):
            await self._allowed()
            page = await client.send(call)
            found = entries_of(page["transcripts"], entries[-1].created if entries else time.time())
            entries += found
            following = call.follow(page) if call.follow else None
            if following is None:
                return ListSnapshot(tuple(entries))
            if found and found[-1].created < min(
                reader.cursor.floor(entries[0].created) for reader in self._readers or [_NOBODY]
            ):
                return ListSnapshot(tuple(entries), found[-1].created)
            call = following
        log.warning("Of the list, %d pages were read; what is older is left out.", _MOST_PAGES)
        return ListSnapshot(tuple(entries))

    async def _allowed(self) -> None:
        now = time.time()
        await asyncio.sleep(self._budget.next_at(now) - now)
        self._budget.take(time.time())

    async def _connected(self) -> AsyncClient:
        if self._client is not None and time.time() - self._read_at < _REFRESH:
            return self._client
        client, requests = await self._connect()
        await self._disconnect()
        # Repeating a request is decided here.
        client.max_retry_time = 0.0
        self._client = await client.__aenter__()
        self._read_at = time.time()
        self._budget.requests = (requests or DEFAULT_REQUESTS) * _SHARE
        self.region = client.hosts.region
        return client

    async def _disconnect(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.__aexit__()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {sanitize(str(error))}"


_NOBODY = Subscriber(Watermark(inf), lambda _: False)

#: The desks of an event loop. A triggerer has one loop, tests have many.
_FEEDS: dict[asyncio.AbstractEventLoop, dict[Hashable, TranscriptFeed]] = {}


def transcript_feed(name: Hashable, connect: Connect, poll_interval: float) -> TranscriptFeed:
    """
    Return the desk of an account.

    :param name: what the connection, the region and the interval are called.
    :param connect: reads the connection.
    :param poll_interval: seconds between two looks.
    """
    for closed in [loop for loop in _FEEDS if loop.is_closed()]:
        del _FEEDS[closed]
    desks = _FEEDS.setdefault(asyncio.get_running_loop(), {})
    if name not in desks:
        desks[name] = TranscriptFeed(connect, poll_interval)
    return desks[name]

# SPDX-License-Identifier: Apache-2.0
"""
One poll for everybody who waits in an event loop: per host and key one client and one loop of requests.

:func:`wait_for_transcripts` is all that triggers need. Whom to look at when is decided by a :class:`PollScheduler`; here requests are
made, connections are read again, and whoever is done is woken.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from contextlib import suppress
from math import inf
from typing import Any

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError, AuthenticationError, InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.polling.models import PollRequest, WaitRequest
from airflow_provider_assemblyai.polling.policy import PollEvent
from airflow_provider_assemblyai.polling.scheduler import PollScheduler
from airflow_provider_assemblyai.polling.token_bucket import DEFAULT_REQUESTS, TokenBucket

log = logging.getLogger(__name__)

#: Reads a connection: a new client, and the requests that it allows in 5 minutes, if it says so.
Connect = Callable[[], Awaitable[tuple[AsyncClient, float | None]]]

#: Seconds after which a connection is read again.
REFRESH = 300.0
#: Seconds that a client is kept when nobody waits: the next one often comes soon.
_LINGER = 30.0
#: Requests under way at the same time.
_PARALLEL = 8
#: Waiters that are woken before others of this event loop get their turn.
_AT_ONCE = 20


async def wait_for_transcripts(
    name: Hashable,
    connect: Connect,
    ids: Iterable[str],
    *,
    poll_interval: float,
    ready_at: float,
    deadline: float,
    look_at: float = 0.0,
    until: int = 0,
) -> list[PollEvent]:
    """
    Wait for transcripts, and return an event for each that ended.

    A batch waits for all of its transcripts with one call, which costs the same as for one: ``until`` is how many
    may be left over when it returns. It returns earlier only if the deadline is over or nobody can be asked;
    then there is an event for each. What has no event yet is to be waited for with the next call, together with
    what was submitted in between::

        events = await watcher.wait(name, hook.watch, in_flight, ..., until=len(in_flight) // 2)
        in_flight -= {event["transcript_id"] for event in events}

    :param name: what the connection and the region are called; ``connect`` is asked once for all who wait
        under one name.
    :param connect: reads the connection.
    :param ids: transcript ids.
    :param poll_interval: seconds between two looks.
    :param ready_at: seconds since the epoch; it does not return earlier.
    :param deadline: when to give up; seconds since the epoch.
    :param look_at: when the first look makes sense; seconds since the epoch.
    :param until: how many may be left over.
    """
    wanted = list(dict.fromkeys(ids))
    try:
        for transcript_id in wanted:
            transcripts.check_id(transcript_id)
        connection = _connection(name, connect)
        await connection.read()
    except InvalidInput as error:
        await asyncio.sleep(max(0.0, ready_at - time.time()))
        return [{"transcript_id": one, "outcome": "refused", "detail": str(error)} for one in wanted]
    waiting = _Waiting(WaitRequest(wanted, poll_interval, ready_at, look_at, deadline, until))
    if waiting.claim.over:
        await asyncio.sleep(max(0.0, ready_at - time.time()))
        return []
    connection.add(waiting)
    # Ten thousand may wait here for hours: nothing is kept that only a beginning needs.
    del name, connect, ids, wanted
    try:
        await waiting.done
    finally:
        connection.remove(waiting)
    # What ends everybody's waiting, such as a refused key, does not ask who came when.
    await asyncio.sleep(max(0.0, ready_at - time.time()))
    return waiting.claim.events


class _Waiting:
    """A claim, and what wakes whoever made it."""

    __slots__ = ("claim", "done")

    def __init__(self, claim: WaitRequest) -> None:
        self.claim = claim
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Connection:
    """
    A connection as triggers name it; which account it leads to may change.

    :param watchers: those of this event loop.
    :param connect: reads it.
    """

    def __init__(self, watchers: dict[str, AccountPoller], connect: Connect) -> None:
        self._watchers = watchers
        self._connect = connect
        self._watcher: AccountPoller | None = None
        self._waiting: set[_Waiting] = set()
        self._reading: asyncio.Task[None] | None = None
        self.read_at = -inf
        self.requests: float | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    async def read(self) -> None:
        """
        Read the connection, unless that was done lately or is being done.

        :raises InvalidInput: it is missing or cannot work.
        """
        if self._watcher is None:
            await self.read_again()
        elif time.time() - self.read_at > REFRESH:
            try:
                await self.read_again()
            except InvalidInput:
                raise
            except Exception as error:
                _kept(error)

    async def read_again(self) -> None:
        """Read it now; whoever waits moves to the account that it leads to."""
        if self._reading is None or self._reading.done():
            self._reading = _detached(self._read())
        # A waiter that is cancelled does not take the others' reading along.
        await asyncio.shield(self._reading)

    async def _read(self) -> None:
        client, self.requests = await self._connect()
        self.read_at = time.time()
        watcher = self._watchers.get(client.account)
        if watcher is None:
            watcher = self._watchers[client.account] = AccountPoller(client, self._watchers)
        before, self._watcher = self._watcher, watcher
        if before is not watcher:
            for waiting in self._waiting:
                if before is not None:
                    before.leave(waiting)
                watcher.join(waiting)
            if before is not None:
                before.connections.discard(self)
            watcher.connections.add(self)
        watcher.allow()

    def add(self, waiting: _Waiting) -> None:
        """Have somebody waited for."""
        assert self._watcher is not None
        account = self._watcher.account
        if account not in self._watchers:
            # Nobody waited for a while, and it went.
            self._watchers[account] = self._watcher.renewed()
        if self._watchers[account] is not self._watcher:
            self._watcher = self._watchers[account]
            self._watcher.connections.add(self)
            self._watcher.allow()
        self._waiting.add(waiting)
        self._watcher.join(waiting)

    def remove(self, waiting: _Waiting) -> None:
        """Forget somebody who is done or was cancelled."""
        self._waiting.discard(waiting)
        if self._watcher is not None:
            self._watcher.leave(waiting)


class AccountPoller:
    """
    Asks one account for everybody of one event loop who waits there.

    :param client: not opened yet.
    :param watchers: where this one is kept while it runs, by account.
    """

    def __init__(self, client: AsyncClient, watchers: dict[str, AccountPoller]) -> None:
        # Repeating a request is decided here, for all waiters together.
        client.max_retry_time = 0.0
        self.account = client.account
        self.connections: set[_Connection] = set()
        self._client = client
        self._watchers = watchers
        self._roster = PollScheduler()
        self._budget = TokenBucket()
        self._waiting: dict[WaitRequest, _Waiting] = {}
        self._queue: deque[PollRequest] = deque()
        self._looking: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._idle_from = time.time()
        self._checked_at = -inf
        self._task = _detached(self._run())

    def renewed(self) -> AccountPoller:
        """Return a new one with the same client and budget, after this one went."""
        watcher = AccountPoller(self._client, self._watchers)
        watcher._budget = self._budget
        return watcher

    def allow(self) -> None:
        """Take over what the connections allow; where they differ, the least."""
        said = [one.requests for one in self.connections if one.requests is not None]
        self._budget.requests = min(said, default=DEFAULT_REQUESTS)

    def join(self, waiting: _Waiting) -> None:
        """Wait for somebody's transcripts."""
        self._waiting[waiting.claim] = waiting
        self._roster.join(waiting.claim)
        self._wake.set()

    def leave(self, waiting: _Waiting) -> None:
        """Stop that."""
        if self._waiting.pop(waiting.claim, None) is not None:
            self._roster.leave(waiting.claim)
            self._idle_from = time.time()

    async def _run(self) -> None:
        try:
            async with self._client:
                while (pause := await self._step()) is not None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(pause if pause < inf else None):
                            await self._wake.wait()
                    self._wake.clear()
                # Before the client is closed, which takes time: who comes now needs another watcher.
                self._go()
        except Exception as error:
            log.exception("Waiting for transcripts broke off.")
            self._break(error)
        finally:
            self._go()
            for look in self._looking:
                look.cancel()
            await asyncio.gather(*self._looking, return_exceptions=True)

    async def _step(self) -> float | None:
        """Do what is due and return the seconds to the next step; None if this watcher may go."""
        looks, over = self._roster.plan(time.time())
        await self._notify(over)
        self._queue.extend(looks)
        now = time.time()
        self._refresh(now)
        while self._queue and len(self._looking) < _PARALLEL and self._roster.held_until(now) <= now:
            if not self._roster.wants(self._queue[0]):
                self._roster.again(self._queue.popleft(), now)
            elif self._budget.take(now):
                self._look(self._queue.popleft())
            else:
                break
        if not self._waiting and not self._looking:
            idle = self._idle_from + _LINGER - now
            return idle if idle > 0 else None
        moments = [self._roster.next_due(), *(one.read_at + REFRESH for one in self.connections if len(one))]
        if self._queue and len(self._looking) < _PARALLEL:
            moments.append(max(self._roster.held_until(now), self._budget.next_at(now)))
        return max(0.0, min(moments) - time.time())

    def _look(self, look: PollRequest) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(look))
        self._looking.add(task)
        task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)
            self._task.cancel()

    def _go(self) -> None:
        if self._watchers.get(self.account) is self:
            del self._watchers[self.account]

    def _break(self, error: BaseException) -> None:
        """Take in a fault of ours: nobody must wait for ever because of it."""
        self._go()
        for waiting in self._waiting.values():
            if not waiting.done.done():
                waiting.done.set_exception(error)

    async def _ask(self, look: PollRequest) -> None:
        asked_at = time.time()
        try:
            rows = await self._client.send(look.call)
        except AuthenticationError as error:
            over = await self._refused(look, error, asked_at)
        except AssemblyAIError as error:
            over = self._roster.failed(look, error, time.time())
        else:
            self._checked_at = -inf
            over = self._roster.seen(look, rows, time.time())
        await self._notify(over)

    async def _refused(
        self, look: PollRequest, error: AuthenticationError, asked_at: float
    ) -> list[WaitRequest]:
        """The key does not work any more: there may be a new one by now."""
        if asked_at < self._checked_at:
            self._roster.again(look, time.time())
            return []
        if self._checked_at > -inf:
            # Refused again, after the connections were read. A retry of the tasks finds their transcripts.
            self._checked_at = -inf
            self._roster.again(look, time.time())
            return self._roster.give_up(sanitize(str(error)))
        for connection in list(self.connections):
            with suppress(Exception):
                await connection.read_again()
        self._checked_at = time.time()
        self._roster.again(look, self._checked_at)
        return []

    def _refresh(self, now: float) -> None:
        for connection in list(self.connections):
            if len(connection) and now - connection.read_at > REFRESH:
                connection.read_at = now
                _detached(_quietly(connection))

    async def _notify(self, over: list[WaitRequest]) -> None:
        for number, claim in enumerate(over, 1):
            waiting = self._waiting.get(claim)
            if waiting is not None and not waiting.done.done():
                waiting.done.set_result(None)
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)


#: Tasks of nobody else's; the event loop alone would let go of them.
_TASKS: set[asyncio.Task[None]] = set()
#: The connections of an event loop, and its watchers by account. A triggerer has one loop, tests have many.
_LOOPS: dict[asyncio.AbstractEventLoop, tuple[dict[Hashable, _Connection], dict[str, AccountPoller]]] = {}


def _connection(name: Hashable, connect: Connect) -> _Connection:
    for closed in [loop for loop in _LOOPS if loop.is_closed()]:
        del _LOOPS[closed]
    connections, watchers = _LOOPS.setdefault(asyncio.get_running_loop(), ({}, {}))
    if name not in connections:
        connections[name] = _Connection(watchers, connect)
    return connections[name]


def _detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start work that belongs to no trigger: neither its end nor its log is that of whoever came first."""
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    _TASKS.add(task)

    def ended(task: asyncio.Task[None]) -> None:
        _TASKS.discard(task)
        if not task.cancelled():
            task.exception()  # whoever cares has got it

    task.add_done_callback(ended)
    return task


async def _quietly(connection: _Connection) -> None:
    try:
        await connection.read_again()
    except Exception as error:
        _kept(error)


def _kept(error: Exception) -> None:
    # Whoever waits goes on with what is known.
    log.warning("The connection could not be read again, the old one stays in use: %s", sanitize(str(error)))

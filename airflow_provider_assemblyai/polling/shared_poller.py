# SPDX-License-Identifier: Apache-2.0
"""
One poller for all that wait in an event loop for transcripts of one account.

:func:`wait_for_transcripts` is all that triggers need. What is polled when is decided by a :class:`PollScheduler`;
here requests are made, connections are read again, and waiters are woken.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from math import inf

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.polling.connection import (
    Account,
    Connection,
    LoopLocal,
    run_detached,
    sleep_until_woken,
)
from airflow_provider_assemblyai.polling.models import PollRequest, WaitRequest
from airflow_provider_assemblyai.polling.policy import PollEvent
from airflow_provider_assemblyai.polling.scheduler import PollScheduler
from airflow_provider_assemblyai.telemetry import metrics

log = logging.getLogger(__name__)

#: Seconds that a poller is kept when nothing waits: the next waiter often comes soon.
_LINGER = 30.0
#: Requests under way at the same time.
_PARALLEL = 8
#: Seconds between two gauges of what is waited for.
_GAUGES = 10.0
#: Waiters that are woken before others of this event loop get their turn.
_WAKE_AT_ONCE = 20


async def wait_for_transcripts(
    connection: Connection,
    ids: Iterable[str],
    *,
    poll_interval: float,
    ready_at: float,
    deadline: float,
    first_poll_at: float = 0.0,
    max_remaining: int = 0,
    on_progress: Callable[[int], None] | None = None,
    on_processing: Callable[[str], None] | None = None,
    progress_interval: float = 60.0,
) -> list[PollEvent]:
    """
    Wait for transcripts, and return an event for each that ended.

    A batch waits for all of its transcripts with one call, which costs the same as for one. It returns earlier than
    ``max_remaining`` says only if the deadline is over or the account cannot be polled; then there is an event for
    each. What has no event yet is to be waited for with the next call, together with what was submitted in between::

        events = await wait_for_transcripts(connection, in_flight, ..., max_remaining=len(in_flight) // 2)
        in_flight -= {event["transcript_id"] for event in events}

    :param connection: of their account.
    :param ids: transcript ids.
    :param poll_interval: seconds between two polls.
    :param ready_at: seconds since the epoch; it does not return earlier.
    :param deadline: when to give up; seconds since the epoch.
    :param first_poll_at: when the first poll makes sense; seconds since the epoch.
    :param max_remaining: how many may remain when it returns.
    :param on_progress: called now and then while it waits, with the number of those that have ended.
    :param on_processing: called with the id of a transcript when it is seen to be processed.
    :param progress_interval: seconds between two such calls.
    """
    wanted = list(dict.fromkeys(ids))
    try:
        for transcript_id in wanted:
            transcripts.check_id(transcript_id)
        account = await connection.read()
    except InvalidInput as error:
        await asyncio.sleep(max(0.0, ready_at - time.time()))
        return [{"transcript_id": one, "outcome": "refused", "detail": str(error)} for one in wanted]
    watched = on_processing is not None
    request = WaitRequest(wanted, poll_interval, ready_at, first_poll_at, deadline, max_remaining, watched)
    waiter = _Waiter(request, on_processing)
    if waiter.request.over:
        await asyncio.sleep(max(0.0, ready_at - time.time()))
        return []
    connection.waiters.add(waiter)
    waiter.move_to(account)
    # Ten thousand may wait here for hours: nothing is kept that only a beginning needs.
    del account, ids, wanted, request
    try:
        while on_progress is not None:
            done, _ = await asyncio.wait([waiter.done], timeout=progress_interval)
            if done:
                break
            on_progress(len(waiter.request.events))
        await waiter.done
    finally:
        connection.waiters.discard(waiter)
        waiter.leave()
    # What ends all waits, such as a refused key, does not regard when each is ready.
    await asyncio.sleep(max(0.0, ready_at - time.time()))
    return waiter.request.events


class _Waiter:
    """A request, and what wakes the trigger that made it."""

    __slots__ = ("context", "done", "on_processing", "poller", "request")

    def __init__(self, request: WaitRequest, on_processing: Callable[[str], None] | None) -> None:
        self.request = request
        self.on_processing = on_processing
        # Airflow tells by the context to whose log a line belongs, and a poller runs in another one.
        self.context = None if on_processing is None else copy_context()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.poller: AccountPoller | None = None

    def move_to(self, account: Account) -> None:
        self.leave()
        self.poller = _poller_of(account)
        self.poller.register(self)

    def tell_processing(self, transcript_id: str) -> None:
        if self.context is None or self.on_processing is None or self.done.done():
            return
        # A log that cannot be written must not end the waits of all others, for which this poller works as well.
        with suppress(Exception):
            self.context.run(self.on_processing, transcript_id)

    def leave(self) -> None:
        if self.poller is not None:
            self.poller.unregister(self)


class AccountPoller:
    """
    Polls one account for all waiters of one event loop.

    :param account: whose transcripts.
    :param pollers: where this one is kept while it runs.
    """

    def __init__(self, account: Account, pollers: dict[Account, AccountPoller]) -> None:
        self._account = account
        self._pollers = pollers
        self._scheduler = PollScheduler()
        self._waiters: dict[WaitRequest, _Waiter] = {}
        self._queue: deque[PollRequest] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._idle_since = time.time()
        self._checked_at = self._measured_at = -inf
        self._region = account.client.hosts.region
        self._task = run_detached(self._run())

    def register(self, waiter: _Waiter) -> None:
        """Poll for a waiter, too."""
        self._waiters[waiter.request] = waiter
        self._scheduler.add(waiter.request)
        self._wake.set()

    def unregister(self, waiter: _Waiter) -> None:
        """Stop that."""
        if self._waiters.pop(waiter.request, None) is not None:
            self._scheduler.remove(waiter.request)
            self._idle_since = time.time()

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(metrics.prepare)
            async with self._account.opened():
                while (pause := await self._step()) is not None:
                    await sleep_until_woken(self._wake, pause)
                # Before the client is closed, which takes time: the next waiter needs another poller.
                self._retire()
        except Exception as error:
            log.exception("Waiting for transcripts ended with an error.")
            self._fail_all(error)
        finally:
            self._retire()
            self._measure()
            for request in self._requests:
                request.cancel()
            await asyncio.gather(*self._requests, return_exceptions=True)

    async def _step(self) -> float | None:
        """Do what is due and return the seconds to the next step; None if this poller is not needed any more."""
        polls, ended = self._scheduler.plan(time.time())
        await self._notify(ended)
        self._queue.extend(polls)
        now = time.time()
        self._refresh_connections(now)
        budget = self._account.budget
        if now >= self._measured_at + _GAUGES:
            self._measured_at = now
            self._measure()
        while self._queue and len(self._requests) < _PARALLEL and self._scheduler.blocked_until(now) <= now:
            if not self._scheduler.is_wanted(self._queue[0]):
                self._scheduler.reschedule(self._queue.popleft(), now)
            elif budget.take(now):
                self._start_request(self._queue.popleft())
            else:
                break
        if not self._waiters and not self._requests:
            idle = self._idle_since + _LINGER - now
            return idle if idle > 0 else None
        refreshes = (one.refresh_at for one in self._account.connections if one.waiters)
        moments = [self._scheduler.next_due(), *refreshes]
        if self._queue and len(self._requests) < _PARALLEL:
            moments.append(max(self._scheduler.blocked_until(now), budget.next_at(now)))
        return max(0.0, min(moments) - time.time())

    def _measure(self) -> None:
        """Tell what this triggerer waits for in the region; a batch on a worker must not seem to be a triggerer."""
        if metrics.in_task():
            return
        now, region = time.time(), self._region
        # Other accounts may be in the same region: one value is for all of them.
        here = [one for one in self._pollers.values() if one._region == region]
        in_flight = sum(one._scheduler.pending for one in here)
        used = max((one._account.budget.used(now) for one in here), default=0.0)
        metrics.gauge("assemblyai.in_flight", in_flight, region=region)
        metrics.gauge("assemblyai.status_budget_used", used, region=region)

    def _start_request(self, poll: PollRequest) -> None:
        task = asyncio.get_running_loop().create_task(self._send(poll))
        self._requests.add(task)
        task.add_done_callback(self._on_request_done)

    def _on_request_done(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail_all(error)
            self._task.cancel()

    def _retire(self) -> None:
        if self._pollers.get(self._account) is self:
            del self._pollers[self._account]

    def _fail_all(self, error: BaseException) -> None:
        """Pass on a fault of ours: no waiter must wait for ever because of it."""
        self._retire()
        for waiter in self._waiters.values():
            if not waiter.done.done():
                waiter.done.set_exception(error)

    async def _send(self, poll: PollRequest) -> None:
        sent_at = time.time()
        metrics.count("assemblyai.polls", region=self._region)
        try:
            rows = await self._read(poll)
        except AuthenticationError as error:
            metrics.count("assemblyai.polls.failed", region=self._region)
            ended = await self._on_refused_key(poll, error, sent_at)
        except AssemblyAIError as error:
            metrics.count("assemblyai.polls.failed", region=self._region)
            ended = self._scheduler.on_error(poll, error, time.time())
        else:
            self._checked_at = -inf
            ended = self._scheduler.on_rows(poll, rows, time.time())
        await self._notify(ended)
        await self._tell_processing()

    async def _read(self, poll: PollRequest) -> list[tuple[str, str]]:
        try:
            return await self._account.client.send(poll.call)
        except AssemblyAIError:
            raise
        except Exception as error:
            # Whatever one answer does to us, it ends one request and not the waits of the account.
            log.exception("Reading the state of transcripts failed with an unexpected error.")
            raise UnexpectedReply(f"The state cannot be read ({type(error).__name__}).") from None

    async def _on_refused_key(
        self, poll: PollRequest, error: AuthenticationError, sent_at: float
    ) -> list[WaitRequest]:
        """Read the connections once: the key may have been changed."""
        ended: list[WaitRequest] = []
        if self._checked_at == -inf:
            for connection in list(self._account.connections):
                with suppress(Exception):
                    await connection.read_again()
            self._checked_at = time.time()
        elif sent_at >= self._checked_at:
            # Refused again, after the connections were read. A retry of the tasks finds their transcripts.
            self._checked_at = -inf
            ended = self._scheduler.fail_all(sanitize(str(error)))
        self._scheduler.reschedule(poll, time.time())
        return ended

    def _refresh_connections(self, now: float) -> None:
        for connection in list(self._account.connections):
            if connection.waiters and now > connection.refresh_at:
                connection.read_at = now
                run_detached(connection.refresh())

    async def _notify(self, ended: list[WaitRequest]) -> None:
        for number, request in enumerate(ended, 1):
            waiter = self._waiters.get(request)
            if waiter is not None and not waiter.done.done():
                waiter.done.set_result(None)
            if number % _WAKE_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _tell_processing(self) -> None:
        for number, (request, transcript_id) in enumerate(self._scheduler.take_begun(), 1):
            if (waiter := self._waiters.get(request)) is not None:
                waiter.tell_processing(transcript_id)
            if number % _WAKE_AT_ONCE == 0:
                await asyncio.sleep(0)


_POLLERS: LoopLocal[dict[Account, AccountPoller]] = LoopLocal(dict)


def _poller_of(account: Account) -> AccountPoller:
    pollers = _POLLERS.get()
    if account not in pollers:
        pollers[account] = AccountPoller(account, pollers)
    return pollers[account]

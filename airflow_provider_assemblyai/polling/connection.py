# SPDX-License-Identifier: Apache-2.0
"""
What all that poll in one event loop share: a connection is read once, an account has one client and one budget.

:func:`get_connection` returns a :class:`Connection`, and :meth:`Connection.read` the :class:`Account` that it leads to.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.polling.token_bucket import DEFAULT_REQUESTS, TokenBucket

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Reads a connection: a new client, and the requests that it allows in 5 minutes, if it names a number.
Connect = Callable[[], Awaitable[tuple[AsyncClient, float | None]]]

#: Seconds after which a connection is read again.
REFRESH = 300.0
#: Of an account's budget, what feeds may spend at most: waiting tasks go first.
_FEED_SHARE = 0.25


class LoopLocal(Generic[T]):
    """
    One value for each event loop. A triggerer has one loop, tests have many.

    :param make: makes the value at first use.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """Return the value of the running loop; those of closed loops are forgotten."""
        for closed in [loop for loop in self._values if loop.is_closed()]:
            del self._values[closed]
        loop = asyncio.get_running_loop()
        if loop not in self._values:
            self._values[loop] = self._make()
        return self._values[loop]


class Waiter(Protocol):
    """What waits for something of an account."""

    def move_to(self, account: Account) -> None:
        """Wait there from now on."""


class Account:
    """
    One key at one host, whatever the connections are called that lead there.

    :param client: not opened yet.
    :ivar budget: what this event loop may spend.
    :ivar feed_budget: the part of it that feeds may spend.
    :ivar connections: those that lead here.
    """

    def __init__(self, client: AsyncClient) -> None:
        # Those that poll decide when a request is repeated, for all their waiters together.
        client.max_retry_time = 0.0
        self.client = client
        self.budget = TokenBucket()
        self.feed_budget = TokenBucket(part_of=self.budget)
        self.connections: set[Connection] = set()
        self._users = 0
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[AsyncClient]:
        """Yield the client, which is open while anything uses it."""
        async with self._opening:
            if not self._users:
                await self.client.__aenter__()
            self._users += 1
        try:
            yield self.client
        finally:
            self._users -= 1
            if not self._users:
                await self.client.__aexit__()

    def update_budget(self) -> None:
        """Take over what the connections allow; where they differ, the least."""
        allowed = [one.requests for one in self.connections if one.requests is not None]
        self.budget.requests = min(allowed, default=DEFAULT_REQUESTS)
        self.feed_budget.requests = self.budget.requests * _FEED_SHARE


class Connection:
    """
    A connection as triggers name it; which account it leads to may change.

    :param accounts: those of this event loop, by their digest.
    :param connect: reads the connection.
    :ivar waiters: what moves along when the connection leads to another account.
    :ivar region: where it leads.
    :ivar read_at: seconds since the epoch.
    :ivar requests: what it allows in 5 minutes, if it names a number.
    """

    def __init__(self, accounts: dict[str, Account], connect: Connect) -> None:
        self.waiters: set[Waiter] = set()
        self.region = ""
        self.read_at = -inf
        self.requests: float | None = None
        self._accounts = accounts
        self._connect = connect
        self._account: Account | None = None
        self._reading: asyncio.Task[None] | None = None

    async def read(self) -> Account:
        """
        Return the account; the connection is read unless that was done lately or is being done.

        :raises InvalidInput: the connection is missing or cannot work.
        """
        if self._account is None:
            return await self.read_again()
        if time.time() > self.refresh_at:
            await self.refresh(InvalidInput)
        return self._account

    @property
    def refresh_at(self) -> float:
        """When it is to be read again; seconds since the epoch."""
        return self.read_at + REFRESH

    async def refresh(self, *raised: type[Exception]) -> None:
        """
        Read the connection now; if that fails, what is known stays in use.

        :param raised: errors that are raised all the same.
        """
        try:
            await self.read_again()
        except raised:
            raise
        except Exception as error:
            log.warning(
                "The connection could not be read again, the old one stays in use: %s", sanitize(str(error))
            )

    async def read_again(self) -> Account:
        """Read the connection now; its waiters move to the account that it leads to."""
        if self._reading is None or self._reading.done():
            self._reading = run_detached(self._read())
        # A caller that is cancelled does not take the others' reading along.
        await asyncio.shield(self._reading)
        assert self._account is not None
        return self._account

    async def _read(self) -> None:
        client, self.requests = await self._connect()
        self.read_at, self.region = time.time(), client.hosts.region
        account = self._accounts.get(client.account)
        if account is None:
            account = self._accounts[client.account] = Account(client)
        before, self._account = self._account, account
        if before is not account:
            account.connections.add(self)
            for waiter in self.waiters:
                waiter.move_to(account)
            if before is not None:
                before.connections.discard(self)
                if not before.connections:
                    del self._accounts[before.client.account]
        account.update_budget()


#: The connections by name, and the accounts by digest.
_REGISTRY: LoopLocal[tuple[dict[Hashable, Connection], dict[str, Account]]] = LoopLocal(lambda: ({}, {}))


def get_connection(name: Hashable, connect: Connect) -> Connection:
    """
    Return the connection of a name in the running event loop.

    :param name: what the connection and the region are called.
    :param connect: reads the connection; the first one is kept for all that use the name.
    """
    connections, accounts = _REGISTRY.get()
    if name not in connections:
        connections[name] = Connection(accounts, connect)
    return connections[name]


async def sleep_until_woken(wake: asyncio.Event, seconds: float) -> None:
    """
    Sleep until an event is set, and clear it.

    :param seconds: how long at most; may be infinite.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds if seconds < inf else None):
            await wake.wait()
    wake.clear()


#: The event loop alone would let go of them.
_DETACHED: set[asyncio.Task[None]] = set()


def run_detached(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """
    Start work that belongs to no trigger: neither its end nor its log is that of the trigger that came first.

    :param work: what to run.
    """
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    _DETACHED.add(task)

    def on_end(task: asyncio.Task[None]) -> None:
        _DETACHED.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not report it again

    task.add_done_callback(on_end)
    return task

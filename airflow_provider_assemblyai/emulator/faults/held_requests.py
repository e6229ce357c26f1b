# SPDX-License-Identifier: Apache-2.0
"""Requests that a ``hold`` fault has stopped, until they are released."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

CONTINUE, RESET = ACTIONS = ("continue", "reset")


@dataclass(slots=True)
class HeldRequest:
    """One stopped request.

    :param shown: the request as the control endpoint lists it.
    """

    shown: dict[str, Any]
    action: str = CONTINUE
    released: asyncio.Event = field(default_factory=asyncio.Event)


class HeldRequests:
    """All stopped requests of a region."""

    def __init__(self) -> None:
        self._held: dict[int, HeldRequest] = {}
        self._count = 0
        self._arrived = asyncio.Event()

    async def hold(self, entry: dict[str, Any], when: str, disconnected: asyncio.Event | None) -> str:
        """Stop the calling request until it is released.

        :param entry: its entry in the request log.
        :param when: ``before`` or ``after`` it took effect.
        :param disconnected: set when the client goes away.
        :return: what to do now, one of :data:`ACTIONS`. A client that went away asks for ``reset``: a
            request that never arrived must not take effect when it is released later.
        """
        self._count += 1
        shown = {name: entry[name] for name in ("method", "path", "raw_path", "project", "at")}
        held = HeldRequest({"id": self._count, **shown, "when": when})
        self._held[self._count] = held
        arrived, self._arrived = self._arrived, asyncio.Event()
        arrived.set()
        waits = [
            asyncio.ensure_future(event.wait())
            for event in (held.released, disconnected)
            if event is not None
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._held.pop(held.shown["id"], None)
        return held.action if held.released.is_set() else RESET

    def release(self, numbers: Iterable[int] | None = None, action: str = CONTINUE) -> int:
        """Let requests go on.

        :param numbers: which; ``None`` for all.
        :param action: ``continue``, or ``reset`` to break their connections.
        :return: how many.
        :raises ValueError: for an unknown action.
        """
        if action not in ACTIONS:
            raise ValueError(f"action must be one of: {', '.join(ACTIONS)}")
        chosen = [held for number, held in self._held.items() if numbers is None or number in set(numbers)]
        for held in chosen:
            held.action = action
            held.released.set()
        return len(chosen)

    def to_list(self) -> list[dict[str, Any]]:
        """All stopped requests, oldest first."""
        return [held.shown for held in self._held.values() if not held.released.is_set()]

    async def wait_for(self, count: int, at_most: float) -> bool:
        """Wait until requests are stopped.

        :param count: how many at least.
        :param at_most: seconds of real time.
        :return: whether there are that many.
        """
        try:
            async with asyncio.timeout(at_most):
                while len(self.to_list()) < count:
                    await self._arrived.wait()
        except TimeoutError:
            return False
        return True

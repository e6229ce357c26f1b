# SPDX-License-Identifier: Apache-2.0
"""Requests that a ``hold`` fault has stopped, until somebody lets them go."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

CONTINUE, RESET = ACTIONS = ("continue", "reset")


@dataclass(slots=True)
class Held:
    """One stopped request."""

    number: int
    method: str
    path: str
    raw_path: str
    project: str | None
    when: str
    at: float
    action: str = CONTINUE
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self) -> dict[str, Any]:
        """The request as the control endpoint lists it."""
        return {
            "id": self.number,
            "method": self.method,
            "path": self.path,
            "raw_path": self.raw_path,
            "project": self.project,
            "when": self.when,
            "at": self.at,
        }


class HeldRequests:
    """All stopped requests of a region."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._count = 0
        self._arrival = asyncio.Event()

    async def stop(self, entry: dict[str, Any], when: str, lost: asyncio.Event | None) -> str:
        """Stop the calling request.

        :param entry: its line in the request log.
        :param when: ``before`` or ``after`` it took effect.
        :param lost: set when the client goes away.
        :return: what to do now, one of :data:`ACTIONS`. A client that went away asks for ``reset``: a
            request that never arrived must not take effect when somebody lets it go later.
        """
        self._count += 1
        held = Held(
            self._count,
            entry["method"],
            entry["path"],
            entry["raw_path"],
            entry["project"],
            when,
            entry["at"],
        )
        self._held[held.number] = held
        arrival, self._arrival = self._arrival, asyncio.Event()
        arrival.set()
        waits = [asyncio.ensure_future(event.wait()) for event in (held.go, lost) if event is not None]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            self._held.pop(held.number, None)
        return held.action if held.go.is_set() else RESET

    def release(self, numbers: Iterable[int] | None = None, action: str = CONTINUE) -> int:
        """Let requests go.

        :param numbers: which; ``None`` for all.
        :param action: ``continue``, or ``reset`` to break their connections.
        :return: how many went.
        :raises ValueError: for an unknown action.
        """
        if action not in ACTIONS:
            raise ValueError(f"action must be one of: {', '.join(ACTIONS)}")
        chosen = [held for number, held in self._held.items() if numbers is None or number in set(numbers)]
        for held in chosen:
            held.action = action
            held.go.set()
        return len(chosen)

    def shown(self) -> list[dict[str, Any]]:
        """All stopped requests, oldest first."""
        return [held.shown() for held in self._held.values() if not held.go.is_set()]

    async def wait_for(self, count: int, at_most: float) -> bool:
        """Wait until requests are stopped.

        :param count: how many at least.
        :param at_most: seconds of real time.
        :return: whether there are that many.
        """
        try:
            async with asyncio.timeout(at_most):
                while len(self.shown()) < count:
                    await self._arrival.wait()
        except TimeoutError:
            return False
        return True

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from tests.hostile.server import HostileServer, hostile

T = TypeVar("T")

#: Seconds; what lasts longer lasts for hours.
GENEROUS = 120.0


def ended(work: Callable[[], T], seconds: float = GENEROUS) -> T:
    """Return what ``work`` returns; fail if it goes on for as long as an attack does."""
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it goes on and on"
    if raised:
        raise raised[0]
    return found[0]


def at_once(each: Iterable[T], work: Callable[[T], object]) -> None:
    """Do work with each at the same time: where what is waited for is the end of a time, they wait together."""
    every = list(each)
    with ThreadPoolExecutor(len(every)) as pool:
        done = [pool.submit(work, one) for one in every]
    for one, future in zip(every, done, strict=True):
        if (error := future.exception()) is not None:
            error.add_note(f"It was {one}.")
            raise error


@pytest.fixture
def elsewhere() -> Iterator[HostileServer]:
    """A server that there is no reason to call."""

    def answer(exchange: Any) -> None:
        exchange.json({})

    with hostile(answer) as server:
        yield server
        assert server.heads == [], "the request went to another host"

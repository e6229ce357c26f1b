# SPDX-License-Identifier: Apache-2.0
"""What the submissions of a batch ask the service together: the newest job, and walks of the account's list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.transcripts import Page
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.submission import newest_transcript_id

#: Seconds for which one answer is the anchor of all: any job that was known before the first POST will do, and an
#: older one only means a longer look-up.
_ANCHOR_LIFE: Final = 20.0
#: Seconds in which those who look something up come together.
_GATHER: Final = 0.1


class SharedClient:
    """
    Sends the calls of many threads.

    :param make: makes a hook. Each call has one for itself, with connections of its own.
    :param threads: how many call.
    """

    def __init__(self, make: Callable[[], AssemblyAIHook], threads: int) -> None:
        self.hook = make()
        self._spare = [make() for _ in range(threads)]
        for hook in self._spare:
            # Airflow is asked for the connection here and not in threads: 3.1 takes one question at a time.
            hook.get_conn()
        self._lock = threading.Lock()
        self._newest: tuple[float, str | None] | None = None
        self._walk: _SharedListing | None = None

    def send(self, call: Call[Any], *, before: Callable[[], None] | None = None) -> Any:
        """Send a call."""
        hook = self._spare.pop()
        try:
            return hook.send(call, before=before)
        finally:
            self._spare.append(hook)

    def newest_id(self) -> str | None:
        """Return the id of the account's newest transcript, as far as a moment ago; all submissions share it."""
        with self._lock:
            if self._newest is None or time.monotonic() - self._newest[0] > _ANCHOR_LIFE:
                asked_at = time.monotonic()
                self._newest = (asked_at, newest_transcript_id(self.send))
            return self._newest[1]

    def pages(self, call: Call[Page]) -> Iterator[Page]:
        """Yield the pages of the account's list, as they are from now on; who asks together walks together."""
        with self._lock:
            if self._walk is None or self._walk.begun:
                self._walk = _SharedListing(self.hook.pages(call))
            walk = self._walk
        return walk.pages()

    def close(self) -> None:
        """Close the connections of all threads."""
        for hook in (self.hook, *self._spare):
            hook.client.close()


class _SharedListing:
    """
    One walk of the list for many.

    :param pages: fetched one after the other, when somebody needs the next.
    """

    def __init__(self, pages: Iterator[Page]) -> None:
        self.begun = False
        self._rest = pages
        self._seen: list[Page] = []
        self._broken: Exception | None = None
        self._lock = threading.Lock()

    def pages(self) -> Iterator[Page]:
        number = 0
        while True:
            with self._lock:
                if not self.begun:
                    time.sleep(_GATHER)
                    # Who comes after this must not see a page of before.
                    self.begun = True
                if number == len(self._seen):
                    page = self._next()
                    if page is None:
                        return
                    self._seen.append(page)
                page = self._seen[number]
            yield page
            number += 1

    def _next(self) -> Page | None:
        # A generator that has raised only says that it is at its end, and that would read as "surely not there".
        if self._broken is not None:
            raise self._broken
        try:
            return next(self._rest, None)
        except Exception as error:
            self._broken = error
            raise

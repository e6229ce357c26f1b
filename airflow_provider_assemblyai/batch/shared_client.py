# SPDX-License-Identifier: Apache-2.0
"""What the submissions of a batch ask the service together: the newest job, and listings of the account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.api.transcripts import Page
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.submission import Anchor, newest_transcript

#: Seconds for which one answer is the anchor of all submissions: any job that was known before the first POST will
#: do, and an older one only means a longer look-up.
_ANCHOR_LIFE: Final = 20.0
#: Seconds in which look-ups come together.
_GATHER: Final = 0.1


class SharedClient:
    """
    Sends the calls of many threads.

    :param make_hook: makes a hook. Each call has one for itself, with connections of its own.
    :param threads: how many send calls at the same time.
    """

    def __init__(self, make_hook: Callable[[], AssemblyAIHook], threads: int) -> None:
        self.hook = make_hook()
        self._spare = [make_hook() for _ in range(threads)]
        for hook in self._spare:
            # Airflow is asked for the connection here and not in threads: 3.1 takes one question at a time.
            hook.get_conn()
        self._lock = threading.Lock()
        self._newest: tuple[float, Anchor | None] | None = None
        self._listing: _SharedListing | None = None

    def send(self, call: Call[Any], *, before: Callable[[], None] | None = None) -> Any:
        """Send a call; see :meth:`airflow_provider_assemblyai.client.http.Client.send`."""
        hook = self._spare.pop()
        try:
            return hook.send(call, before=before)
        finally:
            self._spare.append(hook)

    def newest(self) -> Anchor | None:
        """Return the account's newest transcript, as far as a moment ago; all submissions share it."""
        with self._lock:
            if self._newest is None or time.monotonic() - self._newest[0] > _ANCHOR_LIFE:
                asked_at = time.monotonic()
                self._newest = (asked_at, newest_transcript(self.send))
            return self._newest[1]

    def pages(self, call: Call[Page]) -> Iterator[Page]:
        """Yield the pages of the account's list, as they are from now on; look-ups at the same time share them."""
        with self._lock:
            if self._listing is None or self._listing.begun:
                self._listing = _SharedListing(self.hook.pages(call))
            listing = self._listing
        return listing.pages()

    def close(self) -> None:
        """Close the connections of all threads."""
        for hook in (self.hook, *self._spare):
            hook.client.close()


class _SharedListing:
    """
    One listing of the account for many look-ups.

    :param pages: fetched one after the other, when a look-up needs the next.
    """

    def __init__(self, pages: Iterator[Page]) -> None:
        self.begun = False
        self._rest = pages
        #: Pages; at last None for the end, or the error, which all look-ups meet. A generator that has raised only
        #: shows its end afterwards, and that would read as "surely not there".
        self._seen: list[Page | Exception | None] = []
        self._lock = threading.Lock()

    def pages(self) -> Iterator[Page]:
        for number in count():
            with self._lock:
                if not self.begun:
                    time.sleep(_GATHER)
                    # A look-up that comes after this must not see a page of before.
                    self.begun = True
                if number == len(self._seen):
                    self._seen.append(self._next_page())
                page = self._seen[number]
            if page is None:
                return
            if isinstance(page, Exception):
                raise page
            yield page

    def _next_page(self) -> Page | Exception | None:
        try:
            return next(self._rest, None)
        except Exception as error:
            return error

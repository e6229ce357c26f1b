# SPDX-License-Identifier: Apache-2.0
"""
What to poll next when many transcripts of one account are waited for, as decisions only: no I/O, no clock,
no Airflow.

A page of the list shows the states of 200 transcripts without a word of any of them, and costs one request. So a
:class:`PollScheduler` scans the list first: the newest page, then those that follow, and those that begin at one
of the ids themselves. What it finds there is from then on requested in as few pages as hold it. What it does not
find, because the list is full of transcripts that are not waited for, is read by its id; only then the interval
grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import floor, inf

from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    NotFoundError,
    RateLimitError,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.retry_rules import spread, stated_wait
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.polling.list_index import PAGE, ListIndex
from airflow_provider_assemblyai.polling.models import (
    DueQueue,
    ListScan,
    PendingTranscript,
    PollRequest,
    WaitRequest,
)
from airflow_provider_assemblyai.polling.policy import MAX_ERROR_TIME, Outcome, is_final, next_interval

#: Pages of one scan that are under way at the same time.
_PARALLEL_PAGES = 8
#: Polls in which a transcript may be missing from the list before it is read by its id for good.
_MISSES = 2
#: Seconds between two scans, at most: transcripts that come in between are scanned for together.
_GATHER = 1.0
#: Seconds that the last poll, at the deadline, may take.
_LAST_POLL = 10.0
#: Transcripts that are read by id at the same time because the list did not answer.
_RESCUES = 20
#: Seconds to wait after a 429 that names no time; doubled while there are more.
_BACKOFF, _LONGEST_BACKOFF = 2.0, 60.0


class PollScheduler:
    """
    All transcripts of one account that are waited for in one event loop.

    Every method that can end a wait returns the requests that it ended.

    :param jitter: gives a number from 0 to 1, so that what is read by id is not read at the same moment.
    """

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._pending: dict[str, PendingTranscript] = {}
        self._index = ListIndex()
        self._scans = 0
        self._next_scan_at = -inf
        self._blocked_until = -inf
        self._rate_limits = 0
        self._queue = DueQueue()
        self._waits: set[WaitRequest] = set()
        self._origin = 0.0
        self._deadlines: list[tuple[float, int, WaitRequest]] = []
        self._number = 0
        self._follow_ups: list[PollRequest] = []
        self._begun: list[tuple[WaitRequest, str]] = []
        #: What is read by id because the list did not answer; never many, so that a bad minute of the list does not
        #: turn thousands of waits into as many requests.
        self._rescued: set[str] = set()

    @property
    def pending(self) -> int:
        """Transcripts that are waited for."""
        return len(self._pending)

    # --- coming and going --------------------------------------------------------------------------------

    def add(self, wait: WaitRequest) -> None:
        """Begin to wait."""
        self._waits.add(wait)
        if not self._pending:
            # The first one sets the ticks, so that it does not wait for one when it is alone.
            self._origin = wait.first_poll_at
        for transcript_id in wait.remaining:
            pending = self._pending.get(transcript_id)
            if pending is None:
                pending = self._pending[transcript_id] = PendingTranscript(transcript_id)
            pending.add(wait)
            if wait.first_poll_at < pending.due and not pending.in_flight:
                self._schedule(pending, wait.first_poll_at)
        self._push_deadline(wait.deadline, wait)

    def remove(self, wait: WaitRequest) -> None:
        """Stop to wait; what no other request is for is not polled again."""
        self._waits.discard(wait)
        if len(self._deadlines) > 100 + 2 * len(self._waits):
            # Most waits end long before their deadline, which may be hours away.
            self._deadlines = [one for one in self._deadlines if one[2] in self._waits]
            heapify(self._deadlines)
        for transcript_id in wait.remaining:
            pending = self._pending.get(transcript_id)
            if pending is not None and wait in pending.waits:
                self._unsubscribe(pending, wait)

    def _unsubscribe(self, pending: PendingTranscript, wait: WaitRequest) -> None:
        pending.remove(wait)
        if not pending.waits:
            del self._pending[pending.id]
            self._index.forget(pending.id)
            if pending.scan is not None:
                pending.scan.remaining.pop(pending.id, None)

    def take_begun(self) -> list[tuple[WaitRequest, str]]:
        """Return the transcripts that are being processed since the last call, with the waits that watch them."""
        begun, self._begun = self._begun, []
        return begun

    # --- what to do --------------------------------------------------------------------------------------

    def plan(self, now: float) -> tuple[list[PollRequest], list[WaitRequest]]:
        """
        Return the requests that are due now, and the waits that ended without any.

        :param now: seconds since the epoch.
        """
        ended = self._expire(now)
        if now < self._blocked_until:
            return [], ended
        polls, self._follow_ups = self._follow_ups, []
        by_id: list[str] = []
        located: list[str] = []
        unknown: list[PendingTranscript] = []
        for pending in self._take_due(now):
            if pending.ended:
                ended += self._end(pending, "done", pending.status, now)
            elif pending.id in self._index:
                located.append(pending.id)
            elif pending.misses >= _MISSES:
                by_id.append(pending.id)
            else:
                unknown.append(pending)
        pages, alone = self._index.page_ranges(located)
        polls += [PollRequest(now, page.ids, page.before_id, page.limit) for page in pages]
        polls += [PollRequest(now, [transcript_id]) for transcript_id in (*alone, *by_id)]
        if unknown and now < self._next_scan_at:
            for pending in unknown:
                self._schedule(pending, self._next_scan_at)
        elif unknown:
            polls += self._start_scan(unknown, now)
        return polls, ended

    def next_due(self) -> float:
        """Return when :meth:`plan` has something to do; infinite if nothing is waited for."""
        if not self._pending:
            return inf
        poll_at = max(self._blocked_until, -inf if self._follow_ups else self._queue.first)
        return min(poll_at, self._deadlines[0][0] if self._deadlines else inf)

    def is_wanted(self, poll: PollRequest) -> bool:
        """Return whether a planned request still serves a wait."""
        if poll.scan is not None:
            return bool(poll.scan.remaining)
        return any(transcript_id in self._pending for transcript_id in poll.ids)

    def blocked_until(self, now: float) -> float:
        """Return until when the service wants no request; ``now`` if it takes one."""
        return max(now, self._blocked_until)

    # --- what came back ----------------------------------------------------------------------------------

    def on_rows(self, poll: PollRequest, rows: Sequence[tuple[str, str]], now: float) -> list[WaitRequest]:
        """
        Take in an answer.

        :param poll: to which request.
        :param rows: ids and states.
        :param now: seconds since the epoch.
        """
        self._rate_limits = 0
        self._rescued.difference_update(() if poll.limit else poll.ids)
        found, older = 0, None
        if poll.limit:
            ids = [transcript_id for transcript_id, _ in rows]
            if poll.scan is not None:
                found, older = poll.scan.evaluate(ids, self._index)
            self._index.add_page(poll.before_id, ids, self._pending)
        ended: list[WaitRequest] = []
        for transcript_id, status in rows:
            pending = self._pending.get(transcript_id)
            if pending is None:
                continue
            if poll.limit:
                pending.misses = pending.polls = 0
            else:
                pending.polls += 1
            ended += self._on_status(pending, status, poll.planned_at, now)
        if poll.scan is not None:
            self._continue_scan(poll.scan, found, older, poll.planned_at)
        for pending in self._still_in_flight(poll.ids):
            if poll.before_id is not None or not self._index.can_start_page(pending.id):
                # Not where it was: it is scanned for anew, and in the end read by its id.
                self._index.forget(pending.id)
                pending.misses += 1
            self._schedule(pending, now)
        return ended

    def on_error(self, poll: PollRequest, error: AssemblyAIError, now: float) -> list[WaitRequest]:
        """
        Take in that a request failed, which is no verdict on any transcript.

        :param poll: the request.
        :param error: how it failed.
        :param now: seconds since the epoch.
        """
        if isinstance(error, RateLimitError):
            self._rate_limits += 1
            delay = stated_wait(error)
            if delay is None:
                delay = min(_LONGEST_BACKOFF, _BACKOFF * 2.0 ** min(self._rate_limits - 1, 10))
            # Not all triggerers of an account at the same moment.
            self._blocked_until = max(self._blocked_until, now + spread(delay, self._jitter()))
        self._rescued.difference_update(() if poll.limit else poll.ids)
        unanswered = self._still_in_flight(self._unanswered(poll))
        lost = isinstance(error, TransportError) and error.sent
        if poll.limit and (lost or isinstance(error, UnexpectedReply)):
            unanswered = self._rescue(unanswered, now)
        return [wait for pending in unanswered for wait in self._on_failure(pending, poll, error, now)]

    def _rescue(self, unanswered: list[PendingTranscript], now: float) -> list[PendingTranscript]:
        """
        Poll at once what a page of the list has not told in time: a few by their id, the rest by list again.

        :return: what is left to its next turn, because a page has failed for it before.
        """
        unanswered.sort(key=lambda pending: pending.deadline)
        room = max(0, _RESCUES - len(self._rescued))
        for pending in unanswered[:room]:
            pending.failing_since = now if pending.failing_since is None else pending.failing_since
            self._rescued.add(pending.id)
            self._follow_ups.append(PollRequest(now, [pending.id]))
        later = []
        for pending in unanswered[room:]:
            if pending.failing_since is None:
                pending.failing_since = now
                self._schedule(pending, now)
            else:
                later.append(pending)
        return later

    def reschedule(self, poll: PollRequest, now: float) -> None:
        """Take in that a request was not made; what it was for is due."""
        self._rescued.difference_update(() if poll.limit else poll.ids)
        for pending in self._still_in_flight(self._unanswered(poll)):
            self._schedule(pending, now)

    def fail_all(self, detail: str) -> list[WaitRequest]:
        """End all waits, because the account cannot be polled."""
        pending = list(self._pending.values())
        return [wait for one in pending for wait in self._end(one, "unreachable", detail)]

    def _unanswered(self, poll: PollRequest) -> list[str]:
        """Return what gets no answer because a request got none; of a scan, the last page decides."""
        if poll.scan is None:
            return poll.ids
        poll.scan.in_flight -= 1
        return [] if poll.scan.in_flight else self._end_scan(poll.scan)

    def _on_status(
        self, pending: PendingTranscript, status: str, planned_at: float, now: float
    ) -> list[WaitRequest]:
        if status == "processing" != pending.status:
            self._begun += [(wait, pending.id) for wait in pending.waits if wait.watched]
        pending.status = status
        pending.failing_since = None
        if pending.scan is not None:
            pending.scan.remaining.pop(pending.id, None)
            pending.scan = None
        if pending.ended:
            return self._end(pending, "done", status, now)
        ended = self._time_out(pending, status, now) if pending.deadline <= now else []
        if pending.waits:
            if pending.polls:
                due = planned_at + next_interval(pending.interval, pending.polls - 1, self._jitter())
            else:
                due = self._next_tick(planned_at, pending.interval)
            self._schedule(pending, max(due, pending.first_poll_at))
        return ended

    def _next_tick(self, after: float, interval: float) -> float:
        """Return the next moment that all waits with one interval have in common: pages serve them together."""
        ticks = (after - self._origin) / interval
        return self._origin + (floor(ticks + 1e-6) + 1) * interval

    def _on_failure(
        self, pending: PendingTranscript, poll: PollRequest, error: AssemblyAIError, now: float
    ) -> list[WaitRequest]:
        if not error.retryable and poll.limit:
            # The list is refused, or does not know where the page was to begin: no verdict on any transcript.
            self._index.forget(pending.id)
            pending.misses += 1 if isinstance(error, NotFoundError) else _MISSES
            self._schedule(pending, now)
            return []
        detail = sanitize(str(error))
        if pending.failing_since is None:
            pending.failing_since = now
        if is_final(error, now - pending.failing_since):
            return self._end(pending, "refused", detail)
        pending.polls += 1
        ended = self._time_out(pending, detail, now)
        if pending.waits and now - pending.failing_since >= MAX_ERROR_TIME:
            return ended + self._end(pending, "unreachable", detail)
        if pending.waits:
            interval = next_interval(pending.interval, pending.polls - 1, self._jitter())
            self._schedule(pending, max(now + interval, self._blocked_until))
        return ended

    # --- scanning the list -------------------------------------------------------------------------------

    def _start_scan(self, unknown: list[PendingTranscript], now: float) -> list[PollRequest]:
        scan = ListScan([pending.id for pending in unknown])
        self._scans += 1
        for pending in unknown:
            pending.scan = scan
        # What comes within the next moments is scanned for together.
        shortest = min(pending.interval for pending in unknown)
        self._next_scan_at = now + min(_GATHER, shortest / 5)
        return [scan.request_page(None, now), *self._anchor_pages(scan, now)]

    def _anchor_pages(self, scan: ListScan, planned_at: float) -> list[PollRequest]:
        """Begin pages at ids that are scanned for; how many depends on how many remain."""
        polls = []
        room = min(_PARALLEL_PAGES, len(scan.remaining) // PAGE or (0 if scan.in_flight else 1))
        while scan.anchors and scan.in_flight < room and scan.credit > 0:
            anchor = scan.anchors.pop()
            if anchor in scan.remaining:
                polls.append(scan.request_page(anchor, planned_at))
        return polls

    def _continue_scan(self, scan: ListScan, found: int, older: str | None, planned_at: float) -> None:
        scan.in_flight -= 1
        scan.credit += found
        if scan.remaining and scan.credit > 0:
            if older is not None:
                self._follow_ups.append(scan.request_page(older, planned_at))
            self._follow_ups += self._anchor_pages(scan, planned_at)
        if scan.in_flight:
            return
        for transcript_id in self._end_scan(scan):
            # It may stand where another page began; else it is not among the rows that are worth a page.
            pending = self._pending[transcript_id]
            pending.in_flight = True
            if transcript_id not in self._index:
                pending.misses += 1
            self._follow_ups.append(PollRequest(planned_at, [transcript_id]))

    def _end_scan(self, scan: ListScan) -> list[str]:
        """Return what the scan has not found."""
        self._scans -= 1
        remaining, scan.remaining = list(scan.remaining), {}
        for transcript_id in remaining:
            self._pending[transcript_id].scan = None
        if not self._scans:
            self._index.forget_page_ends()
        return remaining

    # --- what is due when --------------------------------------------------------------------------------

    def _schedule(self, pending: PendingTranscript, moment: float) -> None:
        if pending.due == moment and not pending.in_flight:
            return
        pending.due, pending.in_flight = moment, False
        self._queue.push(pending.id, moment)

    def _take_due(self, now: float) -> list[PendingTranscript]:
        found = []
        for moment, ids in self._queue.pop_until(now):
            for pending in self._known(ids):
                # What is due at another moment by now is passed over.
                if pending.due == moment and not pending.in_flight:
                    pending.in_flight = True
                    found.append(pending)
        return found

    def _still_in_flight(self, ids: Iterable[str]) -> list[PendingTranscript]:
        return [pending for pending in self._known(ids) if pending.in_flight]

    def _known(self, ids: Iterable[str]) -> list[PendingTranscript]:
        return [self._pending[one] for one in ids if one in self._pending]

    def _push_deadline(self, moment: float, wait: WaitRequest) -> None:
        self._number += 1
        heappush(self._deadlines, (moment, self._number, wait))

    def _expire(self, now: float) -> list[WaitRequest]:
        """Make a last poll of what is at its deadline; end what got none."""
        ended = []
        while self._deadlines and self._deadlines[0][0] <= now:
            moment, _, wait = heappop(self._deadlines)
            if wait not in self._waits or wait.over:
                continue
            if moment > wait.deadline or now < self._blocked_until:
                ended.append(wait)
                for transcript_id in list(wait.remaining):
                    pending = self._pending[transcript_id]
                    self._unsubscribe(pending, wait)
                    wait.end(transcript_id, "timeout", pending.status or "not polled in time")
                continue
            self._push_deadline(wait.deadline + _LAST_POLL, wait)
            for pending in self._known(wait.remaining):
                if not pending.in_flight:
                    self._schedule(pending, now)
        return ended

    # --- ends --------------------------------------------------------------------------------------------

    def _end(
        self, pending: PendingTranscript, outcome: Outcome, detail: str, now: float | None = None
    ) -> list[WaitRequest]:
        """End the waits for one transcript; with ``now``, only those that may end by then."""
        ready = [wait for wait in pending.waits if now is None or wait.ready_at <= now]
        ended = self._notify(pending, ready, outcome, detail)
        if pending.waits:
            self._schedule(pending, pending.ready_at)
        return ended

    def _time_out(self, pending: PendingTranscript, detail: str, now: float) -> list[WaitRequest]:
        late = [wait for wait in pending.waits if wait.deadline <= now]
        return self._notify(pending, late, "timeout", detail)

    def _notify(
        self, pending: PendingTranscript, waits: list[WaitRequest], outcome: Outcome, detail: str
    ) -> list[WaitRequest]:
        ended = []
        for wait in waits:
            before = wait.over
            wait.end(pending.id, outcome, detail)
            self._unsubscribe(pending, wait)
            if wait.over and not before:
                ended.append(wait)
        return ended

# SPDX-License-Identifier: Apache-2.0
"""The scheduler, in a time of its own against an account that is a list of rows."""

from __future__ import annotations

import random
from collections.abc import Iterable
from math import inf

import pytest

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    NotFoundError,
    RateLimitError,
    TransportError,
)
from airflow_provider_assemblyai.polling.list_index import ListIndex
from airflow_provider_assemblyai.polling.models import PollRequest, WaitRequest
from airflow_provider_assemblyai.polling.policy import MAX_ERROR_TIME, MISSING_TIME, PollEvent
from airflow_provider_assemblyai.polling.scheduler import PollScheduler
from airflow_provider_assemblyai.polling.token_bucket import TokenBucket

ANSWER = 0.1


class Account:
    """Rows in order of submission, waits for some of them, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.rows: list[str] = []
        self.ends: dict[str, float] = {}
        self.scheduler = PollScheduler(jitter=lambda: 0.0)
        self.polls: list[PollRequest] = []
        self.events: dict[str, tuple[float, PollEvent]] = {}
        self.error: AssemblyAIError | None = None
        self.list_error: AssemblyAIError | None = None

    def submit(self, count: int, ends: float = inf, prefix: str = "") -> list[str]:
        made = [f"{prefix}{len(self.rows) + number}" for number in range(count)]
        self.rows += made
        self.ends |= dict.fromkeys(made, ends)
        return made

    def wait(
        self, ids: Iterable[str], interval: float = 5.0, after: float = 6.0, **change: float
    ) -> WaitRequest:
        ready = self.now + after
        times = {"first_poll_at": ready, "deadline": 1e9} | change
        wait = WaitRequest(
            ids,
            interval,
            ready,
            times["first_poll_at"],
            times["deadline"],
            int(change.get("max_remaining", 0)),
        )
        self.scheduler.add(wait)
        return wait

    def run(self, until: float) -> None:
        """Let time pass; eight requests at a time, a tenth of a second each."""
        queue: list[PollRequest] = []
        while True:
            polls, ended = self.scheduler.plan(self.now)
            self._take(ended)
            queue += polls
            batch, queue = queue[:8], queue[8:]
            if batch:
                self.now += ANSWER
                for poll in batch:
                    self._answer(poll)
                continue
            moment = self.scheduler.next_due()
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)

    def status(self, transcript_id: str) -> str:
        return "completed" if self.ends[transcript_id] <= self.now else "processing"

    def _answer(self, poll: PollRequest) -> None:
        self.polls.append(poll)
        error = self.error or (self.list_error if poll.limit else None)
        if poll.before_id is not None and poll.before_id not in self.rows:
            error = NotFoundError("", status=400)
        if error is not None:
            self._take(self.scheduler.on_error(poll, error, self.now))
            return
        if poll.limit:
            newest_first = self.rows[::-1]
            start = 0 if poll.before_id is None else newest_first.index(poll.before_id) + 1
            ids = newest_first[start : start + poll.limit]
        else:
            ids = poll.ids
        self._take(self.scheduler.on_rows(poll, [(one, self.status(one)) for one in ids], self.now))

    def _take(self, ended: list[WaitRequest]) -> None:
        for wait in ended:
            for event in wait.events:
                self.events[event["transcript_id"]] = (self.now, event)
            self.scheduler.remove(wait)

    def outcomes(self) -> set[tuple[str, str]]:
        return {(event["outcome"], event["detail"]) for _, event in self.events.values()}


@pytest.fixture
def account() -> Account:
    return Account()


def test_alone_at_the_newest_end(account: Account) -> None:
    account.submit(1000)
    (mine,) = account.submit(1, ends=1_100.0)
    account.wait([mine])
    account.run(1_200.0)
    moment, event = account.events[mine]
    assert event == {"transcript_id": mine, "outcome": "done", "detail": "completed"}
    assert moment - 1_100.0 <= 5.0 + ANSWER
    assert all(poll.limit for poll in account.polls)
    # 1006, 1011, 1016, ...: the interval does not grow.
    assert len(account.polls) == 20
    assert all(poll.limit <= 21 for poll in account.polls[1:]), "one row does not need a page of 200"


def test_requests_are_for_pages_and_not_for_rows(account: Account) -> None:
    mine = account.submit(1000)
    for one in mine:
        account.wait([one])
    account.run(1_010.0)
    searched = len(account.polls)
    assert searched <= 10
    account.run(1_010.0 + 60.0)
    assert len(account.polls) - searched == 12 * 6, "the newest page leaves room for what comes"


def test_no_event_and_no_poll_before_the_time(account: Account) -> None:
    early, late = account.submit(2, ends=1_001.0)
    account.wait([early])
    account.run(1_004.0)
    assert not account.polls
    account.wait([late])
    account.run(1_009.0)
    assert early in account.events
    assert late not in account.events, "its page was read, but Airflow may not know yet that it waits"
    polls = len(account.polls)
    account.run(1_010.0)
    assert account.events[late][0] == 1_010.0
    assert len(account.polls) == polls


def test_a_long_recording_is_not_polled_before_it_can_be_done(account: Account) -> None:
    (mine,) = account.submit(1, ends=1_030.0)
    account.wait([mine], first_poll_at=1_040.0)
    account.run(1_100.0)
    assert account.events[mine][0] == pytest.approx(1_040.0 + ANSWER)
    assert len(account.polls) == 1


def test_later_waits_join_the_pages_that_are_read_anyway(account: Account) -> None:
    for _ in range(200):
        for one in account.submit(5, ends=account.now + 150):
            account.wait([one])
        account.run(account.now + 1.0)
    # 750 are in flight. Newcomers are scanned for once a second; the others are on four pages.
    before = len(account.polls)
    account.run(account.now + 5.0)
    assert len(account.polls) - before <= 5 + 6
    account.run(account.now + 200.0)
    assert len(account.events) == 1000
    late = [moment - account.ends[one] for one, (moment, _) in account.events.items()]
    assert max(late) <= 5.0 + 10 * ANSWER


def test_a_crowded_account(account: Account) -> None:
    mine: list[str] = []
    for _ in range(10):
        account.submit(5000)
        mine += account.submit(30, ends=1_300.0)
    account.submit(5000)
    for one in mine:
        account.wait([one])
    account.run(1_290.0)
    assert len(account.polls) < 2000
    # Ten pages hold them all, and each transcript that has no known newer neighbour is read by its id.
    before = len(account.polls)
    account.run(1_305.0)
    assert len(account.events) >= 290
    assert len(account.polls) - before <= 3 * 20
    account.run(1_335.0)
    assert {event["outcome"] for _, event in account.events.values()} == {"done"}
    assert len(account.events) == 300


def test_few_among_many_are_read_by_id_at_growing_intervals(account: Account) -> None:
    mine = []
    for _ in range(3):
        mine += account.submit(1, ends=2_000.0)
        account.submit(5000)
    for one in mine:
        account.wait([one])
    account.run(2_100.0)
    assert len(account.events) == 3
    by_id = [poll for poll in account.polls if not poll.limit]
    assert len(account.polls) - len(by_id) <= 8, "scanning rows of others is given up soon"
    gaps = sorted({round(b.planned_at - a.planned_at) for a, b in zip(by_id, by_id[3:], strict=False)})
    assert gaps[0] >= 5
    assert max(gaps) >= 29


def test_a_batch_ends_when_few_remain(account: Account) -> None:
    mine = account.submit(100)
    for number, one in enumerate(mine):
        account.ends[one] = 1_010.0 + number
    wait = account.wait(mine, max_remaining=50)
    account.run(1_300.0)
    assert 50 <= len(wait.events) <= 56
    assert len(wait.remaining) == 100 - len(wait.events)
    assert account.scheduler.next_due() == inf, "nothing is waited for any more"


def test_ten_thousand_in_one_request(account: Account) -> None:
    mine = account.submit(10_000, ends=1_100.0)
    account.wait(mine)
    account.run(1_090.0)
    assert len(account.polls) <= 16 * 51 + 80
    account.run(1_110.0)
    assert len(account.events) == 10_000


def test_two_waits_for_one_transcript(account: Account) -> None:
    (mine,) = account.submit(1, ends=1_050.0)
    account.wait([mine], interval=60.0)
    short = account.wait([mine], deadline=1_020.0)
    account.run(1_040.0)
    assert [event["outcome"] for event in short.events] == ["timeout"]
    account.run(1_200.0)
    assert account.events[mine][1]["outcome"] == "done"


def test_the_last_poll_is_at_the_deadline(account: Account) -> None:
    done, late = account.submit(2, ends=1_029.5)
    account.ends[late] = inf
    for one in (done, late):
        account.wait([one], interval=20.0, deadline=1_030.0)
    account.run(1_200.0)
    assert account.events[done][1]["outcome"] == "done"
    assert account.events[late][1] == {"transcript_id": late, "outcome": "timeout", "detail": "processing"}
    assert account.events[late][0] == pytest.approx(1_030.0 + ANSWER)


def test_a_deadline_that_is_over_gets_one_poll(account: Account) -> None:
    (mine,) = account.submit(1, ends=0.0)
    account.wait([mine], deadline=1.0)
    account.run(1_100.0)
    assert account.outcomes() == {("done", "completed")}


def test_a_rate_limit_blocks_all_requests(account: Account) -> None:
    mine = account.submit(300, ends=1_050.0)
    for one in mine:
        account.wait([one])
    account.run(1_007.0)
    account.error = RateLimitError("", status=429, retry_after=60.0)
    account.run(1_012.0)
    before, held = len(account.polls), account.now
    account.error = None
    account.run(held + 58.0)
    assert len(account.polls) == before
    account.run(held + 70.0)
    assert len(account.events) == 300


def test_a_rate_limit_without_a_time(account: Account) -> None:
    account.wait(account.submit(1))
    account.error = RateLimitError("", status=429)
    account.run(1_300.0)
    assert len(account.polls) <= 12
    account.run(1_700.0)
    assert account.outcomes() == {("unreachable", "")}, "no other answer for too long"


def test_errors_are_tolerated_for_a_while(account: Account) -> None:
    mine = account.submit(300)
    for one in mine:
        account.wait([one])
    account.run(1_100.0)
    account.error = TransportError("lost", sent=True)
    account.run(1_100.0 + MAX_ERROR_TIME - 30)
    assert not account.events
    account.error = None
    account.run(account.now + 40)
    account.error = ApiError("", status=503)
    account.run(account.now + MAX_ERROR_TIME - 10)
    assert not account.events, "an answer makes good"
    account.run(account.now + 60)
    assert {event["outcome"] for _, event in account.events.values()} == {"unreachable"}
    assert len(account.events) == 300


def test_a_refused_list_is_no_verdict_on_transcripts(account: Account) -> None:
    mine = account.submit(2, ends=1_000.0)
    account.wait(mine)
    account.list_error = ApiError("", status=403)
    account.run(1_007.0)
    assert account.outcomes() == {("done", "completed")}
    assert [poll.limit for poll in account.polls] == [200, 0, 0]


def test_an_unknown_id_is_refused_and_no_other(account: Account) -> None:
    (mine,) = account.submit(1, ends=1_020.0)
    account.wait([mine])
    account.run(1_007.0)
    account.wait(["unknown"], after=0.0)
    polls, _ = account.scheduler.plan(account.now)
    (scan,) = polls
    account.scheduler.on_rows(scan, [(mine, "processing")], account.now)
    (poll,), _ = account.scheduler.plan(account.now)
    assert (poll.ids, poll.limit) == (["unknown"], 0)
    # It may not have got everywhere yet.
    assert account.scheduler.on_error(poll, NotFoundError("HTTP 400", status=400), account.now) == []
    later, ended = account.now, list[WaitRequest]()
    while not ended:
        later += MISSING_TIME / 4
        for one in account.scheduler.plan(later)[0]:
            if one.ids == ["unknown"]:
                ended += account.scheduler.on_error(one, NotFoundError("HTTP 400", status=400), later)
            else:
                account.scheduler.on_rows(one, [(mine, "processing")], later)
    (wait,) = ended
    assert later - account.now >= MISSING_TIME
    assert wait.events == [{"transcript_id": "unknown", "outcome": "refused", "detail": "HTTP 400"}]
    account.run(1_100.0)
    assert account.outcomes() == {("done", "completed")}


def test_rows_that_are_gone_from_the_list_are_found_by_id(account: Account) -> None:
    mine = account.submit(50, ends=1_100.0)
    account.submit(50)
    for one in mine:
        account.wait([one])
    account.run(1_020.0)
    account.rows = account.rows[50:]
    account.run(1_200.0)
    assert len(account.events) == 50


def test_what_is_not_waited_for_is_not_polled(account: Account) -> None:
    waits = [account.wait([one]) for one in account.submit(10)]
    account.run(1_030.0)
    for wait in waits:
        account.scheduler.remove(wait)
    before = len(account.polls)
    account.run(1_300.0)
    assert len(account.polls) == before
    assert account.scheduler.next_due() == inf


def test_a_wait_that_ends_during_a_scan(account: Account) -> None:
    wait = account.wait(account.submit(500))
    account.now += 6
    polls, _ = account.scheduler.plan(account.now)
    account.scheduler.remove(wait)
    assert not any(account.scheduler.is_wanted(poll) for poll in polls)
    for poll in polls:
        account.scheduler.reschedule(poll, account.now)
    assert account.scheduler.next_due() == inf


def test_segments_that_meet_become_one() -> None:
    rows = [str(number) for number in range(600)]
    ours = set(rows[1::2])
    index = ListIndex()
    for first in (400, 0, 200):  # the third joins the other two
        before = rows[first - 1] if first else None
        index.add_page(before, rows[first : first + 200], ours)
    index.add_page(rows[199], rows[200:201], ours)
    ranges, alone = index.page_ranges(sorted(ours))
    assert not alone
    assert len(ranges) == 3
    asked = [one for page in ranges for one in page.ids]
    assert sorted(asked) == sorted(ours)


def test_positions_stay_right_at_random_load(account: Account) -> None:
    """Transcripts of two teams, ended and submitted at random: all are seen within two intervals."""
    chance = random.Random(7)
    for _ in range(300):
        account.submit(chance.randrange(12))
        mine = account.submit(chance.randrange(6), prefix="ours-")
        for one in mine:
            account.ends[one] = account.now + chance.lognormvariate(4.3, 0.7)
            account.wait([one], deadline=account.now + 3600)
        account.submit(chance.randrange(12))
        account.run(account.now + chance.random() * 2)
    account.run(account.now + 1000)
    ours = [one for one in account.rows if one.startswith("ours-")]
    assert set(account.events) == set(ours)
    late = sorted(account.events[one][0] - max(account.ends[one], 0) for one in ours)
    assert late[len(late) // 2] <= 0.6 * 5.0 + 2 * ANSWER
    assert {event["outcome"] for _, event in account.events.values()} == {"done"}


def test_a_budget_is_never_exceeded_in_any_five_minutes() -> None:
    budget = TokenBucket(100)
    spent = []
    for step in range(10_000):
        now = step * 0.25
        if (step // 600) % 2 and budget.take(now):
            spent.append(now)
    for first in spent:
        assert sum(first <= one < first + 300 for one in spent) <= 100


def test_a_budget_names_the_next_moment() -> None:
    budget = TokenBucket(100)
    while budget.take(0.0):
        pass
    later = budget.next_at(0.0)
    assert 0.0 < later <= 300 / 90 + 1e-6
    assert not budget.take(later - 0.1)
    assert budget.take(later + 1e-6)
    assert not budget.take(-1000.0), "a clock that was set back gives nothing away"
    assert budget.take(-1000.0 + 4)


def test_a_part_of_a_budget_is_spent_from_the_whole() -> None:
    whole = TokenBucket(200)
    part = TokenBucket(50, part_of=whole)
    assert [part.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert part.next_at(0.0) == pytest.approx(300 / 45)
    assert [whole.take(0.0) for _ in range(16)] == [True] * 15 + [False]
    assert not part.take(1.0), "the whole has nothing left"
    assert part.next_at(1.0) == pytest.approx(300 / 45)
    while whole.take(100.0):
        pass
    assert part.next_at(100.0) == pytest.approx(100 + 300 / 180), "now the whole is what it waits for"


def test_a_list_that_does_not_answer_is_no_reason_to_wait(account: Account) -> None:
    """Some are read by id at once, with the first deadline first; the others are asked for by list again."""
    late = account.submit(60, ends=1_000.0)
    soon = account.submit(10, ends=1_000.0)
    for one in late:
        account.wait([one])
    for one in soon:
        account.wait([one], deadline=2_000.0)
    account.list_error = TransportError("not finished in 5 s", sent=True)
    account.run(1_006.5)
    by_id = [poll.ids[0] for poll in account.polls if not poll.limit]
    assert set(by_id[:10]) == set(soon)
    account.run(1_100.0)
    assert account.outcomes() == {("done", "completed")}
    assert len(account.events) == 70


def test_a_bad_minute_of_the_list_does_not_turn_thousands_of_waits_into_requests(account: Account) -> None:
    mine = account.submit(2_000)
    for one in mine:
        account.wait([one])
    account.run(1_100.0)
    account.list_error = TransportError("not finished in 5 s", sent=True)
    polls: list[PollRequest] = []
    for _ in range(12):
        # Nothing is answered: every page fails, and what is read by id is under way.
        account.now = max(account.now + 5.0, account.scheduler.next_due())
        new, _ = account.scheduler.plan(account.now)
        polls += [poll for poll in new if not poll.limit]
        assert len(polls) <= 20
        for poll in new:
            if poll.limit:
                account.scheduler.on_error(poll, account.list_error, account.now)
    assert len(polls) == 20
    for poll in polls:
        account.scheduler.on_rows(poll, [(poll.ids[0], "processing")], account.now)
    account.list_error = None
    account.run(account.now + 60)
    before = len(account.polls)
    account.run(account.now + 300)
    recent = account.polls[before:]
    assert [poll for poll in recent if not poll.limit] == [], "the list serves all of them again"


@pytest.mark.parametrize("asked", [0.0, 1e9, float("inf")])
def test_a_rate_limit_is_obeyed_within_reason(account: Account, asked: float) -> None:
    (mine,) = account.submit(1, ends=1_000.0)
    account.wait([mine], interval=0.05)
    account.error = RateLimitError("", status=429, retry_after=asked)
    account.run(1_006.0)
    account.run(1_006.9)
    assert len(account.polls) == 1, "a service that asks for no wait is not asked again at once"
    account.error = None
    account.run(1_400.0)
    assert account.outcomes() == {("done", "completed")}

# SPDX-License-Identifier: Apache-2.0
"""The shared watching, in a time of its own against an account that is a list of rows."""

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
from airflow_provider_assemblyai.polling.policy import MAX_ERROR_TIME, PollEvent
from airflow_provider_assemblyai.polling.scheduler import PollScheduler
from airflow_provider_assemblyai.polling.token_bucket import TokenBucket

ANSWER = 0.1


class Account:
    """Rows in order of submission, who waits for some of them, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.rows: list[str] = []
        self.ends: dict[str, float] = {}
        self.roster = PollScheduler(jitter=lambda: 0.0)
        self.looks: list[PollRequest] = []
        self.told: dict[str, tuple[float, PollEvent]] = {}
        self.error: AssemblyAIError | None = None
        self.list_error: AssemblyAIError | None = None
        self._claims: list[tuple[WaitRequest, int]] = []

    def submit(self, count: int, ends: float = inf, prefix: str = "") -> list[str]:
        made = [f"{prefix}{len(self.rows) + number}" for number in range(count)]
        self.rows += made
        self.ends |= dict.fromkeys(made, ends)
        return made

    def wait(
        self, ids: Iterable[str], interval: float = 5.0, after: float = 6.0, **change: float
    ) -> WaitRequest:
        ready = self.now + after
        times = {"look_at": ready, "deadline": 1e9} | change
        claim = WaitRequest(
            ids, interval, ready, times["look_at"], times["deadline"], int(change.get("until", 0))
        )
        self.roster.join(claim)
        return claim

    def run(self, until: float) -> None:
        """Let time pass; eight requests at a time, a tenth of a second each."""
        queue: list[PollRequest] = []
        while True:
            looks, over = self.roster.plan(self.now)
            self._tell(over)
            queue += looks
            batch, queue = queue[:8], queue[8:]
            if batch:
                self.now += ANSWER
                for look in batch:
                    self._answer(look)
                continue
            moment = self.roster.next_due()
            if moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)

    def status(self, transcript_id: str) -> str:
        return "completed" if self.ends[transcript_id] <= self.now else "processing"

    def _answer(self, look: PollRequest) -> None:
        self.looks.append(look)
        error = self.error or (self.list_error if look.limit else None)
        if look.before is not None and look.before not in self.rows:
            error = NotFoundError("", status=400)
        if error is not None:
            self._tell(self.roster.failed(look, error, self.now))
            return
        if look.limit:
            newest_first = self.rows[::-1]
            start = 0 if look.before is None else newest_first.index(look.before) + 1
            ids = newest_first[start : start + look.limit]
        else:
            ids = look.ids
        self._tell(self.roster.seen(look, [(one, self.status(one)) for one in ids], self.now))

    def _tell(self, over: list[WaitRequest]) -> None:
        for claim in over:
            for event in claim.events:
                self.told[event["transcript_id"]] = (self.now, event)
            self.roster.leave(claim)

    def outcomes(self) -> set[tuple[str, str]]:
        return {(event["outcome"], event["detail"]) for _, event in self.told.values()}


@pytest.fixture
def account() -> Account:
    return Account()


def test_alone_at_the_newest_end(account: Account) -> None:
    account.submit(1000)
    (mine,) = account.submit(1, ends=1_100.0)
    account.wait([mine])
    account.run(1_200.0)
    moment, event = account.told[mine]
    assert event == {"transcript_id": mine, "outcome": "done", "detail": "completed"}
    assert moment - 1_100.0 <= 5.0 + ANSWER
    assert all(look.limit for look in account.looks)
    # 1006, 1011, 1016, ...: the interval does not grow.
    assert len(account.looks) == 20
    assert all(look.limit <= 21 for look in account.looks[1:]), "one row does not need a page of 200"


def test_each_waits_for_a_page_and_not_for_a_row(account: Account) -> None:
    mine = account.submit(1000)
    for one in mine:
        account.wait([one])
    account.run(1_010.0)
    searched = len(account.looks)
    assert searched <= 10
    account.run(1_010.0 + 60.0)
    assert len(account.looks) - searched == 12 * 6, "the newest page leaves room for what comes"


def test_nobody_is_told_or_looked_for_before_it_is_time(account: Account) -> None:
    early, late = account.submit(2, ends=1_001.0)
    account.wait([early])
    account.run(1_004.0)
    assert not account.looks
    account.wait([late])
    account.run(1_009.0)
    assert early in account.told
    assert late not in account.told, "its page was seen, but its scheduler may not know that it waits"
    looks = len(account.looks)
    account.run(1_010.0)
    assert account.told[late][0] == 1_010.0
    assert len(account.looks) == looks


def test_a_long_recording_is_not_looked_at_before_it_can_be_done(account: Account) -> None:
    (mine,) = account.submit(1, ends=1_030.0)
    account.wait([mine], look_at=1_040.0)
    account.run(1_100.0)
    assert account.told[mine][0] == pytest.approx(1_040.0 + ANSWER)
    assert len(account.looks) == 1


def test_who_comes_later_joins_the_pages_that_are_read_anyway(account: Account) -> None:
    for _ in range(200):
        for one in account.submit(5, ends=account.now + 150):
            account.wait([one])
        account.run(account.now + 1.0)
    # 750 are in flight. Newcomers are looked for once a second; the others are on four pages.
    before = len(account.looks)
    account.run(account.now + 5.0)
    assert len(account.looks) - before <= 5 + 6
    account.run(account.now + 200.0)
    assert len(account.told) == 1000
    late = [moment - account.ends[one] for one, (moment, _) in account.told.items()]
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
    assert len(account.looks) < 2000
    # Ten pages hold them all, and each transcript that has no known newer neighbour is read by its id.
    before = len(account.looks)
    account.run(1_305.0)
    assert len(account.told) >= 290
    assert len(account.looks) - before <= 3 * 20
    account.run(1_335.0)
    assert {event["outcome"] for _, event in account.told.values()} == {"done"}
    assert len(account.told) == 300


def test_few_among_many_are_read_by_id_and_less_and_less_often(account: Account) -> None:
    mine = []
    for _ in range(3):
        mine += account.submit(1, ends=2_000.0)
        account.submit(5000)
    for one in mine:
        account.wait([one])
    account.run(2_100.0)
    assert len(account.told) == 3
    by_id = [look for look in account.looks if not look.limit]
    assert len(account.looks) - len(by_id) <= 8, "looking through other people's rows is given up soon"
    gaps = sorted({round(b.planned - a.planned) for a, b in zip(by_id, by_id[3:], strict=False)})
    assert gaps[0] >= 5
    assert max(gaps) >= 29


def test_a_batch_is_told_at_its_low_water_mark(account: Account) -> None:
    mine = account.submit(100)
    for number, one in enumerate(mine):
        account.ends[one] = 1_010.0 + number
    claim = account.wait(mine, until=50)
    account.run(1_300.0)
    assert 50 <= len(claim.events) <= 56
    assert len(claim.left) == 100 - len(claim.events)
    assert account.roster.next_due() == inf, "nobody waits any more"


def test_ten_thousand_in_one_claim(account: Account) -> None:
    mine = account.submit(10_000, ends=1_100.0)
    account.wait(mine)
    account.run(1_090.0)
    assert len(account.looks) <= 16 * 51 + 80
    account.run(1_110.0)
    assert len(account.told) == 10_000


def test_two_who_wait_for_the_same(account: Account) -> None:
    (mine,) = account.submit(1, ends=1_050.0)
    account.wait([mine], interval=60.0)
    short = account.wait([mine], deadline=1_020.0)
    account.run(1_040.0)
    assert [event["outcome"] for event in short.events] == ["timeout"]
    account.run(1_200.0)
    assert account.told[mine][1]["outcome"] == "done"


def test_the_last_look_is_at_the_deadline(account: Account) -> None:
    done, late = account.submit(2, ends=1_029.5)
    account.ends[late] = inf
    for one in (done, late):
        account.wait([one], interval=20.0, deadline=1_030.0)
    account.run(1_200.0)
    assert account.told[done][1]["outcome"] == "done"
    assert account.told[late][1] == {"transcript_id": late, "outcome": "timeout", "detail": "processing"}
    assert account.told[late][0] == pytest.approx(1_030.0 + ANSWER)


def test_a_deadline_that_is_over_gets_one_look(account: Account) -> None:
    (mine,) = account.submit(1, ends=0.0)
    account.wait([mine], deadline=1.0)
    account.run(1_100.0)
    assert account.outcomes() == {("done", "completed")}


def test_a_rate_limit_holds_everybody(account: Account) -> None:
    mine = account.submit(300, ends=1_050.0)
    for one in mine:
        account.wait([one])
    account.run(1_007.0)
    account.error = RateLimitError("", status=429, retry_after=60.0)
    account.run(1_012.0)
    before, held = len(account.looks), account.now
    account.error = None
    account.run(held + 58.0)
    assert len(account.looks) == before
    account.run(held + 70.0)
    assert len(account.told) == 300


def test_a_rate_limit_that_does_not_say_how_long(account: Account) -> None:
    account.wait(account.submit(1))
    account.error = RateLimitError("", status=429)
    account.run(1_300.0)
    assert len(account.looks) <= 12
    account.run(1_700.0)
    assert account.outcomes() == {("unreachable", "")}, "for too long it said nothing else"


def test_failing_to_ask_is_borne_for_a_while(account: Account) -> None:
    mine = account.submit(300)
    for one in mine:
        account.wait([one])
    account.run(1_100.0)
    account.error = TransportError("lost", sent=True)
    account.run(1_100.0 + MAX_ERROR_TIME - 30)
    assert not account.told
    account.error = None
    account.run(account.now + 40)
    account.error = ApiError("", status=503)
    account.run(account.now + MAX_ERROR_TIME - 10)
    assert not account.told, "an answer makes good"
    account.run(account.now + 60)
    assert {event["outcome"] for _, event in account.told.values()} == {"unreachable"}
    assert len(account.told) == 300


def test_a_refused_list_says_nothing_about_transcripts(account: Account) -> None:
    mine = account.submit(2, ends=1_000.0)
    account.wait(mine)
    account.list_error = ApiError("", status=403)
    account.run(1_007.0)
    assert account.outcomes() == {("done", "completed")}
    assert [look.limit for look in account.looks] == [200, 0, 0]


def test_an_unknown_id_is_refused_and_nobody_else(account: Account) -> None:
    (mine,) = account.submit(1, ends=1_020.0)
    account.wait([mine])
    account.run(1_007.0)
    account.wait(["unknown"], after=0.0)
    looks, _ = account.roster.plan(account.now)
    (search,) = looks
    account.roster.seen(search, [(mine, "processing")], account.now)
    (look,), _ = account.roster.plan(account.now)
    assert (look.ids, look.limit) == (["unknown"], 0)
    (claim,) = account.roster.failed(look, NotFoundError("HTTP 400", status=400), account.now)
    assert claim.events == [{"transcript_id": "unknown", "outcome": "refused", "detail": "HTTP 400"}]
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
    assert len(account.told) == 50


def test_who_left_is_not_asked_for(account: Account) -> None:
    claims = [account.wait([one]) for one in account.submit(10)]
    account.run(1_030.0)
    for claim in claims:
        account.roster.leave(claim)
    before = len(account.looks)
    account.run(1_300.0)
    assert len(account.looks) == before
    assert len(account.roster) == 0


def test_who_leaves_during_a_search(account: Account) -> None:
    claim = account.wait(account.submit(500))
    account.now += 6
    looks, _ = account.roster.plan(account.now)
    account.roster.leave(claim)
    assert not any(account.roster.wants(look) for look in looks)
    for look in looks:
        account.roster.again(look, account.now)
    assert account.roster.next_due() == inf


def test_chains_that_meet_become_one() -> None:
    rows = [str(number) for number in range(600)]
    ours = set(rows[1::2])
    places = ListIndex()
    for first in (400, 0, 200):  # the third joins the other two
        before = rows[first - 1] if first else None
        places.learn(before, rows[first : first + 200], ours)
    places.learn(rows[199], rows[200:201], ours)
    windows, alone = places.windows(sorted(ours))
    assert not alone
    assert len(windows) == 3
    asked = [one for window in windows for one in window.ids]
    assert sorted(asked) == sorted(ours)


def test_places_stay_right_whatever_comes(account: Account) -> None:
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
    assert set(account.told) == set(ours)
    late = sorted(account.told[one][0] - max(account.ends[one], 0) for one in ours)
    assert late[len(late) // 2] <= 0.6 * 5.0 + 2 * ANSWER
    assert {event["outcome"] for _, event in account.told.values()} == {"done"}


def test_a_budget_is_never_exceeded_in_any_five_minutes() -> None:
    budget = TokenBucket(100)
    spent = []
    for step in range(10_000):
        now = step * 0.25
        if (step // 600) % 2 and budget.take(now):
            spent.append(now)
    for first in spent:
        assert sum(first <= one < first + 300 for one in spent) <= 100


def test_a_budget_says_when_to_come_back() -> None:
    budget = TokenBucket(100)
    while budget.take(0.0):
        pass
    later = budget.next_at(0.0)
    assert 0.0 < later <= 300 / 90 + 1e-6
    assert not budget.take(later - 0.1)
    assert budget.take(later + 1e-6)
    assert not budget.take(-1000.0), "a clock that was set back gives nothing away"
    assert budget.take(-1000.0 + 4)

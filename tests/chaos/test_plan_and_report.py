# SPDX-License-Identifier: Apache-2.0
"""The plan and the table themselves; `make chaos` is what fills them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos.kill_points import HOLDS, KILL_POINTS, plan, scheduler_plan
from tests.chaos.report import HEADINGS, Row, table


def _row(**changes: int) -> Row:
    row = Row("a", "blocking")
    for name, value in ({"wanted": 5, "hits": 5, "tasks": 5, "delivered": 5} | changes).items():
        setattr(row, name, value)
    return row


def test_a_row_that_holds() -> None:
    row = _row()

    assert row.broken() == []
    assert row.billed_per_transcript == 1.0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hits": 4}, "only 4 of 5 hits"),
        ({"excess": 1}, "1 paid for nothing"),
        ({"lost": 2}, "2 lost"),
        ({"hanging": 3}, "3 hanging"),
    ],
)
def test_a_row_that_breaks_its_bound(changes: dict[str, int], complaint: str) -> None:
    assert _row(**changes).broken() == [f"a blocking: {complaint}"]


def test_a_job_without_a_result_is_in_the_rate() -> None:
    assert _row(delivered=4, excess=1).billed_per_transcript == 1.25
    assert _row(delivered=0, excess=2).billed_per_transcript == 2.0


def test_the_columns_of_the_table_line_up() -> None:
    lines = table([_row(), _row(tasks=12345)]).splitlines()

    assert len({len(line) for line in lines}) == 1
    assert all(line.count("|") == len(HEADINGS) + 1 for line in lines)


@pytest.mark.parametrize("hits", [1, 5])
def test_every_point_is_hit_in_every_mode_it_has(hits: int) -> None:
    planned = Counter((case.letter, case.deferrable) for case in plan(hits))

    for point in KILL_POINTS:
        for deferrable in (False, True):
            assert planned[point.letter, deferrable] >= (hits if point.sites(deferrable) else 0)


def test_names_are_unique_and_only_a_shared_url_shares_a_project() -> None:
    cases = plan(5)
    owners: dict[int, set[str]] = {}
    for case in cases:
        owners.setdefault(case.connection, set()).add(case.source)

    assert len({case.name for case in cases}) == len(cases)
    together = Counter(case.connection for case in cases)
    assert all(
        together[owner] == (2 if sources == {"shared URL"} else 1) for owner, sources in owners.items()
    )


def test_an_upload_is_stopped_only_where_there_is_one() -> None:
    assert {case.source for case in plan(5) if case.site == "hold:upload"} == {"upload"}


def test_tasks_that_are_killed_with_the_scheduler_wait_outside_the_emulator() -> None:
    # A held request ends with its client, so a task could go on before the others have reached their sites.
    assert not {case.site for case in scheduler_plan(5, 0, "node")} & set(HOLDS)

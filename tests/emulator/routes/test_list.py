# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import uuid

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, error_of


def _ids(page: dict[str, list[dict[str, str]]]) -> list[str]:
    return [row["id"] for row in page["transcripts"]]


def test_pages_lead_back_in_time_and_forth_again(api: Api) -> None:
    ids = [api.submit(f"https://example.com/{number}.wav") for number in range(7)]
    newest_first = ids[::-1]
    page = api.get("/v2/transcript?limit=3").json()
    assert _ids(page) == newest_first[:3]
    assert page["page_details"]["next_url"] is None
    assert page["page_details"]["result_count"] == 3
    older = api.get(page["page_details"]["prev_url"]).json()
    assert f"before_id={newest_first[2]}" in page["page_details"]["prev_url"]
    assert _ids(older) == newest_first[3:6]
    last = api.get(older["page_details"]["prev_url"]).json()
    assert (_ids(last), last["page_details"]["prev_url"]) == (newest_first[6:], None)
    assert f"after_id={newest_first[3]}" in older["page_details"]["next_url"]
    assert _ids(api.get(older["page_details"]["next_url"]).json()) == newest_first[:3]
    # The page that follows an id is the next newer one, not the newest.
    assert _ids(api.get(f"/v2/transcript?limit=2&after_id={ids[0]}").json()) == [ids[2], ids[1]]


def test_a_row(api: Api) -> None:
    transcript_id = api.submit()
    row = api.get("/v2/transcript").json()["transcripts"][0]
    assert row.keys() == {"id", "resource_url", "status", "created", "completed", "audio_url", "error"}
    assert row["resource_url"] == f"{api.url}/v2/transcript/{transcript_id}"
    for name in ("created", "completed"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", row[name])


def test_filters_and_their_pages(api: Api, emulator: Emulator) -> None:
    bad = [api.submit(f"https://example.com/{n}.wav?emulator=error:server") for n in range(2)]
    api.submit()
    page = api.get("/v2/transcript?status=error&limit=1").json()
    assert _ids(page) == bad[1:]
    assert page["page_details"]["next_url"] is None
    assert _ids(api.get(page["page_details"]["prev_url"]).json()) == bad[:1]
    today = api.get("/v2/transcript").json()["transcripts"][0]["created"][:10]
    emulator.advance(86_400)
    later = api.submit()
    assert len(_ids(api.get(f"/v2/transcript?created_on={today}").json())) == 3
    assert later not in _ids(api.get(f"/v2/transcript?created_on={today}").json())


def test_the_list_goes_back_ninety_days(api: Api, emulator: Emulator) -> None:
    old = api.submit()
    emulator.advance(90 * 86_400 + 1)
    new = api.submit()
    page = api.get("/v2/transcript").json()
    assert (_ids(page), page["page_details"]["prev_url"]) == ([new], None)
    assert api.read(old)["id"] == old


def test_a_deprecated_filter_is_read_and_does_nothing(api: Api) -> None:
    ids = [api.submit(f"https://example.com/{number}.wav") for number in range(3)]
    page = api.get("/v2/transcript?throttled_only=true&limit=2").json()
    assert _ids(page) == ids[:0:-1]
    assert "throttled_only=true" in page["page_details"]["prev_url"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=ten",
        "status=done",
        "created_on=yesterday",
        "created_on=2026-02-30",
        "before_id=x",
        "throttled_only=yes",
    ],
)
def test_a_wrong_query_is_refused(api: Api, query: str) -> None:
    assert error_of(api.get(f"/v2/transcript?{query}"))[0] == 400


def test_an_unknown_id_is_refused(api: Api) -> None:
    assert error_of(api.get(f"/v2/transcript?before_id={uuid.uuid4()}"))[0] == 400


def test_a_page_from_the_middle_of_many_transcripts(api: Api, emulator: Emulator) -> None:
    emulator.seed(5_000)
    ids = [row["id"] for row in emulator.transcripts()]
    page = api.get(f"/v2/transcript?limit=200&before_id={ids[2_500]}").json()
    assert [row["id"] for row in page["transcripts"]] == ids[2_300:2_500][::-1]

# SPDX-License-Identifier: Apache-2.0
"""Transcripts expire on the emulator's clock. What the service then answers is not published: both readings are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.emulator_api import Api, error_of, wav
from tests.support.processes import until

DAY = 86_400
HOUR = 3_600
EXPORTS = ["srt", "vtt", "sentences", "paragraphs", "word-search?words=a", "redacted-audio"]
REDACTED: dict[str, Any] = {"redact_pii": True, "redact_pii_audio": True}
UNKNOWN = "Transcript lookup error, transcript id not found"
Serve = Callable[..., tuple[Emulator, Api]]


@pytest.fixture
def served() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(**settings: Any) -> tuple[Emulator, Api]:
            emulator = stack.enter_context(serve(**settings))
            session = stack.enter_context(requests.Session())
            return emulator, Api(emulator.url, emulator.api_key, session)

        yield start


def test_after_thirty_days_only_the_record_is_left(api: Api, emulator: Emulator) -> None:
    first = api.submit(**REDACTED)
    until(
        lambda: api.get(f"/v2/transcript/{first}/redacted-audio").status_code == 200,
        timeout=60,
        what="the copy",
    )
    copy = api.get(f"/v2/transcript/{first}/redacted-audio").json()["redacted_audio_url"]
    emulator.advance(30 * DAY - 10)
    second = api.submit()
    assert api.read(first)["words"]
    emulator.advance(11)
    gone = api.read(first)
    assert (gone["status"], gone["text"], gone["words"]) == ("completed", "Deleted by user.", None)
    assert gone["audio_url"] == "http://deleted_by_user"
    for export in EXPORTS:
        assert error_of(api.get(f"/v2/transcript/{first}/{export}"))[0] == 400
    assert api.get(copy).status_code == 403
    understanding = {"transcript_id": first, "speech_understanding": {"request": {"action_items": {}}}}
    assert api.call("POST", "/v1/understanding", json=understanding).status_code == 404
    assert api.read(second)["words"]
    rows = api.get("/v2/transcript").json()["transcripts"]
    assert [(row["id"], row["audio_url"]) for row in rows][1] == (first, "http://deleted_by_user")
    # It was not deleted on request, and is paid for as before.
    assert (emulator.counters()["deleted"], emulator.counters()["billed"]) == (0, 2)
    assert api.call("DELETE", f"/v2/transcript/{first}").json()["text"] == "Deleted by user."


def test_it_is_as_if_it_had_never_been(served: Serve) -> None:
    emulator, api = served(retention=7, expired="unknown")
    first, second = api.submit(), api.submit("https://example.com/b.wav?emulator=processing:86400")
    emulator.advance(7 * DAY + 1)
    for path in ("", *(f"/{export}" for export in EXPORTS)):
        assert error_of(api.get(f"/v2/transcript/{first}{path}")) == (400, UNKNOWN)
    assert error_of(api.call("DELETE", f"/v2/transcript/{first}")) == (400, UNKNOWN)
    assert error_of(api.get(f"/v2/transcript?before_id={first}")) == (400, UNKNOWN)
    # The days count from the end of the job.
    assert api.read(second)["words"]
    assert [row["id"] for row in api.get("/v2/transcript").json()["transcripts"]] == [second]
    understanding = {"transcript_id": first, "speech_understanding": {"request": {"action_items": {}}}}
    refused = api.call("POST", "/v1/understanding", json=understanding)
    assert (refused.status_code, refused.json()["message"]) == (404, "transcript not found")


def test_an_upload_goes_with_its_transcript(served: Serve) -> None:
    emulator, api = served(retention=0.5)
    upload = api.upload(wav(2))
    done = api.transcribe(upload)
    emulator.advance(11 * HOUR)
    assert api.transcribe(upload)["text"] == done["text"]
    emulator.advance(HOUR + 1)
    again = api.transcribe(upload)
    assert (again["status"], again["error"]) == (
        "error",
        f"Download error, unable to access file at {upload}",
    )


def test_without_any_retention_it_is_gone_once_it_has_ended(served: Serve) -> None:
    emulator, api = served(retention=0, job_polls=1)
    transcript_id = api.submit()
    assert api.read(transcript_id)["status"] == "processing"
    assert api.read(transcript_id)["text"] == "Deleted by user."
    assert emulator.counters()["billed"] == 1


def test_the_copy_of_an_expired_recording_is_not_kept(served: Serve) -> None:
    emulator, api = served(retention=0.5)
    transcript_id = api.submit("https://example.com/a.wav?emulator=redacted:86400", **REDACTED)
    path = f"/v2/transcript/{transcript_id}/redacted-audio"
    assert api.read(transcript_id)["status"] == "completed"
    emulator.advance(2 * DAY)
    until(lambda: api.get(path).status_code == 400, timeout=60, what="the end of the copy")


@pytest.mark.parametrize(
    "settings",
    [{"retention": -1}, {"retention": "long"}, {"expired": "gone"}, {"speakers": 0}, {"speakers": True}],
)
def test_a_wrong_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must be"), serve(**settings):
        pass

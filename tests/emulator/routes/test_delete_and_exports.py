# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, error_of, wav

SCRIPT = "One two three four. Five six, one two! Seven?"


def test_delete_scrubs_and_may_be_repeated(api: Api, emulator: Emulator) -> None:
    upload = api.upload(wav(5))
    transcript_id = api.submit(upload, speaker_labels=True)
    api.read(transcript_id)
    scrubbed = api.call("DELETE", f"/v2/transcript/{transcript_id}").json()
    assert scrubbed["status"] == "completed"
    assert scrubbed["text"] == "Deleted by user."
    assert (scrubbed["audio_url"], scrubbed["webhook_url"]) == ("http://deleted_by_user",) * 2
    assert scrubbed["audio_duration"] == 5
    assert [scrubbed[name] for name in ("words", "utterances", "confidence", "speaker_labels")] == [None] * 4
    assert api.read(transcript_id) == scrubbed
    assert api.call("DELETE", f"/v2/transcript/{transcript_id}").json() == scrubbed
    assert emulator.counters()["deleted"] == 1
    row = api.get("/v2/transcript").json()["transcripts"][0]
    assert row["audio_url"] == "http://deleted_by_user"
    assert error_of(api.get(f"/v2/transcript/{transcript_id}/srt"))[0] == 400
    # The uploaded file went with it.
    assert api.transcribe(upload)["status"] == "error"


def test_a_running_job_is_not_deleted(api: Api) -> None:
    transcript_id = api.submit("https://example.com/a.wav?emulator=processing:9")
    assert error_of(api.call("DELETE", f"/v2/transcript/{transcript_id}"))[0] == 400


@pytest.mark.parametrize("export", ["srt", "vtt", "sentences", "paragraphs", "word-search?words=a"])
def test_nothing_is_exported_before_the_end(api: Api, export: str) -> None:
    running = api.submit("https://example.com/a.wav?emulator=processing:9")
    failed = api.submit("https://example.com/a.wav?emulator=error:server")
    for transcript_id in (running, failed):
        assert error_of(api.get(f"/v2/transcript/{transcript_id}/{export}"))[0] == 400


def test_subtitles(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript(SCRIPT)
    transcript_id = api.submit()
    srt = api.get(f"/v2/transcript/{transcript_id}/srt")
    assert srt.headers["content-type"].startswith("text/plain")
    assert srt.text.startswith("1\n00:00:00,000 --> 00:00:01,520\nOne two three four.\n\n2\n")
    vtt = api.get(f"/v2/transcript/{transcript_id}/vtt").text
    assert vtt.startswith("WEBVTT\n\n00:00.000 --> 00:01.520\nOne two three four.\n\n")
    narrow = api.get(f"/v2/transcript/{transcript_id}/vtt?chars_per_caption=8").text
    captions = [line for line in narrow.splitlines()[1:] if line and "-->" not in line]
    assert " ".join(captions) == SCRIPT
    assert max(map(len, captions)) <= 8
    assert error_of(api.get(f"/v2/transcript/{transcript_id}/srt?chars_per_caption=x"))[0] == 400
    assert error_of(api.get(f"/v2/transcript/{transcript_id}/ttml")) == (404, "Not found")


def test_sentences_and_paragraphs(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript(SCRIPT)
    transcript_id = api.submit(speaker_labels=True)
    body = api.get(f"/v2/transcript/{transcript_id}/sentences").json()
    assert [item["text"] for item in body["sentences"]] == [
        "One two three four.",
        "Five six, one two!",
        "Seven?",
    ]
    assert body["sentences"][0].keys() == {"text", "start", "end", "confidence", "words", "speaker"}
    assert (body["id"], body["audio_duration"]) == (transcript_id, 30)
    paragraphs = api.get(f"/v2/transcript/{transcript_id}/paragraphs").json()["paragraphs"]
    assert [item["text"] for item in paragraphs] == [SCRIPT]
    assert paragraphs[0].keys() == {"text", "start", "end", "confidence", "words"}


def test_word_search(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript(SCRIPT)
    transcript_id = api.submit()
    path = f"/v2/transcript/{transcript_id}/word-search"
    found = api.get(path, params={"words": "One,one two,nine,SEVEN"}).json()
    assert found["total_count"] == 5
    matches = {match["text"]: match for match in found["matches"]}
    assert matches.keys() == {"One", "one two", "SEVEN"}
    assert matches["one two"]["indexes"] == [0, 6]
    assert matches["one two"]["timestamps"] == [[0, 720], [2400, 3120]]
    assert error_of(api.get(path))[0] == 400
    assert error_of(api.get(path, params={"words": "a b c d e f"}))[0] == 400


def test_captions_cover_long_audio(api: Api) -> None:
    transcript_id = api.submit("https://example.com/a.wav?emulator=duration:3700")
    text = api.get(f"/v2/transcript/{transcript_id}/vtt").text
    assert re.search(r"\n01:0\d:\d\d\.\d{3} --> ", text)

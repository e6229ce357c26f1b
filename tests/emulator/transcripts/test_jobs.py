# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.emulator_api import AUDIO, Api, error_of, wav

URL = "https://example.com/a.wav?emulator="


def test_a_job_can_take_seconds(api: Api, emulator: Emulator) -> None:
    transcript_id = api.submit(f"{URL}processing:60")
    emulator.advance(59)
    assert api.read(transcript_id)["status"] == "processing"
    emulator.advance(1)
    assert api.read(transcript_id)["status"] == "completed"


def test_a_job_can_take_reads(api: Api) -> None:
    transcript_id = api.submit(f"{URL}processing:2polls")
    assert [api.read(transcript_id)["status"] for _ in range(3)] == ["processing", "processing", "completed"]


def test_above_the_concurrency_limit_jobs_queue_in_order() -> None:
    with serve(concurrency=1, job_seconds=10, api_keys=("k",)) as emulator:
        from requests import Session

        with Session() as session:
            api = Api(emulator.url, "k", session)
            ids = [api.submit(f"https://example.com/{number}.wav") for number in range(3)]
            assert [api.read(i)["status"] for i in ids] == ["processing", "queued", "queued"]
            emulator.advance(10)
            assert [api.read(i)["status"] for i in ids] == ["completed", "processing", "queued"]
            # One jump leaves the history that two steps would have left.
            emulator.advance(20)
            rows = api.get("/v2/transcript").json()["transcripts"]
            ends = [row["completed"] for row in rows]
            assert ends == sorted(ends, reverse=True)
            assert len(set(ends)) == 3


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("download", "Download error to {0}, 403 Client Error: Forbidden for url: {0}"),
        (
            "download_unable",
            "Download error, unable to download {0}. "
            "Please make sure the file exists and is accessible from the internet.",
        ),
        ("access", "Download error, unable to access file at {0}"),
        ("html", "File does not appear to contain audio. File type is text/html (HTML document, ASCII text)"),
        ("short", "Audio duration is too short."),
        ("threshold", "Audio speech threshold 0.9461 is below the requested speech threshold value 1.0"),
        (
            "language",
            "detected language 'bg', confidence 0.2949, is below the requested confidence threshold value of '0.4'",
        ),
        ("no_speech", "language_detection cannot be performed on files with no spoken audio."),
        ("transcoding", "Transcoding failed. File type application/json"),
        ("server", "Server error, developers have been alerted"),
    ],
)
def test_every_class_of_job_error(api: Api, emulator: Emulator, kind: str, text: str) -> None:
    url = f"{URL}error:{kind}"
    failed = api.transcribe(url)
    assert (failed["status"], failed["error"], failed["text"]) == ("error", text.format(url), None)
    counts = emulator.counters()
    assert (counts["accepted"], counts["billed"], counts["billed_seconds"]) == (1, 0, 0)


def test_the_first_submissions_of_an_address_can_fail(api: Api, emulator: Emulator) -> None:
    statuses = [api.transcribe(f"{URL}error:server*2")["status"] for _ in range(3)]
    assert statuses == ["error", "error", "completed"]
    assert emulator.counters()["billed"] == 1


def test_markers_combine_and_typing_errors_are_refused(api: Api) -> None:
    done = api.transcribe(f"{URL}duration:7,warning:careful,off:unavailable")
    assert done["audio_duration"] == 7
    assert done["metadata"]["warnings"] == [{"message": "careful"}]
    assert done["iab_categories_result"]["status"] == "unavailable"
    assert error_of(api.post(f"{URL}eror:server")) == (
        400,
        "emulator option not understood: eror:server (not known)",
    )


def test_a_transcript_can_appear_late_in_the_list(api: Api, emulator: Emulator) -> None:
    api.submit(f"{URL}lag:30")
    assert api.get("/v2/transcript").json()["transcripts"] == []
    emulator.advance(31)
    assert len(api.get("/v2/transcript").json()["transcripts"]) == 1


def test_an_upload_is_transcribed_and_billed_by_its_length(api: Api, emulator: Emulator) -> None:
    sound = wav(3.5, channels=2)
    done = api.transcribe(api.upload(sound), multichannel=True)
    assert done["audio_duration"] == 4
    assert done["audio_channels"] == 2
    assert {word["channel"] for word in done["words"]} <= {"1", "2"}
    counts = emulator.counters()
    assert (counts["uploads"], counts["upload_bytes"], counts["billed_seconds"]) == (1, len(sound), 7.0)


def test_a_chunked_upload_arrives_whole(api: Api, emulator: Emulator) -> None:
    sound = wav(2)
    parts = [sound[at : at + 1000] for at in range(0, len(sound), 1000)]
    plain, chunked = api.upload(sound), api.upload(iter(parts))
    assert emulator.counters()["upload_bytes"] == 2 * len(sound)
    assert api.transcribe(plain)["text"] == api.transcribe(chunked)["text"]


@pytest.mark.parametrize(
    ("kwargs", "text"),
    [
        ({"data": json.dumps({"file": "a.wav"})}, "Transcoding failed. File type application/json"),
        ({"files": {"file": ("a.wav", b"123")}}, "Transcoding failed. File type multipart/form-data"),
        ({"data": b""}, "File does not appear to contain audio. File type is application/x-empty (empty)"),
        (
            {"data": b"<!DOCTYPE html><html></html>"},
            "File does not appear to contain audio. File type is text/html (HTML document, ASCII text)",
        ),
        ({"data": wav(0.1)}, "Audio duration is too short."),
    ],
)
def test_a_wrong_upload_is_accepted_and_its_job_fails(api: Api, kwargs: dict[str, Any], text: str) -> None:
    url = api.call("POST", "/v2/upload", **kwargs).json()["upload_url"]
    assert api.transcribe(url)["error"] == text


def test_no_client_reads_an_upload_and_other_projects_cannot_use_it(api: Api, other_project: Api) -> None:
    url = api.upload(wav(1))
    assert api.get(url).status_code == 403
    assert "AccessDenied" in api.get(url).text
    assert error_of(other_project.post(url)) == (403, "Cannot access uploaded file")


def test_an_upload_lives_for_a_day(api: Api, emulator: Emulator) -> None:
    url = api.upload(wav(1))
    emulator.advance(86_401)
    assert api.transcribe(url)["error"] == f"Download error, unable to access file at {url}"


def test_regions_share_nothing(api: Api) -> None:
    with serve(region="eu", api_keys=(api.key,)) as eu:
        transcript_id, upload = api.submit(), api.upload(wav(1))
        there = api.get(f"{eu.url}/v2/transcript/{transcript_id}")
        assert error_of(there) == (400, "Transcript lookup error, transcript id not found")
        job = api.call("POST", f"{eu.url}/v2/transcript", json={"audio_url": upload}).json()["id"]
        assert (
            api.get(f"{eu.url}/v2/transcript/{job}")
            .json()["error"]
            .startswith("Download error, unable to access")
        )
        assert eu.counters()["accepted"] == 1


def test_a_text_that_is_set_is_the_transcript(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript("The canary sings at noon.")
    assert api.transcribe()["text"] == "The canary sings at noon."
    api.call("POST", "/_emulator/transcript-text", json={"text": "Another one."})
    assert api.transcribe()["text"] == "Another one."
    emulator.set_transcript(None)
    assert "canary" not in api.transcribe()["text"]


def test_the_control_endpoint(api: Api, emulator: Emulator) -> None:
    assert api.get("/_emulator").json().keys() == {"region", "engine", "version"}
    transcript_id = api.submit()
    assert api.get("/_emulator/counters").json() == emulator.counters()
    assert [row["id"] for row in api.get("/_emulator/transcripts").json()] == [transcript_id]
    assert api.get("/_emulator/requests").json()[-1]["path"] == "/v2/transcript"
    api.call("POST", "/_emulator/clock", json={"advance": 90 * 86_400 + 1})
    assert api.get("/v2/transcript").json()["transcripts"] == []
    api.call("POST", "/_emulator/reset")
    assert emulator.transcripts() == []
    assert emulator.counters()["requests"] == {}
    assert error_of(api.call("POST", "/_emulator/clock", json={"advance": -1}))[0] == 400


def test_requests_are_logged_by_kind(api: Api, emulator: Emulator) -> None:
    transcript_id = api.submit()
    api.get(f"/v2/transcript/{transcript_id}/srt")
    last = emulator.requests[-1]
    assert (last["method"], last["path"], last["status"]) == ("GET", "/v2/transcript/{id}/srt", 200)
    assert (last["raw_path"], last["project"]) == (f"/v2/transcript/{transcript_id}/srt", "project-1")
    assert emulator.counters()["requests"] == {"POST /v2/transcript": 1, "GET /v2/transcript/{id}/srt": 1}


def test_features_have_results_only_when_asked_for(api: Api) -> None:
    off = api.transcribe()
    on = api.transcribe(
        auto_highlights=True,
        sentiment_analysis=True,
        entity_detection=True,
        iab_categories=True,
        content_safety=True,
        auto_chapters=True,
    )
    names = (
        "auto_highlights_result",
        "sentiment_analysis_results",
        "entities",
        "iab_categories_result",
        "content_safety_labels",
        "chapters",
    )
    assert [off[name] for name in names] == [None] * len(names)
    assert all(on[name] for name in names)
    assert api.transcribe(summarization=True, summary_type="gist")["summary"]


def test_speakers_and_channels(api: Api) -> None:
    mono = api.transcribe(AUDIO, speaker_labels=True)
    assert {turn["speaker"] for turn in mono["utterances"]} == {"A", "B"}
    split = api.transcribe(AUDIO, multichannel=True)
    assert {(turn["speaker"], turn["channel"]) for turn in split["utterances"]} == {("1", "1"), ("2", "2")}
    both = api.transcribe(AUDIO, multichannel=True, speaker_labels=True)
    assert {turn["speaker"] for turn in both["utterances"]} == {"1A", "2A"}
    assert " ".join(turn["text"] for turn in split["utterances"]) == split["text"]


LONG = "Good morning. Hello there. How are you? Fine, thanks. And you? Me too."


def speakers(done: dict[str, Any]) -> list[str]:
    return [turn["speaker"] for turn in done["utterances"]]


@pytest.mark.parametrize(
    ("option", "fields", "expected"),
    [
        ("", {}, "A"),
        ("speakers:2", {}, "ABABAB"),
        ("speakers:3", {}, "ABCABC"),
        ("", {"speakers_expected": 2}, "ABABAB"),
        ("speakers:4", {"speakers_expected": 2}, "ABABAB"),
        ("", {"speaker_options": {"min_speakers_expected": 3}}, "ABCABC"),
        ("speakers:4", {"speaker_options": {"max_speakers_expected": 2}}, "ABABAB"),
        (
            "speakers:2",
            {"speaker_options": {"min_speakers_expected": 1, "max_speakers_expected": 5}},
            "ABABAB",
        ),
    ],
)
def test_speakers_take_turns_by_utterance(
    api: Api, emulator: Emulator, option: str, fields: dict[str, Any], expected: str
) -> None:
    emulator.set_transcript(LONG)
    done = api.transcribe(f"{URL}{option}", speaker_labels=True, **fields)
    assert "".join(speakers(done)) == expected
    assert done["text"] == " ".join(turn["text"] for turn in done["utterances"]) == LONG
    assert [word["speaker"] for word in done["words"]] == [
        word["speaker"] for turn in done["utterances"] for word in turn["words"]
    ]
    sentences = api.get(f"/v2/transcript/{done['id']}/sentences").json()["sentences"]
    assert "".join(sentence["speaker"] for sentence in sentences) == expected.ljust(6, "A")
    assert done == {**api.transcribe(f"{URL}{option}", speaker_labels=True, **fields), "id": done["id"]}


@pytest.mark.parametrize(("seconds", "most"), [(119, 40), (600, 10), (700, 30)])
def test_the_length_of_the_audio_limits_the_speakers(api: Api, seconds: int, most: int) -> None:
    done = api.transcribe(f"{URL}speakers:40,duration:{seconds}", speaker_labels=True)
    turns = len(done["utterances"])
    assert len(set(speakers(done))) == min(most, turns)
    assert (turns > most) == (seconds > 119)


def test_every_recording_of_an_emulator_can_have_more_speakers() -> None:
    from requests import Session

    with serve(speakers=3) as emulator, Session() as session:
        api = Api(emulator.url, emulator.api_key, session)
        assert set(speakers(api.transcribe(speaker_labels=True))) == set("ABC")
        assert set(speakers(api.transcribe(f"{URL}speakers:1", speaker_labels=True))) == {"A"}
        both = api.transcribe(speaker_labels=True, multichannel=True)
        assert set(speakers(both)) == {"1A", "1B", "1C", "2A", "2B", "2C"}
        assert "speaker" not in (api.transcribe()["utterances"] or [{}])[0]


@pytest.mark.parametrize(
    ("option", "options", "threshold", "code", "confidence"),
    [
        ("", {}, None, "en_us", 0.9868),
        ("language:es", {}, None, "es", 0.9868),
        ("language:es,language_confidence:0.4", {}, None, "es", 0.4),
        # The language is one of those that are expected.
        ("language:es", {"expected_languages": ["en", "es"]}, None, "es", 0.9868),
        ("", {"expected_languages": ["en_uk", "es"]}, None, "en_us", 0.9868),
        ("language:es", {"expected_languages": ["fr", "de"]}, None, "fr", 0.0132),
        ("language:es", {"expected_languages": ["fr", "de"], "fallback_language": "de"}, None, "de", 0.0132),
        ("language:es", {"expected_languages": ["all"], "fallback_language": "de"}, None, "es", 0.9868),
        # It is less certain than it must be.
        ("language_confidence:0.3", {"on_low_language_confidence": "fallback"}, 0.5, "en_us", 0.3),
        (
            "language_confidence:0.3",
            {"on_low_language_confidence": "fallback", "fallback_language": "fr"},
            0.5,
            "fr",
            0.3,
        ),
        ("language_confidence:0.6", {"on_low_language_confidence": "error"}, 0.5, "en_us", 0.6),
        # Nothing is said.
        ("speech:0", {"on_no_speech_detected": "fallback"}, None, "en_us", 0.0),
        ("speech:0", {"on_no_speech_detected": "fallback", "fallback_language": "fr"}, None, "fr", 0.0),
        ("speech:0", {"on_no_speech_detected": "fallback", "expected_languages": ["de"]}, 0.9, "de", 0.0),
        ("language:de", {"swiss_german": True}, None, "de_ch", 0.9868),
    ],
)
def test_the_language_that_is_detected(
    api: Api, option: str, options: dict[str, Any], threshold: float | None, code: str, confidence: float
) -> None:
    done = api.transcribe(
        f"{URL}{option}",
        language_detection=True,
        language_detection_options=options,
        language_confidence_threshold=threshold,
    )
    assert (done["status"], done["language_code"], done["language_confidence"]) == (
        "completed",
        code,
        confidence,
    )
    assert (done["text"] == "") == ("speech:0" in option)
    if done["text"]:
        assert "metadata" not in done
    else:
        (warning,) = done["metadata"]["warnings"]
        assert "No speech was detected" in warning["message"]
        assert code in warning["message"]


@pytest.mark.parametrize(
    ("option", "fields", "error"),
    [
        (
            "language:es,language_confidence:0.4",
            {"language_confidence_threshold": 0.5},
            "detected language 'es', confidence 0.4000, is below the requested confidence threshold value of '0.5'",
        ),
        (
            "",
            {
                "language_confidence_threshold": 0.5,
                "language_detection_options": {
                    "expected_languages": ["fr"],
                    "on_low_language_confidence": "error",
                },
            },
            "detected language 'fr', confidence 0.0132, is below the requested confidence threshold value of '0.5'",
        ),
        ("speech:0", {}, "language_detection cannot be performed on files with no spoken audio."),
        (
            "speech:0",
            {"language_detection_options": {"on_no_speech_detected": "error"}},
            "language_detection cannot be performed on files with no spoken audio.",
        ),
        (
            "speech:0.4",
            {"speech_threshold": 0.5},
            "Audio speech threshold 0.4000 is below the requested speech threshold value 0.5",
        ),
    ],
)
def test_a_job_that_ends_because_of_its_language(
    api: Api, emulator: Emulator, option: str, fields: dict[str, Any], error: str
) -> None:
    failed = api.transcribe(f"{URL}{option}", language_detection=True, **fields)
    assert (failed["status"], failed["error"], failed["text"]) == ("error", error, None)
    assert emulator.counters()["billed"] == 0


@pytest.mark.parametrize(
    ("option", "options", "code", "languages"),
    [
        ("", {}, "en_us", {"en": 0.9868, "es": 0.0132}),
        ("language_confidence:0.6", {}, "es", {"en": 0.6, "es": 0.4}),
        ("language_confidence:0.6", {"expected_languages": ["en", "de"]}, "de", {"en": 0.6, "de": 0.4}),
        ("language:es,language_confidence:0.4", {}, "es", {"es": 0.4, "en": 0.6}),
        (
            "language:es,language_confidence:0.4",
            {"code_switching_confidence_threshold": 0.5},
            "en_us",
            {"es": 0.4, "en": 0.6},
        ),
        ("", {"code_switching_confidence_threshold": 0}, "es", {"en": 0.9868, "es": 0.0132}),
    ],
)
def test_code_switching_tells_both_languages(
    api: Api, option: str, options: dict[str, Any], code: str, languages: dict[str, float]
) -> None:
    done = api.transcribe(
        f"{URL}{option}",
        language_detection=True,
        language_detection_options={"code_switching": True, **options},
    )
    assert done["language_code"] == code
    assert done["language_codes"] == list(languages)
    assert done["language_detection_results"] == {
        "code_switching_languages": [
            {"language_code": name, "confidence": confidence} for name, confidence in languages.items()
        ]
    }


def test_speech_can_be_a_part_of_the_audio(api: Api) -> None:
    whole, part, none = (api.transcribe(f"{URL}duration:60,speech:{share}") for share in ("1", "0.5", "0"))
    assert part["words"] == [word for word in whole["words"] if word["end"] <= 30_000]
    assert (none["status"], none["text"], none["audio_duration"]) == ("completed", "", 60)


@pytest.mark.parametrize(
    "word", ["speakers:0", "speakers:two", "speech:2", "language:xx", "language_confidence:-1", "speech:"]
)
def test_an_option_of_the_wrong_kind_is_refused(api: Api, word: str) -> None:
    status, text = error_of(api.post(f"{URL}{word}"))
    assert (status, text.startswith(f"emulator option not understood: {word} (")) == (400, True)


def test_detection_can_be_asked_to_be_more_certain(api: Api) -> None:
    sure = api.transcribe(language_detection=True, language_confidence_threshold=0.5)
    assert (sure["language_code"], sure["language_confidence"]) == ("en_us", 0.9868)
    unsure = api.transcribe(language_detection=True, language_confidence_threshold=0.99)
    assert unsure["error"] == (
        "detected language 'en', confidence 0.9868, is below the requested confidence threshold value of '0.99'"
    )

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import uuid
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import AUDIO, Api, error_of

REQUIRED = {
    "id", "speech_model", "language_model", "acoustic_model", "status", "audio_url", "webhook_auth",
    "auto_highlights", "redact_pii", "summarization", "language_confidence_threshold", "language_confidence",
}  # fmt: skip


def test_a_submission_is_accepted_in_processing_with_its_request_echoed(api: Api) -> None:
    answer = api.post(
        speaker_labels=True, speakers_expected=2, custom_spelling=[{"from": ["k 8 s"], "to": "k8s"}]
    )
    body = answer.json()
    assert answer.status_code == 200
    assert body["status"] == "processing"
    assert uuid.UUID(body["id"]).version == 4
    assert body.keys() >= REQUIRED
    assert (body["speaker_labels"], body["speakers_expected"]) == (True, 2)
    assert body["custom_spelling"] == [{"from": ["k 8 s"], "to": "k8s"}]
    assert (body["multichannel"], body["audio_end_at"], body["punctuate"]) == (False, None, True)
    assert (body["text"], body["words"], body["utterances"]) == (None, None, None)
    assert uuid.UUID(answer.headers["x-request-id"])


def test_a_job_is_completed_at_the_next_read(api: Api, emulator: Emulator) -> None:
    done = api.transcribe()
    assert done["status"] == "completed"
    assert done["text"] == " ".join(word["text"] for word in done["words"])
    assert done["audio_duration"] == 30
    assert done["speech_model_used"] == "universal-3-5-pro"
    counts = emulator.counters()
    assert (counts["accepted"], counts["billed"], counts["billed_seconds"]) == (1, 1, 30)


def test_the_same_input_gives_the_same_words(api: Api) -> None:
    first, again, other = (
        api.transcribe(),
        api.transcribe(f"{AUDIO}?signature=2"),
        api.transcribe(f"{AUDIO}.mp3"),
    )
    assert first["words"] == again["words"]
    assert first["text"] != other["text"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"format_text": "yes"}, "format_text must be a Boolean"),
        ({"punctuate": 1}, "punctuate must be a Boolean"),
        ({"audio_start_from": "5"}, "audio_start_from must be an Integer"),
        ({"audio_start_from": True}, "audio_start_from must be an Integer"),
        ({"audio_end_at": -1}, "audio_end_at must be 0 or more"),
        ({"audio_start_from": 9, "audio_end_at": 3}, "audio_start_from must be less than audio_end_at"),
        ({"speech_threshold": 1.5}, "speech_threshold must be between 0 and 1"),
        ({"content_safety_confidence": 10}, "content_safety_confidence must be between 25 and 100"),
        ({"language_confidence_threshold": "high"}, "language_confidence_threshold must be a Number"),
        ({"webhook_url": 3}, "webhook_url must be a String"),
        ({"webhook_url": "nowhere"}, "webhook_url must be a valid URL"),
        ({"keyterms_prompt": "one"}, "keyterms_prompt must be a List of Strings"),
        ({"speaker_options": []}, "speaker_options must be an Object"),
        (
            {"summary_type": "poem"},
            "summary_type must be one of: bullets, bullets_verbose, gist, headline, paragraph",
        ),
        ({"custom_spelling": [{"from": ["a"], "to": "two words"}]}, 'custom_spelling: "to" must be one word'),
        ({"redact_static_entities": {"X": ["y"]}}, "redact_static_entities requires redact_pii"),
        ({"redact_pii_audio": True}, "redact_pii_audio requires redact_pii"),
        ({"language_code": "xx"}, "language_code is not supported: xx"),
        (
            {"language_code": "sw", "speaker_labels": True},
            "The following models are not available in this language: speaker_labels",
        ),
        (
            {"language_code": "de", "sentiment_analysis": True, "auto_chapters": True},
            "The following models are not available in this language: auto_chapters, sentiment_analysis",
        ),
        (
            {"word_boost": ["caf\u00a9"]},
            "'caf\u00a9' was included in the word boost list but contains unsupported characters",
        ),
    ],
)
def test_a_wrong_field_is_named(api: Api, emulator: Emulator, fields: dict[str, Any], text: str) -> None:
    assert error_of(api.post(**fields)) == (400, text)
    assert emulator.counters()["accepted"] == 0


DETECT = {"language_detection": True}
FEATURES: dict[str, dict[str, Any]] = {
    "translation": {"target_languages": ["es"]},
    "speaker_identification": {"speaker_type": "name"},
    "custom_formatting": {"date": "mm/dd/yyyy"},
    "summarization": {"summary_type": "bullets"},
    "action_items": {},
}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        # One field needs another.
        ({"redact_pii_return_unredacted": True}, "redact_pii_return_unredacted requires redact_pii"),
        (
            {"redact_pii": False, "redact_static_entities": {"X": ["y"]}},
            "redact_static_entities requires redact_pii",
        ),
        ({"redact_pii": False, "redact_pii_audio": True}, "redact_pii_audio requires redact_pii"),
        ({"auto_chapters": True, "punctuate": False}, "auto_chapters requires punctuate"),
        ({"summarization": True, "punctuate": False}, "summarization requires punctuate"),
        ({"summarization": True, "format_text": False}, "summarization requires format_text"),
        # One excludes the other.
        (
            {**DETECT, "language_code": "en_us"},
            "language_detection cannot be used together with language_code",
        ),
        (
            {"speech_models": ["universal-3-pro"], "prompt": "A call.", "keyterms_prompt": ["chain"]},
            "prompt and keyterms_prompt cannot be used together with universal-3-pro",
        ),
        (
            {
                "redact_pii": True,
                "redact_pii_policies": ["email_address"],
                "speech_understanding": {"request": {"custom_formatting": {"email": "username@domain.com"}}},
            },
            "custom_formatting of email cannot be used together with redact_pii_policies: email_address",
        ),
        # One of a few words.
        ({"domain": "legal-v1"}, "domain must be one of: medical-v1"),
        ({"remove_audio_tags": "none"}, "remove_audio_tags must be one of: all, speaker"),
        (
            {**DETECT, "language_detection_options": {"on_no_speech_detected": "auto"}},
            "language_detection_options.on_no_speech_detected must be one of: error, fallback",
        ),
        (
            {**DETECT, "language_detection_options": {"on_low_language_confidence": "auto"}},
            "language_detection_options.on_low_language_confidence must be one of: error, fallback",
        ),
        (
            {**DETECT, "language_detection_options": {"localization": ["en_us"]}},
            "language_detection_options.localization must be one of: en_au, en_uk",
        ),
        (
            {**DETECT, "language_detection_options": {"expected_languages": ["en", "klingon"]}},
            "language_detection_options.expected_languages is not supported: klingon",
        ),
        (
            {**DETECT, "language_detection_options": {"fallback_language": "xx"}},
            "language_detection_options.fallback_language is not supported: xx",
        ),
        (
            {
                **DETECT,
                "language_detection_options": {"expected_languages": ["de", "fr"], "fallback_language": "en"},
            },
            'fallback_language must be "auto" or one of expected_languages',
        ),
        (
            {
                **DETECT,
                "language_detection_options": {
                    "on_no_speech_detected": "fallback",
                    "fallback_language": "auto",
                },
            },
            'fallback_language must not be "auto" if on_no_speech_detected is "fallback"',
        ),
        (
            {"redact_pii_audio_options": {"override_audio_redaction_method": "beep"}},
            "redact_pii_audio_options.override_audio_redaction_method must be one of: silence",
        ),
        (
            {"speaker_options": {"short_file_diarization_method": "standard"}},
            "speaker_options.short_file_diarization_method must be one of: "
            "deliberate, balanced, conservative, aggressive",
        ),
        (
            {"keyterms_prompt_options": {"keyterms_match_strength": "low"}},
            "keyterms_prompt_options.keyterms_match_strength must be one of: high, standard",
        ),
        # Numbers out of range, wrong types, in the order of a pair.
        ({"speakers_expected": 0}, "speakers_expected must be 1 or more"),
        (
            {"speaker_options": {"min_speakers_expected": 0}},
            "speaker_options.min_speakers_expected must be 1 or more",
        ),
        (
            {"speaker_options": {"max_speakers_expected": "2"}},
            "speaker_options.max_speakers_expected must be an Integer",
        ),
        (
            {"speaker_options": {"min_speakers_expected": 3, "max_speakers_expected": 2}},
            "speaker_options: min_speakers_expected must not be above max_speakers_expected",
        ),
        (
            {"language_detection_options": {"code_switching_confidence_threshold": 2}},
            "language_detection_options.code_switching_confidence_threshold must be between 0 and 1",
        ),
        (
            {"language_detection_options": {"code_switching": "yes"}},
            "language_detection_options.code_switching must be a Boolean",
        ),
        # One of each language.
        (
            {**DETECT, "language_detection_options": {"localization": ["en_au", "en_uk"]}},
            "language_detection_options.localization must contain at most one code for each language, "
            'found several for "en"',
        ),
        (
            {"language_codes": ["en", "en_us"]},
            'language_codes must contain at most one code for each language, found several for "en"',
        ),
        *(
            (
                {
                    "speaker_labels": True,
                    "speech_understanding": {"request": {feature: {**options, "effort": "high"}}},
                },
                "effort must be one of: low, medium",
            )
            for feature, options in FEATURES.items()
        ),
    ],
)
def test_what_the_service_refuses_is_refused(
    api: Api, emulator: Emulator, fields: dict[str, Any], text: str
) -> None:
    assert error_of(api.post(**fields)) == (400, text)
    assert emulator.counters()["accepted"] == 0


@pytest.mark.parametrize(
    "fields",
    [
        {**DETECT, "language_code": None},
        {**DETECT, "language_codes": ["en", "es"]},
        {"language_detection": False, "language_code": "en"},
        {"speaker_labels": True, "speakers_expected": 2, "speaker_options": {"min_speakers_expected": 1}},
        {"redact_pii": True, "redact_pii_policies": ["a_kind_of_tomorrow"]},
        {"redact_pii_sub": "entity_name", "redact_pii_policies": ["date"], "redact_pii_audio_quality": "mp3"},
        {**DETECT, "language_detection_options": {"expected_languages": ["all"], "fallback_language": "fr"}},
        {"language_detection_options": {"localization": ["en_au"], "new_option": 5, "code_switching": None}},
        {"auto_chapters": True, "summarization": True},
        {"topics": ["bicycles"], "custom_topics": True, "throttled": False, "speed_boost": True},
    ],
)
def test_what_may_be_valid_is_accepted(api: Api, fields: dict[str, Any]) -> None:
    assert api.post(**fields).status_code == 200


def test_options_are_echoed(api: Api) -> None:
    options = {"min_speakers_expected": 1, "max_speakers_expected": 4}
    assert api.transcribe(speaker_labels=True, speaker_options=options)["speaker_options"] == options
    assert "speaker_options" not in api.transcribe()


@pytest.mark.parametrize(
    "fields",
    [
        {"speech_models": []},
        {"speech_models": ["whisper"]},
        {"speech_models": "universal-2"},
        {"speech_model": "nano"},
    ],
)
def test_unknown_models_are_refused(api: Api, fields: dict[str, Any]) -> None:
    status, text = error_of(api.post(**fields))
    assert status == 400
    assert text.startswith(
        '"speech_models" must be a non-empty list containing one or more of: "universal-3-5-pro"'
    )


def test_the_model_that_knows_the_language_runs(api: Api) -> None:
    models = ["universal-3-5-pro", "universal-2"]
    assert api.transcribe(speech_models=models, language_code="sw")["speech_model_used"] == "universal-2"
    assert (
        api.transcribe(speech_models=models, language_code="de")["speech_model_used"] == "universal-3-5-pro"
    )
    assert api.transcribe(speech_model="best")["speech_model_used"] == "universal-3-5-pro"


def test_the_body_must_be_an_object_with_a_source(api: Api) -> None:
    assert error_of(api.call("POST", "/v2/transcript", json={})) == (400, "audio_url is required")
    assert error_of(api.call("POST", "/v2/transcript", json=[]))[0] == 400
    assert error_of(api.call("POST", "/v2/transcript", data=b"{"))[0] == 400
    assert error_of(api.post("not an address")) == (400, "audio_url must be a valid URL")


def test_unknown_keys_and_nulls_pass(api: Api) -> None:
    assert api.post(brand_new_feature={"on": True}, speakers_expected=None).status_code == 200


def test_the_secret_of_a_webhook_is_never_shown(api: Api) -> None:
    transcript_id = api.submit(
        webhook_url="http://127.0.0.1:9/hook",
        webhook_auth_header_name="X-Hook",
        webhook_auth_header_value="s3cret",
    )
    answer = api.get(f"/v2/transcript/{transcript_id}")
    assert "s3cret" not in answer.text
    assert answer.json()["webhook_auth"] is True
    assert answer.json()["webhook_auth_header_name"] == "X-Hook"


@pytest.mark.parametrize("key", ["", "wrong", "Bearer first-key"])
def test_only_the_bare_key_is_accepted(api: Api, key: str) -> None:
    expected = (401, "Authentication error, API token missing/invalid")
    assert error_of(api.get("/v2/transcript", headers={"Authorization": key})) == expected
    assert error_of(api.call("POST", "/v2/upload", data=b"x", headers={"Authorization": key})) == expected


def test_unknown_paths_and_methods_answer_in_json(api: Api) -> None:
    assert error_of(api.get("/v2/nothing")) == (404, "Not found")
    answer = api.call("PATCH", "/v2/transcript")
    assert answer.status_code == 405
    assert answer.json() == {"error": "Method not allowed"}
    assert "x-request-id" in answer.headers


def test_projects_do_not_see_each_other(api: Api, other_project: Api) -> None:
    transcript_id = api.submit()
    lookup = (400, "Transcript lookup error, transcript id not found")
    assert error_of(other_project.get(f"/v2/transcript/{transcript_id}")) == lookup
    assert error_of(other_project.call("DELETE", f"/v2/transcript/{transcript_id}")) == lookup
    assert error_of(api.get(f"/v2/transcript/{uuid.uuid4()}")) == lookup
    assert other_project.get("/v2/transcript").json()["transcripts"] == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"audio_url": "https://example.com/a.wav", "temperature": NaN}',
        b'{"audio_url": "https://example.com/\\ud800.wav"}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_what_only_python_takes_for_json_is_refused(api: Api, raw: bytes) -> None:
    assert error_of(api.call("POST", "/v2/transcript", data=raw)) == (400, "Request body must be valid JSON")

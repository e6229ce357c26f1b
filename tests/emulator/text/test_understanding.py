# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding: every feature, with the job and after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import Api, error_of
from tests.support.gateway_api import MEETING

CALL = (
    "My name is Martha Jennings. Please call me at 555-201-0142 on March 5, 2026. Write to Martha@Example.com "
    "about it. We agreed to repair the bicycle chain. The bicycle chain of the bicycle is old."
)
Understand = Callable[..., dict[str, Any]]


@pytest.fixture(params=["inline", "afterwards"])
def understand(request: pytest.FixtureRequest, api: Api, emulator: Emulator) -> Understand:
    """Ask for features of a call, one way or the other."""

    def run(text: str = CALL, fields: dict[str, Any] | None = None, **features: Any) -> dict[str, Any]:
        emulator.set_transcript(text)
        options = {"speaker_labels": True, **(fields or {})}
        understanding = {"request": features}
        if request.param == "inline":
            return api.transcribe(speech_understanding=understanding, **options)
        body = {"transcript_id": api.submit(**options), "speech_understanding": understanding}
        answer = api.call("POST", "/v1/understanding", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        return dict(answer.json())

    return run


def response(body: dict[str, Any], feature: str) -> dict[str, Any]:
    found = body["speech_understanding"]["response"][feature]
    assert found["status"] == "success"
    return dict(found)


def test_translation_puts_the_language_before_the_text(understand: Understand) -> None:
    body = understand(translation={"target_languages": ["es", "de"], "match_original_utterance": True})
    assert response(body, "translation") == {"status": "success"}
    assert body["translated_texts"] == {"es": f"[es] {CALL}", "de": f"[de] {CALL}"}
    assert body["utterances"][0]["translated_texts"]["de"] == f"[de] {CALL}"
    assert body["speech_understanding"]["request"]["translation"]["target_languages"] == ["es", "de"]


def test_speakers_by_the_names_they_call_themselves(understand: Understand) -> None:
    body = understand(speaker_identification={"speaker_type": "name"})
    assert response(body, "speaker_identification")["mapping"] == {"A": "Martha Jennings"}
    assert {turn["speaker"] for turn in body["utterances"]} == {"Martha Jennings"}
    assert {word["speaker"] for word in body["words"]} == {"Martha Jennings"}
    assert {word["speaker"] for word in body["utterances"][0]["words"]} == {"Martha Jennings"}


@pytest.mark.parametrize(
    "options",
    [
        {"speaker_type": "role", "known_values": ["Agent", "Customer"]},
        {
            "speaker_type": "role",
            "speakers": [{"role": "Agent", "description": "asks"}, {"role": "Customer"}],
        },
    ],
)
def test_speakers_by_role_in_the_order_in_which_they_speak(
    api: Api, emulator: Emulator, options: dict[str, Any]
) -> None:
    body = api.transcribe(
        speaker_labels=True, speech_understanding={"request": {"speaker_identification": options}}
    )
    assert response(body, "speaker_identification")["mapping"] == {"A": "Agent", "B": "Customer"}
    assert [turn["speaker"] for turn in body["utterances"]][:2] == ["Agent", "Customer"]


def test_an_unknown_speaker_keeps_the_label(understand: Understand) -> None:
    body = understand("the quick brown fox", speaker_identification={"speaker_type": "name"})
    assert response(body, "speaker_identification")["mapping"] == {}
    assert body["utterances"][0]["speaker"] == "A"


def test_formatting(understand: Understand) -> None:
    formats = {"date": "mm/dd/yyyy", "phone_number": "(xxx)xxx-xxxx", "email": "username@domain.com"}
    found = response(
        understand(custom_formatting={**formats, "format_utterances": True}), "custom_formatting"
    )
    assert found["mapping"] == {
        "555-201-0142": "(555)201-0142",
        "March 5, 2026": "03/05/2026",
        "Martha@Example.com": "martha@example.com",
    }
    assert "call me at (555)201-0142 on 03/05/2026. Write to martha@example.com" in found["formatted_text"]
    assert found["formatted_utterances"][0]["text"] == found["formatted_text"]
    assert found["formatted_utterances"][0]["speaker"] == "A"


def test_only_what_has_a_pattern_is_formatted(understand: Understand) -> None:
    found = response(understand(custom_formatting={"phone_number": "xxx.xxx.xxxx"}), "custom_formatting")
    assert found["mapping"] == {"555-201-0142": "555.201.0142"}
    assert "formatted_utterances" not in found


@pytest.mark.parametrize("effort", ["low", "medium", None])
def test_formatting_takes_an_effort(understand: Understand, effort: str | None) -> None:
    body = understand(custom_formatting={"phone_number": "xxx.xxx.xxxx", "effort": effort})
    assert response(body, "custom_formatting")["mapping"] == {"555-201-0142": "555.201.0142"}
    assert body["speech_understanding"]["request"]["custom_formatting"]["effort"] == effort


@pytest.mark.parametrize("kind", ["bullets", "paragraph"])
def test_a_summary_by_chapters(understand: Understand, kind: str) -> None:
    options = {"summary_type": kind, "approximate_chapters": 2, "headline_length": 5, "effort": "medium"}
    found = response(understand(MEETING, summarization=options), "summarization")
    assert (found["summary_type"], found["effort"]) == (kind, "medium")
    first, second = found["summary"]
    assert first["start"] == 0
    assert first["end"] <= second["start"] < second["end"]
    for section in (first, second):
        assert section["headline"] in MEETING
        assert len(section["headline"].split()) <= 5
        quoted = section["bullets"] if kind == "bullets" else [section["text"]]
        assert all(sentence.split(". ")[0] in MEETING for sentence in quoted)
        assert ("text" in section) is (kind == "paragraph")
    assert "budget" in found["block_summary"]


def test_action_items_and_decisions(understand: Understand) -> None:
    found = response(understand(action_items={"include_decisions": True}), "action_items")
    (item,) = found["items"]
    assert item["action_item"] == item["quote"] == "Please call me at 555-201-0142 on March 5, 2026."
    assert item["timestamp"] > 0
    assert [one["decision"] for one in found["decisions"]] == ["We agreed to repair the bicycle chain."]
    assert "decisions" not in response(understand(action_items={}), "action_items")


def test_the_stored_transcript_stays_as_it_was(api: Api) -> None:
    transcript_id = api.submit(speaker_labels=True)
    before = api.read(transcript_id)
    features = {"speaker_identification": {"speaker_type": "role", "known_values": ["Agent", "Customer"]}}
    body = {"transcript_id": transcript_id, "speech_understanding": {"request": features}}
    assert api.call("POST", "/v1/understanding", json=body).json()["utterances"][0]["speaker"] == "Agent"
    assert api.read(transcript_id) == before


# Refusals

LABELS = {"speaker_labels": True}
WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, LABELS, "speech_understanding.request must hold at least one feature"),
    ({"magic": {}}, LABELS, "magic is not a known feature"),
    ({"translation": []}, LABELS, "translation must be an object"),
    ({"translation": {"target_languages": []}}, LABELS, "target_languages is empty"),
    (
        {"translation": {"target_languages": "es"}},
        LABELS,
        "target_languages must be a list of language codes",
    ),
    ({"translation": {"target_languages": ["es"], "formal": 1}}, LABELS, "formal must be a boolean"),
    (
        {"translation": {"target_languages": ["es"], "match_original_utterance": True}},
        {},
        "match_original_utterance requires speaker_labels",
    ),
    ({"speaker_identification": {}}, LABELS, "speaker_type must be one of: name, role"),
    (
        {"speaker_identification": {"speaker_type": "name"}},
        {},
        "speaker_identification requires speaker_labels",
    ),
    (
        {"speaker_identification": {"speaker_type": "role"}},
        LABELS,
        "known_values is required when speaker_type is role",
    ),
    (
        {"speaker_identification": {"speaker_type": "role", "known_values": ["x" * 36]}},
        LABELS,
        "known_values must have at most 35 characters each",
    ),
    (
        {
            "speaker_identification": {
                "speaker_type": "name",
                "known_values": ["A"],
                "speakers": [{"name": "A"}],
            }
        },
        LABELS,
        "only one of known_values and speakers can be used",
    ),
    (
        {"speaker_identification": {"speaker_type": "role", "speakers": [{"name": "A"}]}},
        LABELS,
        "speakers must be a list of objects with role",
    ),
    ({"custom_formatting": {}}, LABELS, "custom_formatting needs one of: date, phone_number, email"),
    ({"custom_formatting": {"date": 5}}, LABELS, "date must be a string"),
    *(
        (
            {"custom_formatting": {"date": "mm/dd/yyyy", "effort": effort}},
            LABELS,
            "effort must be one of: low, medium",
        )
        for effort in ("high", "", "Low", 1, True)
    ),
    ({"summarization": {}}, LABELS, "summary_type must be one of: bullets, paragraph"),
    (
        {"summarization": {"summary_type": "bullets", "headline_length": 3}},
        LABELS,
        "headline_length must be between 5 and 15",
    ),
    ({"action_items": {"effort": "high"}}, LABELS, "effort must be one of: low, medium"),
]


@pytest.mark.parametrize(("features", "fields", "text"), WRONG)
def test_a_malformed_request(api: Api, features: dict[str, Any], fields: dict[str, Any], text: str) -> None:
    understanding = {"request": features}
    assert error_of(api.post(**fields, speech_understanding=understanding)) == (400, text)
    body = {"transcript_id": api.submit(**fields), "speech_understanding": understanding}
    for path in ("/v1/understanding", "/v1/understanding/validate"):
        answer = api.call("POST", path, json=body)
        assert (answer.status_code, answer.json()["message"]) == (400, "invalid request body")
        assert answer.json()["metadata"]["errors"] == [text]


def test_a_dry_run(api: Api, emulator: Emulator) -> None:
    def validate(features: dict[str, Any], **more: Any) -> requests.Response:
        body = {"speech_understanding": {"request": features}, **more}
        return api.call("POST", "/v1/understanding/validate", json=body)

    emulator.configure_gateway(understanding_limit=1)
    good = {"speaker_identification": {"speaker_type": "name"}}
    for _ in range(3):
        answer = validate(good)
        assert (answer.status_code, answer.content) == (200, b"")
    # What is missing in a transcript is known only with the transcript.
    assert validate(good, transcript_id=api.submit()).status_code == 400
    assert validate(good, transcript_id="none").status_code == 404
    both: dict[str, Any] = {"translation": {}, "summarization": {}}
    assert len(validate(both).json()["metadata"]["errors"]) == 2
    assert emulator.counters()["gateway"]["understanding"]["accepted"] == 0


def test_transcripts_that_cannot_be_understood(api: Api, other_project: Api, emulator: Emulator) -> None:
    features: dict[str, Any] = {"action_items": {}}

    def ask(caller: Api, **more: Any) -> tuple[int, str]:
        body = {"speech_understanding": {"request": features}, **more}
        answer = caller.call("POST", "/v1/understanding", json=body)
        return answer.status_code, answer.json()["message"]

    transcript_id = api.submit()
    assert ask(api) == (400, "invalid request body")
    assert ask(other_project, transcript_id=transcript_id) == (404, "transcript not found")
    assert api.call("DELETE", f"/v2/transcript/{transcript_id}").status_code == 200
    assert ask(api, transcript_id=transcript_id) == (404, "transcript deleted")
    calls = emulator.counters()["gateway"]["understanding"]
    assert (calls["accepted"], calls["failed"]) == (0, 2)


def test_a_body_without_features(api: Api) -> None:
    bodies: list[Any] = [{}, {"speech_understanding": None}, {"speech_understanding": {"request": None}}, []]
    for body in bodies:
        answer = api.call("POST", "/v1/understanding", json=body)
        assert answer.json()["metadata"]["errors"] == ["speech_understanding.request must be an object"]


def test_an_overload_on_demand(api: Api, emulator: Emulator) -> None:
    emulator.fault("refuse_call", error="overload", path="/v1/understanding")
    body = {"transcript_id": api.submit(), "speech_understanding": {"request": {"action_items": {}}}}
    assert [api.call("POST", "/v1/understanding", json=body).status_code for _ in range(2)] == [503, 200]

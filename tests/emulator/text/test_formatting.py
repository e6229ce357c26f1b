# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from array import array
from io import BytesIO
from typing import Any
from wave import open as open_wave

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.core.speech import Word
from airflow_provider_assemblyai.emulator.text.results import merge_channels
from tests.support.emulator_api import Api, error_of
from tests.support.streams import eventually

SCRIPT = "Um, call Martha Jennings at 555-0142, uh, damn it. My name is Peter Novak and I pay $20."


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Call Martha Jennings at 555-0142, damn it. My name is Peter Novak and I pay $20."),
        ({"disfluencies": True}, SCRIPT),
        (
            {"filter_profanity": True},
            "Call Martha Jennings at 555-0142, d*** it. My name is Peter Novak and I pay $20.",
        ),
        (
            {"punctuate": False, "format_text": False},
            "call martha jennings at 555-0142 damn it my name is peter novak and i pay 20",
        ),
        (
            {"custom_spelling": [{"from": ["martha jennings", "martha"], "to": "MJ"}]},
            "Call MJ at 555-0142, damn it. My name is Peter Novak and I pay $20.",
        ),
        (
            {"redact_pii": True},
            "Call Martha Jennings at ########, damn it. My name is ##### ##### and I pay ###.",
        ),
        (
            {"redact_pii": True, "redact_pii_policies": ["person_name"], "redact_pii_sub": "entity_name"},
            "Call Martha Jennings at 555-0142, damn it. My name is [PERSON_NAME] and I pay $20.",
        ),
        (
            {
                "redact_pii": True,
                "redact_pii_policies": ["nothing_like_it"],
                "redact_static_entities": {"customer": ["martha jennings"]},
                "redact_pii_sub": "entity_name",
            },
            "Call [CUSTOMER] at 555-0142, damn it. My name is Peter Novak and I pay $20.",
        ),
    ],
)
def test_the_request_shapes_the_text(api: Api, emulator: Emulator, fields: dict[str, Any], text: str) -> None:
    emulator.set_transcript(SCRIPT)
    done = api.transcribe(**fields)
    assert done["text"] == text
    assert " ".join(word["text"] for word in done["words"]) == text


def test_the_unredacted_text_comes_on_request(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript("Reach me at jo@example.com.")
    done = api.transcribe(redact_pii=True, redact_pii_return_unredacted=True, speaker_labels=True)
    assert done["text"] == "Reach me at ##############."
    assert done["unredacted_text"] == "Reach me at jo@example.com."
    assert done["unredacted_utterances"][0]["text"] == "Reach me at jo@example.com."
    assert "unredacted_text" not in api.transcribe(redact_pii=True)


def test_redacted_audio_from_the_request_to_its_expiry(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript("My number is 555-0142, thank you.")
    url = "https://example.com/a.wav?emulator=processing:5,duration:4"
    transcript_id = api.submit(url, redact_pii=True, redact_pii_audio=True)
    path = f"/v2/transcript/{transcript_id}/redacted-audio"
    assert api.get(path).status_code == 202
    emulator.advance(5)
    ready = _when_ready(api, path)
    assert ready["status"] == "redacted_audio_ready"
    link = ready["redacted_audio_url"]
    with open_wave(BytesIO(api.get(link).content)) as file:
        rate = file.getframerate()
        samples = array("h", file.readframes(file.getnframes()))
    word = api.read(transcript_id)["words"][3]
    spoken, hidden = samples[:100], samples[word["start"] * rate // 1000 : word["end"] * rate // 1000]
    assert max(hidden) > 10 * max(spoken)  # a tone covers the number
    emulator.advance(1_801)
    assert api.get(link).status_code == 403
    assert api.get(path).status_code == 200
    emulator.advance(86_400)
    assert api.get(path).status_code == 400


def test_redacted_audio_can_be_silent(api: Api, emulator: Emulator) -> None:
    emulator.set_transcript("Dial 555-0142.")
    transcript_id = api.submit(
        redact_pii=True,
        redact_pii_audio=True,
        redact_pii_audio_options={"override_audio_redaction_method": "silence"},
    )
    api.read(transcript_id)
    link = _when_ready(api, f"/v2/transcript/{transcript_id}/redacted-audio")["redacted_audio_url"]
    with open_wave(BytesIO(api.get(link).content)) as file:
        file.setpos(file.getframerate() * 400 // 1000)
        assert set(file.readframes(100)) == {0}


def test_redacted_audio_that_was_not_asked_for(api: Api) -> None:
    transcript_id = api.submit()
    assert error_of(api.get(f"/v2/transcript/{transcript_id}/redacted-audio"))[0] == 400


def test_sentences_that_overlap_stay_whole() -> None:
    first = [
        Word(text, at * 400, at * 400 + 300, 0.9, "1", "1") for at, text in enumerate(("I", "was", "saying."))
    ]
    second = [
        Word(text, 500 + at * 400, 800 + at * 400, 0.9, "2", "2") for at, text in enumerate(("Oh", "really?"))
    ]
    assert [word.text for word in merge_channels([first, second])] == ["I", "was", "saying.", "Oh", "really?"]


def _when_ready(api: Api, path: str) -> dict[str, str]:
    eventually(lambda: api.get(path).status_code != 202)
    answer = api.get(path)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())

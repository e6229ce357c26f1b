# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any
from wave import open as open_wave

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.core.speech import Word
from airflow_provider_assemblyai.emulator.engines.decode import decode
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


@pytest.mark.parametrize(
    ("quality", "media_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), (None, "audio/mpeg")]
)
def test_redacted_audio_from_the_request_to_its_expiry(
    api: Api, emulator: Emulator, tmp_path: Path, quality: str | None, media_type: str
) -> None:
    emulator.set_transcript("My number is 555-0142, thank you.")
    url = "https://example.com/a.wav?emulator=processing:5,duration:4"
    transcript_id = api.submit(url, redact_pii=True, redact_pii_audio=True, redact_pii_audio_quality=quality)
    path = f"/v2/transcript/{transcript_id}/redacted-audio"
    assert api.get(path).status_code == 202
    emulator.advance(5)
    ready = _when_ready(api, path)
    assert ready["status"] == "redacted_audio_ready"
    link = ready["redacted_audio_url"]
    assert link.endswith(f".{quality or 'mp3'}")
    copy = api.get(link)
    assert copy.headers["content-type"] == media_type
    (tmp_path / "copy").write_bytes(copy.content)
    audio = decode(tmp_path / "copy")
    assert audio.duration == pytest.approx(4, abs=0.2)
    done = api.read(transcript_id)
    assert done["redact_pii_audio_quality"] == (quality or "mp3")
    word = done["words"][3]
    spoken, hidden = audio.section(0, 1_000), audio.section(word["start"] + 60, word["end"] - 60)
    assert hidden.mono().max() > 10 * spoken.mono().max()  # a tone covers the number
    assert hidden.mono()[:400].max() > 10 * spoken.mono().max(), "from its start"
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
        redact_pii_audio_quality="wav",
        redact_pii_audio_options={"override_audio_redaction_method": "silence"},
    )
    api.read(transcript_id)
    link = _when_ready(api, f"/v2/transcript/{transcript_id}/redacted-audio")["redacted_audio_url"]
    with open_wave(BytesIO(api.get(link).content)) as file:
        file.setpos(file.getframerate() * 400 // 1000)
        assert set(file.readframes(100)) == {0}


def test_without_an_encoder_the_copy_says_what_it_is() -> None:
    """In a process of its own, in which PyAV cannot be imported."""
    script = """
import json, sys, time, urllib.request
sys.modules["av"] = None
from airflow_provider_assemblyai.emulator import serve
with serve() as emulator:
    def call(path, body=None):
        url = path if path.startswith("http") else emulator.url + path
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(url, data, {"Authorization": emulator.api_key}))
    made = json.load(call("/v2/transcript", {
        "audio_url": "https://example.com/a.wav", "redact_pii": True, "redact_pii_audio": True}))
    path = "/v2/transcript/" + made["id"]
    done = json.load(call(path))
    while (answer := call(path + "/redacted-audio")).status == 202:
        time.sleep(0.01)
    copy = call(json.load(answer)["redacted_audio_url"])
    print(json.dumps([done["redact_pii_audio_quality"], done["metadata"]["warnings"], copy.headers["content-type"],
                      copy.read(4).decode()]))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    quality, warnings, media_type, head = json.loads(ran.stdout)
    assert (quality, media_type, head) == ("wav", "audio/wav", "RIFF")
    assert warnings == [
        {"message": "The emulator cannot encode MP3 without PyAV: the redacted audio is a WAV file."}
    ]


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (None, "[MUSIC] Good [Speaker A] morning. [loud laughter] Come in [sic"),
        ("all", "Good morning. Come in [sic"),
        ("speaker", "[MUSIC] Good morning. [loud laughter] Come in [sic"),
    ],
)
def test_tags_of_the_audio(api: Api, emulator: Emulator, tags: str | None, text: str) -> None:
    emulator.set_transcript("[MUSIC] Good [Speaker A] morning. [loud laughter] Come in [sic")
    assert api.transcribe(remove_audio_tags=tags)["text"] == text


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (None, [{"alcohol": 0.65}, {"weapons": 0.8, "financials": 0.65}]),
        (70, [{"weapons": 0.8}]),
        (81, []),
    ],
)
def test_content_safety_has_a_threshold(
    api: Api, emulator: Emulator, threshold: int | None, labels: list[dict[str, float]]
) -> None:
    emulator.set_transcript("Good morning. Have some wine. A gun, a rifle and the revenue.")
    found = api.transcribe(content_safety=True, content_safety_confidence=threshold)["content_safety_labels"]
    shown = [
        {label["label"]: label["confidence"] for label in result["labels"]} for result in found["results"]
    ]
    assert shown == labels
    assert found["summary"] == {name: value for result in labels for name, value in result.items()}
    assert found["severity_score_summary"].keys() == found["summary"].keys() - {"financials"}
    for result in found["results"]:
        assert result.keys() == {"text", "labels", "sentences_idx_start", "sentences_idx_end", "timestamp"}
        assert 1 <= result["sentences_idx_start"] == result["sentences_idx_end"] <= 2


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

# SPDX-License-Identifier: Apache-2.0
"""What the scripted engine does with each parameter is what the page says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.transcripts.request_fields import FIELDS
from tests.support.emulator_api import AUDIO, Api
from tests.support.processes import until

PAGE = Path(__file__).parents[3] / "docs" / "testing" / "emulator.md"
ACTED_ON, ECHOED_ONLY = "acted on", "echoed only"
DETECT: dict[str, Any] = {"language_detection": True}
PII: dict[str, Any] = {"redact_pii": True}
AUDIO_COPY: dict[str, Any] = {**PII, "redact_pii_audio": True}
EMAIL = "Write to jo@example.com."
#: What a transcript shows of the request, beside what it shows of the result.
ECHOES = set(FIELDS) - {"language_code"}


class Example(NamedTuple):
    """Two requests that differ in one parameter.

    :param value: of the parameter in the second one.
    :param base: the other parameters of both.
    :param script: the text of the recording, where one is needed.
    :param url: options of the audio's address, likewise.
    """

    value: Any
    base: Mapping[str, Any] = MappingProxyType({})
    script: str | None = None
    url: str = ""


EXAMPLES: dict[str, Example] = {
    "audio_end_at": Example(3_000),
    "audio_start_from": Example(3_000),
    "audio_url": Example("https://example.com/other.wav"),
    "auto_chapters": Example(True),
    "auto_highlights": Example(True),
    "boost_param": Example("high", {"word_boost": ["bicycle"]}),
    "content_safety": Example(True, script="He has a gun."),
    "content_safety_confidence": Example(70, {"content_safety": True}, script="He has a gun."),
    "custom_spelling": Example([{"from": ["guy"], "to": "Guy"}], script="Ask guy."),
    "custom_topics": Example(True),
    "disfluencies": Example(True, script="Um, yes."),
    "domain": Example("medical-v1"),
    "dual_channel": Example(True),
    "entity_detection": Example(True),
    "filter_profanity": Example(True, script="Damn it."),
    "format_text": Example(False),
    "iab_categories": Example(True),
    "keyterms_prompt": Example(["bicycle"]),
    "keyterms_prompt_options.keyterms_match_strength": Example("high", {"keyterms_prompt": ["bicycle"]}),
    "language_code": Example("de"),
    "language_codes": Example(["en", "es"]),
    "language_confidence_threshold": Example(0.99, DETECT),
    "language_detection": Example(True),
    "language_detection_options.code_switching": Example(True, DETECT),
    "language_detection_options.code_switching_confidence_threshold": Example(
        0.8,
        {**DETECT, "language_detection_options": {"code_switching": True}},
        url="language:es,language_confidence:0.4",
    ),
    "language_detection_options.expected_languages": Example(["de", "fr"], DETECT),
    "language_detection_options.fallback_language": Example(
        "fr", {**DETECT, "language_detection_options": {"expected_languages": ["de", "fr"]}}
    ),
    "language_detection_options.language_detection_model": Example("newest", DETECT),
    "language_detection_options.localization": Example(["en_au"], DETECT),
    "language_detection_options.on_low_language_confidence": Example(
        "fallback", {**DETECT, "language_confidence_threshold": 0.99}
    ),
    "language_detection_options.on_no_speech_detected": Example("fallback", DETECT, url="speech:0"),
    "language_detection_options.swiss_german": Example(True, DETECT, url="language:de"),
    "multichannel": Example(True),
    "prompt": Example("A call about a bicycle."),
    "punctuate": Example(False),
    "redact_pii": Example(True),
    "redact_pii_audio": Example(True, PII, EMAIL, "duration:4"),
    "redact_pii_audio_options.override_audio_redaction_method": Example(
        "silence", AUDIO_COPY, EMAIL, "duration:4"
    ),
    "redact_pii_audio_options.return_redacted_no_speech_audio": Example(True, AUDIO_COPY, "", "duration:4"),
    "redact_pii_audio_quality": Example("wav", AUDIO_COPY, EMAIL, "duration:4"),
    "redact_pii_policies": Example(["email_address"], PII),
    "redact_pii_return_unredacted": Example(True, PII),
    "redact_pii_sub": Example("entity_name", PII),
    "redact_static_entities": Example(
        {"WORKSHOP": ["bicycle"]}, {**PII, "redact_pii_policies": []}, "The bicycle."
    ),
    "remove_audio_tags": Example("all", script="[MUSIC] Good morning."),
    "sentiment_analysis": Example(True),
    "speaker_labels": Example(True),
    "speaker_options.include_speaker_confidence": Example(True, {"speaker_labels": True}),
    "speaker_options.long_file_diarization_method": Example("experimental", {"speaker_labels": True}),
    "speaker_options.max_speakers_expected": Example(1, {"speaker_labels": True}),
    "speaker_options.min_speakers_expected": Example(3, {"speaker_labels": True}),
    "speaker_options.short_file_diarization_method": Example("aggressive", {"speaker_labels": True}),
    "speaker_options.use_two_stage_clustering": Example(True, {"speaker_labels": True}),
    "speakers_expected": Example(3, {"speaker_labels": True}),
    "speech_model": Example("best"),
    "speech_models": Example(["universal-2"]),
    "speech_threshold": Example(0.9, url="speech:0.5"),
    "speech_understanding": Example({"request": {"translation": {"target_languages": ["es"]}}}),
    "speed_boost": Example(True),
    "summarization": Example(True),
    "summary_model": Example("catchy", {"summarization": True}),
    "summary_type": Example("gist", {"summarization": True}),
    "temperature": Example(0.5),
    "throttled": Example(True),
    "topics": Example(["bicycles"]),
    "webhook_auth_header_name": Example("X-Hook", {"webhook_auth_header_value": "secret"}),
    "webhook_auth_header_value": Example("secret", {"webhook_auth_header_name": "X-Hook"}),
    "webhook_url": Example("http://127.0.0.1:9/hook"),
    "word_boost": Example(["bicycle"]),
}


def parameters() -> list[str]:
    """All parameters, those of objects with a dot; an object of which no part is known stands for itself."""
    return [
        name
        for field, declared in FIELDS.items()
        for name in ([f"{field}.{part}" for part in declared.parts] or [field])
    ]


def table() -> dict[str, str]:
    """Parameter to what the page says of it."""
    section = PAGE.read_text().partition("## Parameters of a transcript\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \| (acted on|echoed only)\b", section, re.MULTILINE)
    return {name: effect for names, effect in rows for name in re.findall(r"`([\w.]+)`", names)}


def test_the_table_has_every_parameter() -> None:
    assert sorted(table()) == sorted(parameters()) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_parameter_does_what_the_table_says(api: Api, emulator: Emulator, name: str) -> None:
    example = EXAMPLES[name]
    first, second = outcome(api, emulator, example), outcome(api, emulator, example, name)
    assert (first != second) == (table()[name] == ACTED_ON)


def outcome(api: Api, emulator: Emulator, example: Example, name: str = "") -> dict[str, Any]:
    """What comes of a request, without what only repeats it."""
    emulator.reset()
    emulator.set_transcript(example.script)
    request = {"audio_url": f"{AUDIO}?emulator={example.url}", **example.base}
    field, _, part = name.partition(".")
    if part:
        request[field] = {**example.base.get(field, {}), part: example.value}
    elif field:
        request[field] = example.value
    answer = api.call("POST", "/v2/transcript", json=request)
    assert answer.status_code == 200, answer.text
    done = api.read(answer.json()["id"])
    if "webhook_url" in request:
        until(lambda: emulator.counters()["webhook_attempts"], timeout=60, what="the webhook")
    found = {key: value for key, value in done.items() if key not in {*ECHOES, "id"}}
    return {
        **found,
        "webhook_attempts": emulator.counters()["webhook_attempts"],
        "copy": copy_of_the_audio(api, done) if request.get("redact_pii_audio") else None,
    }


def copy_of_the_audio(api: Api, done: dict[str, Any]) -> tuple[str, bytes] | None:
    path = f"/v2/transcript/{done['id']}/redacted-audio"
    until(lambda: api.get(path).status_code != 202, timeout=60, what="the copy")
    answer = api.get(path)
    if answer.status_code != 200:
        return None
    file = api.get(answer.json()["redacted_audio_url"])
    return file.headers["content-type"], file.content

# SPDX-License-Identifier: Apache-2.0
"""What the page shows of a file: known fields of known types, and nothing that was not redacted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.plugins.shown_fields import (
    as_body,
    parse_object,
    shown_row,
    shown_transcript,
)

NAME = "Rosalind Quibbleton"
HOSTS = ["media.example.com", "media.example.com:8443"]


def answer(content: bytes, hosts: list[str] | None = None) -> dict[str, Any]:
    """Return what a browser makes of the answer to a file."""
    found: dict[str, Any] = json.loads(as_body(shown_transcript(parse_object(content), hosts or [])))
    return found


def words(text: str) -> list[dict[str, Any]]:
    return [
        {"text": word, "start": number, "end": number + 1, "confidence": 0.5, "speaker": "A", "odd": 1}
        for number, word in enumerate(text.split())
    ]


def turns(text: str) -> list[dict[str, Any]]:
    return [{"speaker": "A", "start": 0, "end": 9, "text": text, "words": words(text), "odd": 1}]


def everything(*, redacted: bool) -> dict[str, Any]:
    """A transcript with all that the service can put into one; what it redacts is redacted."""
    said, quoted = ("[PERSON_NAME] speaks." if redacted else f"{NAME} speaks."), f"{NAME} speaks."
    return {
        "id": "abc",
        "status": "completed",
        "audio_url": "https://media.example.com/quibbleton.wav",
        "audio_duration": 61.5,
        "language_code": "en_us",
        "confidence": 0.9,
        "text": said,
        "words": words(said),
        "utterances": turns(said),
        "redact_pii": redacted,
        "redact_pii_policies": ["person_name"] if redacted else None,
        "unredacted_text": quoted,
        "unredacted_words": words(quoted),
        "unredacted_utterances": turns(quoted),
        "summary": quoted,
        "chapters": [{"gist": quoted, "headline": quoted, "summary": quoted, "start": 0, "end": 9}],
        "entities": [{"entity_type": "person_name", "text": NAME, "start": 0, "end": 9}],
        "sentiment_analysis_results": [
            {"text": quoted, "start": 0, "end": 9, "sentiment": "POSITIVE", "confidence": 1, "speaker": "A"}
        ],
        "auto_highlights_result": {"status": "success", "results": [{"count": 1, "text": NAME}]},
        "iab_categories_result": {"status": "success", "results": [{"text": quoted, "labels": []}]},
        "content_safety_labels": {"status": "success", "results": [{"text": quoted, "labels": []}]},
        "translated_texts": {"es": quoted},
        "keyterms_prompt": [NAME],
        "word_boost": [NAME],
        "custom_spelling": [{"from": ["x"], "to": NAME}],
        "speech_understanding": {"request": {"known": NAME}, "response": {"mapping": {"A": NAME}}},
        "metadata": {"warning": NAME},
        "webhook_url": f"https://hooks.example.com/{NAME}",
        "capture": {"turns": [{"transcript": quoted}], "llm_gateway": [{"content": quoted}]},
        "a_field_of_tomorrow": quoted,
    }


@pytest.mark.parametrize("without", ["nothing", "utterances", "words", "the mark"])
def test_of_what_was_redacted_only_the_redacted_text_is_shown(without: str) -> None:
    transcript = everything(redacted=True)
    if without in ("utterances", "words"):
        transcript["utterances"] = None
    if without == "words":
        transcript["words"] = None
    if without == "the mark":
        # It is a setting of the request, and its copies say the same.
        del transcript["redact_pii"]
    found = answer(json.dumps(transcript).encode(), HOSTS)
    text = json.dumps(found)
    assert not [name for name in NAME.split() if name.lower() in text.lower()]
    assert "[PERSON_NAME]" in text
    assert found["redact_pii"] is True
    assert found["audio_url"] is None, "the recording is not redacted"
    assert found["sentiment_analysis_results"] == [{"sentiment": "POSITIVE", "start": 0}]


def test_what_is_shown_of_a_transcript() -> None:
    transcript = everything(redacted=False)
    for name in [name for name in transcript if name.startswith("unredacted")]:
        del transcript[name]
    said = f"{NAME} speaks."
    spoken = {"speaker": "A", "channel": None}
    shown_words = [
        {"text": word, "start": number, "end": number + 1, "confidence": 0.5, **spoken}
        for number, word in enumerate(said.split())
    ]
    assert answer(json.dumps(transcript).encode(), HOSTS) == {
        "id": "abc",
        "audio_duration": 61.5,
        "language_code": "en_us",
        "confidence": 0.9,
        "text": None,
        "utterances": [{"text": said, "start": 0, "end": 9, **spoken, "words": shown_words}],
        "words": [],
        "sentiment_analysis_results": [{"sentiment": "POSITIVE", "start": 0}],
        "redact_pii": False,
        "chapters": [{"headline": said, "summary": said, "start": 0}],
        "entities": [{"entity_type": "person_name", "text": NAME, "start": 0}],
        "audio_url": "https://media.example.com/quibbleton.wav",
    }
    # Without turns the words, and without words the text.
    transcript["utterances"] = []
    found = answer(json.dumps(transcript).encode())
    assert (found["words"], found["text"], found["audio_url"]) == (shown_words, None, None)
    transcript["words"] = None
    assert answer(json.dumps(transcript).encode())["text"] == said


@pytest.mark.parametrize(
    ("address", "hosts"),
    [
        ("https://media.example.com/a/b%20c.wav", HOSTS),
        ("https://MEDIA.example.com:443/a.wav", HOSTS),
        ("https://media.example.com:8443/a.wav", HOSTS),
    ],
)
def test_a_recording_that_may_be_played(address: str, hosts: list[str]) -> None:
    assert answer(json.dumps({"audio_url": address}).encode(), hosts)["audio_url"] == address


@pytest.mark.parametrize(
    "address",
    [
        *(
            "http://media.example.com/a.wav",
            "https://example.com/a.wav",
            "https://media.example.com.evil/a.wav",
        ),
        *(
            "https://media.example.com/a.wav?X-Amz-Signature=s",
            "https://media.example.com/a.wav?",
            "file:///a.wav",
        ),
        *(
            "https://media.example.com/a.wav#s",
            "https://user:password@media.example.com/a.wav",
            "a.wav",
            "",
            None,
        ),
        *(
            "https://evil@media.example.com/a.wav",
            "https://media.example.com:9/a.wav",
            "//media.example.com/a",
            7,
        ),
        *("https://[media.example.com/a.wav", "javascript:alert(1)", ["https://media.example.com/a.wav"], {}),
    ],
)
def test_no_other_address_of_a_recording_leaves(address: object) -> None:
    found = answer(json.dumps({"audio_url": address}).encode(), HOSTS)
    assert found["audio_url"] is None
    assert "signature" not in json.dumps(found).lower()


# Files that hold something else


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"not json", b"[]", b"null", b"7", b'"text"', b"{", b'{"a": ', b"\xff\xfe\x00", b"\0", b"NaN"),
        *(b'{"a":' * 200_000, b"[" * 1_000_000, b"9" * 10_000, b'{"audio_duration": ' + b"9" * 10_000 + b"}"),
    ],
    ids=lambda content: content[:12],
)
def test_what_is_no_object(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="holds no JSON that this page knows"):
        parse_object(content)


@pytest.mark.parametrize(
    "number",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1e300",
        "9" * 400,
        "true",
        '"7"',
        "{}",
        "[7]",
        "null",
    ],
)
def test_a_number_that_is_none(number: str) -> None:
    word = f'{{"text": "a", "start": {number}, "end": {number}, "confidence": {number}, "speaker": "A"}}'
    content = f'{{"audio_duration": {number}, "confidence": {number}, "words": [{word}]}}'
    found = answer(content.encode())
    assert found["audio_duration"] is found["confidence"] is None
    (made,) = found["words"]
    assert (made["start"], made["end"], made["confidence"], made["text"]) == (None, None, None, "a")


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"a\\udc00b"', '"\\u0000"', '"\\u2028"', '"\U0001f600"', '"</script>"']
)
def test_any_text_can_be_sent(text: str) -> None:
    assert answer(f'{{"text": {text}}}'.encode())["text"] == json.loads(text)


def test_bytes_that_are_no_text() -> None:
    assert answer(b'{"text": "a\xffb\xed\xa0\x80"}')["text"].startswith("a\ufffdb")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(list(everything(redacted=True))) | st.text(max_size=3), inner, max_size=5
        )
    ),
    max_leaves=30,
)


@settings(deadline=None, database=None, derandomize=True, max_examples=500)
@given(value=st.dictionaries(st.sampled_from(list(everything(redacted=True))), JSON, max_size=12))
def test_any_object_has_an_answer(value: dict[str, Any]) -> None:
    found = answer(json.dumps(value).encode())
    assert set(found) == set(answer(b"{}"))
    for name in ("utterances", "words", "chapters", "entities", "sentiment_analysis_results"):
        assert isinstance(found[name], list)
        assert all(isinstance(one, dict) for one in found[name])


def test_a_row_of_a_manifest() -> None:
    row = {
        "source": "s3://b/a.wav",
        "status": "failed",
        "error": "It failed.",
        "error_class": 7,
        "outputs": {"json": "x"},
    }
    assert shown_row({**row, "minutes": 1.5, "text": NAME}) == {
        "source": "s3://b/a.wav",
        "transcript_id": None,
        "status": "failed",
        "error_class": None,
        "error": "It failed.",
    }


def test_the_rest_of_the_process_goes_on_meanwhile() -> None:
    """The interpreter's lock can be taken by another thread where a function of Python's begins: at each turn it does."""
    count = 1000
    transcript = {"utterances": turns("a few words") * count, "redact_pii": False}
    content = json.dumps(transcript).encode()
    parsed = parse_object(content)
    shown = shown_transcript(parsed, [])
    assert calls_in(lambda: parse_object(content)) > count
    assert calls_in(lambda: shown_transcript(parsed, [])) > count
    assert calls_in(lambda: as_body(shown)) > count
    assert calls_in(lambda: json.loads(content)) < count, "which is not so by itself"


def calls_in(step: Callable[[], object]) -> int:
    """Return how many functions of Python's begin in a step."""
    count = 0

    def look(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(look)
    try:
        step()
    finally:
        sys.setprofile(None)
    return count

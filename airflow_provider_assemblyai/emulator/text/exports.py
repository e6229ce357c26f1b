# SPDX-License-Identifier: Apache-2.0
"""Subtitles, sentences, paragraphs and word search, made from the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.engines import Word
from airflow_provider_assemblyai.emulator.text.formatting import bare
from airflow_provider_assemblyai.emulator.text.results import (
    Results,
    Span,
    mean_confidence,
    paragraphs,
    sentences,
)

DEFAULT_CHARS_PER_CAPTION = 128
LONGEST_PHRASE = 5


def srt(results: Results, chars_per_caption: int | None) -> str:
    """SubRip subtitles.

    :param results: of a completed job.
    :param chars_per_caption: most characters in a caption; one long word may exceed it.
    """
    cues = [
        f"{number}\n{_time(cue.start, ',', hours=True)} --> {_time(cue.end, ',', hours=True)}\n{cue.text}\n"
        for number, cue in enumerate(_cues(results.words, chars_per_caption), start=1)
    ]
    return "\n".join(cues)


def vtt(results: Results, chars_per_caption: int | None) -> str:
    """WebVTT subtitles.

    :param results: of a completed job.
    :param chars_per_caption: most characters in a caption; one long word may exceed it.
    """
    cues = [
        f"{_time(cue.start, '.', hours=False)} --> {_time(cue.end, '.', hours=False)}\n{cue.text}\n"
        for cue in _cues(results.words, chars_per_caption)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _cues(words: Sequence[Word], limit: int | None) -> list[Span]:
    most = limit or DEFAULT_CHARS_PER_CAPTION
    cues: list[Span] = []
    for sentence in sentences(words):
        current: list[Word] = []
        length = 0
        for word in sentence.words:
            if current and length + 1 + len(word.text) > most:
                cues.append(Span(current))
                current, length = [], 0
            length += len(word.text) + (1 if current else 0)
            current.append(word)
        cues.append(Span(current))
    return sorted(cues, key=lambda cue: cue.start)


def _time(milliseconds: int, mark: str, *, hours: bool) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    front = f"{hour:02}:" if hours or hour else ""
    return f"{front}{minute:02}:{seconds:02}{mark}{thousandths:03}"


def word_object(word: Word) -> dict[str, Any]:
    """A word as the API shows it; the channel only where channels were separated."""
    shown: dict[str, Any] = {
        "text": word.text,
        "start": word.start,
        "end": word.end,
        "confidence": word.confidence,
        "speaker": word.speaker,
    }
    if word.channel is not None:
        shown["channel"] = word.channel
    return shown


def span_object(span: Span, *, speaker: bool) -> dict[str, Any]:
    """An utterance, sentence or paragraph as the API shows it.

    :param span: its words.
    :param speaker: paragraphs do not name theirs.
    """
    shown: dict[str, Any] = {
        "text": span.text,
        "start": span.start,
        "end": span.end,
        "confidence": span.confidence,
        "words": [word_object(word) for word in span.words],
    }
    if speaker:
        shown["speaker"] = span.speaker
        if span.channel is not None:
            shown["channel"] = span.channel
    return shown


def sentences_object(transcript_id: str, model: str, results: Results) -> dict[str, Any]:
    """The answer of ``/sentences``."""
    return {
        **_head(transcript_id, model, results),
        "sentences": [span_object(span, speaker=True) for span in sentences(results.words)],
    }


def paragraphs_object(transcript_id: str, model: str, results: Results) -> dict[str, Any]:
    """The answer of ``/paragraphs``."""
    return {
        **_head(transcript_id, model, results),
        "paragraphs": [span_object(span, speaker=False) for span in paragraphs(results.words)],
    }


def _head(transcript_id: str, model: str, results: Results) -> dict[str, Any]:
    return {
        "id": transcript_id,
        "confidence": mean_confidence(results.words),
        "audio_duration": round(results.duration),
        "speech_model_used": model,
    }


def word_search(transcript_id: str, results: Results, terms: Sequence[str]) -> dict[str, Any]:
    """The answer of ``/word-search``: one match per term that occurs, with the places of its first words.

    :param transcript_id: of a completed job.
    :param results: of the same.
    :param terms: words, numbers, or phrases of up to five words.
    :raises ApiError: 400 without terms, or for a longer phrase.
    """
    wanted = [term.strip() for term in terms if term.strip()]
    if not wanted:
        raise ApiError(400, "words is required")
    heard = [bare(word.text) for word in results.words]
    matches = []
    for term in dict.fromkeys(wanted):
        phrase = [bare(part) for part in term.split()]
        if len(phrase) > LONGEST_PHRASE:
            raise ApiError(400, f"words: a phrase must contain at most {LONGEST_PHRASE} words")
        places = list(_places(heard, phrase))
        if places:
            last = len(phrase) - 1
            matches.append(
                {
                    "text": term,
                    "count": len(places),
                    "timestamps": [[results.words[at].start, results.words[at + last].end] for at in places],
                    "indexes": places,
                }
            )
    return {
        "id": transcript_id,
        "total_count": sum(int(str(m["count"])) for m in matches),
        "matches": matches,
    }


def _places(heard: Sequence[str], phrase: Sequence[str]) -> Iterator[int]:
    if not any(phrase):
        return
    for at in range(len(heard) - len(phrase) + 1):
        if list(heard[at : at + len(phrase)]) == list(phrase):
            yield at

# SPDX-License-Identifier: Apache-2.0
"""Subtitles, sentences, paragraphs and word search, made from the words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.speech import Word
from airflow_provider_assemblyai.emulator.text.formatting import bare
from airflow_provider_assemblyai.emulator.text.results import (
    Results,
    Span,
    mean_confidence,
    paragraphs,
    sentences,
)

DEFAULT_CHARS_PER_CAPTION = 128
MAX_PHRASE_WORDS = 5


def srt(results: Results, chars_per_caption: int | None) -> str:
    """SubRip subtitles.

    :param results: of a completed job.
    :param chars_per_caption: most characters in a caption; one long word may exceed it.
    """
    captions = _captions(results.words, chars_per_caption, ",", hours=True)
    return "\n".join(f"{number}\n{caption}" for number, caption in enumerate(captions, start=1))


def vtt(results: Results, chars_per_caption: int | None) -> str:
    """WebVTT subtitles; see :func:`srt`."""
    return "\n".join(["WEBVTT\n", *_captions(results.words, chars_per_caption, ".", hours=False)])


def _captions(words: Sequence[Word], limit: int | None, separator: str, *, hours: bool) -> Iterator[str]:
    for span in sorted(
        _caption_spans(words, limit or DEFAULT_CHARS_PER_CAPTION), key=lambda span: span.start
    ):
        start, end = (_time(moment, separator, hours=hours) for moment in (span.start, span.end))
        yield f"{start} --> {end}\n{span.text}\n"


def _caption_spans(words: Sequence[Word], limit: int) -> Iterator[Span]:
    for sentence in sentences(words):
        current: list[Word] = []
        length = 0
        for word in sentence.words:
            if current and length + 1 + len(word.text) > limit:
                yield Span(current)
                current, length = [], 0
            length += len(word.text) + (1 if current else 0)
            current.append(word)
        yield Span(current)


def _time(milliseconds: int, separator: str, *, hours: bool) -> str:
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    prefix = f"{hour:02}:" if hours or hour else ""
    return f"{prefix}{minute:02}:{seconds:02}{separator}{thousandths:03}"


def word_object(word: Word) -> dict[str, Any]:
    """A word as the API shows it; the channel only where channels were separated."""
    shown = word._asdict()
    if word.channel is None:
        del shown["channel"]
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
    shown = [span_object(span, speaker=True) for span in sentences(results.words)]
    return {**_summary(transcript_id, model, results), "sentences": shown}


def paragraphs_object(transcript_id: str, model: str, results: Results) -> dict[str, Any]:
    """The answer of ``/paragraphs``."""
    shown = [span_object(span, speaker=False) for span in paragraphs(results.words)]
    return {**_summary(transcript_id, model, results), "paragraphs": shown}


def _summary(transcript_id: str, model: str, results: Results) -> dict[str, Any]:
    return {
        "id": transcript_id,
        "confidence": mean_confidence(results.words),
        "audio_duration": round(results.recognition.duration),
        "speech_model_used": model,
    }


def word_search(transcript_id: str, results: Results, terms: Sequence[str]) -> dict[str, Any]:
    """The answer of ``/word-search``: one match per term that occurs, with the positions of its first words.

    :param transcript_id: of a completed job.
    :param results: of the same.
    :param terms: words, numbers, or phrases of up to five words.
    :raises ApiError: 400 without terms, or for a longer phrase.
    """
    terms = [term.strip() for term in terms if term.strip()]
    if not terms:
        raise ApiError(400, "words is required")
    spoken = [bare(word.text) for word in results.words]
    matches: list[dict[str, Any]] = []
    for term in dict.fromkeys(terms):
        phrase = [bare(part) for part in term.split()]
        if len(phrase) > MAX_PHRASE_WORDS:
            raise ApiError(400, f"words: a phrase must contain at most {MAX_PHRASE_WORDS} words")
        indexes = [at for at in range(len(spoken)) if any(phrase) and spoken[at : at + len(phrase)] == phrase]
        if indexes:
            ends = [results.words[at + len(phrase) - 1].end for at in indexes]
            times = [[results.words[at].start, end] for at, end in zip(indexes, ends, strict=True)]
            matches.append({"text": term, "count": len(indexes), "timestamps": times, "indexes": indexes})
    return {
        "id": transcript_id,
        "total_count": sum(match["count"] for match in matches),
        "matches": matches,
    }

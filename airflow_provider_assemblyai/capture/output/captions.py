# SPDX-License-Identifier: Apache-2.0
"""Subtitles out of words, in the form in which the service hands them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

#: What the service puts into a caption at most, if nobody says otherwise.
DEFAULT_CHARS: Final = 128
_STOPS: Final = (".", "?", "!", "…")
#: Milliseconds of silence that end a caption: it would stand there long after it was said.
_PAUSE: Final = 1_500


def srt(turns: Iterable[Sequence[Mapping[str, Any]]], chars: int | None = None) -> str:
    """
    Return SubRip subtitles.

    :param turns: the words of each.
    :param chars: characters in a caption at most.
    """
    cues = [
        f"{number}\n{_time(words[0]['start'], ',', hours=True)} --> {_time(words[-1]['end'], ',', hours=True)}\n"
        f"{_text(words)}\n"
        for number, words in enumerate(_cues(turns, chars or DEFAULT_CHARS), start=1)
    ]
    return "\n".join(cues)


def vtt(turns: Iterable[Sequence[Mapping[str, Any]]], chars: int | None = None) -> str:
    """
    Return WebVTT subtitles.

    :param turns: the words of each.
    :param chars: characters in a caption at most.
    """
    cues = [
        f"{_time(words[0]['start'], '.', hours=False)} --> {_time(words[-1]['end'], '.', hours=False)}\n"
        f"{_text(words)}\n"
        for words in _cues(turns, chars or DEFAULT_CHARS)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _cues(turns: Iterable[Sequence[Mapping[str, Any]]], chars: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    for turn in turns:
        cue: list[Mapping[str, Any]] = []
        length = 0
        for word in turn:
            full = length + 1 + len(word["text"]) > chars
            if cue and (full or cue[-1]["text"].endswith(_STOPS) or word["start"] - cue[-1]["end"] > _PAUSE):
                yield cue
                cue, length = [], 0
            length += len(word["text"]) + (1 if cue else 0)
            cue.append(word)
        if cue:
            yield cue


def _text(words: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(str(word["text"]) for word in words)


def _time(milliseconds: int, mark: str, *, hours: bool) -> str:
    seconds, thousandths = divmod(int(milliseconds), 1000)
    minutes, seconds = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    front = f"{hour:02}:" if hours or hour else ""
    return f"{front}{minute:02}:{seconds:02}{mark}{thousandths:03}"

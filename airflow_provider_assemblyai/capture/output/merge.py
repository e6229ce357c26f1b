# SPDX-License-Identifier: Apache-2.0
"""
From the segments of a capture to one transcript, and to what is missing in it. Pure.

Times are milliseconds from the start of the recording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

#: A shorter gap is none: sessions and sources do not begin at the very moment they are asked to.
_MIN_GAP_MS: Final = 1_000
#: Labels of words whose speaker is not known.
_NO_SPEAKER: Final = ("UNKNOWN", "PENDING", "")

Span = tuple[int, int]


class Gap(TypedDict, total=False):
    """
    What is missing.

    :ivar start: seconds from the start of the recording.
    :ivar end: likewise.
    :ivar missing: ``audio``: nothing was recorded. ``text``: it was recorded, but the service has not heard it.
    :ivar channel: which one, where there are two.
    """

    start: float
    end: float
    missing: str
    channel: int


class CaptureSummary(TypedDict):
    """
    What the operator returns: small and JSON.

    :ivar status: ``completed``; ``partial`` if something is missing, see ``gaps``.
    :ivar region: ``us`` or ``eu``, where the sessions were.
    :ivar session_ids: of the streaming sessions, in order.
    :ivar started: when recording began: ISO 8601, UTC.
    :ivar ended: when the last audio was recorded.
    :ivar ended_by: ``duration`` (it was over), ``source`` (it ended), ``silence`` (``stop_when_silent``) or ``failure``.
    :ivar captured_seconds: of recorded audio.
    :ivar turns: how many.
    :ivar words: how many.
    :ivar reconnects: sessions that took over after a connection broke.
    :ivar gaps: what is missing.
    :ivar billed_session_seconds: of all sessions.
    :ivar transcript_id: of the job that ``fallback`` submitted, or None.
    :ivar text: the whole text with ``push_text``, or None.
    :ivar warnings: what was different from what was asked.
    :ivar outputs: format -> URI of what was written; ``wav`` is the audio.
    :ivar estimated_cost_usd: of the sessions, and of the job that ``fallback`` submitted, by list price; 0 if the task
        re-used a result, None if there is no estimate.
    """

    status: str
    region: str
    session_ids: list[str]
    started: str
    ended: str
    ended_by: str
    captured_seconds: float
    turns: int
    words: int
    reconnects: int
    gaps: list[Gap]
    billed_session_seconds: float
    transcript_id: str | None
    text: str | None
    warnings: list[str]
    outputs: dict[str, str]
    estimated_cost_usd: float | None


class AudioFile(TypedDict):
    """A WAV file of one stretch of the recording."""

    name: str
    start_ms: int
    end_ms: int


class Segment(TypedDict, total=False):
    """
    What one try has stored since its last segment.

    :ivar messages: turns and other messages, oldest first.
    :ivar sessions: what is known by now of all sessions of the try.
    :ivar recorded: stretches of audio, start and end of each.
    :ivar audio_files: where they are, if audio is stored.
    :ivar reconnects: of the try.
    :ivar ended_by: what ended the recording; None while it goes on.
    :ivar failure: why there is no more text, or no more audio; empty if nothing went wrong.
    """

    version: int
    messages: list[dict[str, Any]]
    sessions: list[Any]
    recorded: list[Span]
    audio_files: list[AudioFile]
    reconnects: int
    ended_by: str | None
    failure: str


@dataclass
class CaptureData:
    """
    Everything that the tries of a capture have stored; see :class:`Segment`.

    :ivar sessions: session id -> the last that was stored of it.
    :ivar lost_audio: stretches that should have been stored with their audio, and are not.
    :ivar reconnects: over all tries.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    recorded: list[Span] = field(default_factory=list)
    audio_files: list[AudioFile] = field(default_factory=list)
    lost_audio: list[Span] = field(default_factory=list)
    ended_by: str | None = None
    failure: str = ""
    reconnects: int = 0

    def add(self, segment: Segment) -> None:
        """Add what one segment holds."""
        self.messages += segment["messages"]
        self.sessions |= {session["id"]: session for session in segment["sessions"]}
        self.recorded += [(start, end) for start, end in segment["recorded"]]
        self.audio_files += segment["audio_files"]
        self.ended_by, self.failure = segment["ended_by"], segment["failure"]

    @property
    def end_ms(self) -> int:
        """Where the last audio ends."""
        return max((end for _, end in self.recorded), default=0)

    @property
    def captured_ms(self) -> int:
        return sum(end - start for start, end in join_spans(self.recorded))

    @property
    def billed_seconds(self) -> float:
        return round(sum(float(session["billed_seconds"]) for session in self.sessions.values()), 1)

    def turns(self) -> list[dict[str, Any]]:
        """Return the turns in the order in which they were spoken, with numbers that are unique."""
        latest: dict[tuple[str, Any], dict[str, Any]] = {}
        for message in self.messages:
            if message["type"] == "Turn":
                latest[message["session_id"], message.get("turn_order")] = message
            elif message["type"] == "SpeakerRevision":
                for revision in message.get("revisions") or []:
                    key = (message["session_id"], revision.get("turn_order"))
                    if key in latest:
                        latest[key] = _with_speakers(latest[key], revision)
        found = [turn for turn in latest.values() if turn.get("words") or turn.get("transcript")]
        found.sort(key=lambda turn: (_start_ms(turn), turn["channel"]))
        return [
            {**turn, "turn_order": number, "session_turn_order": turn.get("turn_order")}
            for number, turn in enumerate(found)
        ]

    def messages_of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a kind, other than turns."""
        return [
            {name: value for name, value in message.items() if name != "type"}
            for message in self.messages
            if message["type"] == kind
        ]

    def gaps(self, end_ms: int, channels: int) -> list[Gap]:
        """
        Return what is missing.

        :param end_ms: end of what should be there.
        :param channels: 1 or 2.
        """
        kept = [span for span in self.recorded if span not in self.lost_audio]
        found: list[Gap] = [_gap(span, "audio") for span in missing_spans([(0, end_ms)], kept)]
        for channel in range(1, channels + 1):
            heard = [
                (session["start_ms"], session["heard_until_ms"])
                for session in self.sessions.values()
                if session["channel"] == channel
            ]
            for span in missing_spans(join_spans(self.recorded), heard):
                gap = _gap(span, "text")
                found.append(gap if channels == 1 else {**gap, "channel": channel})
        return sorted(found, key=lambda gap: gap["start"])


def _start_ms(turn: Mapping[str, Any]) -> int:
    words = turn.get("words") or []
    return int(words[0]["start"]) if words else 0


def _with_speakers(turn: dict[str, Any], revision: Mapping[str, Any]) -> dict[str, Any]:
    """Only speakers are revised: text and times stay."""
    words, revised = turn.get("words") or [], revision.get("words") or []
    if len(words) == len(revised):
        words = [
            {**word, "speaker": other.get("speaker")} for word, other in zip(words, revised, strict=True)
        ]
    return {**turn, "words": words, "speaker_label": revision.get("speaker_label")}


def _gap(span: Span, missing: str) -> Gap:
    return {"start": span[0] / 1000, "end": span[1] / 1000, "missing": missing}


def join_spans(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order; those that touch become one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > start:
            found.append((start, end))
    return found


def missing_spans(expected: Sequence[Span], covered: Iterable[Span]) -> list[Span]:
    """Return the parts of ``expected`` that are not covered and long enough to matter."""
    found = []
    covers = join_spans(covered)
    for start, end in expected:
        at = start
        for cover_start, cover_end in covers:
            if cover_end <= at or cover_start >= end:
                continue
            if cover_start - at >= _MIN_GAP_MS:
                found.append((at, cover_start))
            at = max(at, cover_end)
        if end - at >= _MIN_GAP_MS:
            found.append((at, end))
    return found


def transcript(data: CaptureData, turns: Sequence[dict[str, Any]], channels: int) -> dict[str, Any]:
    """
    Return a transcript in the form of the pre-recorded ones, so that the same tools can read it.

    :param data: what was captured.
    :param turns: of it.
    :param channels: 1 or 2; with 2 every word names its channel.
    """
    utterances = [_utterance(turn, channels) for turn in turns]
    words = sorted((word for each in utterances for word in each["words"]), key=lambda word: word["start"])
    languages = Counter(turn["language_code"] for turn in turns if turn.get("language_code"))
    models = [session["speech_model"] for session in data.sessions.values() if session.get("speech_model")]
    return {
        "id": next(iter(data.sessions), None),
        "status": "completed",
        "text": " ".join(each["text"] for each in utterances if each["text"]),
        "words": words,
        "utterances": utterances,
        "confidence": _confidence(words),
        "audio_duration": round(data.end_ms / 1000, 3),
        "audio_channels": channels,
        "language_code": languages.most_common(1)[0][0] if languages else None,
        "speech_model_used": models[-1] if models else None,
    }


def _utterance(turn: Mapping[str, Any], channels: int) -> dict[str, Any]:
    label = turn.get("speaker_label")
    speaker = None if label in _NO_SPEAKER else label
    channel = {} if channels == 1 else {"channel": str(turn["channel"])}
    words: list[dict[str, Any]] = [
        {
            "text": word.get("text", ""),
            "start": word["start"],
            "end": word["end"],
            "confidence": word.get("confidence"),
            "speaker": speaker if word.get("speaker") in (None, *_NO_SPEAKER) else word["speaker"],
            **channel,
        }
        for word in turn.get("words") or []
    ]
    return {
        "speaker": speaker,
        "text": turn.get("transcript") or " ".join(word["text"] for word in words),
        "start": words[0]["start"] if words else 0,
        "end": words[-1]["end"] if words else 0,
        "confidence": _confidence(words),
        "words": words,
        **channel,
    }


def _confidence(words: Sequence[Mapping[str, Any]]) -> float | None:
    known = [word["confidence"] for word in words if isinstance(word["confidence"], int | float)]
    return round(sum(known) / len(known), 4) if known else None

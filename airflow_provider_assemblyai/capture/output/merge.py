# SPDX-License-Identifier: Apache-2.0
"""
From what was written during a capture to one transcript, and to what is missing in it. Pure.

Times are milliseconds from the begin of the box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

#: A hole below this is none: sessions and sources do not begin at the very moment they are asked to.
_LEAST_GAP: Final = 1_000
#: Labels that mean that nobody knows.
_NOBODY: Final = ("UNKNOWN", "PENDING", "")

Span = tuple[int, int]


class Gap(TypedDict, total=False):
    """
    What is missing.

    :ivar start: seconds from the begin of the box.
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
    :ivar started: when the box was opened: ISO 8601, UTC.
    :ivar ended: when the last sound was recorded.
    :ivar ended_by: ``box``, ``source`` (it ended), ``silent`` (``stop_when_silent``) or ``failed``.
    :ivar captured_seconds: recorded sound.
    :ivar turns: how many.
    :ivar words: how many.
    :ivar reconnects: sessions that took over after a connection broke.
    :ivar gaps: what is missing.
    :ivar billed_session_seconds: of all sessions.
    :ivar transcript_id: of the job that ``fallback`` submitted, or None.
    :ivar text: the whole text with ``push_text``, or None.
    :ivar warnings: what was different from what was asked.
    :ivar outputs: format -> URI of what was written; ``wav`` is the sound.
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


@dataclass
class CaptureData:
    """
    Everything that the tries of a capture have written.

    :ivar things: turns and other messages, oldest first.
    :ivar sessions: session id -> the last that was noted of it.
    :ivar recorded: runs of sound.
    :ivar sounds: runs of sound that are kept, and the name of the file of each.
    :ivar ended: why it ended, or None if it was cut off.
    :ivar failure: why there is no more text, or no more sound; empty if nothing went wrong.
    :ivar reconnects: over all tries.
    """

    things: list[dict[str, Any]] = field(default_factory=list)
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    recorded: list[Span] = field(default_factory=list)
    sounds: list[tuple[int, int, str]] = field(default_factory=list)
    ended: str | None = None
    failure: str = ""
    reconnects: int = 0

    def add(self, segment: Mapping[str, Any]) -> None:
        """Add what one segment holds."""
        self.things += segment.get("things") or []
        self.sessions |= {note["id"]: note for note in segment.get("sessions") or []}
        self.recorded += [(start, end) for start, end in segment.get("recorded") or []]
        self.sounds += [(start, end, name) for start, end, name in segment.get("sounds") or []]
        self.ended = segment.get("ended")
        self.failure = segment.get("failure") or ""

    @property
    def end(self) -> int:
        """Where the last sound ends."""
        return max((end for _, end in self.recorded), default=0)

    @property
    def captured_ms(self) -> int:
        return sum(end - start for start, end in joined(self.recorded))

    @property
    def billed(self) -> float:
        return round(sum(float(note["billed_seconds"]) for note in self.sessions.values()), 1)

    def turns(self) -> list[dict[str, Any]]:
        """Return the turns in the order in which they were said, with numbers that are unique."""
        last: dict[tuple[str, Any], dict[str, Any]] = {}
        for thing in self.things:
            if thing["kind"] == "turn":
                last[thing["session"], thing.get("turn_order")] = thing
            elif thing["kind"] == "SpeakerRevision":
                for revision in thing.get("revisions") or []:
                    key = (thing["session"], revision.get("turn_order"))
                    if key in last:
                        last[key] = _relabelled(last[key], revision)
        found = [turn for turn in last.values() if turn.get("words") or turn.get("transcript")]
        found.sort(key=lambda turn: (_start(turn), turn["channel"]))
        return [
            {**turn, "turn_order": number, "session_turn_order": turn.get("turn_order")}
            for number, turn in enumerate(found)
        ]

    def others(self, kind: str) -> list[dict[str, Any]]:
        """Return the other messages of a kind."""
        return [
            {name: value for name, value in thing.items() if name not in ("kind", "type")}
            for thing in self.things
            if thing["kind"] == kind
        ]

    def gaps(self, until: int, channels: int) -> list[Gap]:
        """
        Return what is missing.

        :param until: end of what should be there.
        :param channels: 1 or 2.
        """
        found: list[Gap] = [_gap(span, "audio") for span in holes([(0, until)], self.recorded)]
        for channel in range(1, channels + 1):
            heard = [
                (note["begin"], note["heard"])
                for note in self.sessions.values()
                if note["channel"] == channel
            ]
            for span in holes(joined(self.recorded), heard):
                gap = _gap(span, "text")
                found.append(gap if channels == 1 else {**gap, "channel": channel})
        return sorted(found, key=lambda gap: gap["start"])


def _start(turn: Mapping[str, Any]) -> int:
    words = turn.get("words") or []
    return int(words[0]["start"]) if words else 0


def _relabelled(turn: dict[str, Any], revision: Mapping[str, Any]) -> dict[str, Any]:
    """Only labels are revised: text and times stay."""
    words, revised = turn.get("words") or [], revision.get("words") or []
    if len(words) == len(revised):
        words = [
            {**word, "speaker": other.get("speaker")} for word, other in zip(words, revised, strict=True)
        ]
    return {**turn, "words": words, "speaker_label": revision.get("speaker_label")}


def _gap(span: Span, missing: str) -> Gap:
    return {"start": span[0] / 1000, "end": span[1] / 1000, "missing": missing}


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, those that touch made one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        elif end > start:
            found.append((start, end))
    return found


def holes(whole: Sequence[Span], covered: Iterable[Span]) -> list[Span]:
    """Return the parts of ``whole`` that are not covered and long enough to matter."""
    found = []
    cover = joined(covered)
    for start, end in whole:
        at = start
        for begin, stop in cover:
            if stop <= at or begin >= end:
                continue
            if begin - at >= _LEAST_GAP:
                found.append((at, begin))
            at = max(at, stop)
        if end - at >= _LEAST_GAP:
            found.append((at, end))
    return found


def transcript(material: CaptureData, turns: Sequence[dict[str, Any]], channels: int) -> dict[str, Any]:
    """
    Return a transcript in the form of the pre-recorded ones, so that the same tools can read it.

    :param material: what was captured.
    :param turns: of it.
    :param channels: 1 or 2; with 2 every word names its channel.
    """
    utterances = [_utterance(turn, channels) for turn in turns]
    words = sorted((word for each in utterances for word in each["words"]), key=lambda word: word["start"])
    sure = [word["confidence"] for word in words if isinstance(word.get("confidence"), int | float)]
    languages = Counter(turn["language_code"] for turn in turns if turn.get("language_code"))
    models = [note["model"] for note in material.sessions.values() if note.get("model")]
    return {
        "id": next(iter(material.sessions), None),
        "status": "completed",
        "text": " ".join(each["text"] for each in utterances if each["text"]),
        "words": words,
        "utterances": utterances,
        "confidence": round(sum(sure) / len(sure), 4) if sure else None,
        "audio_duration": round(material.end / 1000, 3),
        "audio_channels": channels,
        "language_code": languages.most_common(1)[0][0] if languages else None,
        "speech_model_used": models[-1] if models else None,
    }


def _utterance(turn: Mapping[str, Any], channels: int) -> dict[str, Any]:
    label = turn.get("speaker_label")
    speaker = None if label in _NOBODY else label
    words = []
    for word in turn.get("words") or []:
        own = word.get("speaker")
        shown = {
            "text": word.get("text", ""),
            "start": word["start"],
            "end": word["end"],
            "confidence": word.get("confidence"),
            "speaker": speaker if own in (None, *_NOBODY) else own,
        }
        words.append(shown if channels == 1 else {**shown, "channel": str(turn["channel"])})
    sure = [word["confidence"] for word in words if isinstance(word["confidence"], int | float)]
    utterance = {
        "speaker": speaker,
        "text": turn.get("transcript") or " ".join(word["text"] for word in words),
        "start": words[0]["start"] if words else 0,
        "end": words[-1]["end"] if words else 0,
        "confidence": round(sum(sure) / len(sure), 4) if sure else None,
        "words": words,
    }
    return utterance if channels == 1 else {**utterance, "channel": str(turn["channel"])}

# SPDX-License-Identifier: Apache-2.0
"""The Turn messages of both model families.

The older family (``universal-streaming-*``) only ever adds final words, unformatted, and with
``format_turns`` says an ended turn a second time, formatted. The newer ones replace the whole turn with
each message, and format the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.live_speech import PartialTurn
from airflow_provider_assemblyai.emulator.engines import Word
from airflow_provider_assemblyai.emulator.streaming.parameters import SessionParameters
from airflow_provider_assemblyai.emulator.text import formatting as wording
from airflow_provider_assemblyai.emulator.text import redaction

_SPEAKERS = "AB"
#: What a turn too short to tell its speaker is labelled with until a revision.
PENDING = "PENDING"
_SURE_WORDS = 3


class Turns:
    """One session's turns: what was heard becomes messages.

    :param wishes: of the session; replaced when it changes.
    :param one_speaker: whether the engine tells nobody apart.
    """

    def __init__(self, wishes: SessionParameters, *, one_speaker: bool) -> None:
        self.wishes = wishes
        self.final: list[dict[str, Any]] = []
        self._one_speaker = one_speaker
        self._order = 0
        self._told: list[Word] = []
        self._last: dict[str, Any] | None = None

    def messages(self, heard: PartialTurn) -> list[dict[str, Any]]:
        """What to send now; nothing when it says nothing new.

        :param heard: the current turn.
        """
        if self.wishes.replaces:
            return self._replacing(heard)
        return self._adding(heard)

    def revision(self, since: int) -> dict[str, Any] | None:
        """Labels for the turns that had none for sure, or ``None``.

        :param since: the first turn to look at.
        """
        revised = []
        for turn in self.final:
            if turn["turn_order"] >= since and turn.get("speaker_label") == PENDING:
                label = self._speaker(turn["turn_order"])
                turn["speaker_label"] = label
                turn["words"] = [{**word, "speaker": label} for word in turn["words"]]
                revised.append({key: turn[key] for key in ("turn_order", "speaker_label", "words")})
        return {"type": "SpeakerRevision", "revisions": revised} if revised else None

    def _replacing(self, heard: PartialTurn) -> list[dict[str, Any]]:
        once = self.wishes.values.get("continuous_partials") is False and self._last is not None
        if not heard.ended and (not self.wishes.partials or once):
            return []
        message = self._message(
            self._worded(heard.words),
            len(heard.words) if heard.ended else heard.settled,
            said=len(heard.words),
            formatted=heard.ended,
            ended=heard.ended,
            confidence=1.0 if heard.ended else 0.0,
        )
        return self._send([message], ended=heard.ended)

    def _adding(self, heard: PartialTurn) -> list[dict[str, Any]]:
        # A word that was final once stays as it was told, whatever the engine thinks now.
        words = [*self._told, *_after(self._told, heard.words)]
        settled = max(len(self._told), len(words) if heard.ended else heard.settled)
        self._told = words[:settled]
        if not heard.ended and not self.wishes.partials:
            return []
        plain = [word._replace(text=wording.bare(word.text) or word.text) for word in self._worded(words)]
        confidence = 0.92 if heard.ended else 0.12
        made = [
            self._message(
                plain, settled, said=settled, formatted=False, ended=heard.ended, confidence=confidence
            )
        ]
        if heard.ended and self.wishes.on("format_turns"):
            formatted = self._worded(words)
            made.append(
                self._message(
                    formatted, settled, said=settled, formatted=True, ended=True, confidence=confidence
                )
            )
        return self._send(made, ended=heard.ended)

    def _send(self, made: list[dict[str, Any]], *, ended: bool) -> list[dict[str, Any]]:
        if ended:
            self.final.append(made[-1])
            self._order += 1
            self._told, self._last = [], None
            return made
        # The first word of a turn is only told when the turn has any.
        if made[-1] == self._last or not made[-1]["words"]:
            return []
        self._last = made[-1]
        return made

    def _worded(self, words: Sequence[Word]) -> list[Word]:
        values = self.wishes.values
        worded = wording.prepare(
            words, {"disfluencies": True, "filter_profanity": values.get("filter_profanity")}
        )
        if values.get("redact_pii"):
            entities = redaction.find(worded, values.get("redact_pii_policies"), {})
            worded = redaction.redact(worded, entities, values.get("redact_pii_sub") or "hash")
        return worded

    def _message(
        self,
        words: Sequence[Word],
        settled: int,
        *,
        said: int,
        formatted: bool,
        ended: bool,
        confidence: float,
    ) -> dict[str, Any]:
        label = self._label(len(words))
        text = " ".join(word.text for word in words[:said])
        message: dict[str, Any] = {
            "type": "Turn",
            "turn_order": self._order,
            "turn_is_formatted": formatted,
            "end_of_turn": ended,
            "transcript": text,
            "utterance": text if ended else "",
            "end_of_turn_confidence": confidence,
            "words": [
                {
                    "text": word.text,
                    "start": word.start,
                    "end": word.end,
                    "confidence": round(word.confidence, 4),
                    "word_is_final": number < settled,
                    **({"speaker": label} if label else {}),
                }
                for number, word in enumerate(words)
            ],
        }
        if self.wishes.on("language_detection"):
            message |= {"language_code": "en", "language_confidence": 0.99}
        if label:
            message["speaker_label"] = label
        return message

    def _label(self, words: int) -> str | None:
        if not self.wishes.on("speaker_labels"):
            return None
        revised = "speaker_labels_revision_interval_ms" in self.wishes.values
        return PENDING if revised and words < _SURE_WORDS else self._speaker(self._order)

    def _speaker(self, order: int) -> str:
        most = 1 if self._one_speaker else self.wishes.values.get("max_speakers", len(_SPEAKERS))
        return _SPEAKERS[order % min(most, len(_SPEAKERS))]


def _after(told: Sequence[Word], words: Sequence[Word]) -> list[Word]:
    """The words behind those that were told: by time, as an engine may hear more or fewer later."""
    if not told:
        return list(words)
    last = told[-1]
    return [word for word in words if (word.start + word.end) / 2 > last.end]

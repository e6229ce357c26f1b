# SPDX-License-Identifier: Apache-2.0
"""The Turn messages of both model families.

The older family (``universal-streaming-*``) only ever adds final words, unformatted, and with
``format_turns`` sends an ended turn a second time, formatted. The newer ones replace the whole turn with
each message, and format the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core.speech import PartialTurn, Word
from airflow_provider_assemblyai.emulator.streaming.parameters import SENTENCE_CONFIDENCE, SessionParameters
from airflow_provider_assemblyai.emulator.text.formatting import bare, format_words, spell_terms
from airflow_provider_assemblyai.emulator.text.redaction import redact

_SPEAKERS = "ABCDEFGHIJ"
_USUAL_SPEAKERS = 2
#: Label of a turn that is too short for a speaker, until a revision.
PENDING = "PENDING"
_MIN_LABELLED_WORDS = 3
# By whether the family replaces turns, and whether the turn has ended.
_CONFIDENCES = {
    (True, True): 1.0,
    (True, False): 0.0,
    (False, True): SENTENCE_CONFIDENCE,
    (False, False): 0.12,
}


class Turns:
    """One session's turns, as messages.

    :param parameters: of the session; replaced when they change.
    :param one_speaker: whether the engine tells no speakers apart.
    :ivar ended: the last message of each turn that has ended.
    """

    def __init__(self, parameters: SessionParameters, *, one_speaker: bool) -> None:
        self.parameters = parameters
        self.ended: list[dict[str, Any]] = []
        self._one_speaker = one_speaker
        self._final_words: list[Word] = []
        self._last_message: dict[str, Any] | None = None

    def messages(self, turn: PartialTurn) -> list[dict[str, Any]]:
        """The messages to send now; none when nothing has changed.

        :param turn: the current turn.
        """
        messages = self._replacing(turn) if self.parameters.replaces_turns else self._adding(turn)
        if turn.end_of_turn:
            self.ended.append(messages[-1])
            self._final_words, self._last_message = [], None
            return messages
        # A turn without words has no message.
        if not messages or messages[-1] == self._last_message or not messages[-1]["words"]:
            return []
        self._last_message = messages[-1]
        return messages

    def revision(self, first: int) -> dict[str, Any] | None:
        """Labels for the turns that had none, or ``None``.

        :param first: the first turn to look at.
        """
        revised = []
        for turn in self.ended[first:]:
            if turn.get("speaker_label") == PENDING:
                label = self._speaker(turn["turn_order"])
                turn["speaker_label"] = label
                turn["words"] = [{**word, "speaker": label} for word in turn["words"]]
                revised.append({key: turn[key] for key in ("turn_order", "speaker_label", "words")})
        return {"type": "SpeakerRevision", "revisions": revised} if revised else None

    def _replacing(self, turn: PartialTurn) -> list[dict[str, Any]]:
        one_partial = self.parameters.values.get("continuous_partials") is False
        skipped = not self.parameters.partial_turns or (one_partial and self._last_message is not None)
        if (skipped or self._is_too_early(turn)) and not turn.end_of_turn:
            return []
        final = len(turn.words) if turn.end_of_turn else turn.final_words
        return [self._message(self._formatted(turn.words), final, turn, formatted=turn.end_of_turn)]

    def _is_too_early(self, turn: PartialTurn) -> bool:
        delay = self.parameters.values.get("interruption_delay", 0)
        return bool(turn.words) and turn.words[-1].end - turn.words[0].start < delay

    def _adding(self, turn: PartialTurn) -> list[dict[str, Any]]:
        # A word that was sent as final stays as it is, whatever the engine recognises now.
        words = [*self._final_words, *_later_words(self._final_words, turn.words)]
        final = max(len(self._final_words), len(words) if turn.end_of_turn else turn.final_words)
        self._final_words = words[:final]
        if not turn.end_of_turn and not self.parameters.partial_turns:
            return []
        formatted = self._formatted(words)
        plain = [word._replace(text=bare(word.text) or word.text) for word in formatted]
        messages = [self._message(plain, final, turn, formatted=False)]
        if turn.end_of_turn and self.parameters.enabled("format_turns"):
            messages.append(self._message(formatted, final, turn, formatted=True))
        return messages

    def _formatted(self, words: Sequence[Word]) -> list[Word]:
        values = self.parameters.values
        fields = {"disfluencies": True, "filter_profanity": values.get("filter_profanity")}
        spelled = spell_terms(format_words(words, fields), self.parameters.key_terms)
        return redact(spelled, values)[0]

    def _message(
        self, words: Sequence[Word], final: int, turn: PartialTurn, *, formatted: bool
    ) -> dict[str, Any]:
        replaces, ended = self.parameters.replaces_turns, turn.end_of_turn
        label = self._label(len(words))
        text = " ".join(word.text for word in (words if replaces else words[:final]))
        message: dict[str, Any] = {
            "type": "Turn",
            "turn_order": len(self.ended),
            "turn_is_formatted": formatted,
            "end_of_turn": ended,
            "transcript": text,
            "utterance": text if ended else "",
            "end_of_turn_confidence": _CONFIDENCES[replaces, ended],
            "words": [
                {
                    "text": word.text,
                    "start": word.start,
                    "end": word.end,
                    "confidence": round(word.confidence, 4),
                    "word_is_final": number < final,
                    **({"speaker": label} if label else {}),
                }
                for number, word in enumerate(words)
            ],
        }
        if self.parameters.enabled("language_detection"):
            message |= {"language_code": self.parameters.language, "language_confidence": 0.99}
        if label:
            message["speaker_label"] = label
        return message

    def _label(self, words: int) -> str | None:
        if not self.parameters.enabled("speaker_labels"):
            return None
        revised = "speaker_labels_revision_interval_ms" in self.parameters.values
        return PENDING if revised and words < _MIN_LABELLED_WORDS else self._speaker(len(self.ended))

    def _speaker(self, turn_order: int) -> str:
        count = 1 if self._one_speaker else self.parameters.values.get("max_speakers", _USUAL_SPEAKERS)
        return _SPEAKERS[turn_order % count]


def _later_words(sent: Sequence[Word], words: Sequence[Word]) -> list[Word]:
    """The words behind those that were sent: by time, as an engine may recognise more or fewer later."""
    return [word for word in words if not sent or (word.start + word.end) / 2 > sent[-1].end]

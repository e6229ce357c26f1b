# SPDX-License-Identifier: Apache-2.0
"""
A capture on disk: rolling segments while it goes on, one transcript and one sound file at its end.

Object stores cannot append, so every segment is a whole object: a JSON file with the turns that ended since the
last one, and WAV files of at most a minute. A process that is killed loses what came after the last of them.
They lie in ``<output_path>/.assemblyai/<name>.<digest>/``, named by the try and a number.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, StateUnknown, StorageError
from airflow_provider_assemblyai.api.streaming import BYTES_MS
from airflow_provider_assemblyai.capture.audio.pcm import header
from airflow_provider_assemblyai.capture.audio.sources import silence
from airflow_provider_assemblyai.capture.output import captions
from airflow_provider_assemblyai.capture.output.merge import CaptureData
from airflow_provider_assemblyai.capture.runner import CaptureProgress
from airflow_provider_assemblyai.storage.outputs import OutputFiles, as_json, store_errors

FORMATS: Final = ("json", "txt", "srt", "vtt")
LONGEST: Final = 60.0
_VERSION: Final = 1
_BLOCK: Final = 1 << 20
_BLOCK_MS: Final = 1_000
_HEADER: Final = len(header(0, 1))
#: The last segment is written again after these seconds if the store has a bad moment.
_AGAIN: Final = (1.0, 4.0)


def check_formats(formats: object) -> tuple[str, ...]:
    """
    Return the formats, without repeats.

    :raises InvalidInput: for one that a capture does not have, or an empty list.
    """
    if isinstance(formats, str) or not isinstance(formats, Sequence) or not formats:
        raise InvalidInput("formats must be a list with at least one format.")
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise InvalidInput(f"formats: {unknown}: choose from {', '.join(FORMATS)}.")
    return tuple(dict.fromkeys(formats))


class SegmentStore:
    """
    The segments of one capture, over all its tries.

    :param outputs: where the results go.
    :param owner: whose capture it is: a task instance.
    :param channels: 1 or 2.
    """

    def __init__(self, outputs: OutputFiles, owner: Sequence[object], channels: int) -> None:
        digest = hashlib.sha256(json.dumps([str(part) for part in owner]).encode()).hexdigest()
        self._folder = outputs.prefix / ".assemblyai" / f"{outputs.name}.{digest[:16]}"
        self._outputs = outputs
        self._channels = channels

    def file(self, name: str) -> OutputFiles:
        return OutputFiles(self._folder, name)

    def read(self, tries: int) -> CaptureData:
        """
        Return everything that was written.

        :param tries: how many there were.
        :raises CannotTell: a segment cannot be read; a retry may help.
        """
        material = CaptureData()
        for number in range(1, tries + 1):
            reconnects = index = 0
            while (text := self.file(_name(number, index)).read("json")) is not None:
                try:
                    segment = json.loads(text)
                    material.add(segment)
                except (ValueError, KeyError, TypeError, AttributeError):
                    where = self.file(_name(number, index)).uri("json")
                    raise StateUnknown(f"The segment {where} cannot be read.") from None
                reconnects = segment.get("reconnects", 0)
                index += 1
            material.reconnects += reconnects
        return material

    def merged_sound(self, material: CaptureData) -> str:
        """Write the whole recording as one WAV file, with silence where nothing was recorded."""
        return self._outputs.write("wav", self._blocks(material))

    def _blocks(self, material: CaptureData) -> Iterator[bytes]:
        step = BYTES_MS * self._channels
        sounds = sorted(material.sounds)
        at = 0
        yield header(max((end for _, end, _ in sounds), default=0) * step, self._channels)
        for start, end, name in sounds:
            while at < start:
                pause = min(_BLOCK_MS, start - at)
                yield silence(pause, self._channels)
                at += pause
            if at >= end:
                continue
            path = self._folder / f"{name}.wav"
            with store_errors("output_path", str(path)), path.open("rb") as file:
                file.seek(_HEADER + (at - start) * step)
                while block := file.read(_BLOCK):
                    yield block
            at = end

    def forget_sound(self, material: CaptureData) -> None:
        """Remove the pieces of sound; they are in the merged file."""
        for _, _, name in material.sounds:
            path = self._folder / f"{name}.wav"
            with store_errors("output_path", str(path)):
                if path.fs.exists(path.path):
                    path.fs.rm(path.path)


def _name(number: int, index: int) -> str:
    return f"{number:03d}-{index:05d}"


class SegmentWriter:
    """
    Writes the segments of one try.

    :param segments: of the capture.
    :param number: of the try, from 1.
    :param channels: 1 or 2.
    :param keep_sound: whether the sound is written, too.
    :param start: milliseconds of the box at which the try begins.
    :param say: logs a sentence.
    """

    def __init__(
        self,
        segments: SegmentStore,
        number: int,
        channels: int,
        *,
        keep_sound: bool,
        start: int,
        say: Callable[..., None],
    ) -> None:
        self._segments, self._number, self._channels = segments, number, channels
        self._keep_sound, self._say = keep_sound, say
        self._until = start
        self._index = 0
        self._pending: dict[str, list[Any]] = {"things": [], "recorded": [], "sounds": []}

    def keep(self, state: CaptureProgress) -> None:
        """
        Write what is new.

        :raises StorageError: at the very end, if the store did not take it in several attempts.
        """
        for wait in (*_AGAIN, None) if state.ended is not None else (None,):
            try:
                self._keep(state)
            except AssemblyAIError as error:
                if state.ended is not None and wait is None:
                    raise
                self._say("A segment could not be written, and will be with the next one: %s", error)
                time.sleep(wait or 0.0)
            else:
                return

    def _keep(self, state: CaptureProgress) -> None:
        self._pending["things"] += state.take()
        for start, end in state.spool.runs(self._until):
            if self._keep_sound:
                self._write_sound(state, start, end)
            else:
                self._pending["recorded"].append((start, end))
                self._until = end
        content = {
            "v": _VERSION,
            **self._pending,
            "sessions": state.notes,
            "reconnects": state.reconnects,
            "ended": state.ended,
            "failure": str(state.failure or ""),
        }
        name = _name(self._number, self._index)
        self._segments.file(name).write("json", as_json(content))
        self._index += 1
        self._pending = {"things": [], "recorded": [], "sounds": []}
        state.spool.done_with("keep", self._until)

    def _write_sound(self, state: CaptureProgress, start: int, end: int) -> None:
        while start < end:
            stop = min(end, start + round(LONGEST * 1000))
            name = f"{_name(self._number, self._index)}-{start}"
            self._segments.file(name).write("wav", self._cut(state, start, stop))
            self._pending["sounds"].append((start, stop, name))
            self._pending["recorded"].append((start, stop))
            self._until = start = stop

    def _cut(self, state: CaptureProgress, start: int, stop: int) -> Iterator[bytes]:
        step = BYTES_MS * self._channels
        yield header((stop - start) * step, self._channels)
        while start < stop:
            _, sound = state.spool.read(start, min(_BLOCK_MS, stop - start))
            if not sound:
                raise StorageError("The recorded sound is not there any more.")
            yield sound
            start += len(sound) // step


def write_texts(
    outputs: OutputFiles,
    formats: Sequence[str],
    whole: dict[str, Any],
    *,
    chars_per_caption: int | None,
) -> dict[str, str]:
    """
    Write the files of a transcript, and return format -> URI.

    :param outputs: where to.
    :param formats: of :data:`FORMATS`.
    :param whole: the transcript.
    :param chars_per_caption: characters that a caption may have.
    """
    words = [each["words"] for each in whole["utterances"]]
    made: dict[str, Callable[[], str]] = {
        "json": lambda: as_json(whole),
        "txt": lambda: f"{whole.get('text') or ''}\n",
        "srt": lambda: captions.srt(words, chars_per_caption),
        "vtt": lambda: captions.vtt(words, chars_per_caption),
    }
    return {name: outputs.write(name, made[name]()) for name in formats}

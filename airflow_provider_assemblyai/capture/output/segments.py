# SPDX-License-Identifier: Apache-2.0
"""
A capture on disk while it goes on: rolling segments, and one audio file at its end.

Object stores cannot append, so every segment is a whole object: a JSON file with the turns that ended since the
last one, and WAV files of at most a minute. A process that is killed loses what came after the last of them.
They lie in ``<output_path>/.assemblyai/<name>.<digest>/``, named by the try and a number.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypedDict, cast

from airflow_provider_assemblyai.api.errors import AssemblyAIError, StateUnknown, StorageError
from airflow_provider_assemblyai.capture.audio.pcm import silence
from airflow_provider_assemblyai.capture.config import MAX_SEGMENT, CaptureConfig
from airflow_provider_assemblyai.capture.output.merge import (
    AudioFile,
    CaptureData,
    Segment,
    join_spans,
    transcript,
)
from airflow_provider_assemblyai.capture.runner import CaptureProgress
from airflow_provider_assemblyai.capture.streaming.channel import SessionInfo
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, as_json, store_errors
from airflow_provider_assemblyai.storage.media import wav_header
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import RecordKind, open_record, parse_object, seal

_BLOCK: Final = 1 << 20
_BLOCK_MS: Final = 1_000
#: Milliseconds in one file of a segment.
_MAX_FILE_MS: Final = round(MAX_SEGMENT * 1000)
_HEADER_SIZE: Final = len(wav_header(0, 1))
#: The last segment is written again after these seconds if the store has a bad moment.
_RETRY_AFTER: Final = (1.0, 4.0)


class _WordFields(TypedDict, total=False):
    text: str
    start: int
    end: int


class _MessageFields(TypedDict, total=False):
    type: str
    session_id: str
    channel: int
    words: list[_WordFields] | None
    revisions: list[dict[str, Any]] | None


class _SegmentFields(TypedDict, total=False):
    messages: list[_MessageFields]
    sessions: list[SessionInfo]
    recorded: list[list[int]]
    audio_files: list[AudioFile]
    reconnects: int
    ended_by: str | None
    failure: str


_SEGMENT: Final = RecordKind(_SegmentFields, tuple(_SegmentFields.__annotations__))


class SegmentStore:
    """
    The segments of one capture, over all its tries.

    :param outputs: where the results would go if no other capture had that name.
    :param owner: whose capture it is: a task instance.
    :param config: of the capture.
    """

    def __init__(self, outputs: OutputFiles, owner: Sequence[object], config: CaptureConfig) -> None:
        digest = hashlib.sha256(json.dumps([str(part) for part in owner]).encode()).hexdigest()
        self.folder = ObjectFolder(outputs.prefix / ".assemblyai" / f"{outputs.name}.{digest[:16]}")
        self.config = config

    def read(self, tries: int) -> CaptureData:
        """
        Return everything that was stored.

        :param tries: how many there were.
        :raises StateUnknown: a segment cannot be read; a retry may help.
        """
        try:
            return self._read(tries)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            # What a version without checksums wrote may be damaged in its parts.
            raise StateUnknown(f"The segments in {self.folder.path} are damaged.") from None

    def _read(self, tries: int) -> CaptureData:
        data = CaptureData()
        for number in range(1, tries + 1):
            reconnects = index = 0
            while (content := self.folder.read_bytes(name := f"{_name(number, index)}.json")) is not None:
                where = f"The segment {self.folder.path / name}"
                segment = open_record(parse_object(content, where), _SEGMENT, where)
                data.add(cast("Segment", segment))
                reconnects = segment["reconnects"]
                index += 1
            data.reconnects += reconnects
        # All that is made of it later is made once here, where an error still names the place.
        transcript(data, data.turns(), self.config.channels)
        data.gaps(self.config.end_ms, self.config.channels)
        _ = data.billed_seconds, data.captured_ms
        return data

    def merge_audio(self, data: CaptureData, outputs: OutputFiles) -> str | None:
        """
        Write the whole recording as one WAV file, with silence where nothing was recorded; None if no audio is stored.

        What was recorded but could not be stored is a gap from here on.
        """
        stored = set(self.folder.names())
        files = [file for file in data.audio_files if f"{file['name']}.wav" in stored]
        data.lost_audio = [
            (file["start_ms"], file["end_ms"]) for file in data.audio_files if file not in files
        ]
        return outputs.write("wav", self._merged_blocks(files)) if files else None

    def _merged_blocks(self, files: list[AudioFile]) -> Iterator[bytes]:
        channels, bytes_per_ms = self.config.channels, self.config.bytes_per_ms
        files = sorted(files, key=lambda file: (file["start_ms"], file["end_ms"]))
        at = 0
        yield wav_header(max((file["end_ms"] for file in files), default=0) * bytes_per_ms, channels)
        for stored in files:
            while at < stored["start_ms"]:
                pause = min(_BLOCK_MS, stored["start_ms"] - at)
                yield silence(pause, channels)
                at += pause
            if at >= stored["end_ms"]:
                continue
            path = self.folder.path / f"{stored['name']}.wav"
            with store_errors("output_path", str(path)), path.fs.open(path.path, "rb") as file:
                file.seek(_HEADER_SIZE + (at - stored["start_ms"]) * bytes_per_ms)
                while block := file.read(_BLOCK):
                    yield block
            at = stored["end_ms"]

    def delete_audio(self, data: CaptureData) -> None:
        """Delete the audio files of the segments: the merged file holds them."""
        for stored in data.audio_files:
            self.folder.remove([f"{stored['name']}.wav"])


def _name(number: int, index: int) -> str:
    return f"{number:03d}-{index:05d}"


class SegmentWriter:
    """
    Writes the segments of one try: first what was heard, which is small, then the audio.

    Audio that the store does not take is written with a later segment; until then the spool keeps it.

    :param segments: of the capture.
    :param log: of the task.
    """

    def __init__(self, segments: SegmentStore, log: Any) -> None:
        self._segments, self._config, self._log = segments, segments.config, log
        self._number = self._index = self._written_ms = 0
        self._pending = _empty()
        self._unwritten: deque[AudioFile] = deque()

    def begin(self, number: int, start_ms: int) -> None:
        """
        Note which try has begun.

        :param number: of the try, from 1.
        :param start_ms: time of the recording at which it begins.
        """
        self._number, self._written_ms = number, start_ms

    def save(self, progress: CaptureProgress) -> None:
        """
        Write what is new.

        :raises StorageError: at the very end, if the store did not take it in several attempts.
        """
        final = progress.ended_by is not None
        for wait in (*_RETRY_AFTER, None) if final else (None,):
            try:
                return self._save(progress)
            except AssemblyAIError as error:
                if final and wait is None:
                    raise
                self._log.warning("A segment could not be written, and will be with the next one: %s", error)
            time.sleep(wait or 0.0)
        return None

    def _save(self, progress: CaptureProgress) -> None:
        pending = self._pending
        pending["messages"] += progress.take_messages()
        for start, end in join_spans(progress.spool.spans(self._written_ms)):
            for at in range(start, end, _MAX_FILE_MS):
                self._add_recorded(at, min(end, at + _MAX_FILE_MS))
        content: Segment = {
            **pending,
            "sessions": progress.sessions,
            "reconnects": progress.reconnects,
            "ended_by": progress.ended_by,
            "failure": str(progress.failure or ""),
        }
        self._segments.folder.write(f"{_name(self._number, self._index)}.json", as_json(seal(content)))
        self._index += 1
        self._pending = _empty()
        try:
            while self._unwritten:
                file = self._unwritten[0]
                blocks = self._wav_blocks(progress, file["start_ms"], file["end_ms"])
                self._segments.folder.write(f"{file['name']}.wav", blocks)
                self._unwritten.popleft()
        finally:
            needed = self._unwritten[0]["start_ms"] if self._unwritten else self._written_ms
            progress.spool.release_before("segments", needed)

    def _add_recorded(self, start: int, end: int) -> None:
        if self._config.stores_audio:
            name = f"{_name(self._number, self._index)}-{start}"
            file: AudioFile = {"name": name, "start_ms": start, "end_ms": end}
            self._pending["audio_files"].append(file)
            self._unwritten.append(file)
        self._pending["recorded"].append((start, end))
        self._written_ms = end

    def _wav_blocks(self, progress: CaptureProgress, start: int, end: int) -> Iterator[bytes]:
        bytes_per_ms = self._config.bytes_per_ms
        yield wav_header((end - start) * bytes_per_ms, self._config.channels)
        while start < end:
            _, audio = progress.spool.read(start, min(_BLOCK_MS, end - start))
            if not audio:
                raise StorageError("The recorded audio is not there any more.")
            yield audio
            start += len(audio) // bytes_per_ms


def _empty() -> Segment:
    return {"messages": [], "recorded": [], "audio_files": []}

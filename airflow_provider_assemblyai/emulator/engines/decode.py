# SPDX-License-Identifier: Apache-2.0
"""Decoding: any usual audio or video file to 16-bit samples at 16 kHz, channel by channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from airflow_provider_assemblyai.emulator.core.errors import JobError, not_audio
from airflow_provider_assemblyai.emulator.core.media import HEAD_BYTES, media_type

SAMPLE_RATE = 16_000


@dataclass(frozen=True, slots=True)
class DecodedAudio:
    """The samples of a file.

    :param channels: 16-bit samples, one array for each channel.
    """

    channels: list[Any]

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.channels[0]) / SAMPLE_RATE if self.channels else 0.0

    def section(self, start: int, end: int | None) -> DecodedAudio:
        """A part of the audio.

        :param start: milliseconds.
        :param end: milliseconds; ``None`` for the end of the file.
        """
        first, last = start * SAMPLE_RATE // 1000, None if end is None else end * SAMPLE_RATE // 1000
        return DecodedAudio([channel[first:last] for channel in self.channels])

    def mono(self) -> Any:
        """All channels mixed, as floats between -1 and 1."""
        mixed = np.zeros(len(self.channels[0]), dtype=np.float32)
        for channel in self.channels:
            mixed += channel
        return mixed / (32768.0 * len(self.channels))

    def separate(self) -> list[Any]:
        """Each channel, as floats between -1 and 1."""
        return [channel.astype(np.float32) / 32768.0 for channel in self.channels]


def decode(path: Path) -> DecodedAudio:
    """Read a file.

    :param path: the file, in any format that FFmpeg knows.
    :raises JobError: with the service's text, when there is no audio in it.
    """
    try:
        with av.open(str(path), mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise not_audio("video/mp4", "no audio stream")
            return _read(container)
    except (av.error.FFmpegError, ValueError) as error:
        raise _unreadable(path) from error


def _read(container: Any) -> DecodedAudio:
    stream = container.streams.audio[0]
    count = stream.codec_context.channels or 1
    resampler = av.AudioResampler(format="s16p", layout=stream.codec_context.layout.name, rate=SAMPLE_RATE)
    parts = [np.zeros((count, 0), dtype=np.int16)]
    for frame in (*container.decode(stream), None):
        if frame is not None:
            frame.pts = None  # gaps between packets would make the resampler refuse
        parts.extend(part.to_ndarray() for part in resampler.resample(frame))
    samples = np.concatenate(parts, axis=1)
    return DecodedAudio([np.ascontiguousarray(row) for row in samples])


def _unreadable(path: Path) -> JobError:
    with path.open("rb") as file:
        found = media_type(file.read(HEAD_BYTES))
    return not_audio(found or "application/octet-stream", "ASCII text" if found == "text/plain" else "data")

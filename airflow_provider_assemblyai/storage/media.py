# SPDX-License-Identifier: Apache-2.0
"""What media files hold: the header of a WAV file, and the samples of anything that PyAV can decode."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Generator, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from airflow_provider_assemblyai.api.streaming import SAMPLE_RATE

_PCM: Final = 1
_EXTENSIBLE: Final = 0xFFFE
#: From here on a length is none: programs that write to a pipe put such values there.
_UNKNOWN_SIZE: Final = 0xFFFF_FF00
#: The same for a length of 64 bits.
_LARGEST_SIZE: Final = 1 << 62


class PcmFormat(NamedTuple):
    """
    The format of plain PCM.

    :param rate: samples a second.
    :param channels: interleaved.
    :param size: bytes of audio, or None if it is read to its end.
    """

    rate: int
    channels: int
    size: int | None = None


def read_header(read: Callable[[int], bytes]) -> PcmFormat | None:
    """
    Read a WAV header up to the first sample; None if it holds no plain 16-bit PCM.

    :param read: returns exactly that many bytes, or fewer at the end.
    """
    if read(12)[8:] != b"WAVE":
        return None
    found: PcmFormat | None = None
    long_size: int | None = None
    while len(head := read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"data":
            return found and found._replace(size=long_size if size == 0 or size >= _UNKNOWN_SIZE else size)
        content = read(size + size % 2)
        if name == b"ds64" and len(content) >= 16:
            # Where RF64 has its sizes; one that was written by a stream has none there either.
            stated = struct.unpack("<Q", content[8:16])[0]
            long_size = stated if 0 < stated < _LARGEST_SIZE else None
        if name == b"fmt " and len(content) >= 16:
            kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            if kind == _EXTENSIBLE and len(content) >= 26:
                kind = struct.unpack("<H", content[24:26])[0]
            if (kind, bits) != (_PCM, 16) or not channels or not rate:
                return None
            found = PcmFormat(rate, channels)
    return None


def wav_header(size: int, channels: int, rate: int = SAMPLE_RATE) -> bytes:
    """
    Return the header of a WAV file.

    :param size: bytes of audio.
    :param channels: interleaved.
    :param rate: samples a second.
    """
    step = 2 * channels
    size = min(size, _UNKNOWN_SIZE)  # what is longer than 37 hours is read to its end
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE"),
        *(b"fmt ", 16, _PCM, channels, rate, rate * step, step, 16),
        *(b"data", size),
    )


def load_av() -> Any:
    """Return PyAV, or None if it is not installed; importing it takes a moment."""
    try:
        import av
    except ImportError:
        return None
    return av


def decode(av: Any, content: bytes) -> Generator[bytes, None, None]:
    """
    Yield the samples of a media file, mixed to one channel of 16 bits at 16 kHz.

    :param av: from :func:`load_av`.
    :param content: the whole file.
    :raises ValueError: there is no audio in it, or it cannot be decoded.
    """
    # A playlist names other files and addresses. There is no protocol of this name, so none of them is opened.
    options = {"protocol_whitelist": "none"}
    try:
        with av.open(io.BytesIO(content), options=options) as container:
            if not container.streams.audio:
                raise ValueError("it holds no audio")
            stream = container.streams.audio[0]
            stream.thread_type = "NONE"
            yield from resample(av, container, stream, 1)
    except (av.FFmpegError, OSError, OverflowError) as error:
        raise ValueError(str(error)) from None


def resample(av: Any, container: Any, stream: Any, channels: int) -> Iterator[bytes]:
    """
    Yield the samples of a stream at 16 kHz.

    :param av: from :func:`load_av`.
    :param container: that is open.
    :param stream: one of its audio streams.
    :param channels: 1 or 2.
    """
    resampler = av.AudioResampler("s16", "mono" if channels == 1 else "stereo", SAMPLE_RATE)
    for frame in chain(_frames(av, container, stream), (None,)):
        for resampled in resampler.resample(frame):
            yield bytes(resampled.planes[0])[: resampled.samples * 2 * channels]


def _frames(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a broken packet of a station: the next one is fine
        for frame in frames:
            frame.pts = None  # a station's own time may jump, and does not count here
            yield frame

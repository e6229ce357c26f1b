# SPDX-License-Identifier: Apache-2.0
"""
Where a capture gets its sound from; all of it becomes 16-bit samples at 16 kHz.

Plain WAV files, raw PCM, pipes and callables need nothing more; everything else is decoded by PyAV.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.errors import InvalidInput, SourceFailed
from airflow_provider_assemblyai.api.sanitize import sanitize, strip_url
from airflow_provider_assemblyai.api.streaming import BYTES_MS, SAMPLE_RATE
from airflow_provider_assemblyai.capture.audio.pcm import Converter, PcmFormat, read_header

NETWORK: Final = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps")
_RAW: Final = (".pcm", ".raw", ".s16le")
#: First bytes of what has to be decoded, to be told from raw samples in a pipe.
_ENCODED: Final = (
    b"OggS",
    b"fLaC",
    b"ID3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf1",
    b"\xff\xf9",
    b"\x1aE\xdf\xa3",
)
#: Seconds to open an address, and to wait for more of it.
_TIMEOUTS: Final = (10.0, 15.0)
_BLOCK: Final = 1 << 14
#: Seconds that a pipe may have no writer at the begin.
_WRITER: Final = 60.0


@dataclass(frozen=True)
class PcmSource:
    """
    A source of sound that seems to exist.

    :param shown: what may be said of it in logs and messages.
    :param blocks: yields samples from a number of milliseconds on; fewer than asked for are left out where a
        source cannot go to a place. Raises :class:`SourceFailed` when it breaks.
    :param goes_on: whether an end means that it broke, as with a radio station.
    :param seeks: whether it begins at the place that is asked for.
    """

    shown: str
    blocks: Callable[[int], Iterator[bytes]]
    goes_on: bool = False
    seeks: bool = False


def open_source(source: object, channels: int, stopped: Callable[[], bool] = lambda: False) -> PcmSource:
    """
    Find the source and refuse at once what cannot work.

    :param source: a local file, a named pipe, an address, or a callable that yields PCM.
    :param channels: 1 or 2.
    :param stopped: tells whether nobody listens any more.
    :raises InvalidInput: it is missing, of an unknown kind, or needs something that is not installed.
    """
    if callable(source):
        name = getattr(source, "__name__", type(source).__name__)
        return PcmSource(f"callable {name}", lambda _: _called(source, channels))
    if not isinstance(source, str | os.PathLike) or not str(source).strip():
        raise InvalidInput(f"source must be an address, a path or a callable, not {type(source).__name__}.")
    text = str(source).strip()
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in NETWORK:
        if not _host(text):
            raise InvalidInput(f"source: {strip_url(text)} is not an address with a host.")
        _need_av(text)
        return PcmSource(
            strip_url(text), lambda skip: _decoded(text, channels, skip, endless=True), goes_on=True
        )
    if scheme and scheme != "file":
        raise InvalidInput(
            f"source: a capture cannot read {scheme}:// addresses; a local file or a stream it can."
        )
    path = Path(text.removeprefix("file://"))
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise InvalidInput(f"source: {path} cannot be read: {error.strerror}.") from None
    if stat.S_ISFIFO(mode):
        return PcmSource(str(path), lambda _: _piped(path, channels, stopped))
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"source: {path} is neither a file nor a named pipe.")
    if path.suffix.lower() in _RAW:
        return PcmSource(
            str(path), lambda skip: _plain(path, channels, skip, PcmFormat(SAMPLE_RATE, channels)), seeks=True
        )
    form = _form(path)
    if form is None or (form.rate != SAMPLE_RATE and _av() is not None):
        _need_av(str(path))
        return PcmSource(str(path), lambda skip: _decoded(str(path), channels, skip), seeks=True)
    if channels > form.channels:
        raise InvalidInput(f"source: {path} has one channel, and channels=2 needs two.")
    return PcmSource(str(path), lambda skip: _plain(path, channels, skip, None), seeks=True)


def _host(text: str) -> str | None:
    try:
        return urlsplit(text).hostname
    except ValueError:
        return None


def _av() -> Any:
    try:
        import av
    except ImportError:
        return None
    return av


def _need_av(what: str) -> None:
    if _av() is None:
        raise InvalidInput(
            f"source: {strip_url(what) if '://' in what else what} has to be decoded, and PyAV is not installed: "
            "install airflow-provider-assemblyai[media]."
        )


def _form(path: Path) -> PcmFormat | None:
    with path.open("rb") as file:
        return read_header(file.read)


def _plain(path: Path, channels: int, skip: int, form: PcmFormat | None) -> Iterator[bytes]:
    """Samples of a file: raw ones of a known form, or those of a WAV file."""
    with path.open("rb") as file:
        found = form or read_header(file.read)
        if found is None:
            raise SourceFailed(f"source: {path} is not plain WAV any more.")
        step = 2 * found.channels
        file.seek(skip * found.rate // 1000 * step, os.SEEK_CUR)
        left = None if found.size is None else found.size - skip * found.rate // 1000 * step
        yield from _converted(file.read, found._replace(size=left), channels)


def _converted(read: Callable[[int], bytes], form: PcmFormat, channels: int) -> Iterator[bytes]:
    convert = Converter(form, channels)
    step, left = 2 * form.channels, form.size
    rest = b""
    while left is None or left > 0:
        block = read(_BLOCK if left is None else min(_BLOCK, left))
        if not block:
            return
        left = None if left is None else left - len(block)
        block = rest + block
        whole = len(block) - len(block) % step
        rest = block[whole:]
        if whole:
            yield convert(block[:whole])


def _called(source: Callable[[], Iterable[bytes]], channels: int) -> Iterator[bytes]:
    step, rest = 2 * channels, b""
    for block in source():
        if not isinstance(block, bytes | bytearray | memoryview):
            raise InvalidInput(f"source: the callable must yield bytes, not {type(block).__name__}.")
        whole = rest + bytes(block)
        cut = len(whole) - len(whole) % step
        rest = whole[cut:]
        if cut:
            yield whole[:cut]


class _Pipe:
    """A named pipe, read so that nobody waits for ever for somebody to write."""

    def __init__(self, path: Path, stopped: Callable[[], bool]) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._path, self._stopped = path, stopped
        self._written = False

    def close(self) -> None:
        os.close(self._descriptor)

    def some(self, size: int) -> bytes:
        """Return what is there as soon as there is something; nothing when the writer has ended."""
        end = time.monotonic() + _WRITER
        watched = select.poll()
        watched.register(self._descriptor, select.POLLIN)
        while not self._stopped():
            if watched.poll(200):
                block = os.read(self._descriptor, size)
                if block or self._written:
                    self._written = True
                    return block
                # Readable and empty: nobody has opened it for writing yet.
                time.sleep(0.05)
            if not self._written and time.monotonic() > end:
                raise SourceFailed(f"source: nobody wrote to {self._path} for {_WRITER:.0f} s.")
        return b""

    def read(self, size: int) -> bytes:
        """Return exactly that many bytes, or fewer at the end."""
        parts: list[bytes] = []
        while size > 0 and (block := self.some(size)):
            parts.append(block)
            size -= len(block)
        return b"".join(parts)


class _Ahead:
    """Bytes that were looked at, and then the rest."""

    def __init__(self, seen: bytes, read: Callable[[int], bytes]) -> None:
        self._seen, self._read = seen, read

    def read(self, size: int) -> bytes:
        head, self._seen = self._seen[:size], self._seen[size:]
        return head if len(head) == size else head + self._read(size - len(head))

    def some(self, size: int) -> bytes:
        head, self._seen = self._seen[:size], self._seen[size:]
        return head or self._read(size)


def _piped(path: Path, channels: int, stopped: Callable[[], bool]) -> Iterator[bytes]:
    with closing(_Pipe(path, stopped)) as pipe:
        first = pipe.read(4)
        if first == b"RIFF":
            form = read_header(_Ahead(first, pipe.read).read)
            if form is None or form.channels < channels:
                raise InvalidInput(
                    f"source: the WAV in {path} is not plain 16-bit sound of {channels} channels."
                )
            yield from _converted(pipe.some, form, channels)
        elif first.startswith(_ENCODED):
            _need_av(str(path))
            yield from _decoded(_Ahead(first, pipe.read), channels, 0)
        else:
            yield from _converted(_Ahead(first, pipe.some).some, PcmFormat(SAMPLE_RATE, channels), channels)


def _decoded(what: Any, channels: int, skip: int, *, endless: bool = False) -> Iterator[bytes]:
    """
    Decode with PyAV.

    :param what: an address, a path, or something to read from.
    :param channels: 1 or 2.
    :param skip: milliseconds.
    :param endless: whether an end is a failure, unless the length was known from the start.
    """
    av = _av()
    shown = "source" if not isinstance(what, str) else f"source: {strip_url(what) if '://' in what else what}"
    try:
        with av.open(what, timeout=_TIMEOUTS) as container:
            if not container.streams.audio:
                raise InvalidInput(f"{shown} holds no sound.")
            stream = container.streams.audio[0]
            if channels > stream.codec_context.layout.nb_channels:
                raise InvalidInput(f"{shown} has one channel, and channels=2 needs two.")
            stream.thread_type = "NONE"
            known = container.duration is not None
            if skip and known:
                container.seek(skip * 1000)
            yield from _resampled(av, container, stream, channels)
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise SourceFailed(f"{shown} cannot be read: {sanitize(str(error))}.") from None
    if endless and not known:
        raise SourceFailed(f"{shown} has stopped.")


def _resampled(av: Any, container: Any, stream: Any, channels: int) -> Iterator[bytes]:
    resampler = av.AudioResampler("s16", "mono" if channels == 1 else "stereo", SAMPLE_RATE)
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a station's hiccup: the next packet is fine
        for frame in frames:
            frame.pts = None  # jumps in a station's own time are none in ours
            for made in resampler.resample(frame):
                yield bytes(made.planes[0])[: made.samples * 2 * channels]
    for made in resampler.resample(None):
        yield bytes(made.planes[0])[: made.samples * 2 * channels]


def silence(milliseconds: int, channels: int = 1) -> bytes:
    """Return sound without any."""
    return bytes(milliseconds * BYTES_MS * channels)

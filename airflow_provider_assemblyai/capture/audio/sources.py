# SPDX-License-Identifier: Apache-2.0
"""
Where a capture gets its audio from; all of it becomes 16-bit samples at 16 kHz.

Plain WAV files, raw PCM, pipes and callables need no other package; everything else is decoded by PyAV.
"""

from __future__ import annotations

import errno
import os
import re
import select
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.errors import InvalidInput, SourceFailed
from airflow_provider_assemblyai.api.sanitize import abridge, sanitize, strip_url
from airflow_provider_assemblyai.api.streaming import SAMPLE_RATE
from airflow_provider_assemblyai.capture.audio.pcm import Converter
from airflow_provider_assemblyai.storage.atomic_files import check_path_text
from airflow_provider_assemblyai.storage.media import PcmFormat, load_av, read_header, resample

_NETWORK: Final = ("http", "https", "rtsp", "rtsps", "rtmp", "rtmps")
_RAW: Final = (".pcm", ".raw", ".s16le")
#: First bytes of encoded audio, to distinguish it from raw samples in a pipe.
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
#: Seconds to open an address, and to wait for more of its data.
_TIMEOUTS: Final = (10.0, 15.0)
_BLOCK: Final = 1 << 14
_CONTROL: Final = re.compile(r"[\x00-\x20\x7f]")
#: Errors that may be over at the next try: nothing is wrong with the path.
_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EINTR)
#: Seconds that a pipe may have no writer at first.
_WRITER_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class PcmSource:
    """
    A source of audio that seems to exist.

    :param label: its name for logs and messages, without secrets.
    :param blocks: yields samples from a time on, in milliseconds; a source that cannot seek begins where it
        is. Raises :class:`SourceFailed` when the source breaks.
    :param endless: whether an end means that it broke, as with a radio station.
    :param seekable: whether it begins at the time that is asked for.
    """

    label: str
    blocks: Callable[[int], Iterator[bytes]]
    endless: bool = False
    seekable: bool = False


def open_source(source: object, channels: int, stopped: Callable[[], bool] = lambda: False) -> PcmSource:
    """
    Find the source, and refuse at once what cannot work.

    :param source: a local file, a named pipe, an address, or a callable that yields PCM.
    :param channels: 1 or 2.
    :param stopped: returns whether the capture is being stopped.
    :raises InvalidInput: it is missing, of an unknown kind, or needs something that is not installed.
    :raises SourceFailed: it cannot be read now.
    """
    if callable(source):
        name = getattr(source, "__name__", type(source).__name__)
        return PcmSource(f"callable {name}", lambda _: _whole_samples(_read_callable(source), channels))
    text = check_source(source)
    scheme = _scheme(text)
    if scheme in _NETWORK:
        shown = abridge(strip_url(text))
        _require_av(shown)
        return PcmSource(
            shown, lambda skip_ms: _decode(text, shown, channels, skip_ms, endless=True), endless=True
        )
    return _open_path(Path(text.removeprefix("file://")), channels, stopped)


def check_source(source: object) -> str:
    """
    Return the text of an address or a path that can be one; whether it exists is not looked at.

    :param source: as the user gave it.
    :raises InvalidInput: it cannot be an address or a path.
    """
    if not isinstance(source, str | os.PathLike) or not str(source).strip():
        raise InvalidInput(f"source must be an address, a path or a callable, not {type(source).__name__}.")
    text = str(source)
    scheme = _scheme(text)
    if scheme in _NETWORK:
        text = text.strip()
        if _CONTROL.search(text) or not _has_host(text):
            raise InvalidInput(f"source: {abridge(strip_url(text))} is not an address with a host.")
    elif scheme and scheme != "file":
        raise InvalidInput(
            f"source: a capture cannot read {abridge(scheme)}:// addresses; a local file or a stream it can."
        )
    return check_path_text(text, "source")


def _scheme(text: str) -> str:
    return text.partition("://")[0].strip().lower() if "://" in text else ""


def _has_host(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _open_path(path: Path, channels: int, stopped: Callable[[], bool]) -> PcmSource:
    label = abridge(str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISFIFO(mode):
            return PcmSource(label, lambda _: _read_pipe(path, channels, stopped))
        if not stat.S_ISREG(mode):
            raise InvalidInput(f"source: {label} is neither a file nor a named pipe.")
        raw = PcmFormat(SAMPLE_RATE, channels) if path.suffix.lower() in _RAW else None
        with path.open("rb") as file:
            wav = None if raw else read_header(file.read)
    except OSError as error:
        if error.errno in _PASSING:
            raise SourceFailed(f"source: {label} cannot be read now: {error.strerror}.") from None
        raise InvalidInput(f"source: {label} cannot be read: {error.strerror}.") from None
    if raw is None and (wav is None or (wav.rate != SAMPLE_RATE and load_av() is not None)):
        _require_av(label)
        return PcmSource(label, lambda skip_ms: _decode(str(path), label, channels, skip_ms), seekable=True)
    if wav is not None and channels > wav.channels:
        raise InvalidInput(f"source: {label} has one channel, and channels=2 needs two.")
    return PcmSource(label, lambda skip_ms: _read_file(path, channels, skip_ms, raw), seekable=True)


def _require_av(label: str) -> None:
    if load_av() is None:
        raise InvalidInput(
            f"source: {label} has to be decoded, and PyAV is not installed: "
            "install airflow-provider-assemblyai[media]."
        )


def _read_file(path: Path, channels: int, skip_ms: int, raw: PcmFormat | None) -> Iterator[bytes]:
    """Yield the samples of a file: raw ones of a known format, or those of a WAV file."""
    with path.open("rb") as file:
        found = raw or read_header(file.read)
        if found is None:
            raise SourceFailed(f"source: {abridge(str(path))} is not plain WAV any more.")
        skipped = skip_ms * found.rate // 1000 * 2 * found.channels
        file.seek(skipped, os.SEEK_CUR)
        size = None if found.size is None else found.size - skipped
        yield from _convert(file.read, found._replace(size=size), channels)


def _convert(read: Callable[[int], bytes], source_format: PcmFormat, channels: int) -> Iterator[bytes]:
    blocks = _read_blocks(read, source_format.size)
    return map(Converter(source_format, channels), _whole_samples(blocks, source_format.channels))


def _read_blocks(read: Callable[[int], bytes], size: int | None) -> Iterator[bytes]:
    """Yield so many bytes, or all there are."""
    left = sys.maxsize if size is None else size
    while left > 0 and (block := read(min(_BLOCK, left))):
        left -= len(block)
        yield block


def _whole_samples(blocks: Iterable[bytes], channels: int) -> Iterator[bytes]:
    """Yield the same bytes in blocks that end with a sample of the last channel."""
    rest = b""
    for block in blocks:
        audio = rest + block
        whole = len(audio) - len(audio) % (2 * channels)
        rest = audio[whole:]
        if whole:
            yield audio[:whole]


def _read_callable(source: Callable[[], Iterable[bytes]]) -> Iterator[bytes]:
    for block in source():
        if not isinstance(block, bytes | bytearray | memoryview):
            raise InvalidInput(f"source: the callable must yield bytes, not {type(block).__name__}.")
        yield bytes(block)


class _Pipe:
    """A named pipe; a reader does not wait for ever for a writer."""

    def __init__(self, path: Path, stopped: Callable[[], bool]) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self._path, self._stopped = path, stopped
        self._written = False
        self._ahead = b""

    def close(self) -> None:
        os.close(self._descriptor)

    def peek(self, size: int) -> bytes:
        """Return the first bytes; they are read again."""
        self._ahead = self.read(size)
        return self._ahead

    def read_available(self, size: int) -> bytes:
        """Return what is there as soon as there is something; nothing when the writer has closed it."""
        if self._ahead:
            block, self._ahead = self._ahead[:size], self._ahead[size:]
            return block
        end = time.monotonic() + _WRITER_TIMEOUT
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        while not self._stopped():
            if poll.poll(200):
                block = os.read(self._descriptor, size)
                if block or self._written:
                    self._written = True
                    return block
                # Readable and empty: it has not been opened for writing yet.
                time.sleep(0.05)
            if not self._written and time.monotonic() > end:
                raise SourceFailed(
                    f"source: nothing was written to {abridge(str(self._path))} for {_WRITER_TIMEOUT:.0f} s."
                )
        return b""

    def read(self, size: int) -> bytes:
        """Return exactly that many bytes, or fewer at the end."""
        parts: list[bytes] = []
        while size > 0 and (block := self.read_available(size)):
            parts.append(block)
            size -= len(block)
        return b"".join(parts)


def _read_pipe(path: Path, channels: int, stopped: Callable[[], bool]) -> Iterator[bytes]:
    with closing(_Pipe(path, stopped)) as pipe:
        first = pipe.peek(4)
        if first == b"RIFF":
            found = read_header(pipe.read)
            if found is None or found.channels < channels:
                raise InvalidInput(
                    f"source: the WAV in {abridge(str(path))} is not plain 16-bit PCM of {channels} channels."
                )
            yield from _convert(pipe.read_available, found, channels)
        elif first.startswith(_ENCODED):
            _require_av(abridge(str(path)))
            yield from _decode(pipe, abridge(str(path)), channels, 0)
        else:
            yield from _convert(pipe.read_available, PcmFormat(SAMPLE_RATE, channels), channels)


def _decode(
    source: Any, label: str, channels: int, skip_ms: int, *, endless: bool = False
) -> Iterator[bytes]:
    """
    Decode with PyAV.

    :param source: an address, a path, or an object to read from.
    :param label: its name in messages.
    :param channels: 1 or 2.
    :param skip_ms: milliseconds.
    :param endless: whether an end is a failure, unless the length was known from the start.
    """
    av = load_av()
    try:
        with av.open(source, timeout=_TIMEOUTS) as container:
            if not container.streams.audio:
                raise InvalidInput(f"source: {label} holds no audio.")
            stream = container.streams.audio[0]
            if channels > stream.codec_context.layout.nb_channels:
                raise InvalidInput(f"source: {label} has one channel, and channels=2 needs two.")
            stream.thread_type = "NONE"
            known_length = container.duration is not None
            if skip_ms and known_length:
                container.seek(skip_ms * 1000)
            yield from resample(av, container, stream, channels)
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise SourceFailed(f"source: {label} cannot be read: {sanitize(str(error))}.") from None
    if endless and not known_length:
        raise SourceFailed(f"source: {label} has stopped.")

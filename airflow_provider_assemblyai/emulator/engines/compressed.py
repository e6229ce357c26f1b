# SPDX-License-Identifier: Apache-2.0
"""Decoding of compressed audio that comes in chunks: Opus packets, Opus in Ogg, and AAC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

_CODECS = {"opus": "opus", "ogg_opus": "opus", "aac": "aac"}
_OGG_HEADER = 27


class CompressedDecoder:
    """Decodes one stream.

    :param encoding: ``opus`` (a packet in each chunk), ``ogg_opus`` or ``aac``.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        codec: Any = av.CodecContext.create(_CODECS[encoding], "r")
        if encoding != "aac":
            codec.sample_rate = 48_000
            codec.layout = "mono"
        self._codec = codec
        self._buffer = b""
        self._partial_packet = b""

    def frames(self, chunk: bytes) -> list[Any]:
        """The frames that are complete now.

        :param chunk: the next bytes of the stream.
        :raises ValueError: when they are not of the encoding.
        """
        try:
            return [frame for packet in self._packets(chunk) for frame in self._codec.decode(packet)]
        except av.error.FFmpegError as error:
            raise ValueError(f"not {self._encoding}") from error

    def duration_ms(self, chunk: bytes) -> float:
        """The length of a chunk; like :meth:`frames`, for an engine that does not use the samples."""
        return float(sum(frame.samples * 1000 / frame.sample_rate for frame in self.frames(chunk)))

    def _packets(self, chunk: bytes) -> Iterator[Any]:
        if self._encoding == "aac":
            yield from self._codec.parse(chunk)
        elif self._encoding == "opus":
            yield av.Packet(chunk)
        else:
            for packet in self._ogg_packets(chunk):
                if not packet.startswith((b"OpusHead", b"OpusTags")):
                    yield av.Packet(packet)

    def _ogg_packets(self, chunk: bytes) -> Iterator[bytes]:
        """The packets of whole Ogg pages."""
        self._buffer += chunk
        while len(self._buffer) >= _OGG_HEADER:
            if not self._buffer.startswith(b"OggS"):
                raise ValueError("not ogg_opus")
            position = _OGG_HEADER + self._buffer[_OGG_HEADER - 1]
            sizes = self._buffer[_OGG_HEADER:position]
            if len(self._buffer) < position + sum(sizes):
                return
            for size in sizes:
                self._partial_packet += self._buffer[position : position + size]
                position += size
                # A full lacing value goes on in the next one.
                if size < 255:
                    packet, self._partial_packet = self._partial_packet, b""
                    if packet:
                        yield packet
            self._buffer = self._buffer[position:]

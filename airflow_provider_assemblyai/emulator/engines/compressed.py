# SPDX-License-Identifier: Apache-2.0
"""Decoding of compressed sound that comes in pieces: Opus packets, Opus in Ogg, and AAC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

_CODECS = {"opus": "opus", "ogg_opus": "opus", "aac": "aac"}
_OGG_HEADER = 27


class Decoder:
    """Decodes one stream.

    :param encoding: ``opus`` (a packet in each piece), ``ogg_opus`` or ``aac``.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        codec: Any = av.CodecContext.create(_CODECS[encoding], "r")
        if encoding != "aac":
            codec.sample_rate = 48_000
            codec.layout = "mono"
        self._codec = codec
        self._rest = b""
        self._packet = b""

    def frames(self, piece: bytes) -> list[Any]:
        """The frames that are complete now.

        :param piece: what came.
        :raises ValueError: when it is not of the encoding.
        """
        try:
            return [frame for packet in self._packets(piece) for frame in self._codec.decode(packet)]
        except av.error.FFmpegError as error:
            raise ValueError(f"not {self._encoding}") from error

    def milliseconds(self, piece: bytes) -> float:
        """The length of a piece; like :meth:`frames`, where nobody listens."""
        return float(sum(frame.samples * 1000 / frame.sample_rate for frame in self.frames(piece)))

    def _packets(self, piece: bytes) -> Iterator[Any]:
        if self._encoding == "aac":
            yield from self._codec.parse(piece)
        elif self._encoding == "opus":
            yield av.Packet(piece)
        else:
            for packet in self._pages(piece):
                if not packet.startswith((b"OpusHead", b"OpusTags")):
                    yield av.Packet(packet)

    def _pages(self, piece: bytes) -> Iterator[bytes]:
        """The packets of whole Ogg pages."""
        self._rest += piece
        while len(self._rest) >= _OGG_HEADER:
            if not self._rest.startswith(b"OggS"):
                raise ValueError("not ogg_opus")
            body = _OGG_HEADER + self._rest[_OGG_HEADER - 1]
            sizes = self._rest[_OGG_HEADER:body]
            if len(self._rest) < body + sum(sizes):
                return
            for size in sizes:
                self._packet += self._rest[body : body + size]
                body += size
                # A full lacing value goes on in the next one.
                if size < 255:
                    packet, self._packet = self._packet, b""
                    if packet:
                        yield packet
            self._rest = self._rest[body:]

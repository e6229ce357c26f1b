# SPDX-License-Identifier: Apache-2.0
"""The body of an answer, decoded piece by piece and counted, so that a few kilobytes cannot become gigabytes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import UnexpectedReply
from airflow_provider_assemblyai.api.sanitize import sanitize

#: What both clients ask for, and all that they decode.
ACCEPT_ENCODING: Final = "gzip, deflate"
#: Bytes that are decoded at a time.
_PIECE: Final = 64 * 1024
_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_MAGIC: Final = b"\x1f\x8b"


class BrokenBody(Exception):
    """The body is not what its encoding says, or ends too early."""


class Decoder:
    """
    Undoes the encoding of a body.

    :param encoding: the ``Content-Encoding`` header, or an empty string.
    :raises UnexpectedReply: it is one that was not asked for.
    """

    def __init__(self, encoding: str) -> None:
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise UnexpectedReply(
                f"The answer is encoded as {sanitize(repr(name))}, which was not asked for."
            )
        self._encoded = name not in ("", "identity")
        self._window = zlib.MAX_WBITS if name == "deflate" else _GZIP
        self._decompress: Any = None

    def decode(self, block: bytes) -> Iterator[bytes]:
        """
        Yield what a block holds, in small pieces.

        :raises BrokenBody: it cannot be decoded.
        """
        if not self._encoded:
            yield block
            return
        while block:
            if self._decompress is None:
                self._decompress = self._new(block)
            elif self._decompress.eof:
                if not block.startswith(_GZIP_MAGIC):
                    return  # padding
                self._decompress = self._new(block)
            try:
                piece = self._decompress.decompress(block, _PIECE)
            except zlib.error:
                raise BrokenBody("the body cannot be decompressed") from None
            block = self._decompress.unused_data or self._decompress.unconsumed_tail
            yield piece

    def finish(self) -> bytes:
        """
        Return the rest.

        :raises BrokenBody: the body ended too early.
        """
        if self._decompress is None:
            return b""
        try:
            rest: bytes = self._decompress.flush()
        except zlib.error:
            raise BrokenBody("the body cannot be decompressed") from None
        if not self._decompress.eof:
            raise BrokenBody("the body ends too early")
        return rest

    def _new(self, block: bytes) -> Any:
        # "deflate" is sent in two ways: with the header of zlib, as the standard says, and without.
        if self._window == zlib.MAX_WBITS and (block[0] & 0x0F) != 8:
            self._window = -zlib.MAX_WBITS
        return zlib.decompressobj(self._window)


class ReceivedBody:
    """
    Collects an answer.

    :param encoding: the ``Content-Encoding`` header, or an empty string.
    :param limit: bytes that it may have, decoded.
    :ivar received: bytes that came over the line.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        self._decoder = Decoder(encoding)
        self._limit = limit
        self._content = bytearray()
        self.received = 0

    def add(self, block: bytes) -> None:
        """
        Take in what came.

        :raises UnexpectedReply: it is more than the limit.
        :raises BrokenBody: it cannot be decoded.
        """
        self.received += len(block)
        for piece in self._decoder.decode(block):
            self._append(piece)

    def content(self) -> bytes:
        """
        Return the whole.

        :raises UnexpectedReply: it is more than the limit.
        :raises BrokenBody: it ended too early.
        """
        self._append(self._decoder.finish())
        return bytes(self._content)

    def _append(self, piece: bytes) -> None:
        if len(self._content) + len(piece) > self._limit:
            raise UnexpectedReply(f"the answer has more than the {self._limit} bytes that it may have.")
        self._content += piece

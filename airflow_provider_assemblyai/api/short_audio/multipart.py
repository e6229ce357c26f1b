# SPDX-License-Identifier: Apache-2.0
"""The body of a request for a clip: a form of two parts, in the order in which the service reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any


class ClipForm:
    """
    A form with the part ``config`` first, and then ``audio``: the service decodes audio while it arrives.

    :param config: of the request.
    :param audio: the bytes.
    :param media_type: of the audio.
    :ivar content_type: of the form.
    :ivar size: bytes of the form.
    """

    def __init__(self, config: Mapping[str, Any], audio: bytes, media_type: str) -> None:
        # No audio holds its own hash.
        boundary = f"clip-{hashlib.sha256(audio).hexdigest()[:32]}"
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._parts = (
            _head(boundary, 'name="config"', "application/json"),
            json.dumps(config).encode(),
            b"\r\n",
            # Not its own name, which nothing there needs.
            _head(boundary, 'name="audio"; filename="clip"', media_type),
            audio,
            f"\r\n--{boundary}--\r\n".encode(),
        )
        self.size = sum(map(len, self._parts))

    def open(self) -> Iterator[bytes]:
        """Return the bytes from the first one on."""
        return iter(self._parts)


def _head(boundary: str, disposition: str, media_type: str) -> bytes:
    lines = (
        f"--{boundary}",
        f"Content-Disposition: form-data; {disposition}",
        f"Content-Type: {media_type}",
    )
    return "\r\n".join((*lines, "", "")).encode()

# SPDX-License-Identifier: Apache-2.0
"""Media files by their first bytes, and addresses on this machine."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

#: Seconds; a shorter file is refused.
SHORTEST_AUDIO = 0.160
#: Number of first bytes of a file that tell its type.
HEAD_BYTES = 4096


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine, where no proxy belongs in between."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def media_type(head: bytes) -> str | None:
    """What a file is, if it is text of some kind.

    :param head: the first bytes of the file.
    """
    start = head.lstrip()[:512].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "text/html"
    if re.match(rb"--\S+\r\ncontent-disposition: form-data", start):
        return "multipart/form-data"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # A character that the end of the head has cut does not make it binary.
        if error.start < len(head) - 3:
            return None
        text = head[: error.start].decode("utf-8")
    if any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return None
    return "application/json" if re.match(r'\s*(\{\s*("|\})|\[)', text) else "text/plain"

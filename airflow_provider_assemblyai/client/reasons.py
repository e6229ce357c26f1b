# SPDX-License-Identifier: Apache-2.0
"""Why no connection was made or no answer came, in words: what the libraries say names their own classes."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_MOST: Final = 12

_BY_NUMBER: Final = {
    errno.ECONNREFUSED: "it refuses connections",
    errno.ECONNRESET: "it closed the connection",
    errno.EPIPE: "it closed the connection",
    errno.ENETUNREACH: "its network cannot be reached",
    errno.EHOSTUNREACH: "it cannot be reached",
}
_BY_NAME: Final = {
    "RemoteDisconnected": "it closed the connection without an answer",
    "RemoteProtocolError": "it closed the connection without an answer",
    "ProxyError": "the proxy does not let it through",
    "ConnectTimeoutError": "it does not answer in time",
    "ConnectTimeout": "it does not answer in time",
    "ReadTimeoutError": "nothing came for too long",
    "ReadTimeout": "nothing came for too long",
    "IncompleteRead": "the answer broke off",
}


def plain_reason(error: BaseException) -> str:
    """Return why an exchange failed; the text of the library itself for what is not known here."""
    found = list(_causes(error))
    for one in found:
        if isinstance(one, socket.gaierror):
            return "its name is not known here: check the host, and the DNS of this machine"
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {one.verify_message}"
    names = {type(one).__name__ for one in found}
    if "NameResolutionError" in names:
        return "its name is not known here: check the host, and the DNS of this machine"
    for name, words in _BY_NAME.items():
        if name in names:
            return words
    for one in found:
        if isinstance(one, OSError) and one.errno in _BY_NUMBER:
            return _BY_NUMBER[one.errno]
    for one in found:
        if isinstance(one, TimeoutError):
            return "it does not answer in time"
        if isinstance(one, OSError) and one.errno and not isinstance(one, ssl.SSLError):
            return os.strerror(one.errno)
    return str(error) or type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what led to it, the innermost last: libraries wrap it as a cause, a reason or an argument."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inner = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [each for each in inner if isinstance(each, BaseException)]

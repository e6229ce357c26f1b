# SPDX-License-Identifier: Apache-2.0
"""
How streaming sessions end, and what to do about it: one table, one function.

The text of the ``Error`` frame decides where a code has more than one meaning.
https://www.assemblyai.com/docs/speech-to-text/universal-streaming
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from airflow_provider_assemblyai.api.sanitize import sanitize

#: ``done``: it ended well. ``reconnect``: open a new session at once. ``wait``: open one after a while.
#: ``slow_down``: open one, and send nothing faster than real time any more. ``fail``: a new session would meet the same.
CloseAction = Literal["done", "reconnect", "wait", "slow_down", "fail"]

#: A connection that broke without a close frame.
DROPPED: Final = 1006
TOO_FAST: Final = 3007
EXPIRED: Final = 3008
#: Seconds before a new session is tried where too many are open; the service counts by the minute.
CAPACITY_WAIT: Final = 15.0

_TOO_MANY = re.compile(r"too many|concurren|rate limit", re.IGNORECASE)
_RATE = re.compile(r"rate exceeded|too fast|real.?time", re.IGNORECASE)
_INACTIVE = re.compile(r"inactiv|idle|no audio", re.IGNORECASE)

#: Close code -> what to do, and what it means in a sentence.
CLOSE_CODES: Final[dict[int, tuple[CloseAction, str]]] = {
    1000: ("done", "The session ended as it should."),
    DROPPED: ("reconnect", "The connection was lost."),
    1008: (
        "fail",
        "The service refused the session: check the API key, and that the account may stream and has funds.",
    ),
    1009: ("fail", "A message was larger than the 128 KB that the service takes."),
    1011: ("reconnect", "The service had an internal error."),
    1013: ("reconnect", "The service was overloaded for a moment."),
    3005: ("reconnect", "The service had an error."),
    3006: ("fail", "The service did not accept a message or a parameter: check config."),
    TOO_FAST: ("fail", "Audio was sent in frames of the wrong length, or faster than the service takes it."),
    EXPIRED: ("reconnect", "The session reached its longest time."),
    3009: ("wait", "Too many sessions are open in this account."),
    4000: ("fail", "The service does not take this sample rate: check config."),
    4001: ("fail", "The API key was refused: check the connection."),
    4002: ("fail", "The account has no funds: top it up."),
    4003: ("fail", "This account may not stream: it needs a paid plan."),
    4004: ("reconnect", "The service does not know the session any more."),
    4008: ("reconnect", "The session expired."),
    4010: ("reconnect", "The session was closed before."),
    4029: ("wait", "Too many requests were sent to the service."),
    4030: ("reconnect", "The session went on at another socket."),
    4031: ("reconnect", "The session was idle for too long."),
    4032: ("fail", "The pieces of audio were too short."),
    4033: ("fail", "The pieces of audio were too long."),
    4034: ("fail", "The pieces of audio were too small."),
    4100: ("fail", "The service could not read a message: it was not JSON."),
    4101: ("fail", "The service did not accept the form of a message: check config."),
    4102: ("wait", "The account has no more room for streams."),
    4103: ("reconnect", "Another connection took the session over."),
}


@dataclass(frozen=True)
class CloseReason:
    """
    Why a session ended, and what to do about it.

    :param code: of the ``Error`` frame if there was one, else of the close frame; 1006 without either.
    :param action: what to do.
    :param meaning: the code in a sentence.
    :param detail: the service's own words; empty if it sent none.
    """

    code: int
    action: CloseAction
    meaning: str
    detail: str = ""

    @property
    def sentence(self) -> str:
        """The code, what it means, and the service's own words, for logs and errors."""
        detail = f" The service said: {self.detail.rstrip('.')}." if self.detail else ""
        return f"{self.meaning.rstrip('.')}{f' (code {self.code})' if self.code else ''}.{detail}"


def close_reason(code: int | None, detail: str = "") -> CloseReason:
    """
    Classify the end of a session.

    :param code: of the ``Error`` frame, else of the close frame; None without either.
    :param detail: the text of the ``Error`` frame, else the reason of the close frame.
    """
    code = DROPPED if code is None else code
    detail = sanitize(detail)
    action, meaning = CLOSE_CODES.get(
        code, (_unlisted_action(code), "The session ended in a way that is not known.")
    )
    if code == 1008 and _TOO_MANY.search(detail):
        action, meaning = "wait", "Too many new sessions were opened in this account."
    if code == 3006 and _INACTIVE.search(detail):
        # Nothing was wrong with what was sent: this process was stopped, or the connection was dead.
        action, meaning = "reconnect", "The session received no audio for too long."
    if code == TOO_FAST and _RATE.search(detail):
        action, meaning = "slow_down", "Audio was sent faster than the service takes it."
    return CloseReason(code, action, meaning, detail)


def _unlisted_action(code: int) -> CloseAction:
    # Up to 1015 they are the protocol's own and say nothing about what was sent, but for these.
    return "reconnect" if 1000 < code < 1016 and code not in (1002, 1003, 1007, 1010) else "fail"


def refused_handshake(status: int, detail: str = "") -> CloseReason:
    """
    Classify an HTTP answer in the place of a session.

    :param status: HTTP status code.
    :param detail: the body.
    """
    detail = sanitize(detail)
    meaning = f"The service answered HTTP {status} to the request for a session."
    if status == 429 or (status == 403 and _TOO_MANY.search(detail)):
        return CloseReason(status, "wait", meaning, detail)
    return CloseReason(status, "reconnect" if status >= 500 or status == 408 else "fail", meaning, detail)

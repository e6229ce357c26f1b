# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in a streaming session, and when: by rule, by command, or by the session's own address.

An :class:`StreamFault` happens once so many seconds of audio have come. Rules (:mod:`.faults`, the kinds that begin with
``stream_``) give acts to the sessions that are opened from then on; ``POST /_emulator/stream-faults`` gives one to those
that are open; and a client in another process can ask with an ``emulator`` parameter in the address of the
socket, which the service would ignore::

    wss://…/v3/ws?sample_rate=16000&emulator=drop@12.5
    wss://…/v3/ws?sample_rate=16000&emulator=close:3005@30,marked_audio,record_audio

===================  ===============================================================================
``drop``           the connection breaks without a close frame (1006)
``close:CODE``     an Error frame and a close with that code
``stall:SECONDS``  nothing is read for that long
``warn``           a Warning message
``revise_speakers``  a SpeakerRevision of all turns so far
``ignore_terminate``  a Terminate is never answered
``marked_audio``    the words are those that the sound carries the numbers of
``record_audio``   the audio is kept; see ``GET /_emulator/sessions/ID/audio``
===================  ===============================================================================
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STREAM_FAULT_KINDS = ("drop", "close", "stall", "warn", "revise_speakers", "ignore_terminate")
ERRORS = {
    1008: "Unauthorized connection: API key or token missing or invalid",
    1011: "Internal error",
    1013: "Try again later",
    3005: "Server error",
    3006: "Invalid message",
    3007: "Audio Transmission Rate Exceeded: audio must be sent in real time",
    3008: "Session expired",
    3009: "Too many concurrent sessions",
}
_DEFAULT_CODE = 3005


@dataclass(frozen=True, slots=True)
class StreamFault:
    """Something that happens to a session.

    :param kind: one of :data:`STREAM_FAULT_KINDS`.
    :param after: seconds of audio after which it happens.
    :param code: of a close or a warning.
    :param text: of an error or a warning.
    :param seconds: how long a stall lasts.
    """

    kind: str
    after: float = 0.0
    code: int = _DEFAULT_CODE
    text: str | None = None
    seconds: float = 1.0

    @property
    def error(self) -> str:
        """What the Error frame says."""
        return self.text or ERRORS.get(self.code, "Session closed")


def make_stream_fault(
    kind: str, options: Mapping[str, Any], chance: random.Random | None = None
) -> StreamFault:
    """An act from its options.

    :param kind: one of :data:`STREAM_FAULT_KINDS`.
    :param options: ``after``, a number or a pair to draw from, and ``code``, ``error``, ``seconds``.
    :param chance: draws from the pair.
    :raises ValueError: for a kind or a value that is not understood.
    """
    if kind not in STREAM_FAULT_KINDS:
        raise ValueError(f"unknown act {kind!r}; known: {', '.join(STREAM_FAULT_KINDS)}")
    after = options.get("after", 0)
    if isinstance(after, (list, tuple)):
        low, high = after
        after = (chance or random.Random(0)).uniform(float(low), float(high))
    code = int(options.get("code", _DEFAULT_CODE))
    if kind == "close" and not (code in (1000, 1001, 1008, 1009, 1011, 1012, 1013) or 3000 <= code < 5000):
        raise ValueError(f"no close frame carries the code {code}")
    text = options.get("error")
    return StreamFault(
        kind, float(after), code, None if text is None else str(text), float(options.get("seconds", 1))
    )


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """The wishes in a socket's address."""

    acts: tuple[StreamFault, ...] = ()
    marked: bool = False
    record: bool = False


def read_socket_options(text: str) -> SocketOptions:
    """The wishes of an ``emulator`` parameter.

    :param text: as described at the top of this module; empty for none.
    :raises ValueError: for a word that is not known, so that a typing error cannot pass a test.
    """
    acts: list[StreamFault] = []
    marked = record = False
    for wish in filter(None, text.split(",")):
        if wish == "marked_audio":
            marked = True
        elif wish == "record_audio":
            record = True
        else:
            what, _, after = wish.partition("@")
            kind, _, value = what.partition(":")
            options: dict[str, Any] = {"after": after or 0}
            if value:
                options["seconds" if kind == "stall" else "code"] = value
            acts.append(make_stream_fault(kind, options))
    return SocketOptions(tuple(acts), marked, record)

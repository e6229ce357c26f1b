# SPDX-License-Identifier: Apache-2.0
"""Faults of streaming sessions: by rule, by command, or by the session's own address.

Such a fault happens once so many seconds of audio have come. Rules give faults to the sessions that are
opened from then on; ``POST /_emulator/stream-faults`` gives one to those that are open; and a client in another process
can ask with an ``emulator`` parameter in the address of the socket, which the service would ignore::

    wss://…/v3/ws?sample_rate=16000&emulator=drop@12.5
    wss://…/v3/ws?sample_rate=16000&emulator=close:3005@30,marked_audio,record_audio

A fault there is ``KIND:VALUE@SECONDS``: a stream kind of :mod:`.kinds` without its prefix, its first option, and the
audio after which it happens. ``marked_audio`` and ``record_audio`` set the streaming limits of these names for one
session.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_assemblyai.emulator.core.options import read_text
from airflow_provider_assemblyai.emulator.faults.kinds import SESSION_KINDS, SessionFault, find_kind


def too_fast(received: float, elapsed: float) -> str:
    """The service's text for audio that is too far ahead of real time.

    :param received: seconds of audio.
    :param elapsed: seconds since the session began.
    """
    return (
        "Input Duration Error: Audio Transmission Rate Exceeded: "
        f"Received {received:.1f} sec. audio in {elapsed:.6f} sec"
    )


ERRORS = {
    1008: "Unauthorized Connection: Missing Authorization header",
    1011: "Internal error",
    1013: "Try again later",
    3005: "Session Cancelled: An error occurred",
    3006: "Invalid Message: {}",
    3007: too_fast(314.9, 1.312326),
    3008: "Session Expired: Maximum session duration exceeded",
    3009: "Unauthorized Connection: Too many concurrent sessions",
}


def close_text(code: int) -> str:
    """The service's text for a close code."""
    return ERRORS.get(code, "Session closed")


def make_stream_fault(kind: object, options: Mapping[str, Any]) -> SessionFault:
    """A fault from its options.

    :param kind: a stream kind without its prefix.
    :param options: those of the kind.
    :raises OptionError: for a kind or an option that is not understood.
    """
    return find_kind(kind, SESSION_KINDS)(**options).drawn(random.Random(0))


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """What a socket's address asks of the emulator."""

    faults: tuple[SessionFault, ...] = ()
    marked_audio: bool = False
    record_audio: bool = False


def read_socket_options(text: str) -> SocketOptions:
    """The options of an ``emulator`` parameter.

    :param text: as described at the top of this module; empty for none.
    :raises OptionError: for a word that is not known, so that a typing error cannot pass a test.
    """
    words = [word for word in text.split(",") if word]
    switches = {word: True for word in words if word in ("marked_audio", "record_audio")}
    return SocketOptions(tuple(_read_fault(word) for word in words if word not in switches), **switches)


def _read_fault(word: str) -> SessionFault:
    what, _, after = word.partition("@")
    name, _, value = what.partition(":")
    options = {"after": read_text(after)} if after else {}
    if value:
        first_option = next(iter(find_kind(name, SESSION_KINDS).declared()))
        options[first_option] = read_text(value)
    return make_stream_fault(name, options)

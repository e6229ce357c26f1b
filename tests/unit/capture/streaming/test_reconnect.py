# SPDX-License-Identifier: Apache-2.0
"""When the next session of a channel is tried: soon where none began, later and later where sessions begin and break."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_assemblyai.api.close_codes import CAPACITY_WAIT, CloseReason, close_reason
from airflow_provider_assemblyai.api.errors import ApiError, AssemblyAIError, RateLimitError, TransportError
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.streaming.channel import ChannelState
from airflow_provider_assemblyai.capture.streaming.pace import CatchUp
from airflow_provider_assemblyai.capture.streaming.reconnect import ChannelStreamer, Ended, Waits
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.client.websocket import HandshakeRefused, StreamingSocket

UNAVAILABLE = CloseReason(503, "reconnect", "Unavailable.")
BUSY = CloseReason(429, "wait", "Busy.")


class PatientClock(CaptureClock):
    """A clock that notes the waits for which it is asked, and lets none of them take any time."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def real_seconds(self, milliseconds: float) -> float:
        if milliseconds != 60_000:  # that is between two lines of the log
            self.waits.append(milliseconds / 1000)
        return 0.0


def waits_between(*failures: Exception) -> list[float]:
    """Return the waits of a channel whose attempts end like this; the last one is for good."""
    left = [*failures, HandshakeRefused(CloseReason(403, "fail", "Refused."))]

    def connect(max_session: float) -> StreamingSocket:
        raise left.pop(0)

    config, clock = CaptureConfig(duration=3_600.0), PatientClock()
    control = TaskControl(log=logging.getLogger(__name__))
    with Spool(config.bytes_per_ms) as spool:
        spool.append(0, bytes(32_000))
        ChannelStreamer(ChannelState(config, 0, spool, clock, control, 0, CatchUp(1.25)), connect).run()
    assert not left
    return clock.waits


@pytest.mark.parametrize(
    "failure",
    [
        TransportError("no connection", sent=False),
        TransportError("no answer", sent=True),
        ApiError("Bad gateway", status=502),
        HandshakeRefused(UNAVAILABLE),
    ],
    ids=["connection", "answer", "token", "handshake"],
)
def test_while_no_session_can_be_had_every_second_or_two_is_tried(failure: Exception) -> None:
    waits = waits_between(*50 * [failure])
    assert len(waits) == 50
    assert all(1.0 <= wait <= 2.0 for wait in waits)
    assert len(set(waits)) > 1, "chance is in it"


@pytest.mark.parametrize(
    ("failure", "least", "most"),
    [
        (ApiError("Unavailable", status=503, retry_after=20.0), 20.0, 22.0),
        (HandshakeRefused(UNAVAILABLE, 20.0), 20.0, 22.0),
        (HandshakeRefused(BUSY, 40.0), 40.0, 42.0),
        (RateLimitError("Too many", status=429, retry_after=5.0), 5.0, 7.0),
        (ApiError("Closed", status=503, retry_after=9_999.0), 300.0, 302.0),
        (HandshakeRefused(UNAVAILABLE, 0.0), 1.0, 2.0),
        (RateLimitError("Too many", status=429), CAPACITY_WAIT, CAPACITY_WAIT),
        (HandshakeRefused(BUSY), CAPACITY_WAIT, CAPACITY_WAIT),
    ],
)
def test_a_wait_that_the_service_asks_for_is_made(
    failure: AssemblyAIError, least: float, most: float
) -> None:
    waits = waits_between(*3 * [failure])
    assert len(waits) == 3
    assert all(least <= wait <= most for wait in waits)


def broken(seconds: float | None) -> Ended:
    return Ended(close_reason(1011), seconds, may_be_billed=True)


def test_sessions_that_begin_and_break_are_opened_less_and_less_often() -> None:
    waits, refused = Waits(), Ended(UNAVAILABLE)
    made = [waits.after(broken(0.5), 0.5) for _ in range(4)]
    assert made == [0.5, 1, 2, 4]
    assert waits.after(refused, 0.5) == 1.25, "it has cost nothing"
    # One that was lost before its begin was seen may have begun.
    made = [waits.after(broken(seconds), 0.5) for seconds in (0.5, None, 3.0)]
    assert made == [8, 15, 15], "what was in between makes no difference"
    assert waits.after(broken(30.0), 0.5) == 0, "it had worked"
    assert waits.after(broken(0.5), 0.5) == 0.5


def test_too_many_sessions_is_waited_for_also_after_one_has_begun() -> None:
    assert Waits().after(Ended(close_reason(3009), 5.0, may_be_billed=True), 0.5) == CAPACITY_WAIT

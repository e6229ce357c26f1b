# SPDX-License-Identifier: Apache-2.0
"""How far audio may be ahead of real time: as the service was seen to take it, and in the strict reading."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest

from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.emulator.core.options import OptionError
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits
from tests.support.streams import Stream

SECOND = bytes(8000)  # mu-law of 8 kHz
TOO_FAST = re.compile(
    r"Input Duration Error: Audio Transmission Rate Exceeded: Received (\d+\.\d) sec\. audio in \d+\.\d{6} sec"
)


def open_stream(emulator: Emulator) -> Stream:
    return Stream(emulator, sample_rate=8000, encoding="pcm_mulaw")


def send_too_fast(emulator: Emulator, seconds: int) -> Stream:
    """Send audio at once."""
    stream = open_stream(emulator)
    with suppress(OSError):
        for _ in range(seconds):
            stream.socket.send_binary(SECOND)
    return stream


def received(error: tuple[int, str, int]) -> float:
    code, text, closed = error
    found = TOO_FAST.fullmatch(text)
    assert (code, closed) == (3007, 3007)
    assert found, text
    return float(found[1])


def test_five_minutes_are_taken_ahead_of_real_time_and_no_more(emulator: Emulator) -> None:
    assert send_too_fast(emulator, 290).finish()[-1]["audio_duration_seconds"] == 290
    # A limit of 300 s on a clock of a tenth of the speed, on which the time that the test takes is short.
    emulator.set_speed(0.1)
    assert 30 < received(send_too_fast(emulator, 45).error()) < 40


def test_the_strict_reading(emulator: Emulator) -> None:
    emulator.set_streaming_limits(look_ahead="strict")
    emulator.set_speed(0.1)
    assert received(send_too_fast(emulator, 10).error()) < 10


@pytest.mark.parametrize(("look_ahead", "end"), [(300.0, "Termination"), ("strict", "Error")])
def test_frames_of_512_ms_every_300_ms(emulator: Emulator, look_ahead: float | str, end: str) -> None:
    """What an official client sends in its own tests."""
    emulator.set_streaming_limits(look_ahead=look_ahead)
    stream = open_stream(emulator)
    assert stream.session_id
    for _ in range(100):
        stream.socket.send_binary(bytes(4096))
        emulator.advance(0.3)
    assert stream.finish()[-1]["type"] == end


def test_the_limit_can_be_set_at_the_start_and_is_checked() -> None:
    with serve(streaming_limits=StreamingLimits(look_ahead="strict"), speed=0.1) as emulator:
        assert received(send_too_fast(emulator, 10).error()) < 10
        emulator.set_streaming_limits(look_ahead=3600)
        assert send_too_fast(emulator, 10).finish()[-1]["type"] == "Termination"
    for wrong in (-1, "lenient", None, True):
        with pytest.raises(OptionError, match="look_ahead must be"):
            StreamingLimits(look_ahead=wrong)

# SPDX-License-Identifier: Apache-2.0
"""A channel is sent to its end, whatever the moment at which the recorder closes."""

from __future__ import annotations

import logging

from airflow_provider_assemblyai.api.close_codes import CloseReason
from airflow_provider_assemblyai.api.errors import StreamingError
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.streaming.channel import ChannelState
from airflow_provider_assemblyai.capture.streaming.pace import CatchUp
from airflow_provider_assemblyai.capture.streaming.reconnect import ChannelStreamer
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.client.websocket import HandshakeRefused, StreamingSocket


class _EndingSpool(Spool):
    """A spool whose recorder ends directly after it was asked for audio the first time."""

    def has_audio_after(self, at: int) -> bool:
        found = super().has_audio_after(at)
        if not self.closed:
            self.append(at, bytes(100 * 32))
            self.close()
        return found


def test_the_last_piece_is_sent_if_the_recorder_closes_in_between() -> None:
    refusals = [CloseReason(503, "reconnect", "Busy."), CloseReason(403, "fail", "Refused.")]
    config = CaptureConfig(duration=60.0, drain_timeout=3_600.0)
    with _EndingSpool(config.bytes_per_ms) as spool:

        def connect(max_session: float) -> StreamingSocket:
            raise HandshakeRefused(refusals.pop(0))

        control = TaskControl(log=logging.getLogger(__name__))
        channel = ChannelState(config, 0, spool, CaptureClock(), control, 0, CatchUp(1.25))
        streamer = ChannelStreamer(channel, connect)
        streamer.ready.set()  # the recording has begun
        streamer.run()
    assert not refusals, "no second session was tried for the last piece"
    assert isinstance(streamer.failure, StreamingError)


def test_what_was_sent_twice_is_not_sent_again_unless_it_is_short() -> None:
    config = CaptureConfig(duration=3_600.0)
    control = TaskControl(log=logging.getLogger(__name__))
    with Spool(config.bytes_per_ms) as spool:
        channel = ChannelState(config, 0, spool, CaptureClock(), control, 0, CatchUp(1.25))
        went_back = []
        for broke_at, heard_until in ((600_000, 300_000), (400_000, 300_000), (640_000, 630_000)):
            channel.position_ms = broke_at
            channel.go_back(heard_until, broke_at)
            went_back.append(channel.position_ms)
        assert went_back == [300_000, 400_000, 630_000]
        repeated = []
        while channel.position_ms == 630_000:
            repeated.append(channel.position_ms)
            channel.position_ms = 633_000
            channel.go_back(630_000, 633_000)
        assert channel.position_ms == 633_000, "it goes on"
        assert 2 < len(repeated) < 20


def test_what_was_sent_early_and_not_reached_counts_as_never_sent() -> None:
    config = CaptureConfig(duration=3_600.0)
    control = TaskControl(log=logging.getLogger(__name__))
    with Spool(config.bytes_per_ms) as spool:
        channel = ChannelState(config, 0, spool, CaptureClock(), control, 0, CatchUp(1.25))
        for _ in range(5):
            channel.position_ms = 400_000
            channel.go_back(300_000, 302_000)
            assert channel.position_ms == 300_000

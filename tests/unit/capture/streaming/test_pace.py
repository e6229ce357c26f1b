# SPDX-License-Identifier: Apache-2.0
"""How fast sound is sent, with a clock of our own: in calm, after an outage, at the limit, and after a refusal."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field

import pytest

from airflow_provider_assemblyai.api.close_codes import close_reason, refused_handshake
from airflow_provider_assemblyai.api.streaming import FRAME_MS
from airflow_provider_assemblyai.capture.config import CATCH_UP_RATE, CaptureConfig
from airflow_provider_assemblyai.capture.streaming.pace import CatchUp, Pace
from airflow_provider_assemblyai.capture.streaming.reconnect import Ended, Waits
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

#: What may be sent at once after a delay.
AT_ONCE_MS = 300.0
SECOND = 1000.0
#: Milliseconds between two attempts to open a session, at most.
MOST_LATE = 1_500.0
CHANCE = pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
#: A session that broke after a while, and an attempt that opened none.
BROKEN = Ended(close_reason(None), seconds=30.0, may_be_billed=True)
REFUSED = Ended(refused_handshake(503))


@dataclass
class Channel:
    """
    A channel whose sender is woken exactly when it has something to do.

    :param rate: of catching up.
    :param end: of the recording, milliseconds.
    """

    rate: float
    end: float
    now: float = 0.0
    position: float = 0.0
    most_ahead: float = 0.0
    sent_at: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.catch_up = CatchUp(self.rate)

    @property
    def backlog(self) -> float:
        return min(self.now, self.end) - self.position

    def send(self, until: float) -> None:
        """Send with a new session until a time, or until there is nothing more."""
        pace, begun, sent = Pace(self.catch_up, self.now, AT_ONCE_MS), self.now, 0.0
        while self.position < self.end and self.now < until:
            self.now = max(self.now, pace.due, min(self.end, self.position + FRAME_MS))
            length = min(FRAME_MS, self.end - self.position)
            self.position += length
            sent += length
            pace.sent(length, self.now, self.backlog)
            self.sent_at.append((self.now, self.position))
            self.most_ahead = max(self.most_ahead, sent - (self.now - begun))

    def outage(self, length: float, chance: float) -> float:
        """Let the session break, open none for some seconds, and return how much later the next one begins."""
        back, waits, ended = self.now + length * SECOND, Waits(), BROKEN
        while True:
            self.now += waits.after(ended, chance) * SECOND
            if self.now >= back:
                return self.now - back
            ended = REFUSED

    def on_time_at(self) -> float:
        """Return when the backlog of the outage was gone for good."""
        late = [now for now, position in self.sent_at if min(now, self.end) - position > FRAME_MS]
        return max(late, default=0.0)


def test_the_default_rate() -> None:
    assert CaptureConfig(duration=60.0).catch_up_rate == CATCH_UP_RATE == 1.25
    default = inspect.signature(StreamingCaptureOperator.__init__).parameters["catch_up_rate"].default
    assert default == CATCH_UP_RATE


def test_calm_is_real_time() -> None:
    channel = Channel(1.25, 60 * SECOND)
    channel.send(120 * SECOND)
    assert channel.now == pytest.approx(60 * SECOND)
    assert channel.most_ahead <= FRAME_MS


@CHANCE
@pytest.mark.parametrize(
    ("length", "rate"), [(20.0, 1.25), (20.0, 2.0), (5.0, 1.25), (50.0, 1.25), (40.0, 1.1), (38.0, 2.0)]
)
def test_an_outage_is_caught_up_after_its_length_by_the_rate(
    length: float, rate: float, chance: float
) -> None:
    needed = length / (rate - 1)
    channel = Channel(rate, (30 + length + needed) * SECOND)
    channel.send(30 * SECOND)
    late = channel.outage(length, chance)
    assert late <= MOST_LATE
    channel.send(3_600 * SECOND)
    assert channel.now - channel.end <= late + FRAME_MS, "no more than the time to the next attempt"
    on_time = (30 + length + needed) * SECOND + late
    assert channel.on_time_at() <= on_time + FRAME_MS
    assert channel.most_ahead == pytest.approx(length * SECOND, abs=2 * FRAME_MS + AT_ONCE_MS + late)


@CHANCE
@pytest.mark.parametrize(("left", "rate"), [(40.0, 1.25), (0.0, 1.25), (10.0, 1.5), (20.0, 1.0)])
def test_a_late_outage_costs_the_rest_by_the_rate(left: float, rate: float, chance: float) -> None:
    length = 20.0
    channel = Channel(rate, (30 + length + left) * SECOND)
    channel.send(30 * SECOND)
    late = channel.outage(length, chance)
    channel.send(3_600 * SECOND)
    rest = (length - left * (rate - 1)) / rate * SECOND
    extra = channel.now - channel.end
    assert rest - AT_ONCE_MS - FRAME_MS <= extra <= rest + late + AT_ONCE_MS + FRAME_MS


def test_a_session_is_never_far_ahead_and_the_next_one_goes_on() -> None:
    channel = Channel(1.25, 4_000 * SECOND)
    channel.send(30 * SECOND)
    channel.now += 600 * SECOND
    channel.send(2_000 * SECOND)
    assert channel.most_ahead == pytest.approx(240 * SECOND, abs=SECOND)
    before = channel.backlog
    channel.send(2_500 * SECOND)
    assert channel.backlog == pytest.approx(before - 500 * 0.25 * SECOND, abs=SECOND)


def test_at_the_limit_the_rest_is_sent_in_real_time() -> None:
    catch_up = CatchUp(4.0)
    pace, now, sent = Pace(catch_up, 0.0, AT_ONCE_MS), 0.0, 0.0
    while not pace.at_limit(now):
        now = max(now, pace.due)
        pace.sent(FRAME_MS, now, 600 * SECOND)
        sent += FRAME_MS
    due = pace.due
    for _ in range(100):
        now = max(now, pace.due)
        pace.sent(FRAME_MS, now, 600 * SECOND)
        sent += FRAME_MS
    assert pace.due - due == pytest.approx(100 * FRAME_MS)
    assert sent - now == pytest.approx(240 * SECOND, abs=SECOND)


def test_after_a_refusal_every_channel_keeps_real_time() -> None:
    catch_up = CatchUp(1.25)
    paces = [Pace(catch_up, 0.0, AT_ONCE_MS) for _ in range(2)]
    catch_up.refuse()
    for pace in paces:
        pace.sent(FRAME_MS, 0.0, 60 * SECOND)
        assert pace.due == FRAME_MS
    assert (catch_up.rate, catch_up.refused) == (1.0, True)


@pytest.mark.parametrize("stopped", [3.0, 60.0])
def test_a_process_that_was_stopped_sends_little_at_once(stopped: float) -> None:
    channel = Channel(1.0, 200 * SECOND)
    channel.send(30 * SECOND)
    pace, sent = Pace(channel.catch_up, channel.now, AT_ONCE_MS), 0
    channel.now += stopped * SECOND
    while pace.due <= channel.now:
        pace.sent(FRAME_MS, channel.now, channel.backlog)
        sent += 1
    assert sent == AT_ONCE_MS / FRAME_MS + 1
    assert not pace.was_faster


def test_what_was_sent_early_is_heard_in_real_time_or_when_the_service_has_shown_it() -> None:
    pace, now = Pace(CatchUp(2.0), 0.0, AT_ONCE_MS), 0.0
    for _ in range(200):
        now = max(now, pace.due)
        pace.sent(FRAME_MS, now, 600 * SECOND)
    assert pace.was_faster
    assert pace.unheard(now) == pytest.approx(10 * SECOND, abs=AT_ONCE_MS)
    assert pace.unheard(now + 4 * SECOND) == pytest.approx(6 * SECOND, abs=AT_ONCE_MS)
    pace.heard_all_but(1_500, now + 4 * SECOND)
    assert pace.unheard(now + 4 * SECOND) == 1_500
    pace.heard_all_but(9_000, now + 4 * SECOND)
    assert pace.unheard(now + 5 * SECOND) == 500
    assert pace.unheard(now + 60 * SECOND) == 0

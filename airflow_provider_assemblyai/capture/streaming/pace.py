# SPDX-License-Identifier: Apache-2.0
"""
How fast sound is sent: in real time, and faster for a while after an outage. No clock: times are milliseconds.

The service takes sound that is ahead of real time up to a limit, and closes the session with 3007 beyond it. Sound that was
sent early may also be heard later than it arrived: how much of it that can be is known here, too.
"""

from __future__ import annotations

from typing import Final

from airflow_provider_assemblyai.api.streaming import FRAME_MS

#: How far a session may get ahead of real time; sessions were seen to be closed at about 300 seconds.
_MAX_AHEAD_MS: Final = 240_000.0


class CatchUp:
    """
    How much faster than real time a capture may send what it is behind; all of its channels share it.

    :param rate: seconds of sound in a second; 1.0 is real time.
    :ivar refused: whether the service has closed a session because of it; from then on everything is sent in real time.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self.refused = rate, False

    def refuse(self) -> None:
        """Send in real time from here on."""
        self.rate, self.refused = 1.0, True


class Pace:
    """
    The pace of one session.

    :param catch_up: of the capture.
    :param now: when the session begins.
    :param at_once_ms: what may be sent at once after this process was late; more than that stays a backlog.
    :ivar due: when the next frame is sent.
    :ivar was_faster: whether it was ahead of real time by more than a short delay explains.
    """

    def __init__(self, catch_up: CatchUp, now: float, at_once_ms: float) -> None:
        self._catch_up, self.due, self._at_once_ms = catch_up, now, at_once_ms
        self.was_faster = False
        # What is sent adds to both, and time takes from them.
        self._ahead_ms = self._unheard_ms = 0.0
        self._updated = now

    def sent(self, milliseconds: float, now: float, backlog_ms: float) -> None:
        """
        Note a frame, and set when the next one is due.

        :param milliseconds: of the frame.
        :param now: when it was sent.
        :param backlog_ms: what is recorded and not sent yet.
        """
        passed, self._updated = now - self._updated, now
        self._ahead_ms = max(0.0, self._ahead_ms - passed) + milliseconds
        self._unheard_ms = max(0.0, self._unheard_ms - passed) + milliseconds
        self.was_faster = self.was_faster or self._ahead_ms > 3 * self._at_once_ms
        behind = backlog_ms >= FRAME_MS and self._ahead_ms < _MAX_AHEAD_MS
        rate = self._catch_up.rate if behind else 1.0
        # Never much of what was missed at once: the service ends what is too fast.
        self.due = max(self.due, now - self._at_once_ms) + milliseconds / rate

    def at_limit(self, now: float) -> bool:
        """Return whether the session is so far ahead that the rest can only be sent in real time."""
        return self._ahead_ms - (now - self._updated) >= _MAX_AHEAD_MS - FRAME_MS

    def unheard(self, now: float) -> float:
        """
        Return how much of what was sent the service may not have come to: it hears in real time, if no faster.

        The last frame does not count: it was recorded while the one before it was on its way.
        """
        return max(0.0, self._unheard_ms - (now - self._updated) - FRAME_MS)

    def heard_all_but(self, milliseconds: float, now: float) -> None:
        """
        Note that the service has shown to be faster than real time.

        :param milliseconds: of what was sent that it has not shown to have heard.
        """
        self._unheard_ms = min(self._unheard_ms, milliseconds + FRAME_MS + now - self._updated)

# SPDX-License-Identifier: Apache-2.0
"""What a capture is asked to do: one object, handed down from the operator to every part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from airflow_provider_assemblyai.api.streaming import BYTES_PER_MS

CaptureFormat = Literal["json", "txt", "srt", "vtt"]
FORMATS: Final[tuple[CaptureFormat, ...]] = get_args(CaptureFormat)
DEFAULT_FORMATS: Final[tuple[CaptureFormat, ...]] = ("json", "txt")
#: Seconds of the longest recording.
MAX_DURATION: Final = 31 * 24 * 3600.0
#: How much faster than real time what was missed is sent, by default and at most: the service is not known to hear faster.
CATCH_UP_RATE: Final = 1.25
MAX_CATCH_UP_RATE: Final = 4.0
#: Seconds of the longest segment.
MAX_SEGMENT: Final = 60.0


@dataclass(frozen=True)
class CaptureConfig:
    """
    The arguments of a capture, checked; seconds where nothing else is said.

    :param duration: of the recording, at most.
    :param streaming: query parameters of the streaming service.
    :param channels: 1, or 2 with a session each.
    :param segment: length of a segment, at most 60.
    :param stop_when_silent: without a word for so long the capture ends, or None.
    :param inactivity_timeout: without audio for so long the service ends a session.
    :param max_reconnects: new sessions after connections that broke, for each channel.
    :param catch_up_rate: how much faster than real time audio is sent after an outage, 1.0 to :data:`MAX_CATCH_UP_RATE`.
    :param drain_timeout: after the recording, for audio that could not be sent in time.
    :param formats: what is written at the end.
    :param chars_per_caption: characters that a caption may have, or None.
    :param keep_audio: whether the audio is a result, too.
    :param push_text: whether the summary holds the text.
    :param push_utterances: whether what was said goes to XCom, for the task's page.
    :param fail_if_partial: whether a capture with missing parts fails.
    :param fallback_config: of the pre-recorded job for text that is missing; None if there is to be none.
    :param speed: seconds of the recording in a real one; above 1 only against an emulator that runs as fast.
    """

    duration: float
    streaming: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 1
    segment: float = MAX_SEGMENT
    stop_when_silent: float | None = None
    inactivity_timeout: float = 30.0
    max_reconnects: int = 50
    catch_up_rate: float = CATCH_UP_RATE
    drain_timeout: float = 300.0
    formats: tuple[CaptureFormat, ...] = DEFAULT_FORMATS
    chars_per_caption: int | None = None
    keep_audio: bool = False
    push_text: bool = False
    push_utterances: bool = False
    fail_if_partial: bool = False
    fallback_config: Mapping[str, Any] | None = None
    speed: float = 1.0

    @property
    def end_ms(self) -> int:
        """When the recording ends, in its own milliseconds."""
        return round(self.duration * 1000)

    @property
    def bytes_per_ms(self) -> int:
        """Bytes of one millisecond of all channels."""
        return BYTES_PER_MS * self.channels

    @property
    def idle_ms(self) -> float:
        """Milliseconds without audio after which a session is ended here, before the service does it."""
        return self.inactivity_timeout * 1000 * 2 / 3

    @property
    def stores_audio(self) -> bool:
        """Whether segments hold the audio; then recording makes sense without text as well."""
        return self.keep_audio or self.fallback_config is not None

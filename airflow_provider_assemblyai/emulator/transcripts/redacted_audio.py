# SPDX-License-Identifier: Apache-2.0
"""A copy of the audio without the personal data.

The file is always a WAV, whatever ``redact_pii_audio_quality`` is: an encoder would add nothing to
a test.
"""

from __future__ import annotations

import array
import math
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path

_BEEP_HERTZ = 1_000
_BEEP_LEVEL = 6_000
_GENERATED_RATE = 8_000
# A scripted job may claim ten hours; no test needs them as sound.
_LONGEST_GENERATED = 60.0


def redact_audio(
    media: Path | None, path: Path, duration: float, spans: Iterable[tuple[int, int]], *, beep: bool
) -> None:
    """Make the copy of a job's audio.

    :param media: the file that was transcribed; ``None`` when there was none, which gives a quiet hum.
    :param path: the new WAV file.
    :param duration: seconds, for the hum.
    :param spans: milliseconds from and to, to be covered.
    :param beep: cover with a tone instead of silence.
    """
    if media is None:
        samples, rate = generated(duration)
    else:
        # Only an engine that reads audio keeps a file, so its decoder is there.
        from airflow_provider_assemblyai.emulator.engines.decode import SAMPLE_RATE, decode

        decoded = decode(media)
        samples, rate = [array.array("h", channel.tobytes()) for channel in decoded.channels], SAMPLE_RATE
    write(path, samples, rate, spans, beep=beep)


def write(
    path: Path,
    samples: Sequence[array.array[int]],
    rate: int,
    spans: Iterable[tuple[int, int]],
    *,
    beep: bool,
) -> None:
    """Write the copy.

    :param path: the new WAV file.
    :param samples: 16-bit samples, one array for each channel; they are changed in place.
    :param rate: samples a second.
    :param spans: milliseconds from and to, to be covered.
    :param beep: cover with a tone instead of silence.
    """
    for start, end in spans:
        first, last = start * rate // 1000, end * rate // 1000
        for channel in samples:
            for at in range(first, min(last, len(channel))):
                channel[at] = (
                    round(_BEEP_LEVEL * math.sin(2 * math.pi * _BEEP_HERTZ * at / rate)) if beep else 0
                )
    frames: array.array[int] = array.array("h", bytes(2 * len(samples) * len(samples[0])))
    for number, channel in enumerate(samples):
        frames[number :: len(samples)] = channel
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(frames.tobytes())


def generated(duration: float) -> tuple[list[array.array[int]], int]:
    """Something to cover, for a job whose audio was never fetched: a quiet hum.

    :param duration: seconds.
    """
    count = int(min(duration, _LONGEST_GENERATED) * _GENERATED_RATE)
    period = [round(300 * math.sin(2 * math.pi * step / 80)) for step in range(80)]
    samples = array.array("h", period * (count // 80 + 1))
    return [samples[:count]], _GENERATED_RATE

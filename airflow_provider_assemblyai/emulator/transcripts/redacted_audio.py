# SPDX-License-Identifier: Apache-2.0
"""A copy of the audio without the personal data, as MP3 or as WAV.

Encoding MP3 needs PyAV, which the emulator's extra installs. Without it the copy is a WAV, and the transcript says so in
``redact_pii_audio_quality`` and in a warning.
"""

from __future__ import annotations

import array
import math
import wave
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

_BEEP_HERTZ = 1_000
_BEEP_LEVEL = 6_000
_GENERATED_RATE = 8_000
# A scripted job may claim ten hours; no test needs them as sound.
_LONGEST_GENERATED = 60.0
#: Media types of the formats.
MEDIA_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav"}
_BIT_RATE = 64_000
NO_ENCODER = "The emulator cannot encode MP3 without PyAV: the redacted audio is a WAV file."


@lru_cache(maxsize=1)
def can_encode_mp3() -> bool:
    """Whether there is an encoder."""
    try:
        import av

        av.codec.Codec("libmp3lame", "w")
    except (ImportError, ValueError):
        return False
    return True


def audio_format(fields: Mapping[str, Any]) -> str | None:
    """The format of the redacted copy that a request asks for, ``None`` without one.

    :param fields: the validated request.
    """
    if not fields.get("redact_pii_audio"):
        return None
    return "mp3" if fields.get("redact_pii_audio_quality", "mp3") == "mp3" and can_encode_mp3() else "wav"


def format_warning(fields: Mapping[str, Any]) -> str | None:
    """Why the copy has another format than was asked for, if it has."""
    asked = fields.get("redact_pii_audio_quality", "mp3")
    return NO_ENCODER if audio_format(fields) not in (None, asked) else None


def redact_audio(
    media: Path | None, path: Path, duration: float, spans: Iterable[tuple[int, int]], *, beep: bool
) -> None:
    """Make the copy of a job's audio.

    :param media: the file that was transcribed; ``None`` when there was none, which gives a quiet hum.
    :param path: the new file; its suffix is its format.
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
    _cover(samples, rate, spans, beep=beep)
    (_write_mp3 if path.suffix == ".mp3" else _write_wav)(path, samples, rate)


def _cover(
    samples: Sequence[array.array[int]], rate: int, spans: Iterable[tuple[int, int]], *, beep: bool
) -> None:
    """Cover parts of all channels, in place."""
    for start, end in spans:
        first, last = start * rate // 1000, end * rate // 1000
        for channel in samples:
            for at in range(first, min(last, len(channel))):
                channel[at] = (
                    round(_BEEP_LEVEL * math.sin(2 * math.pi * _BEEP_HERTZ * at / rate)) if beep else 0
                )


def _interleaved(samples: Sequence[array.array[int]]) -> array.array[int]:
    frames: array.array[int] = array.array("h", bytes(2 * len(samples) * len(samples[0])))
    for number, channel in enumerate(samples):
        frames[number :: len(samples)] = channel
    return frames


def _write_wav(path: Path, samples: Sequence[array.array[int]], rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(samples))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(_interleaved(samples).tobytes())


def _write_mp3(path: Path, samples: Sequence[array.array[int]], rate: int) -> None:
    import av

    # The format has two channels at most.
    samples = samples[:2]
    frames = _interleaved(samples)
    layout = "stereo" if len(samples) == 2 else "mono"
    with av.open(str(path), "w", format="mp3") as container:
        stream: Any = container.add_stream("libmp3lame", rate=rate, layout=layout)
        stream.bit_rate = _BIT_RATE
        # A second at a time: the encoder cuts frames of its own.
        step = rate * len(samples)
        for first in range(0, len(frames), step):
            part = frames[first : first + step]
            frame = av.AudioFrame(format="s16", layout=layout, samples=len(part) // len(samples))
            frame.sample_rate, frame.pts = rate, first // len(samples)
            frame.planes[0].update(part.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def generated(duration: float) -> tuple[list[array.array[int]], int]:
    """Something to cover, for a job whose audio was never fetched: a quiet hum.

    :param duration: seconds.
    """
    count = int(min(duration, _LONGEST_GENERATED) * _GENERATED_RATE)
    period = [round(300 * math.sin(2 * math.pi * step / 80)) for step in range(80)]
    samples = array.array("h", period * (count // 80 + 1))
    return [samples[:count]], _GENERATED_RATE

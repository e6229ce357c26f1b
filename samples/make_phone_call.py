# SPDX-License-Identifier: Apache-2.0
"""Make phone-call.wav from phone-call.txt: the caller on the left channel, the agent on the right.

Needs only Python and the `flite` command (Debian: `apt-get install flite`). The same flite version gives
the same bytes, so a change of the text is the only reason for the sound to change.

    python samples/make_phone_call.py
"""

from __future__ import annotations

import array
import math
import subprocess
import tempfile
import wave
from pathlib import Path

HERE = Path(__file__).parent
VOICES = {"caller": "awb", "agent": "slt"}
SPEAKERS = list(VOICES)

SPOKEN_RATE = 16_000
# Telephone quality, and half the size in the repository.
CALL_RATE = SPOKEN_RATE // 2
# Between turns, in seconds: people leave unequal gaps. Used in turn, so the result is repeatable.
PAUSES = (0.55, 0.4, 0.5, 0.65)
EDGE = 0.4

Samples = list[int]


def read_turns(script: Path) -> list[tuple[str, str]]:
    turns = []
    for line in script.read_text(encoding="utf-8").splitlines():
        speaker, _, words = line.partition(": ")
        if speaker not in VOICES or not words:
            raise SystemExit(f"{script.name}: not 'caller: words' or 'agent: words': {line!r}")
        turns.append((speaker, words))
    return turns


def speak(words: str, voice: str) -> Samples:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "turn.wav")
        subprocess.run(["flite", "-voice", voice, "-t", words, "-o", str(path)], check=True)
        with wave.open(str(path), "rb") as spoken:
            if (spoken.getframerate(), spoken.getsampwidth(), spoken.getnchannels()) != (SPOKEN_RATE, 2, 1):
                raise SystemExit(f"flite voice {voice!r} did not give 16 kHz 16-bit mono")
            # WAV is little-endian; so is every machine that this runs on.
            return array.array("h", spoken.readframes(spoken.getnframes())).tolist()


def trim(samples: Samples, silence: int = 200) -> Samples:
    """Cut the silence flite puts around a turn: the pauses are ours to choose."""
    loud = [at for at, value in enumerate(samples) if abs(value) > silence]
    margin = SPOKEN_RATE // 50
    return samples[max(0, loud[0] - margin) : loud[-1] + margin]


def halve_rate(samples: Samples, reach: int = 24) -> Samples:
    """Every second sample, after a windowed-sinc low-pass: without it high sounds fold into speech."""
    cutoff = 0.23  # of the spoken rate, just below the new Nyquist frequency
    taps = []
    for offset in range(-reach, reach + 1):
        sinc = 2 * cutoff if offset == 0 else math.sin(2 * math.pi * cutoff * offset) / (math.pi * offset)
        taps.append(sinc * (0.54 + 0.46 * math.cos(math.pi * offset / reach)))
    gain = sum(taps)
    padded = [0] * reach + samples + [0] * reach
    halved = []
    for at in range(0, len(samples), 2):
        window = padded[at : at + len(taps)]
        total = sum(tap * value for tap, value in zip(taps, window, strict=True))
        halved.append(max(-32768, min(32767, round(total / gain))))
    return halved


def main() -> None:
    channels: dict[str, Samples] = {speaker: [0] * int(EDGE * CALL_RATE) for speaker in SPEAKERS}
    for number, (speaker, words) in enumerate(read_turns(HERE / "phone-call.txt")):
        turn = halve_rate(trim(speak(words, VOICES[speaker])))
        pause = [0] * int(PAUSES[number % len(PAUSES)] * CALL_RATE)
        for name, channel in channels.items():
            channel += (turn if name == speaker else [0] * len(turn)) + pause

    frames = zip(*channels.values(), strict=True)
    interleaved = array.array("h", (value for frame in frames for value in frame))
    with wave.open(str(HERE / "phone-call.wav"), "wb") as call:
        call.setnchannels(len(SPEAKERS))
        call.setsampwidth(2)
        call.setframerate(CALL_RATE)
        call.writeframes(interleaved.tobytes())
    print(f"phone-call.wav: {len(interleaved) / len(SPEAKERS) / CALL_RATE:.1f} s")


if __name__ == "__main__":
    main()

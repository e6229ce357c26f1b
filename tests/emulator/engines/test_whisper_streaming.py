# SPDX-License-Identifier: Apache-2.0
"""Real recognition in streaming sessions: the sample recording goes in, its words come out."""

from __future__ import annotations

import io
import re
import threading
import wave
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import av
import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator, StreamingLimits, serve
from tests.support.streams import TIMEOUT, Stream

SAMPLES = Path(__file__).parents[3] / "samples"
US, PRO = "universal-streaming-english", "universal-3-5-pro"
RATE = 8000


@pytest.fixture(scope="module")
def _listening() -> Iterator[Emulator]:
    # Audio may come as fast as it likes.
    with serve(engine="whisper", streaming_limits=StreamingLimits(look_ahead=3600)) as emulator:
        yield emulator


@pytest.fixture
def listening(_listening: Emulator) -> Emulator:
    _listening.reset()
    return _listening


@pytest.fixture(scope="module")
def speech() -> bytes:
    """The sample on one channel: 8 kHz, 16 bits."""
    with wave.open(str(SAMPLES / "phone-call.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 2, 2)
        both = array("h", file.readframes(file.getnframes()))
    return array(
        "h", ((left + right) // 2 for left, right in zip(both[::2], both[1::2], strict=True))
    ).tobytes()


@pytest.fixture(scope="module")
def spoken() -> list[str]:
    """Every word of the sample's script."""
    lines = (SAMPLES / "phone-call.txt").read_text().splitlines()
    return words(" ".join(line.partition(":")[2] for line in lines))


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def share_right(found: list[str], wanted: list[str]) -> float:
    matches = SequenceMatcher(None, wanted, found, autojunk=False).get_matching_blocks()
    return sum(match.size for match in matches) / len(wanted)


def mu_law(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mulaw") as file:
        stream = file.add_stream("pcm_mulaw", rate=RATE, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = RATE
        file.mux(stream.encode(frame))
    return buffer.getvalue()


def play(emulator: Emulator, audio: bytes, frame: int, **query: Any) -> Stream:
    """Send audio while messages are read."""
    stream = Stream(emulator, sample_rate=RATE, **query)
    reader = threading.Thread(target=stream.read_all)
    reader.start()
    stream.send_audio(audio, frame=frame).send("Terminate")
    reader.join()
    return stream


def test_both_families_at_once_understand_the_sample(
    listening: Emulator, speech: bytes, spoken: list[str]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        new = pool.submit(play, listening, speech, 1600, speech_model=PRO)
        old = pool.submit(
            play, listening, mu_law(speech), 800, speech_model=US, encoding="pcm_mulaw", format_turns=True
        )
        # Recognition runs in threads: other requests are served meanwhile.
        while wait((new, old), timeout=0.2).not_done:
            assert requests.get(f"{listening.url}/_emulator", timeout=TIMEOUT).status_code == 200
    for stream in (new.result(), old.result()):
        assert stream.closed == (1000, "")
        assert stream.messages[-1]["audio_duration_seconds"] == 26
        turns = stream.ended_turns()
        assert share_right(words(" ".join(turn["transcript"] for turn in turns)), spoken) >= 0.9
        assert len(turns) >= 5
        times = [(word["start"], word["end"]) for turn in turns for word in turn["words"]]
        assert times == sorted(times)
        assert 0 <= times[0][0] < 1500
        assert 24_000 < times[-1][1] <= 26_400
        assert all(turn["turn_is_formatted"] for turn in turns)
        assert turns[0]["transcript"].startswith("Good morning")
    unformatted = next(message for message in old.result().messages if message.get("end_of_turn"))
    assert unformatted["transcript"].startswith("good morning i ordered a blue coffee cup")
    assert new.result().wait_for("SpeechStarted")["timestamp"] < 1000


def test_a_forced_end_and_partial_turns_whose_words_stay(listening: Emulator, speech: bytes) -> None:
    stream = Stream(listening, sample_rate=RATE, speech_model=US)
    second = 2 * RATE
    # A partial turn comes when no more audio is waiting.
    stream.send_audio(speech[: 5 * second // 2], frame=1600)
    partial = stream.wait_for("Turn")
    assert not partial["end_of_turn"]
    stream.send_audio(speech[5 * second // 2 : 9 * second // 2], frame=1600)
    stream.send("ForceEndpoint")
    ended = stream.wait_for("Turn", lambda turn: bool(turn["end_of_turn"]))
    assert ended["transcript"].startswith("good morning i ordered a blue coffee cup")
    final: list[str] = []
    for turn in stream.messages:
        if turn["type"] == "Turn":
            settled = [word["text"] for word in turn["words"] if word["word_is_final"]]
            assert settled[: len(final)] == final
            final = settled
    stream.finish()


def test_silence_has_no_words(listening: Emulator) -> None:
    stream = Stream(listening, sample_rate=RATE, acknowledge_silence=True)
    stream.send_audio(bytes(2 * RATE * 5), frame=1600).finish()
    assert stream.ended_turns() == []
    assert [message["type"] for message in stream.messages if message["type"] == "Silence"]
    assert not [message for message in stream.messages if message["type"] == "SpeechStarted"]

# SPDX-License-Identifier: Apache-2.0
"""Where audio comes from: files, pipes, callables and addresses, with PyAV and without."""

from __future__ import annotations

import http.server
import json
import logging
import math
import os
import sys
import threading
import time
import wave
from array import array
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput, SourceFailed
from airflow_provider_assemblyai.capture.audio.recorder import CaptureClock, Recorder
from airflow_provider_assemblyai.capture.audio.sources import PcmSource, open_source
from airflow_provider_assemblyai.capture.audio.spool import Spool
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import bare, marked, none_left, operator, until, words_in, words_of
from tests.support.sample import SAMPLE

SECOND = 32_000


def tone(seconds: float, rate: int = 16_000, channels: int = 1, pitch: float = 400.0) -> bytes:
    """A tone; the second channel is silent, so that a mix has half the strength."""
    samples = array("h", bytes(2 * channels * round(seconds * rate)))
    for number in range(round(seconds * rate)):
        samples[number * channels] = round(12_000 * math.sin(2 * math.pi * pitch * number / rate))
    return samples.tobytes()


def wav(path: Path, audio: bytes, rate: int = 16_000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(audio)
    return path


def encoded(path: Path, audio: bytes, codec: str) -> Path:
    """The same audio, compressed, in the container of the path's extension."""
    options = {"hls_time": "1", "hls_list_size": "0"} if path.suffix == ".m3u8" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=16_000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        resampler = av.AudioResampler(stream.format, "mono", stream.rate, stream.frame_size or 1152)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(audio) // 2)
        frame.planes[0].update(audio)
        frame.rate = 16_000
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def pitch_of(audio: bytes) -> float:
    """Of the middle of it, by counting."""
    samples = array("h", audio)
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    crossings = sum(1 for one, other in pairwise(middle) if one < 0 <= other)
    return crossings / (len(middle) / 16_000)


def strength(audio: bytes) -> int:
    return max(array("h", audio))


def whole(source: PcmSource, skip: int = 0) -> bytes:
    return b"".join(source.blocks(skip))


@pytest.fixture(params=[True, False], ids=["av", "plain"])
def with_av(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if not request.param:
        monkeypatch.setitem(sys.modules, "av", None)
    return bool(request.param)


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_plain_wav_of_any_rate(with_av: bool, tmp_path: Path, rate: int) -> None:
    path = wav(tmp_path / "a.wav", tone(2, rate, 2), rate, 2)
    audio = whole(open_source(str(path), 1))
    assert abs(len(audio) / SECOND - 2) < 0.05
    assert abs(pitch_of(audio) - 400) < 4
    assert 5_000 < strength(audio) < 9_500, "mixed"


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_channels_are_kept_apart(with_av: bool, tmp_path: Path, rate: int) -> None:
    path = wav(tmp_path / "a.wav", tone(2, rate, 2), rate, 2)
    both = array("h", whole(open_source(str(path), 2)))
    assert abs(len(both) / 32_000 - 2) < 0.05
    assert strength(both[::2].tobytes()) > 10_000
    assert strength(both[1::2].tobytes()) < 50


def test_the_sample_is_whole(with_av: bool) -> None:
    with wave.open(str(SAMPLE)) as file:
        seconds = file.getnframes() / file.getframerate()
    assert abs(len(whole(open_source(str(SAMPLE), 1))) / SECOND - seconds) < 0.1


def test_a_file_is_entered_at_the_time_of_the_recording(tmp_path: Path) -> None:
    audio = marked(10)
    raw = tmp_path / "a.pcm"
    raw.write_bytes(audio)
    path = wav(tmp_path / "a.wav", audio)
    for each in (raw, path, Path(f"file://{path}")):
        assert whole(open_source(str(each).replace("file:/", "file:///", 1), 1), 4_000) == audio[4 * SECOND :]
    flac = encoded(tmp_path / "a.flac", tone(10), "flac")
    assert abs(len(whole(open_source(str(flac), 1), 4_000)) / SECOND - 6) < 0.5


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.aac", "aac"), ("a.m4a", "aac")])
def test_compressed_files(tmp_path: Path, name: str, codec: str) -> None:
    audio = whole(open_source(str(encoded(tmp_path / name, tone(3), codec)), 1))
    assert abs(len(audio) / SECOND - 3) < 0.2
    assert abs(pitch_of(audio) - 400) < 4


def test_what_needs_pyav_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded(tmp_path / "a.flac", tone(1), "flac")
    monkeypatch.setitem(sys.modules, "av", None)
    for source in (str(path), "https://user:secret@radio.example/live?token=secret"):
        with pytest.raises(InvalidInput, match=r"\[media\]") as refused:
            open_source(source, 1)
        assert "secret" not in str(refused.value)


def test_one_channel_cannot_be_two(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(1))
    with pytest.raises(InvalidInput, match="needs two"):
        open_source(str(path), 2)


@pytest.mark.parametrize("source", ["", 5, "gopher://x", "http://", "/", "/dev/null"])
def test_what_is_no_source(source: Any) -> None:
    with pytest.raises(InvalidInput, match="source"):
        open_source(source, 1)


def test_a_file_without_audio(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<html></html>")
    with pytest.raises(SourceFailed):
        whole(open_source(str(path), 1))


# --- callables and pipes ----------------------------------------------------------------------------------


def test_a_callable_may_yield_pieces_of_any_length() -> None:
    audio = tone(1)

    def odd() -> Iterator[bytes]:
        for at in range(0, len(audio), 777):
            yield audio[at : at + 777]

    assert whole(open_source(odd, 1)) == audio


def test_a_callable_that_yields_something_else() -> None:
    with pytest.raises(InvalidInput, match="must yield bytes"):
        whole(open_source(lambda: ["text"], 1))


def written(path: Path, content: bytes) -> threading.Thread:
    def write() -> None:
        with path.open("wb") as pipe:
            pipe.write(content)

    writer = threading.Thread(target=write)
    writer.start()
    return writer


@pytest.mark.parametrize("form", ["raw", "wav", "flac"])
def test_named_pipes(tmp_path: Path, form: str) -> None:
    audio = tone(3)
    content = {
        "raw": lambda: audio,
        "wav": lambda: wav(tmp_path / "a.wav", audio).read_bytes(),
        "flac": lambda: encoded(tmp_path / "a.flac", audio, "flac").read_bytes(),
    }[form]()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = written(pipe, content)
    heard = whole(open_source(str(pipe), 1))
    writer.join()
    assert heard == audio if form != "flac" else abs(pitch_of(heard) - 400) < 4
    assert abs(len(heard) / SECOND - 3) < 0.2


def test_a_pipe_without_a_writer_is_left_when_the_capture_stops(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    stopped = threading.Event()
    audio = open_source(str(pipe), 1, stopped.is_set)
    waiting = threading.Thread(target=whole, args=(audio,))
    waiting.start()
    stopped.set()
    waiting.join(60)
    assert not waiting.is_alive()


# --- addresses --------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """Serves a directory; ``/station/<file>`` is an endless stream of it, as far as its headers say."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith("/station/"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Type", "audio/aac")
            self.end_headers()
            self.wfile.write((tmp_path / self.path.rpartition("/")[2]).read_bytes())
            return None

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_file_behind_an_address_ends(site: str, tmp_path: Path) -> None:
    encoded(tmp_path / "a.flac", tone(3), "flac")
    audio = open_source(f"{site}/a.flac", 1)
    assert audio.endless
    assert abs(len(whole(audio)) / SECOND - 3) < 0.2


def test_hls(site: str, tmp_path: Path) -> None:
    encoded(tmp_path / "a.m3u8", tone(5), "aac")
    heard = whole(open_source(f"{site}/a.m3u8", 1))
    assert abs(len(heard) / SECOND - 5) < 0.3
    assert abs(pitch_of(heard) - 400) < 4


def test_a_station_that_stops_has_failed(site: str, tmp_path: Path) -> None:
    encoded(tmp_path / "a.aac", tone(2), "aac")
    heard = bytearray()

    def listen() -> None:
        for block in open_source(f"{site}/station/a.aac", 1).blocks(0):
            heard.extend(block)

    with pytest.raises(SourceFailed):
        listen()
    assert abs(len(heard) / SECOND - 2) < 0.2


def test_an_address_that_leads_nowhere(site: str) -> None:
    with pytest.raises(SourceFailed) as failed:
        whole(open_source(f"{site}/missing.mp3?token=secret", 1))
    assert "secret" not in str(failed.value)


def start_recording(source: PcmSource, seconds: float, speed: float = 10.0) -> tuple[Recorder, Spool]:
    config = CaptureConfig(duration=seconds, speed=speed)
    clock = CaptureClock(speed)
    spool = Spool(config.bytes_per_ms, clock.now)
    spool.release_before("test", 0)
    recorder = Recorder(source, spool, clock, config, logging.getLogger("test"))
    recorder.start()
    assert recorder.primed.wait(60)
    clock.start(0)
    recorder.begin(0)
    return recorder, spool


def test_a_station_is_opened_again_and_the_gap_is_known(site: str, tmp_path: Path) -> None:
    encoded(tmp_path / "a.aac", tone(2), "aac")
    recorder, spool = start_recording(open_source(f"{site}/station/a.aac", 1), 3_600, speed=4)
    until(lambda: len(spool.spans(0)) >= 3)
    recorder.stop()
    recorder.join(60)
    assert not recorder.is_alive()
    assert recorder.failure is None
    assert all(second[0] - first[1] > 1_000 for first, second in pairwise(spool.spans(0)))


def test_nothing_is_recorded_faster_than_real_time_and_not_more_than_the_duration() -> None:
    endless = PcmSource("endless", lambda _: iter(partial(bytes, 9_999), b""))
    began = time.monotonic()
    recorder, spool = start_recording(endless, 10)
    recorder.join(60)
    assert not recorder.is_alive()
    assert spool.spans(0) == [(0, 10_000)]
    assert time.monotonic() - began >= 0.9
    assert not recorder.exhausted


def test_of_a_source_that_delivers_all_at_once_only_the_next_seconds_are_taken() -> None:
    recorder, spool = start_recording(open_source(lambda: [bytes(60 * SECOND)], 1), 60, speed=1.0)
    until(lambda: spool.written_ms >= 2_000)
    written, there = spool.written_ms, spool.end
    recorder.stop()
    recorder.join(60)
    assert written - there <= 3_200
    assert spool.end < 60_000


def test_what_was_taken_early_from_a_source_that_breaks_is_recorded() -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(2 * SECOND)
        raise RuntimeError

    recorder, spool = start_recording(open_source(broken, 1), 60)
    recorder.join(60)
    assert isinstance(recorder.failure, SourceFailed)
    assert spool.closed
    assert spool.spans(0) == [(0, 2_000)]


def test_what_a_callable_raises_is_named_without_its_text() -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(3200)
        raise RuntimeError("a secret")

    recorder, _ = start_recording(open_source(broken, 1), 10)
    recorder.join(60)
    assert isinstance(recorder.failure, SourceFailed)
    assert "RuntimeError" in str(recorder.failure)
    assert "secret" not in str(recorder.failure)


def test_from_a_pipe_to_words(listening: Emulator, context: Any, tmp_path: Path, out: Path) -> None:
    pipe = tmp_path / "studio"
    os.mkfifo(pipe)
    writer = written(pipe, marked(2))
    summary = operator(str(pipe), out, duration=10, push_text=True).execute(context)
    writer.join()
    assert summary["ended_by"] == "source"
    assert bare(str(summary["text"]).split()) == bare(words_of(2))
    none_left(listening)


def test_from_a_callable_to_words(listening: Emulator, context: Any, out: Path) -> None:
    def microphone() -> Iterator[bytes]:
        yield from (marked(4)[at : at + 1000] for at in range(0, 4 * SECOND, 1000))

    operator(microphone, out).execute(context)
    assert bare(words_in(json.loads((out / "a_task.json").read_text()))) == bare(words_of(2.4))
    none_left(listening)

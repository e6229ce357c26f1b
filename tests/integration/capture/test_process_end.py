# SPDX-License-Identifier: Apache-2.0
"""Every way out of a capture ends its session; and what is refused before anything costs."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowTaskTimeout,
)
from airflow.sdk.execution_time.timeout import timeout

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.errors import InvalidInput, SourceFailed, TaskKilled
from airflow_provider_assemblyai.client.websocket import StreamingSocket
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.storage.records import seal
from tests.support.captures import (
    SECOND,
    Worker,
    bare,
    marked,
    none_left,
    operator,
    pcm_of,
    streams,
    until,
    words_in,
    words_of,
)

#: Seconds of the captures that are ended before: far more than a test may take.
LONG = 600


@pytest.fixture
def long_tape(tmp_path: Path) -> Path:
    path = tmp_path / "show.pcm"
    path.write_bytes(marked(LONG))
    return path


def when_streaming(emulator: Emulator, action: Callable[[], object]) -> threading.Thread:
    """Do something in a thread of its own as soon as a session receives audio."""

    def wait() -> None:
        until(lambda: any(session["audio_seconds"] > 0 for session in emulator.sessions()))
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


# --- every way out ----------------------------------------------------------------------------------------


def test_execution_timeout_ends_the_session(
    listening: Emulator, context: Any, long_tape: Path, out: Path
) -> None:
    # The timer of Airflow raises this signal as well.
    alarm = when_streaming(listening, lambda: signal.raise_signal(signal.SIGALRM))
    with pytest.raises(AirflowTaskTimeout), timeout(LONG):
        operator(str(long_tape), out, duration=LONG).execute(context)
    alarm.join()
    none_left(listening)
    assert [session["state"] for session in listening.sessions()] == ["terminated"]


def test_a_state_that_is_refused_later_ends_the_session(
    listening: Emulator, context: Any, long_tape: Path, out: Path
) -> None:
    superseding = when_streaming(listening, lambda: setattr(context["task_state_store"], "refuses", True))
    with pytest.raises(TaskKilled, match="refused"):
        operator(str(long_tape), out, duration=LONG).execute(context)
    superseding.join()
    none_left(listening)


def test_an_airflow_that_cannot_be_asked_for_a_moment_ends_nothing(
    listening: Emulator, context: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreachable(Exception):
        class error:
            detail = {"status_code": None, "message": "connection refused"}  # noqa: RUF012

    store, asked = context["task_state_store"], threading.Event()
    write = store.set

    def set(key: str, value: Any, *, retention: Any = None) -> None:
        if value["serial"] == 2:
            asked.set()
            raise Unreachable
        write(key, value, retention=retention)

    def until_asked() -> Iterator[bytes]:
        audio, after = marked(LONG), 0
        for at in range(0, len(audio), SECOND // 10):
            yield audio[at : at + SECOND // 10]
            after += asked.is_set()
            if after == 20:
                return

    monkeypatch.setattr(store, "set", set)
    summary = operator(until_asked, out, duration=LONG).execute(context)
    assert asked.is_set()
    assert (summary["ended_by"], store.history[-1]["phase"]) == ("source", "published")
    assert summary["gaps"] == []


@pytest.fixture
def worker(listening: Emulator, long_tape: Path, out: Path) -> Iterator[Callable[..., Worker]]:
    """Starts a process that captures, and waits until it has stored two segments."""
    workers: list[Worker] = []

    def start(*, supervised: bool = False, **arguments: Any) -> Worker:
        defaults = {"source": str(long_tape), "output_path": str(out), "duration": LONG, "segment": 1.0}
        workers.append(Worker(listening, {**defaults, **arguments}, supervised=supervised))
        until(lambda: list(out.rglob("001-00001.json")))
        return workers[-1]

    yield start
    for each in workers:
        each.close()


def test_a_kill_ends_the_session(listening: Emulator, worker: Any) -> None:
    killed = worker()
    killed.process.send_signal(signal.SIGTERM)
    until(lambda: not streams(listening)["open"])
    assert [session["state"] for session in listening.sessions()] == ["terminated"]
    assert killed.process.wait(60) != 0
    none_left(listening)


def test_sigkill_loses_one_segment_and_the_limits_end_the_session(
    listening: Emulator, worker: Any, tape: Path, out: Path, old_context: Any
) -> None:
    killed = worker(keep_audio=True, inactivity_timeout=5)
    until(lambda: list(out.rglob("001-00003.json")))
    killed.process.kill()
    killed.process.wait()
    until(lambda: streams(listening)["left_open"] == 1)
    listening.advance(5)
    assert (streams(listening)["left_open"], streams(listening)["ended"]) == (0, {"inactive": 1})
    segments = [json.loads(path.read_text()) for path in sorted(out.rglob("001-*.json"))]
    stored_ms = max(end for segment in segments for _, end in segment["recorded"])
    # The text of a segment is written first: the kill may have come before its sound.
    with_audio = [
        file for one in segments for file in one["audio_files"] if list(out.rglob(f"{file['name']}.wav"))
    ]
    audio_ms = max(file["end_ms"] for file in with_audio)
    state_file = next((out / ".assemblyai").glob("show.*.json"))
    state = {**json.loads(state_file.read_text()), "duration": 4.0}
    del state["checksum"]
    state_file.write_text(json.dumps(seal(state)))
    until(lambda: time.time() > state["started_at"] + 4)
    summary = operator(str(tape), out, keep_audio=True).execute(old_context)
    assert len(segments) >= 4
    assert summary["captured_seconds"] == stored_ms / 1000, "all but what came after the last segment"
    whole = pcm_of(out / "show.wav")
    assert whole == marked(LONG)[: len(whole)]
    assert len(whole) == audio_ms * 32
    assert audio_ms >= segments[-1]["recorded"][0][0], "one segment at most"
    assert len(summary["session_ids"]) == 1
    assert streams(listening)["opened"] == 1


def test_a_supervisor_that_is_gone_ends_the_session(listening: Emulator, worker: Any) -> None:
    supervised = worker(supervised=True)
    supervised.process.kill()
    until(lambda: not streams(listening)["open"])
    assert [session["state"] for session in listening.sessions()] == ["terminated"]
    assert listening.sessions()[0]["audio_seconds"] < LONG


@pytest.mark.parametrize(("rate", "look_ahead"), [(1.0, 2.0), (1.25, 300.0)], ids=["strict", "default"])
def test_a_process_that_was_stopped_does_not_send_too_fast(
    listening: Emulator, worker: Any, out: Path, rate: float, look_ahead: float
) -> None:
    # In the strict reading the service ends what is two seconds ahead; all at once would be four.
    listening.set_streaming_limits(look_ahead=look_ahead)
    stopped = worker(duration=12, catch_up_rate=rate)
    stopped.process.send_signal(signal.SIGSTOP)
    threading.Event().wait(4)
    stopped.process.send_signal(signal.SIGCONT)
    assert stopped.process.wait(120) == 0
    assert [(session["state"], session["code"]) for session in listening.sessions()] == [("terminated", 1000)]
    whole = json.loads((out / "show.json").read_text())
    assert bare(words_in(whole)) == bare(words_of(12)), "what came meanwhile is sent afterwards"


# --- what is refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"duration": 0}, "duration"),
        ({"segment": 61}, "segment"),
        ({"channels": 3}, "channels"),
        ({"on_partial": "maybe"}, "on_partial"),
        ({"fallback": True}, "fallback"),
        ({"inactivity_timeout": 4}, "inactivity_timeout"),
        ({"max_reconnects": -1}, "max_reconnects"),
        ({"chars_per_caption": 0}, "chars_per_caption"),
    ],
)
def test_bad_options_are_refused_while_the_dag_is_parsed(arguments: Any, what: str, out: Path) -> None:
    with pytest.raises(InvalidInput, match=what):
        operator("x.wav", out, **arguments)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"source": "missing.wav"}, "source"),
        ({"source": "s3://bucket/key.wav"}, "source"),
        ({"duration": "ten"}, "duration"),
        ({"config": {"sample_rate": 8000}}, "sample_rate"),
        ({"formats": ["docx"]}, "formats"),
        ({"fallback_config": {"punctuate": "yes"}}, "punctuate"),
    ],
)
def test_bad_input_costs_nothing(
    emulator: Emulator, context: Any, out: Path, tape: Path, arguments: Any, what: str
) -> None:
    source = arguments.pop("source", str(tape))
    with pytest.raises(AirflowFailException, match=what):
        operator(source, out, **arguments).execute(context)
    assert emulator.requests == []


def test_a_source_without_audio_costs_nothing(
    listening: Emulator, context: Any, out: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pcm"
    empty.touch()
    with pytest.raises(SourceFailed, match="no audio"):
        operator(str(empty), out).execute(context)
    assert listening.requests == []


def test_a_temporary_token_from_the_hook(listening: Emulator) -> None:
    hook = AssemblyAIHook()
    url = streaming.session_url(hook.client.hosts.streaming, {}, 30)
    socket = StreamingSocket(url, hook.streaming_token(90))
    until(lambda: streams(listening)["open"])
    socket.text(streaming.TERMINATE)
    until(lambda: not streams(listening)["open"])
    socket.close()
    (session,) = listening.sessions()
    assert session["expires_at"] - session["opened"] == pytest.approx(90, abs=1)

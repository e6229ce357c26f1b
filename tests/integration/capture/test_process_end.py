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
from tests.support.captures import (
    Worker,
    bare,
    marked,
    none_left,
    operator,
    pcm_of,
    said,
    streams,
    until,
    words_of,
)

# --- every way out ----------------------------------------------------------------------------------------


def test_execution_timeout_ends_the_session(listening: Emulator, context: Any, tape: Path, out: Path) -> None:
    capturing = operator(str(tape), out, duration=60)
    with pytest.raises(AirflowTaskTimeout), timeout(12):
        capturing.execute(context)
    none_left(listening)
    assert [session["state"] for session in listening.sessions()] == ["terminated"]


def test_a_record_that_is_refused_later_ends_the_session(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    capturing = operator(str(tape), out, duration=60)

    def supersede() -> None:
        until(lambda: streams(listening)["open"])
        context["task_state_store"].refuses = True

    other = threading.Thread(target=supersede)
    other.start()
    began = time.monotonic()
    with pytest.raises(TaskKilled, match="refused"):
        capturing.execute(context)
    assert time.monotonic() - began < 15
    other.join()
    none_left(listening)


def test_an_airflow_that_cannot_be_asked_for_a_moment_ends_nothing(
    listening: Emulator, context: Any, tape: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unreachable(Exception):
        class error:
            detail = {"status_code": None, "message": "connection refused"}  # noqa: RUF012

    store = context["task_state_store"]
    write = store.set

    def set(key: str, value: Any, *, retention: Any = None) -> None:
        if value["serial"] == 2:
            raise Unreachable
        write(key, value, retention=retention)

    monkeypatch.setattr(store, "set", set)
    summary = operator(str(tape), out, duration=6).execute(context)
    assert summary["captured_seconds"] == 6


@pytest.fixture
def worker(listening: Emulator, tape: Path, out: Path) -> Iterator[Callable[..., Worker]]:
    made: list[Worker] = []

    def start(*, supervised: bool = False, **arguments: Any) -> Worker:
        settings = {"source": str(tape), "output_path": str(out), "duration": 25, "segment": 1.0, **arguments}
        made.append(Worker(listening, settings, supervised=supervised))
        until(lambda: list(out.rglob("001-00001.json")), 60)
        return made[-1]

    yield start
    for each in made:
        each.__exit__()


def test_a_kill_ends_the_session_within_four_seconds(listening: Emulator, worker: Any) -> None:
    killed = worker()
    began = time.monotonic()
    killed.process.send_signal(signal.SIGTERM)
    until(lambda: not streams(listening)["open"], 4)
    assert time.monotonic() - began < 4
    assert [session["state"] for session in listening.sessions()] == ["terminated"]
    assert killed.process.wait(10) != 0


def test_sigkill_loses_one_segment_and_the_limits_end_the_session(
    listening: Emulator, worker: Any, tape: Path, out: Path, old_context: Any
) -> None:
    killed = worker(keep_audio=True, inactivity_timeout=5)
    until(lambda: list(out.rglob("001-00003.json")))
    killed.process.kill()
    killed.process.wait()
    at = time.time() - listening.sessions()[0]["opened"]
    until(lambda: streams(listening)["left_open"] == 1)
    listening.advance(5)
    assert (streams(listening)["left_open"], streams(listening)["ended"]) == (0, {"inactive": 1})
    record = next((out / ".assemblyai").glob("show.*.json"))
    closed = {**json.loads(record.read_text()), "duration": 4.0}
    record.write_text(json.dumps(closed))
    until(lambda: time.time() > closed["began"] + 4)
    summary = operator(str(tape), out, keep_audio=True).execute(old_context)
    assert summary["captured_seconds"] >= at - 2.5
    whole = pcm_of(out / "show.wav")
    assert whole == marked(30)[: len(whole)]
    assert len(summary["session_ids"]) == 1
    assert streams(listening)["opened"] == 1


def test_a_supervisor_that_is_gone_ends_the_session(listening: Emulator, worker: Any) -> None:
    supervised = worker(supervised=True)
    supervised.process.kill()
    began = time.monotonic()
    until(lambda: not streams(listening)["open"], 10)
    assert time.monotonic() - began < 10
    assert [session["state"] for session in listening.sessions()] == ["terminated"]


def test_a_process_that_was_stopped_does_not_send_faster_than_life(
    listening: Emulator, worker: Any, out: Path
) -> None:
    listening.set_streaming_limits(pace_slack=0.5)
    stopped = worker(duration=12)
    stopped.process.send_signal(signal.SIGSTOP)
    threading.Event().wait(3)
    stopped.process.send_signal(signal.SIGCONT)
    assert stopped.process.wait(60) == 0
    assert [(session["state"], session["code"]) for session in listening.sessions()] == [("terminated", 1000)]
    whole = json.loads((out / "show.json").read_text())
    assert bare(said(whole)) == bare(words_of(12)), "what came meanwhile is sent afterwards"


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


def test_a_source_without_sound_costs_nothing(
    listening: Emulator, context: Any, out: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pcm"
    empty.touch()
    with pytest.raises(SourceFailed, match="no sound"):
        operator(str(empty), out).execute(context)
    assert listening.requests == []


def test_a_temporary_token_from_the_hook(listening: Emulator) -> None:
    hook = AssemblyAIHook()
    url = streaming.address(hook.client.hosts.streaming, {}, 30)
    socket = StreamingSocket(url, hook.streaming_token(90))
    until(lambda: streams(listening)["open"])
    socket.text(streaming.TERMINATE)
    until(lambda: not streams(listening)["open"])
    socket.close()
    (session,) = listening.sessions()
    assert session["expires_at"] - session["opened"] == pytest.approx(90, abs=1)

# SPDX-License-Identifier: Apache-2.0
"""A short file does not pay for a deferral: who waits on the worker, for how long, and what a kill leaves there."""

from __future__ import annotations

import threading
import wave
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from airflow.providers.common.compat.sdk import ObjectStoragePath, TaskDeferred

from airflow_provider_assemblyai.api.errors import TaskKilled, TranscriptTimeout
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

URL = "https://example.com/calls/monday.mp3"


@pytest.fixture(autouse=True)
def usual_delays(looks_early: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is worth a wait depends on how late a trigger looks."""
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.FIRST_POLL_DELAY", 2.0)
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.DEFERRAL_DELAY", 6.0)


def operator(audio: Any, **kwargs: Any) -> TranscribeOperator:
    """A new instance, as every try has one."""
    settings: dict[str, Any] = {"deferrable": True, "poll_interval": 0.05, "settle_time": 0.05, **kwargs}
    return TranscribeOperator(task_id="transcribe", audio=audio, **settings)


def looks(emulator: Emulator) -> int:
    """How often the job was looked at."""
    return sum(
        request["method"] == "GET" and request["path"].startswith("/v2/transcript/")
        for request in emulator.requests
    )


def sound(path: Path, seconds: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000 * seconds))
    return path


def noise(path: Path, size: int) -> Path:
    """A file whose length can only be told by its size."""
    path.write_bytes(b"no header " * (size // 10))
    return path


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a server for the files of the test."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def audio_of(
    tmp_path: Path, web: str, new_bucket: Callable[[str], ObjectStoragePath]
) -> Callable[[str], object]:
    """Make the audio that a name describes."""

    def stored(size: int) -> object:
        path = new_bucket("calls") / "call.ogg"
        path.write_bytes(noise(tmp_path / "source", size).read_bytes())
        return str(path)

    def served(size: int) -> object:
        return f"{web}/{noise(tmp_path / 'call.ogg', size).name}"

    made: dict[str, Callable[[], object]] = {
        "a short file": lambda: str(sound(tmp_path / "call.wav", 30)),
        "a small file": lambda: str(noise(tmp_path / "call.ogg", 400_000)),
        "a small object": lambda: stored(400_000),
        "a small download": lambda: served(400_000),
        "a long file": lambda: str(sound(tmp_path / "call.wav", 900)),
        "a large file": lambda: str(noise(tmp_path / "call.ogg", 900_000)),
        "a large object": lambda: stored(900_000),
        "a large download": lambda: served(900_000),
        "a URL": lambda: URL,
    }
    return lambda name: made[name]()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        *[(f"a {name}", {}) for name in ("short file", "small file", "small object", "small download")],
        ("a URL", {"audio_end_at": 60_000}),
        ("a long file", {"audio_start_from": 600_000}),
        ("a large file", {"audio_start_from": 600_000, "audio_end_at": 700_000}),
    ],
    ids=str,
)
def test_what_is_known_to_be_short_is_waited_for(
    emulator: Emulator, context: Any, audio_of: Any, tmp_path: Path, name: str, config: dict[str, int]
) -> None:
    task = operator(audio_of(name), config=config, output_path=str(tmp_path / "out"))
    summary = task.execute(context)
    assert summary["status"] == "completed"
    assert Path(summary["outputs"]["txt"].removeprefix("file://")).exists()
    assert emulator.counters()["billed"] == 1


@pytest.mark.parametrize(
    ("name", "config"),
    [
        *[(f"a {name}", {}) for name in ("long file", "large file", "large object", "large download", "URL")],
        ("a URL", {"audio_start_from": 1_000}),
        ("a URL", {"audio_end_at": 900_000}),
    ],
    ids=str,
)
def test_anything_else_is_deferred_at_once(
    emulator: Emulator, context: Any, audio_of: Any, name: str, config: dict[str, int]
) -> None:
    with pytest.raises(TaskDeferred):
        operator(audio_of(name), config=config).execute(context)
    assert looks(emulator) == 0


@pytest.mark.parametrize("seconds", [0, "auto"])
def test_zero_is_at_once(emulator: Emulator, context: Any, audio_of: Any, seconds: Any) -> None:
    task = operator(audio_of("a short file"), defer_after=seconds)
    if seconds == "auto":
        assert task.execute(context)["status"] == "completed"
        return
    with pytest.raises(TaskDeferred):
        task.execute(context)
    assert looks(emulator) == 0


def test_as_long_as_is_asked_for(emulator: Emulator, context: Any) -> None:
    task = operator(f"{URL}?emulator=processing:3polls", defer_after=600)
    assert task.execute(context)["status"] == "completed"
    assert looks(emulator) == 4


def test_what_takes_longer_is_deferred_and_finished(
    emulator: Emulator, context: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.DEFERRAL_DELAY", 0.01)
    audio = f"{URL}?emulator=processing:1000"
    with pytest.raises(TaskDeferred):
        operator(audio, defer_after=0.2).execute(context)
    assert looks(emulator) > 1
    emulator.advance(1_000)
    assert run(operator(audio, defer_after=0.2), context)["status"] == "completed"
    assert emulator.counters()["accepted"] == 1


@pytest.fixture
def full(emulator: Emulator) -> Emulator:
    """An account that works at as many jobs as it may."""
    for number in range(200):
        emulator.add_transcript(str(UUID(int=number)), audio_url=f"{URL}?emulator=processing:1000")
    return emulator


def test_what_is_queued_is_deferred(full: Emulator, context: Any, audio_of: Any) -> None:
    with pytest.raises(TaskDeferred):
        operator(audio_of("a short file")).execute(context)
    assert looks(full) == 1, "some answers to a submission call every job queued"


def test_a_poll_that_fails_is_left_to_the_trigger(emulator: Emulator, context: Any, audio_of: Any) -> None:
    emulator.fault("http_status", status=401, method="GET", path="/v2/transcript/{id}", times=None)
    with pytest.raises(TaskDeferred):
        operator(audio_of("a short file")).execute(context)


def test_the_timeout_holds(emulator: Emulator, context: Any) -> None:
    task = operator(f"{URL}?emulator=processing:1000", defer_after=600, timeout=0.3)
    with pytest.raises(TranscriptTimeout, match="TranscriptSensor"):
        task.execute(context)


def test_killed_while_it_waits(emulator: Emulator, context: Any, audio_of: Any) -> None:
    audio = audio_of("a short file")
    emulator.hold(method="GET", path="/v2/transcript/{id}")
    task = operator(audio)

    def kill() -> None:
        emulator.wait_for_held()
        task.on_kill()
        emulator.release(then="reset")

    killing = threading.Thread(target=kill)
    killing.start()
    with pytest.raises(TaskKilled):
        task.execute(context)
    killing.join()
    assert operator(audio).execute(context)["status"] == "completed"
    assert emulator.counters()["accepted"] == 1

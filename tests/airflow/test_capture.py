# SPDX-License-Identifier: Apache-2.0
"""Live recordings in a real Airflow: real speech by radio, and every way in which Airflow ends a task."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
import time
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from airflow_provider_assemblyai.emulator.engines.marked_audio import marked_audio
from tests.airflow.conftest import Control
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE, errors


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A radio station: everybody who tunes in hears the sample from its begin, at the pace of life."""
    path = tmp_path_factory.mktemp("station") / "programme.aac"
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", 16_000, stream.frame_size)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    programme = path.read_bytes()
    with wave.open(str(SAMPLE)) as file:
        pace = len(programme) / (file.getnframes() / file.getframerate())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "audio/aac")
            self.end_headers()
            began = time.monotonic()
            try:
                for at in range(0, 100 * len(programme), 512):
                    # Two seconds at once, as stations do, and then as it is said.
                    ahead = at / pace - 2 - (time.monotonic() - began)
                    if ahead > 0:
                        over.wait(ahead)
                    if over.is_set():
                        return
                    self.wfile.write((programme + programme)[at % len(programme) :][:512])
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    over = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/news.aac"
    over.set()
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def sessions(control: Control) -> Callable[[], list[dict[str, Any]]]:
    """The sessions that were opened since the test began."""
    before = {session["id"] for session in listed(control)}
    return lambda: [session for session in listed(control) if session["id"] not in before]


def listed(control: Control) -> list[dict[str, Any]]:
    answer = control("GET", "/sessions")
    found: list[dict[str, Any]] = answer["sessions"] if isinstance(answer, dict) else answer
    return found


def test_radio_every_hour(
    airflow: Airflow,
    sessions: Callable[[], list[dict[str, Any]]],
    station: str,
    tmp_path: Path,
) -> None:
    with wave.open(str(SAMPLE)) as file:
        seconds = round(file.getnframes() / file.getframerate())
    conf = {"stations": [station], "seconds": seconds, "output_path": str(tmp_path), "model": "gpt-5-mini"}
    run = airflow.trigger("assemblyai_record_radio", conf)
    assert airflow.wait(run, timeout=240) == "success", airflow.describe(run)

    summary = airflow.xcom(run, "record", map_index=0)
    files = {name: Path(uri.removeprefix("file://")) for name, uri in summary["outputs"].items()}
    assert set(files) == {"json", "txt", "srt", "wav"}
    assert errors(files["txt"].read_text()) <= 0.10, files["txt"].read_text()
    with wave.open(str(files["wav"])) as file:
        recorded = file.getnframes() / file.getframerate()
    assert abs(recorded - seconds) <= 1
    assert (summary["captured_seconds"], summary["ended_by"]) == (recorded, "duration")
    assert (summary["status"], summary["transcript_id"], summary["text"]) == ("completed", None, None)
    assert [session["state"] for session in sessions()] == ["terminated"]
    assert summary["session_ids"] == [session["id"] for session in sessions()]
    (session,) = sessions()
    assert summary["billed_session_seconds"] == pytest.approx(session["billed_seconds"], abs=1)
    answer = airflow.xcom(run, "summarize", map_index=0)
    assert Path(answer["output"].removeprefix("file://")).read_text()
    logs = airflow.task_logs(run, "record", map_index=0)
    assert "recorded, " in logs
    assert "coffee" not in logs.lower()


def recording(
    airflow: Airflow, dag_id: str, tmp_path: Path, sessions: Callable[[], list[dict[str, Any]]], **conf: Any
) -> Run:
    """Start a long capture of a file, and wait until it is in full swing."""
    source = tmp_path / "show.pcm"
    source.write_bytes(marked_audio(1500))
    run = airflow.trigger(dag_id, {"source": str(source), "output_path": str(tmp_path / "out"), **conf})
    until(
        lambda: any(session["audio_seconds"] > 2 for session in sessions()),
        timeout=120,
        what="a capture in full swing",
    )
    return run


def all_ended(sessions: Callable[[], list[dict[str, Any]]], seconds: float) -> list[str]:
    def ended() -> list[str] | None:
        states = [session["state"] for session in sessions()]
        return None if {"open", "left open"} & set(states) else states

    return until(ended, timeout=seconds, what="the end of all sessions")


def test_execution_timeout(
    airflow: Airflow, sessions: Callable[[], list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = recording(airflow, "capture_timeout", tmp_path, sessions)
    assert airflow.wait(run, timeout=120) == "failed"
    assert all_ended(sessions, 5) == ["terminated"]


def test_marked_as_failed_by_hand(
    airflow: Airflow, sessions: Callable[[], list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = recording(airflow, "capture_long", tmp_path, sessions)
    airflow.mark(run, "record", "failed")
    # A heartbeat has to be refused first, then four seconds.
    assert all_ended(sessions, 30) == ["terminated"]


def test_sigterm(airflow: Airflow, sessions: Callable[[], list[dict[str, Any]]], tmp_path: Path) -> None:
    run = recording(airflow, "capture_long", tmp_path, sessions)
    os.kill(airflow.task_instance(run, "record")["pid"], signal.SIGTERM)
    assert all_ended(sessions, 8) == ["terminated"]
    assert airflow.wait(run, timeout=60) == "failed"


def test_sigkill_is_ended_by_the_limits_and_a_retry_captures_the_rest(
    airflow: Airflow, sessions: Callable[[], list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = recording(airflow, "capture_retried", tmp_path, sessions, duration=40)
    segment = tmp_path / "out" / ".assemblyai"
    until(lambda: any(segment.rglob("001-00002.json")), timeout=30, what="the third segment")
    airflow.kill_task(run, "record")
    assert airflow.wait(run, timeout=180) == "success", airflow.describe(run)
    assert all_ended(sessions, 30) == ["inactive", "terminated"]
    summary = airflow.xcom(run, "record")
    assert len(summary["session_ids"]) == 2
    (missed,) = [gap for gap in summary["gaps"] if gap["missing"] == "audio"]
    assert missed["start"] >= 2
    whole = json.loads((tmp_path / "out" / "show.json").read_text())
    assert whole["audio_duration"] == 40
    with wave.open(str(tmp_path / "out" / "show.wav")) as file:
        assert file.getnframes() == 40 * 16_000


def test_a_worker_and_its_supervisor_that_are_killed(
    airflow: Airflow, sessions: Callable[[], list[dict[str, Any]]], tmp_path: Path
) -> None:
    run = recording(airflow, "capture_long", tmp_path, sessions)
    pid = airflow.task_instance(run, "record")["pid"]
    stat = Path(f"/proc/{pid}/stat").read_text()
    os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert all_ended(sessions, 12) == ["terminated"]
    airflow.mark(run, "record", "failed")

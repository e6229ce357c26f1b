# SPDX-License-Identifier: Apache-2.0
"""Live recordings in a real Airflow: real speech by radio, and every way in which Airflow ends a task."""

from __future__ import annotations

import http.server
import json
import os
import re
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
from tests.airflow.conftest import local_path
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.sample import SAMPLE, word_error_rate

#: The streaming sessions that were opened since the test began, as the emulator has them.
Sessions = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def radio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A radio station: every listener hears the sample from its start, in real time."""
    path = tmp_path_factory.mktemp("radio") / "programme.aac"
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        resampler = av.AudioResampler(stream.format, "mono", 16_000, stream.frame_size)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    programme = path.read_bytes()
    with wave.open(str(SAMPLE)) as file:
        bytes_per_second = len(programme) / (file.getnframes() / file.getframerate())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "audio/aac")
            self.end_headers()
            start = time.monotonic()
            try:
                for at in range(0, 100 * len(programme), 512):
                    # Two seconds at once, as stations do, and then in real time.
                    ahead = at / bytes_per_second - 2 - (time.monotonic() - start)
                    if stopped.wait(max(0.0, ahead)):
                        return
                    self.wfile.write((programme + programme)[at % len(programme) :][:512])
            except OSError:
                return

        def log_message(self, *_: object) -> None:
            pass

    stopped = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/news.aac"
    stopped.set()
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def sessions(airflow: Airflow) -> Sessions:
    before = {session["id"] for session in airflow.emulator.sessions()}
    return lambda: [session for session in airflow.emulator.sessions() if session["id"] not in before]


def test_radio_every_hour(airflow: Airflow, sessions: Sessions, radio_url: str, tmp_path: Path) -> None:
    with wave.open(str(SAMPLE)) as file:
        seconds = round(file.getnframes() / file.getframerate())
    conf = {"stations": [radio_url], "seconds": seconds, "output_path": str(tmp_path), "model": "gpt-5-mini"}
    run = airflow.trigger("assemblyai_record_radio", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)

    summary = airflow.xcom(run, "record", map_index=0)
    files = {name: local_path(uri) for name, uri in summary["outputs"].items()}
    assert set(files) == {"json", "txt", "srt", "wav"}
    assert word_error_rate(files["txt"].read_text()) <= 0.10, files["txt"].read_text()
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
    assert local_path(answer["output"]).read_text()
    names = {
        task: airflow.task_instance(run, task, 0)["rendered_map_index"] for task in ("record", "summarize")
    }
    assert names == {"record": radio_url, "summarize": summary["outputs"]["txt"]}
    logs = airflow.task_logs(run, "record", map_index=0)
    assert re.search(r"The capture of [\d.]+ s is done: .* minutes billed, estimated cost", logs)
    assert "coffee" not in logs.lower()


def start_capture(airflow: Airflow, dag_id: str, tmp_path: Path) -> Run:
    """Start a long capture of a file."""
    source = tmp_path / "show.pcm"
    source.write_bytes(marked_audio(1500))
    return airflow.trigger(dag_id, {"source": str(source), "output_path": str(tmp_path / "out")})


def wait_for_audio(sessions: Sessions) -> None:
    until(
        lambda: any(session["audio_seconds"] > 2 for session in sessions()),
        what="a session that receives audio",
    )


def end_states(sessions: Sessions) -> list[str]:
    """How the sessions ended: `terminated` by the client, `inactive` by the service's own limit."""

    def ended() -> list[str] | None:
        states = [session["state"] for session in sessions()]
        return None if {"open", "left open"} & set(states) else states

    return until(ended, what="the end of all sessions")


def test_execution_timeout(airflow: Airflow, sessions: Sessions, tmp_path: Path) -> None:
    run = start_capture(airflow, "capture_timeout", tmp_path)
    assert airflow.wait(run) == "failed"
    assert end_states(sessions) == ["terminated"]
    assert "AirflowTaskTimeout" in airflow.task_logs(run, "record")


def test_marked_as_failed_by_hand(airflow: Airflow, sessions: Sessions, tmp_path: Path) -> None:
    run = start_capture(airflow, "capture_long", tmp_path)
    wait_for_audio(sessions)
    airflow.mark(run, "record", "failed")
    # Airflow refuses a heartbeat, and kills the process some seconds after that: it has to terminate in between.
    assert end_states(sessions) == ["terminated"]


def test_sigterm(airflow: Airflow, sessions: Sessions, tmp_path: Path) -> None:
    run = start_capture(airflow, "capture_long", tmp_path)
    wait_for_audio(sessions)
    airflow.signal_task(run, "record", signal.SIGTERM)
    assert end_states(sessions) == ["terminated"]
    assert airflow.wait(run) == "failed"


def test_sigkill_is_ended_by_the_limits_and_a_retry_captures_the_rest(
    airflow: Airflow, sessions: Sessions, tmp_path: Path
) -> None:
    run = start_capture(airflow, "capture_retried", tmp_path)
    segments = tmp_path / "out" / ".assemblyai"
    until(lambda: any(segments.rglob("001-00002.json")), what="the third segment")
    airflow.kill_task(run, "record")
    assert airflow.wait(run) == "success", airflow.describe(run)
    assert end_states(sessions) == ["inactive", "terminated"]
    summary = airflow.xcom(run, "record")
    assert len(summary["session_ids"]) == 2
    (missed,) = [gap for gap in summary["gaps"] if gap["missing"] == "audio"]
    assert missed["start"] >= 2
    whole = json.loads((tmp_path / "out" / "show.json").read_text())
    assert whole["audio_duration"] == 90
    with wave.open(str(tmp_path / "out" / "show.wav")) as file:
        assert file.getnframes() == 90 * 16_000


def test_a_task_whose_supervisor_is_killed(airflow: Airflow, sessions: Sessions, tmp_path: Path) -> None:
    run = start_capture(airflow, "capture_long", tmp_path)
    wait_for_audio(sessions)
    pid = airflow.task_instance(run, "record")["pid"]
    stat = Path(f"/proc/{pid}/stat").read_text()
    os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)
    assert end_states(sessions) == ["terminated"]
    airflow.mark(run, "record", "failed")

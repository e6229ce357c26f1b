# SPDX-License-Identifier: Apache-2.0
"""The time of a task reaches whatever it asks for, wherever the service drips; what is paid for gets half a minute."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import AssemblyAIError, TransportError
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from tests.hostile import server as catalogue
from tests.hostile.conftest import GENEROUS, at_once, ended
from tests.hostile.server import ID
from tests.hostile.service import Service, Target, at, through_socket
from tests.hostile.stream_server import SESSION_ATTACKS, in_session
from tests.integration.conftest import StateStore, TaskInstance
from tests.support.captures import marked

KEY = "KEY-0123456789abcdef"
#: A time that Airflow gives a task.
IN_TIME: dict[str, Any] = {"execution_timeout": timedelta(seconds=10)}


@pytest.fixture
def attacked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Target], Any]:
    """Makes a service that drips somewhere, with a connection of its own."""

    @contextmanager
    def attacked(target: Target) -> Iterator[tuple[Service, str]]:
        with Service(target, catalogue.drip_on_body, "http://127.0.0.1:9") as service:
            name = f"at_{service.api.address.rpartition(':')[2]}"
            connection = {"conn_type": "assemblyai", "password": KEY, "host": service.api.url}
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
            yield service, name
            assert service.attacked
            assert service.wait_until_left(GENEROUS)

    return attacked


def fails(work: Callable[[Any], Any]) -> None:
    context: Any = {"ti": TaskInstance(), "task_state_store": StateStore()}
    with pytest.raises(AssemblyAIError) as caught:
        ended(lambda: work(context))
    assert caught.value.retryable
    assert isinstance(caught.value, TransportError)


Work = Callable[[Any, Path], None]


def a_recording(attacked: Any, folder: Path) -> None:
    with attacked(at("source.wav")) as (service, connection):
        audio = f"{service.files.url}/source.wav"
        task = TranscribeOperator(task_id="t", assemblyai_conn_id=connection, audio=audio, timeout=10.0)
        fails(task.execute)


def export(route: str) -> Work:
    def work(attacked: Any, folder: Path) -> None:
        with attacked(at(route)) as (_, connection):
            task = TranscriptExportOperator(
                task_id="t",
                transcript_id=ID,
                assemblyai_conn_id=connection,
                output_path=str(folder),
                formats=["srt", "redacted_audio"],
                **IN_TIME,
            )
            fails(task.execute)

    return work


def delete(attacked: Any, folder: Path) -> None:
    with attacked(at("delete")) as (_, connection):
        task = TranscriptDeleteOperator(
            task_id="t", transcript_id=ID, assemblyai_conn_id=connection, **IN_TIME
        )
        fails(task.execute)


def the_fallback_of_a_capture(attacked: Any, folder: Path) -> None:
    (folder / "show.pcm").write_bytes(marked(2))
    unheard = through_socket(in_session(SESSION_ATTACKS["breaks_instead_of_termination"]))
    with attacked(at("list", broken={"session": unheard})) as (_, connection):
        task = StreamingCaptureOperator(
            task_id="t",
            assemblyai_conn_id=connection,
            source=str(folder / "show.pcm"),
            duration=1,
            output_path=str(folder / "out"),
            fallback="transcribe",
            max_reconnects=0,
            drain_timeout=1,
            execution_timeout=timedelta(seconds=20),
        )
        fails(task.execute)


def what_a_trigger_waited_for(attacked: Any, folder: Path) -> None:
    event: Any = {"transcript_id": ID, "outcome": "done", "detail": "completed"}
    with attacked(at("read")) as (service, connection):
        task = TranscriptSensor(task_id="t", transcript_id=ID, assemblyai_conn_id=connection, deferrable=True)
        fails(lambda context: task.execute_complete(context, event))
        assert len(service.attacked) == 1, "the time is over by then"


EACH: dict[str, Work] = {
    "recording": a_recording,
    **{route: export(route) for route in ("read", "srt", "redacted-audio", "redacted.mp3")},
    "delete": delete,
    "fallback": the_fallback_of_a_capture,
    "triggered": what_a_trigger_waited_for,
}


def test_what_drips_ends_when_the_task_does(attacked: Any, tmp_path: Path) -> None:
    def work(name: str) -> None:
        (folder := tmp_path / name).mkdir()
        EACH[name](attacked, folder)

    at_once(EACH, work)

# SPDX-License-Identifier: Apache-2.0
"""How audio gets to the service, from real stores: local files, and moto's S3 over HTTP."""

from __future__ import annotations

import http.server
import threading
import wave
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StorageError
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.jobs import audio as job_audio
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

BUCKET = "s3://aws_moto@recordings"


@pytest.fixture
def bucket(new_bucket: Callable[[str], ObjectStoragePath]) -> ObjectStoragePath:
    return new_bucket("recordings")


def sound(seconds: int = 2) -> bytes:
    import io

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(2 * 8000 * seconds))
    return buffer.getvalue()


def test_from_a_bucket_to_a_bucket(
    emulator: Emulator, context: Any, run: Callable[..., Any], bucket: ObjectStoragePath
) -> None:
    (bucket / "in" / "show one.wav").write_bytes(sound())
    summary = run(
        TranscribeOperator(
            task_id="t",
            audio=f"{BUCKET}/in/show one.wav",
            output_path=f"{BUCKET}/out/shows",
            formats=["txt", "srt"],
        ),
        context,
    )
    assert summary["outputs"] == {
        "txt": f"{BUCKET}/out/shows/show_one.txt",
        "srt": f"{BUCKET}/out/shows/show_one.srt",
    }
    with ObjectStoragePath(summary["outputs"]["txt"]).open("r") as file:
        assert "fox" in file.read()
    names = {
        path.rpartition("/")[2] for path in bucket.fs.find("recordings/out") if "/.assemblyai/" not in path
    }
    assert names == {"show_one.txt", "show_one.srt"}, "the write check left nothing behind"
    # The store can sign, but its host is on this machine: the service could not reach it.
    assert emulator.counters()["uploads"] == 1


def test_presigned(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    bucket: ObjectStoragePath,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (bucket / "a.wav").write_bytes(sound())
    run(TranscribeOperator(task_id="t", audio=f"{BUCKET}/a.wav", transfer="presign"), context)
    assert emulator.counters()["uploads"] == 0
    url = emulator.transcripts()[0]["audio_url"]
    assert "Signature=" in url
    assert url.partition("?")[2] not in caplog.text


def test_auto_signs_for_a_public_host(bucket: ObjectStoragePath, monkeypatch: pytest.MonkeyPatch) -> None:
    (bucket / "a.wav").write_bytes(sound())
    audio = job_audio.locate(f"{BUCKET}/a.wav")
    assert job_audio.choose_transfer(audio, "auto") == "upload"
    monkeypatch.setattr(job_audio, "is_public", lambda host: host == "127.0.0.1")
    assert job_audio.choose_transfer(audio, "auto") == "presign"
    assert "X-Amz-Expires=3600" in job_audio.presign(audio, 3600) or "Expires=" in job_audio.presign(
        audio, 3600
    )


def test_missing_object_and_missing_bucket(
    emulator: Emulator, context: Any, bucket: ObjectStoragePath
) -> None:
    for audio in (f"{BUCKET}/nothing.wav", "s3://aws_moto@nobucket/a.wav"):
        with pytest.raises(AirflowFailException, match="does not exist"):
            TranscribeOperator(task_id="t", audio=audio).execute(context)
    (bucket / "a.wav").write_bytes(sound())
    with pytest.raises(Exception, match="output_path"):
        TranscribeOperator(
            task_id="t", audio=f"{BUCKET}/a.wav", output_path="s3://aws_moto@nobucket/out"
        ).execute(context)
    assert emulator.counters()["accepted"] == 0
    assert "nobucket" not in {path.strip("/") for path in bucket.fs.ls("")}


def test_an_object_store_path_as_argument(
    emulator: Emulator, context: Any, run: Callable[..., Any], bucket: ObjectStoragePath
) -> None:
    (bucket / "a.wav").write_bytes(sound())
    summary = run(TranscribeOperator(task_id="t", audio=bucket / "a.wav", output_path=bucket / "o"), context)
    assert summary["outputs"]["json"] == f"{BUCKET}/o/a.json"


@pytest.fixture
def private_host(tmp_path: Path) -> Iterator[str]:
    """A web server that only this machine can reach."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "talk.wav").write_bytes(sound(3))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            return None

    handler = partial(Quiet, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_url_that_the_service_cannot_reach_is_uploaded(
    emulator: Emulator, context: Any, run: Callable[..., Any], private_host: str
) -> None:
    summary = run(TranscribeOperator(task_id="t", audio=f"{private_host}/talk.wav?token=x"), context)
    assert summary["audio_duration"] == 3
    assert emulator.counters()["upload_bytes"] == len(sound(3))
    run(TranscribeOperator(task_id="t", audio=f"{private_host}/another.wav", transfer="url"), context)
    assert emulator.counters()["uploads"] == 1, "a user who says 'url' is believed"


def test_a_private_url_that_is_not_there(emulator: Emulator, context: Any, private_host: str) -> None:
    with pytest.raises(AirflowFailException, match="HTTP 404") as caught:
        TranscribeOperator(task_id="t", audio=f"{private_host}/no.wav?token=SECRET").execute(context)
    assert "SECRET" not in str(caught.value)
    assert emulator.counters()["accepted"] == 0


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 100)
    body = job_audio.AudioBody(job_audio.locate(path))
    path.write_bytes(b"x" * 99)
    with pytest.raises(StorageError, match="changed while it was read"):
        list(body.open())


def test_bytes_are_counted_and_hashed(tmp_path: Path) -> None:
    import hashlib

    content = bytes(range(256)) * 10_000
    (tmp_path / "a.wav").write_bytes(content)
    body = job_audio.AudioBody(job_audio.locate(tmp_path / "a.wav"))
    for _ in range(2):  # a second attempt starts from byte 0
        assert b"".join(body.open()) == content
        assert (body.sent_bytes, body.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_an_upload_that_stops_early_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x" * (8 << 20))
    before = threading.active_count()
    blocks = job_audio.AudioBody(job_audio.locate(tmp_path / "a.wav")).open()
    assert len(next(blocks)) == 1 << 20
    assert threading.active_count() == before + 1, "hashing has a thread of its own"
    blocks.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred
from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_3_PLUS
from airflow.sdk import DAG

from airflow_provider_assemblyai.api.errors import ServiceUnreachable, TranscriptTimeout, UnexpectedReply
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

SPOKEN = "the quick brown fox jumps over the lazy dog"
URL = "https://example.com/calls/monday.mp3"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "my call.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 16000 * 3))
    return path


def operator(**kwargs: Any) -> TranscribeOperator:
    kwargs.setdefault("audio", URL)
    kwargs.setdefault("poll_interval", 0.1)
    kwargs.setdefault("settle_time", 0.05)
    return TranscribeOperator(task_id="transcribe", **kwargs)


def test_a_url_is_handed_over(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool
) -> None:
    summary = run(operator(deferrable=deferrable), context)
    (record,) = emulator.transcripts()
    assert summary == {
        "transcript_id": record["id"],
        "status": "completed",
        "region": "us",
        "text": summary["text"],
        "audio_duration": summary["audio_duration"],
        "language_code": "en_us",
        "confidence": summary["confidence"],
        "speech_model_used": "universal-3-5-pro",
        "warnings": [],
        "outputs": {},
        "estimated_cost_usd": summary["estimated_cost_usd"],
    }
    assert summary["text"].lower().rstrip(".") == SPOKEN
    assert 0 < summary["confidence"] <= 1
    assert summary["audio_duration"] > 0
    assert summary["estimated_cost_usd"] > 0
    assert json.loads(json.dumps(summary)) == summary
    pushed = context["ti"].xcoms
    assert pushed.keys() == {"transcript_id", "timeline", "_link_TaskPageLink"}
    assert pushed["transcript_id"] == record["id"]
    timeline = pushed["timeline"]
    assert timeline.keys() == {"uploaded_at", "submitted_at", "done_at", "status", "region"}
    assert (timeline["uploaded_at"], timeline["status"], timeline["region"]) == (None, "completed", "us")
    assert timeline["submitted_at"] <= timeline["done_at"]
    assert record["audio_url"] == URL
    assert emulator.counters()["billed"] == 1
    assert emulator.counters()["uploads"] == 0


def test_a_file_is_uploaded(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    recording: Path,
    deferrable: bool,
    tmp_path: Path,
) -> None:
    out = tmp_path / "new" / "place"
    summary = run(
        operator(
            audio=str(recording),
            output_path=str(out),
            formats=["json", "txt", "srt", "vtt", "sentences", "paragraphs"],
            chars_per_caption=20,
            deferrable=deferrable,
        ),
        context,
    )
    names = {
        "json": "my_call.json",
        "txt": "my_call.txt",
        "srt": "my_call.srt",
        "vtt": "my_call.vtt",
        "sentences": "my_call.sentences.json",
        "paragraphs": "my_call.paragraphs.json",
    }
    assert summary["outputs"] == {name: f"file://{out / file}" for name, file in names.items()}
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == sorted(names.values())
    assert summary["text"] is None, "the text is in a file, so it is not in XCom"
    assert summary["audio_duration"] == 3
    assert (out / "my_call.txt").read_text().lower().strip().rstrip(".") == SPOKEN
    assert json.loads((out / "my_call.json").read_text())["words"][0]["text"].lower() == "the"
    assert (out / "my_call.srt").read_text().startswith("1\n00:00:00,")
    assert (out / "my_call.vtt").read_text().startswith("WEBVTT")
    assert json.loads((out / "my_call.sentences.json").read_text())["sentences"]
    counters = emulator.counters()
    assert (counters["uploads"], counters["upload_bytes"]) == (1, recording.stat().st_size)


@pytest.mark.parametrize(("quality", "head"), [("wav", b"RIFF"), ("mp3", b"ID3"), (None, b"ID3")])
def test_redacted_audio_is_fetched(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    quality: str | None,
    head: bytes,
) -> None:
    config = {
        "redact_pii": True,
        "redact_pii_policies": ["person_name"],
        "redact_pii_audio": True,
        "redact_pii_audio_quality": quality,
    }
    summary = run(
        operator(config=config, output_path=str(tmp_path), formats=["redacted_audio"], push_text=True),
        context,
    )
    path = Path(summary["outputs"]["redacted_audio"].removeprefix("file://"))
    assert path.name == f"monday.redacted.{quality or 'mp3'}"
    assert path.read_bytes().startswith(head)
    assert summary["text"]


def test_submit_only(emulator: Emulator, context: Any) -> None:
    summary = operator(wait_for_completion=False, audio=f"{URL}?emulator=processing:60").execute(context)
    assert summary["status"] in ("queued", "processing")
    assert summary["text"] is None
    assert context["ti"].xcoms["transcript_id"] == summary["transcript_id"]


def test_the_text_stays_out_of_xcom_if_asked(
    emulator: Emulator, context: Any, run: Callable[..., Any]
) -> None:
    assert run(operator(push_text=False), context)["text"] is None


def test_a_long_text_is_left_out_with_a_warning(
    emulator: Emulator, context: Any, run: Callable[..., Any]
) -> None:
    emulator.set_transcript("mühevolüüüüüüüü " * 20_000)
    summary = run(operator(), context)
    assert summary["text"] is None
    assert "output_path" in summary["warnings"][0]


def test_warnings_of_the_service_are_kept(emulator: Emulator, context: Any, run: Callable[..., Any]) -> None:
    summary = run(operator(audio=f"{URL}?emulator=warning:speaker%20labels%20were%20left%20out"), context)
    assert summary["warnings"] == ["speaker labels were left out"]
    options = {"on_no_speech_detected": "fallback", "fallback_language": "de"}
    silent = run(
        operator(
            audio=f"{URL}?emulator=speech:0",
            config={"language_detection": True, "language_detection_options": options},
            reuse=False,
        ),
        context,
    )
    assert (silent["text"], silent["language_code"]) == ("", "de")
    assert ["No speech was detected" in warning for warning in silent["warnings"]] == [True]


def test_mapped_tasks_do_not_share_names(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    context["ti"].map_index = 7
    first = run(operator(output_path=str(tmp_path)), context)
    again = run(operator(output_path=str(tmp_path)), context)
    assert first["outputs"]["txt"] == f"file://{tmp_path}/monday-7.txt"
    assert first["outputs"] == again["outputs"], "a retry writes the same names"


def test_delete_after(
    emulator: Emulator, context: Any, run: Callable[..., Any], recording: Path, tmp_path: Path
) -> None:
    summary = run(operator(audio=str(recording), output_path=str(tmp_path), delete_after=True), context)
    (record,) = emulator.transcripts()
    assert record["deleted"]
    assert SPOKEN.split()[-1] in (tmp_path / "my_call.json").read_text()
    assert summary["status"] == "completed"


def test_delete_after_false_as_text_deletes_nothing(
    emulator: Emulator, context: Any, run: Callable[..., Any], recording: Path, tmp_path: Path
) -> None:
    run(operator(audio=str(recording), output_path=str(tmp_path), delete_after="False"), context)
    (record,) = emulator.transcripts()
    assert not record["deleted"]


def test_the_signature_of_a_url_stays_out_of_the_files(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path
) -> None:
    run(operator(audio=f"{URL}?X-Amz-Signature=SECRETSECRET", output_path=str(tmp_path)), context)
    assert emulator.transcripts()[0]["audio_url"].endswith("SECRETSECRET")
    for path in (each for each in tmp_path.rglob("*") if each.is_file()):
        assert "SECRETSECRET" not in path.read_text()


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        ("error:download", "Download error"),
        ("error:download_unable", "unable to download"),
        ("error:access", "unable to access"),
        ("error:html", "does not appear to contain audio"),
        ("error:short", "too short"),
        ("error:threshold", "speech threshold"),
        ("error:language", "detected language"),
        ("error:no_speech", "no spoken audio"),
        ("error:transcoding", "Transcoding failed"),
    ],
)
def test_a_job_that_cannot_succeed_uses_no_retry(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool, marker: str, words: str
) -> None:
    url = f"https://me:hidden@example.com/a.wav?emulator={marker}&sig=SIGNATURE"
    with pytest.raises(AirflowFailException, match=words) as caught:
        run(operator(audio=url, deferrable=deferrable), context)
    assert emulator.transcripts()[0]["id"] in str(caught.value)
    assert "SIGNATURE" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert emulator.counters()["billed"] == 0


def test_the_deadline_names_the_job_and_how_to_pick_it_up(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool
) -> None:
    slow = operator(audio=f"{URL}?emulator=processing:3600", timeout=0.3, deferrable=deferrable)
    with pytest.raises(TranscriptTimeout, match="TranscriptSensor") as caught:
        run(slow, context)
    assert emulator.transcripts()[0]["id"] in str(caught.value)
    assert emulator.counters()["accepted"] == 1


def test_faults_while_waiting_are_borne(
    emulator: Emulator, context: Any, run: Callable[..., Any], deferrable: bool
) -> None:
    for fault in ("reset_connection", "http_status", "rate_limit"):
        emulator.fault(fault, method="GET", **({"retry_after": 0} if fault == "rate_limit" else {}))
    assert run(operator(deferrable=deferrable), context)["status"] == "completed"
    assert emulator.counters()["billed"] == 1


def test_a_refused_key_uses_no_retry(
    emulator: Emulator, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(emulator.connection_json) | {"password": "wrong-key-wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
    with pytest.raises(AirflowFailException, match="key was refused") as caught:
        operator().execute(context)
    assert "wrong-key-wrong" not in str(caught.value)


@pytest.mark.parametrize(
    "event", [None, {}, "done", {"transcript_id": 5}, {"transcript_id": "x", "outcome": "odd"}]
)
def test_events_that_are_not_ours(emulator: Emulator, context: Any, event: Any) -> None:
    with pytest.raises(UnexpectedReply, match="trigger ended"):
        operator().execute_complete(context, event)


def test_unreachable_is_not_failed(emulator: Emulator, context: Any) -> None:
    event: Any = {"transcript_id": "x", "outcome": "unreachable", "detail": "no network."}
    with pytest.raises(ServiceUnreachable, match="goes on"):
        operator().execute_complete(context, event)


def test_a_scrubbed_record_is_never_a_result(emulator: Emulator, context: Any) -> None:
    from airflow_provider_assemblyai.api import transcripts
    from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

    summary = operator().execute(context)
    AssemblyAIHook().send(transcripts.delete(str(summary["transcript_id"])))
    event: Any = {"transcript_id": summary["transcript_id"], "outcome": "done", "detail": "completed"}
    with pytest.raises(AirflowFailException, match="was deleted"):
        operator().execute_complete(context, event)


def test_after_a_deferral_what_is_paid_for_is_written_as_far_as_it_goes(
    emulator: Emulator, context: Any, tmp_path: Path
) -> None:
    """The task of an older version, which did not refuse a format that the request cannot give."""
    arguments: dict[str, Any] = {"deferrable": True, "output_path": str(tmp_path)}
    with pytest.raises(TaskDeferred) as deferred:
        operator(formats=["json"], defer_after=0, **arguments).execute(context)
    task = operator(formats=["json", "redacted_audio"], **arguments)
    event: Any = {
        "transcript_id": context["ti"].xcoms["transcript_id"],
        "outcome": "done",
        "detail": "completed",
    }
    with pytest.raises(AirflowFailException):
        task.execute_complete(context, event, **(deferred.value.kwargs or {}))
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["status"] == "completed"


def test_trigger_arguments_hold_no_secret_and_no_text(emulator: Emulator, context: Any) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        operator(audio=f"{URL}?sig=SIGNATURE", deferrable=True).execute(context)
    shown = json.dumps(deferred.value.trigger.serialize())
    assert "SIGNATURE" not in shown
    assert emulator.api_key not in shown
    assert set(deferred.value.trigger.serialize()[1]) == {
        "version",
        "transcript_id",
        "assemblyai_conn_id",
        "region",
        "poll_interval",
        "deadline",
        "delete_on_kill",
        "audio_duration",
    }


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 2), ({"retries": 0}, 0), ({"default_args": {"retries": 5}}, 5)]
)
def test_retries_by_default(given: dict[str, Any], expected: int) -> None:
    defaults = given.pop("default_args", {})
    with DAG("d", schedule=None, default_args=defaults):
        plain = TranscribeOperator(task_id="plain", audio=URL, **given)
        mapped = TranscribeOperator.partial(task_id="mapped", **given).expand(audio=[URL])
    assert plain.retries == expected
    # Before 3.3 Airflow does not ask an operator for its defaults when tasks are mapped.
    asked = AIRFLOW_V_3_3_PLUS or given or defaults
    assert mapped.retries == (expected if asked else 0)
    if not given and not defaults:
        assert plain.retry_delay.total_seconds() == 30
        assert mapped.retry_delay.total_seconds() == (30 if asked else 300)

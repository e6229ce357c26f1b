# SPDX-License-Identifier: Apache-2.0
"""The operator: results and files, a capture over several tries, and its fallback."""

from __future__ import annotations

import json
import threading
import time
import wave
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
)
from airflow.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded, TaskKilled
from airflow_provider_assemblyai.capture.output.merge import CaptureSummary
from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.emulator.service import EXPIRED
from tests.support.captures import (
    bare,
    end_session,
    listens,
    marked,
    none_left,
    operator,
    pcm_of,
    streams,
    until,
    words_in,
    words_of,
)

# --- the result -------------------------------------------------------------------------------------------


def test_summary_and_files(listening: Emulator, context: Any, tape: Path, out: Path) -> None:
    before = time.time()
    summary = operator(
        str(tape),
        out,
        duration=timedelta(seconds=2.4),
        formats=["json", "txt", "srt", "vtt"],
        keep_audio=True,
        push_text=True,
    ).execute(context)
    assert set(summary) == set(CaptureSummary.__annotations__)
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["status"], summary["region"], summary["ended_by"]) == ("completed", "us", "duration")
    assert summary["captured_seconds"] == 2.4
    assert summary["session_ids"] == [session["id"] for session in listening.sessions()]
    assert before <= datetime.fromisoformat(summary["started"]).timestamp() <= time.time()
    assert summary["started"].endswith("Z")
    billed = sum(session["billed_seconds"] for session in listening.sessions())
    assert summary["billed_session_seconds"] == pytest.approx(billed, abs=2)
    assert (summary["turns"], summary["words"], summary["reconnects"], summary["gaps"]) == (1, 6, 0, [])
    assert (summary["transcript_id"], summary["warnings"]) == (None, [])
    assert bare(str(summary["text"]).split()) == bare(words_of(2.4))
    assert summary["outputs"] == {
        name: f"file://{out}/show.{name}" for name in ("json", "txt", "srt", "vtt", "wav")
    }
    whole = json.loads((out / "show.json").read_text())
    assert bare(words_in(whole)) == bare(words_of(2.4))
    assert whole["audio_duration"] == 2.4
    assert set(whole["words"][0]) == {"text", "start", "end", "confidence", "speaker"}
    assert whole["utterances"][0]["text"] == summary["text"]
    assert (out / "show.txt").read_text() == f"{summary['text']}\n"
    assert (out / "show.srt").read_text().startswith("1\n00:00:00,000 --> 00:00:02,320\nw1 w2")
    assert (out / "show.vtt").read_text().startswith("WEBVTT\n\n00:00.000 --> 00:02.320\nw1 w2")
    assert pcm_of(out / "show.wav") == marked(2.4)
    assert not list(out.rglob("*.partial")), "nothing half-written is left"
    assert [path.name for path in out.rglob("*.wav")] == ["show.wav"]
    none_left(listening)


def test_a_callable_is_the_source_and_not_what_makes_its_name(
    listening: Emulator, context: Any, out: Path
) -> None:
    def station() -> Iterator[bytes]:
        yield marked(2.4)

    task = operator(station, out, duration="{{ 2.4 }}")
    task.render_template_fields(context)
    summary = task.execute(context)
    assert (summary["status"], summary["words"]) == ("completed", 6)
    assert task.source is station


def test_a_session_is_limited_and_sends_its_parameters(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    operator(str(tape), out, drain_timeout=30).execute(context)
    (session,) = listening.sessions()
    assert session["expires_at"] - session["opened"] == pytest.approx(60, abs=1), "the least of the service"
    assert session["inactivity_timeout"] == 30


def test_two_channels_by_two_sessions(listening: Emulator, context: Any, tmp_path: Path, out: Path) -> None:
    left, right = marked(2.4), bytes(12_800) + marked(2.0)
    source = tmp_path / "call.wav"
    with wave.open(str(source), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16_000)
        both = bytearray(2 * len(left))
        for offset, audio in ((0, left), (2, right)):
            both[offset::4], both[offset + 1 :: 4] = audio[::2], audio[1::2]
        file.writeframes(bytes(both))
    summary = operator(str(source), out, channels=2, keep_audio=True).execute(context)
    assert (streams(listening)["opened"], summary["turns"], summary["status"]) == (2, 2, "completed")
    whole = json.loads((out / "call.json").read_text())
    assert [each["channel"] for each in whole["utterances"]] == ["1", "2"]
    spoken = {
        name: [word["text"] for word in whole["words"] if word["channel"] == name] for name in ("1", "2")
    }
    assert bare(spoken["1"]) == bare(words_of(2.4))
    assert bare(spoken["2"]) == bare(words_of(2.0))
    assert whole["utterances"][1]["start"] == 400
    assert pcm_of(out / "call.wav") == bytes(both)
    none_left(listening)


def test_answers_of_the_stream_and_the_webhook_are_kept(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    config = {
        "llm_gateway": {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Repeat it."}]},
        "webhook_url": "https://127.0.0.1:9/hook?secret=hidden",
        "webhook_auth_header_name": "X-Secret",
        "webhook_auth_header_value": "very-secret",
    }
    operator(str(tape), out, config=config).execute(context)
    text = (out / "show.json").read_text()
    found = json.loads(text)["capture"]
    assert [answer["turn_order"] for answer in found["llm_gateway"]] == [0]
    assert found["llm_gateway"][0]["data"]
    assert found["webhook_url"] == "https://127.0.0.1:9/hook"
    for path in out.rglob("*.json"):
        assert "hidden" not in path.read_text()
        assert "very-secret" not in path.read_text()


def test_revised_speakers_are_in_the_transcript(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    listening.fault("stream_revise_speakers", after=2.0)
    config = {"speaker_labels": True, "max_turn_silence": 100, "speaker_labels_revision_interval_ms": 120_000}
    operator(str(tape), out, config=config, duration=6).execute(context)
    whole = json.loads((out / "show.json").read_text())
    assert {word["speaker"] for word in whole["words"]} <= {"A", "B"}


@pytest.fixture
def bucket(new_bucket: Callable[[str], ObjectStoragePath]) -> ObjectStoragePath:
    return new_bucket("captures")


def test_into_an_object_store(
    listening: Emulator, context: Any, tape: Path, bucket: ObjectStoragePath
) -> None:
    summary = operator(str(tape), str(bucket), keep_audio=True).execute(context)
    assert summary["outputs"]["json"] == "s3://aws_moto@captures/show.json"
    with (bucket / "show.wav").open("rb") as file:
        assert file.read()[44:] == marked(2.4)
    left = [path for path in bucket.fs.find("captures") if path.endswith(".wav")]
    assert left == ["captures/show.wav"]
    assert operator(str(tape), str(bucket), keep_audio=True).execute(context) == summary
    assert streams(listening)["opened"] == 1


# --- one capture, several tries -------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["context", "old_context"])
def test_a_clear_after_the_recording_makes_the_result_again_and_opens_no_session(
    listening: Emulator, request: pytest.FixtureRequest, home: str, tape: Path, out: Path
) -> None:
    context = request.getfixturevalue(home)
    first = operator(str(tape), out, keep_audio=True).execute(context)
    for name in ("show.json", "show.txt"):
        (out / name).unlink()
    tape.unlink()
    second = operator(str(tape), out, keep_audio=True).execute(context)
    assert second == first
    assert bare(words_in(json.loads((out / "show.json").read_text()))) == bare(words_of(2.4))
    assert (streams(listening)["opened"], streams(listening)["tokens"]) == (1, 1)


@pytest.mark.parametrize("home", ["context", "old_context"])
def test_a_retry_captures_the_rest_and_adds_to_it(
    listening: Emulator, request: pytest.FixtureRequest, home: str, tape: Path, out: Path
) -> None:
    context = request.getfixturevalue(home)
    first = operator(str(tape), out, duration=20, keep_audio=True)

    def kill() -> None:
        until(lambda: list(out.rglob("001-00001.json")))
        until(lambda: streams(listening)["audio_seconds"] > 1)
        first.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TaskKilled):
        first.execute(context)
    killer.join()
    none_left(listening)
    ended = time.monotonic()
    until(lambda: time.monotonic() > ended + 1.5)
    summary = operator(str(tape), out, duration=60, keep_audio=True).execute(context)
    assert len(summary["session_ids"]) == 2
    (gap,) = [gap for gap in summary["gaps"] if gap["missing"] == "audio"]
    assert gap["end"] - gap["start"] >= 1.5
    assert summary["captured_seconds"] == pytest.approx(20 - (gap["end"] - gap["start"]), abs=0.002)
    assert summary["status"] == "partial"
    whole = json.loads((out / "show.json").read_text())
    assert whole["audio_duration"] == 20, "the recording is not begun anew"
    # What is played at a time is what is heard at that time, in both tries.
    for word in whole["words"]:
        number = int(word["text"].strip(".")[1:])
        assert abs(word["start"] - 400 * (number - 1)) <= 400
    starts = [word["start"] / 1000 for word in whole["words"]]
    assert min(starts) < 1
    assert max(starts) > 19
    assert not [start for start in starts if gap["start"] + 0.5 < start < gap["end"] - 0.5]
    audio = pcm_of(out / "show.wav")
    assert len(audio) == 20 * 32_000
    hole = slice(round(gap["start"] * 32_000) + 64, round(gap["end"] * 32_000) - 64)
    assert not any(audio[hole])
    assert audio[: round(gap["start"] * 32_000)] == marked(20)[: round(gap["start"] * 32_000)]
    none_left(listening)


@pytest.mark.parametrize("home", ["context", "old_context"])
def test_after_a_session_that_was_too_fast_a_retry_keeps_real_time(
    listening: Emulator, request: pytest.FixtureRequest, home: str, tape: Path, out: Path
) -> None:
    context = request.getfixturevalue(home)
    arguments = {"duration": 12, "catch_up_rate": 4.0}
    first = operator(str(tape), out, **arguments)
    too_fast = "Input Duration Error: Audio Transmission Rate Exceeded: Received 314.9 sec. audio in 1.3 sec"

    def refuse_and_kill() -> None:
        until(lambda: streams(listening)["audio_seconds"] > 1)
        end_session(listening, "close", code=3007, error=too_fast)
        until(lambda: streams(listening)["open"])
        first.on_kill()

    killer = threading.Thread(target=refuse_and_kill)
    killer.start()
    with pytest.raises(TaskKilled):
        first.execute(context)
    killer.join()
    # More seconds of backlog than the retry could send at once without being refused.
    listening.set_streaming_limits(look_ahead=4.0)
    listening.fault("http_status", status=503, path="/v3/token", times=4)
    summary = operator(str(tape), out, **arguments).execute(context)
    closed, *others = listening.sessions()
    assert (closed["code"], [session["code"] for session in others]) == (3007, [1000, 1000])
    (warning,) = [each for each in summary["warnings"] if "faster than it takes it" in each]
    assert closed["id"] in warning
    assert " s billed)" in warning
    assert not any(session["id"] in warning for session in others)
    none_left(listening)


def test_a_state_that_cannot_be_read_stops_before_anything_is_paid(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    context["task_state_store"].broken = True
    with pytest.raises(StateUnknown):
        operator(str(tape), out).execute(context)
    assert streams(listening)["opened"] == 0


def test_a_state_that_is_refused_at_the_begin_ends_the_session(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    context["task_state_store"].refuses = True
    with pytest.raises(Superseded):
        operator(str(tape), out).execute(context)
    none_left(listening)


def test_partial_can_be_a_failure_and_the_files_are_written(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    listening.fault("stream_drop", after=1.0)
    with pytest.raises(AirflowFailException, match=r"text .*2\.4 s"):
        operator(str(tape), out, on_partial="fail", max_reconnects=0, keep_audio=True).execute(context)
    assert pcm_of(out / "show.wav") == marked(2.4)
    assert (out / "show.json").exists()
    none_left(listening)


def test_a_refusal_names_the_services_words_and_where_the_audio_is(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    listening.fault("stream_close", after=1.0, code=1008, error="Account has no funds")
    with pytest.raises(AirflowFailException) as failed:
        operator(str(tape), out, keep_audio=True).execute(context)
    assert "The service said: Account has no funds" in str(failed.value)
    assert f"file://{out}/show.wav" in str(failed.value)
    assert pcm_of(out / "show.wav") == marked(2.4)


def test_fallback_has_the_stored_audio_transcribed_once(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    listening.fault("stream_close", after=1.0, code=1008, error="Account has no funds")
    arguments: dict[str, Any] = {"fallback": "transcribe", "formats": ["json", "srt"], "push_text": True}
    summary = operator(str(tape), out, **arguments).execute(context)
    (job,) = listening.transcripts()
    assert (summary["transcript_id"], summary["status"]) == (job["id"], "completed")
    whole = json.loads((out / "show.json").read_text())
    assert whole["id"] == job["id"]
    assert whole["text"] == summary["text"]
    assert whole["capture"]["gaps"]
    assert set(summary["outputs"]) == {"json", "srt"}
    assert not list(out.rglob("*.wav")), "it was only kept for this"
    assert listening.counters()["uploads"] == 1
    (out / "show.json").unlink()
    assert operator(str(tape), out, **arguments).execute(context) == summary, "cleared"
    assert json.loads((out / "show.json").read_text())["id"] == job["id"]
    assert (listening.counters()["accepted"], streams(listening)["opened"]) == (1, 1)
    none_left(listening)


def test_fallback_has_transcribed_what_a_mute_service_has_not_heard(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    listening.fault("stream_mute", times=None)
    summary = operator(str(tape), out, fallback="transcribe").execute(context)
    (job,) = listening.transcripts()
    assert (summary["transcript_id"], summary["status"]) == (job["id"], "completed")
    assert summary["gaps"] == [{"start": 0, "end": 2.4, "missing": "text"}]


def test_a_mute_service_is_a_failure_where_partial_is_one(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    listening.fault("stream_mute", times=None)
    with pytest.raises(AirflowFailException, match=r"incomplete: text 0\.0-2\.4 s"):
        operator(str(tape), out, on_partial="fail").execute(context)
    assert (out / "show.json").exists()
    assert operator(str(tape), out).execute(context)["status"] == "partial"


def test_fallback_is_not_needed_where_all_was_heard(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    summary = operator(str(tape), out, fallback="transcribe").execute(context)
    assert (summary["transcript_id"], listening.counters()["accepted"]) == (None, 0)
    assert not list(out.rglob("*.wav"))


# --- after the retention of the transcript ----------------------------------------------------------------------

#: Seconds after which the service has nothing of a transcript any more.
MONTH = 31 * 86_400


@pytest.fixture(params=EXPIRED)
def expiring(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator with one reading of what is left of a transcript after its retention; its stream breaks off."""
    expired, job_seconds = (request.param, 0.0) if isinstance(request.param, str) else request.param
    with serve(expired=expired, job_seconds=job_seconds) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", emulator.connection_json)
        emulator.fault("stream_close", after=1.0, code=1008, error="Account has no funds")
        yield listens(emulator)


def everything_below(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("cleared", [True, False], ids=["cleared", "retried"])
@pytest.mark.parametrize("formats", [["json", "txt"], ["txt", "srt"]], ids="+".join)
def test_a_result_whose_transcript_has_gone_is_returned_and_stays_as_it_is(
    expiring: Emulator, context: Any, tape: Path, out: Path, formats: list[str], cleared: bool
) -> None:
    arguments: dict[str, Any] = {"fallback": "transcribe", "formats": formats, "push_text": True}
    first = operator(str(tape), out, **arguments).execute(context)
    assert first["text"]
    before = everything_below(out)
    expiring.advance(MONTH)
    context["ti"].max_tries += cleared
    second = operator(str(tape), out, **arguments).execute(context)
    assert second == {**first, "estimated_cost_usd": 0.0}
    assert everything_below(out) == before, "nothing is written"
    assert (expiring.counters()["accepted"], streams(expiring)["opened"]) == (1, 1)


@pytest.mark.parametrize(
    ("harm", "formats", "words"),
    [
        (Path.unlink, ["json", "txt"], r"show\.json is gone"),
        (lambda path: path.write_text("{"), ["json", "txt"], r"show\.json is damaged"),
        (lambda path: path.write_text('{"id": "another"}'), ["json", "txt"], "of another transcript"),
        (lambda path: None, ["json", "txt", "srt"], "stored without srt"),
        (lambda path: path.with_suffix(".txt").write_text("\n"), ["json", "txt"], r"show\.txt is damaged"),
    ],
    ids=["gone", "damaged", "another", "format", "empty"],
)
def test_a_result_that_is_not_all_there_is_an_error_that_names_retention(
    expiring: Emulator,
    context: Any,
    tape: Path,
    out: Path,
    harm: Callable[[Path], object],
    formats: list[str],
    words: str,
) -> None:
    operator(str(tape), out, fallback="transcribe").execute(context)
    expiring.advance(MONTH)
    harm(out / "show.json")
    before = everything_below(out)
    context["ti"].max_tries += 1
    with pytest.raises(AirflowFailException, match=words) as failed:
        operator(str(tape), out, fallback="transcribe", formats=formats).execute(context)
    assert "30 days, or the shorter time that is set for the account" in str(failed.value)
    assert "Restore the files from a backup" in str(failed.value)
    assert everything_below(out) == before
    assert (expiring.counters()["accepted"], streams(expiring)["opened"]) == (1, 1)


@pytest.mark.parametrize("expiring", [(reading, 3_600.0) for reading in EXPIRED], indirect=True, ids=EXPIRED)
def test_a_transcript_that_has_gone_before_its_files_were_written_is_no_result(
    expiring: Emulator, context: Any, tape: Path, out: Path
) -> None:
    first = operator(str(tape), out, fallback="transcribe")

    def kill() -> None:
        until(lambda: expiring.counters()["accepted"])
        first.on_kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TaskKilled):
        first.execute(context)
    killer.join()
    expiring.advance(MONTH)  # it ends
    expiring.advance(MONTH)
    with pytest.raises(AirflowFailException, match="30 days") as failed:
        operator(str(tape), out, fallback="transcribe").execute(context)
    assert f"The audio is at file://{out}/show.wav" in str(failed.value)
    assert pcm_of(out / "show.wav") == marked(2.4)
    assert not (out / "show.txt").exists()
    summary = operator(str(tape), out).execute(context)
    assert (summary["transcript_id"], summary["status"]) == (None, "partial"), "what was heard live"
    assert (expiring.counters()["accepted"], streams(expiring)["opened"]) == (1, 1)


def test_a_late_start_is_skipped_and_a_retry_is_not(
    listening: Emulator, context: Any, tape: Path, out: Path
) -> None:
    class DagRun:
        run_after = datetime.now(UTC) - timedelta(seconds=100)

    late = {**context, "dag_run": DagRun()}
    with pytest.raises(AirflowSkipException, match="due 100 s ago"):
        operator(str(tape), out, start_within=60).execute(late)  # type: ignore[arg-type]
    assert streams(listening)["opened"] == 0
    first = operator(str(tape), out, start_within=600).execute(late)  # type: ignore[arg-type]
    assert operator(str(tape), out, start_within=60).execute(late) == first  # type: ignore[arg-type]

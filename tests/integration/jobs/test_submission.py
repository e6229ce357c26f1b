# SPDX-License-Identifier: Apache-2.0
"""Never pay twice: every way a try can end, and what the next one does."""

from __future__ import annotations

import json
import socket
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import StateUnknown, Superseded, TaskKilled
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.submission import Submission
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.storage.records import seal

URL = "https://example.com/calls/monday.mp3"


class Killed(BaseException):
    """The process is gone: nothing of ours runs after it."""


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 8000 * 3))
    return path


def signed(url: str, signature: str) -> str:
    """The address as S3 signs it."""
    names = ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature")
    return f"{url}?" + "&".join(f"X-Amz-{name}={signature}" for name in names)


def operator(**kwargs: Any) -> TranscribeOperator:
    """A new instance, as every try has one."""
    settings: dict[str, Any] = {"audio": URL, "poll_interval": 0.05, "settle_time": 0.05, **kwargs}
    return TranscribeOperator(task_id="transcribe", **settings)


def money(emulator: Emulator) -> tuple[int, int]:
    counters = emulator.counters()
    return counters["accepted"], counters["billed"]


@pytest.fixture
def die(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """End the process directly before or after a method runs for the nth time, once."""

    def die(of: Any, name: str, *, after: bool = False, when: Callable[..., bool] = lambda *_: True) -> None:
        original = getattr(of, name)
        gone: list[bool] = []

        def dying(self: Any, *args: Any, **kwargs: Any) -> Any:
            now = not gone and when(self, *args)
            if now and not after:
                gone.append(True)
                raise Killed
            value = original(self, *args, **kwargs)
            if now:
                gone.append(True)
                raise Killed
            return value

        monkeypatch.setattr(of, name, dying)

    return die


def is_submit(_: Any, call: Any, *rest: Any) -> bool:
    return bool(call.method == "POST" and call.path == "/v2/transcript")


def has_address(job: Submission) -> bool:
    return bool(job.state["url_hashes"])


def is_upload(_: Any, call: Any, *rest: Any) -> bool:
    return bool(call.path == "/v2/upload")


@pytest.mark.parametrize("source", ["upload", "url"])
@pytest.mark.parametrize(
    ("of", "name", "after", "when"),
    [
        pytest.param(Client, "_exchange", False, is_submit, id="before send"),
        pytest.param(Submission, "_record_intent", True, has_address, id="intent recorded, nothing sent"),
        pytest.param(Client, "_exchange", True, is_submit, id="accepted, answer not read"),
    ],
)
def test_killed_around_the_post(
    emulator: Emulator,
    context: Any,
    run: Any,
    die: Any,
    recording: Path,
    deferrable: bool,
    source: str,
    of: Any,
    name: str,
    after: bool,
    when: Any,
) -> None:
    audio = str(recording) if source == "upload" else URL
    die(of, name, after=after, when=when)
    with pytest.raises(Killed):
        run(operator(audio=audio, deferrable=deferrable), context)
    assert run(operator(audio=audio, deferrable=deferrable), context)["status"] == "completed"
    assert money(emulator) == (1, 1)
    assert emulator.counters()["uploads"] == (1 if source == "upload" else 0), "the upload was used again"


@pytest.mark.parametrize("home", ["store", "file"])
def test_killed_with_the_answer_in_hand(
    emulator: Emulator,
    context: Any,
    old_context: Any,
    run: Any,
    die: Any,
    recording: Path,
    tmp_path: Path,
    deferrable: bool,
    home: str,
) -> None:
    tries = context if home == "store" else old_context
    arguments: dict[str, Any] = {"audio": str(recording), "deferrable": deferrable}
    arguments |= {"output_path": str(tmp_path / "out")} if home == "file" else {}
    die(Submission, "_accepted")
    with pytest.raises(Killed):
        run(operator(**arguments), tries)
    assert run(operator(**arguments), tries)["status"] == "completed"
    assert money(emulator) == (1, 1)


def test_killed_while_uploading(
    emulator: Emulator, context: Any, run: Any, die: Any, recording: Path
) -> None:
    die(Client, "_exchange", when=is_upload)
    with pytest.raises(Killed):
        run(operator(audio=str(recording)), context)
    run(operator(audio=str(recording)), context)
    assert money(emulator) == (1, 1)


def test_killed_while_deferred(emulator: Emulator, context: Any, run: Any) -> None:
    """The worker, or the whole task, is started again: the job that runs is picked up."""
    slow = {"audio": f"{URL}?emulator=processing:3polls", "deferrable": True}
    with pytest.raises(TaskDeferred):
        operator(**slow).execute(context)
    assert run(operator(**slow), context)["status"] == "completed"
    assert money(emulator) == (1, 1)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_around_the_delete(
    emulator: Emulator, context: Any, run: Any, die: Any, recording: Path, tmp_path: Path, after: bool
) -> None:
    arguments: dict[str, Any] = {
        "audio": str(recording),
        "output_path": str(tmp_path / "out"),
        "delete_after": True,
        "push_text": True,
    }
    die(Client, "_exchange", after=after, when=lambda _, call, *rest: call.method == "DELETE")
    with pytest.raises(Killed):
        run(operator(**arguments), context)
    again = run(operator(**arguments), context)
    assert (again["status"], bool(again["text"])) == ("completed", True)
    assert emulator.transcripts()[0]["deleted"]
    assert run(operator(**arguments), context) == again, "cleared by hand: from the files"
    assert money(emulator) == (1, 1)
    for path in (tmp_path / "out").glob("call.*"):
        path.unlink()
    with pytest.raises(AirflowFailException, match="reuse=False"):
        run(operator(**arguments), context)


def test_a_lost_answer_is_looked_up_within_the_try(
    emulator: Emulator, context: Any, run: Any, recording: Path, deferrable: bool
) -> None:
    for fault in (
        {"kind": "drop_response"},
        {"kind": "http_status", "status": 503, "body": "empty", "when": "after"},
        {"kind": "truncate_response"},
    ):
        emulator.reset()
        context["task_state_store"].values.clear()
        emulator.fault(method="POST", path="/v2/transcript", **fault)
        assert run(operator(audio=str(recording), deferrable=deferrable), context)["status"] == "completed"
        assert money(emulator) == (1, 1), fault
        assert len([entry for entry in emulator.requests if entry["method"] == "POST"]) == 2


def test_an_answer_lost_before_the_service_took_the_job(
    emulator: Emulator, old_context: Any, run: Any
) -> None:
    emulator.fault("reset_connection", method="POST", path="/v2/transcript")
    assert run(operator(), old_context)["status"] == "completed"
    assert money(emulator) == (1, 1)


def test_a_list_that_lags(emulator: Emulator, context: Any, run: Any) -> None:
    emulator.fault("list_lag", seconds=0.5)
    emulator.fault("drop_response", method="POST", path="/v2/transcript")
    assert run(operator(settle_time=1), context)["status"] == "completed"
    assert money(emulator) == (1, 1)


@pytest.mark.parametrize("seconds", [-600, 600])
def test_clocks_that_differ(
    emulator: Emulator, context: Any, run: Any, die: Any, recording: Path, seconds: int
) -> None:
    emulator.fault("clock_skew", seconds=seconds)
    die(Submission, "_accepted")
    with pytest.raises(Killed):
        run(operator(audio=str(recording)), context)
    run(operator(audio=str(recording)), context)
    assert money(emulator) == (1, 1)


def test_not_being_able_to_tell_never_submits(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    die(Submission, "_accepted")
    with pytest.raises(Killed):
        run(operator(), context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_assemblyai.client.http.backoff", lambda *_: 1000.0)
        emulator.fault("http_status", status=500, method="GET", times=None)
        with pytest.raises(Exception, match="HTTP 500") as caught:
            run(operator(), context)
        assert not isinstance(caught.value, AirflowFailException)
        emulator.clear_faults()
        emulator.fault("corrupt_response", method="GET", times=None)
        with pytest.raises(Exception) as caught:  # noqa: PT011
            run(operator(), context)
        assert not isinstance(caught.value, AirflowFailException)
        emulator.clear_faults()
        patch.setattr("airflow_provider_assemblyai.jobs.submission.MAX_PAGES", 1)
        emulator.seed(250)
        with pytest.raises(StateUnknown):
            run(operator(), context)
    accepted = emulator.counters()["accepted"]
    assert run(operator(), context)["status"] == "completed"
    assert emulator.counters()["accepted"] == accepted == 251


def test_a_record_that_cannot_be_read_never_submits(
    emulator: Emulator, context: Any, old_context: Any, run: Any, tmp_path: Path
) -> None:
    context["task_state_store"].broken = True
    with pytest.raises(StateUnknown):
        run(operator(), context)
    context["task_state_store"].broken = False
    for odd in ("text", [1], {"x": 1}, {"version": 99, "phase": "intent", "fingerprint": "x"}):
        context["task_state_store"].values["assemblyai"] = json.dumps(odd)
        with pytest.raises(StateUnknown):
            run(operator(), context)
    run(operator(output_path=str(tmp_path)), old_context)
    (file,) = (tmp_path / ".assemblyai").glob("*.json")
    whole = file.read_text()
    fingerprint = json.loads(whole)["fingerprint"]
    for damaged in ("{ half", "", "null", "[]", whole[:-9], whole.replace(fingerprint, "f" * 64)):
        file.write_text(damaged)
        with pytest.raises(StateUnknown, match=rf"{file.name}.*assemblyai-ledger"):
            run(operator(output_path=str(tmp_path)), old_context)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(StateUnknown, match=rf"{file.name}.*assemblyai-ledger"):
        run(operator(output_path=str(tmp_path)), old_context)
    file.write_text(whole)
    assert run(operator(output_path=str(tmp_path)), old_context)["status"] == "completed"
    assert money(emulator) == (1, 1)


def test_who_cannot_write_does_not_post(emulator: Emulator, context: Any, run: Any) -> None:
    context["task_state_store"].refuses = True
    with pytest.raises(Superseded):
        run(operator(), context)
    assert money(emulator) == (0, 0)


def test_a_superseded_try_stops_at_the_file_too(emulator: Emulator, old_context: Any, tmp_path: Path) -> None:
    def overtaken(self: Any, call: Any, **kwargs: Any) -> Any:
        for path in (tmp_path / ".assemblyai").glob("*.json"):
            record = json.loads(path.read_text())
            del record["checksum"]
            path.write_text(json.dumps(seal(record | {"serial": record["serial"] + 5})))
        return send(self, call, **kwargs)

    send = AssemblyAIHook.send
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AssemblyAIHook, "send", overtaken)
        with pytest.raises(Superseded, match="Another try"):
            operator(audio=__file__, output_path=str(tmp_path)).execute(old_context)
    assert money(emulator) == (0, 0)


def test_every_post_has_its_intent_before_it(
    emulator: Emulator, context: Any, run: Any, recording: Path
) -> None:
    emulator.fault("rate_limit", method="POST", path="/v2/transcript", retry_after=0, times=2)
    run(operator(audio=str(recording)), context)
    phases = [
        (entry["phase"], bool(entry["upload_url"]), len(entry["url_hashes"]))
        for entry in context["task_state_store"].history
    ]
    assert phases == [
        ("intent", False, 0),  # before the upload
        ("intent", True, 0),  # the upload is known
        ("intent", True, 1),  # before each of three POSTs
        ("intent", True, 1),
        ("intent", True, 1),
        ("submitted", True, 1),
        ("stored", True, 1),
    ]


def test_records_hold_no_secret(emulator: Emulator, context: Any, run: Any, tmp_path: Path) -> None:
    url = f"{signed(URL, 'SIGNATURE')}&id=7"
    run(operator(audio=url, output_path=str(tmp_path), push_text=True), context)
    files = [path.read_text() for path in (tmp_path / ".assemblyai").glob("*.json")]
    assert len(files) == 1
    for text in (*files, *context["task_state_store"].values.values()):
        assert "SIGNATURE" not in text
        assert emulator.api_key not in text
        assert "fox" not in text


def test_cleared_by_hand(
    emulator: Emulator, context: Any, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(operator(), context)
    assert run(operator(), context) == first
    assert run(operator(config={"webhook_url": "https://example.com/hook"}), context) == first
    again = run(operator(audio=signed(URL, "other")), context)
    assert again == first, "the same audio by another signature"
    assert money(emulator) == (1, 1)
    assert run(operator(config={"punctuate": False}), context)["transcript_id"] != first["transcript_id"]
    assert run(operator(audio=f"{URL}?id=2"), context)["transcript_id"] != first["transcript_id"]
    assert money(emulator) == (3, 3)
    run(operator(audio=f"{URL}?id=2", reuse=False), context)
    assert money(emulator) == (3, 3), "a retry, whose last try was killed after its last word"
    context["ti"].max_tries += 3  # that is how Airflow clears a task
    run(operator(audio=f"{URL}?id=2", reuse=False), context)
    assert money(emulator) == (4, 4)


def test_submit_only_is_one_job_too(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    die(Submission, "mark_stored", after=True)
    with pytest.raises(Killed):
        run(operator(wait_for_completion=False), context)
    run(operator(wait_for_completion=False), context)
    assert money(emulator) == (1, 1)
    context["ti"].max_tries += 3
    run(operator(wait_for_completion=False, reuse=False), context)
    assert money(emulator) == (2, 2)


def test_deferred_with_the_record_of_another_run(
    emulator: Emulator, old_context: Any, run: Any, tmp_path: Path
) -> None:
    """On Airflow without a state store; after the deferral the record is found again."""
    arguments: dict[str, Any] = {
        "audio": f"{URL}?emulator=processing:2polls",
        "output_path": str(tmp_path),
        "reuse": "output",
        "deferrable": True,
    }
    first = run(operator(**arguments), old_context)
    assert len(list((tmp_path / ".assemblyai").glob("*/records/*.json"))) == 1
    old_context["ti"].run_id = "another_run"
    assert run(operator(**arguments), old_context) == {**first, "estimated_cost_usd": 0.0}
    assert money(emulator) == (1, 1)


def test_reuse_false_is_not_for_retries(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    die(Submission, "mark_stored")
    with pytest.raises(Killed):
        run(operator(reuse=False), context)
    run(operator(reuse=False), context)
    assert money(emulator) == (1, 1)


def test_changed_content_is_a_new_job(emulator: Emulator, context: Any, run: Any, recording: Path) -> None:
    run(operator(audio=str(recording)), context)
    moved = recording.rename(recording.with_name("moved.wav"))
    run(operator(audio=str(moved)), context)
    assert money(emulator) == (1, 1), "the same bytes under another name"
    moved.write_bytes(moved.read_bytes() + b"\0\0")
    run(operator(audio=str(moved)), context)
    assert money(emulator) == (2, 2)


def test_another_run_with_the_same_output(
    emulator: Emulator, context: Any, old_context: Any, run: Any, tmp_path: Path, deferrable: bool
) -> None:
    arguments: dict[str, Any] = {"output_path": str(tmp_path), "reuse": "output", "deferrable": deferrable}
    first = run(operator(**arguments), context)
    old_context["ti"].run_id = "another_run"
    assert run(operator(**arguments), old_context) == {**first, "estimated_cost_usd": 0.0}
    assert money(emulator) == (1, 1)
    old_context["ti"].run_id = "a_third_run"
    run(operator(**arguments | {"reuse": True}), old_context)
    assert money(emulator) == (2, 2)


@pytest.mark.parametrize(("policy", "accepted"), [("adopt", 1), ("resubmit", 2), ("fail", 1)])
def test_a_public_url_is_not_unique(
    emulator: Emulator, context: Any, run: Any, die: Any, policy: str, accepted: int
) -> None:
    die(Submission, "_accepted")
    with pytest.raises(Killed):
        run(operator(), context)
    if policy == "fail":
        with pytest.raises(AirflowFailException, match="on_same_url"):
            run(operator(on_same_url=policy), context)
    else:
        run(operator(on_same_url=policy), context)
    assert money(emulator)[0] == accepted


@pytest.mark.parametrize("turns", [(0, 1), (1, 0)])
def test_two_tasks_that_lost_their_answers_for_one_url_adopt_one_job_each(
    emulator: Emulator, context: Any, other_context: Any, run: Any, die: Any, turns: tuple[int, int]
) -> None:
    tasks = [context, other_context]
    for context in tasks:
        die(Submission, "_accepted")
        with pytest.raises(Killed):
            run(operator(), context)
    found = {run(operator(), tasks[turn])["transcript_id"] for turn in turns}
    assert len(found) == 2
    assert money(emulator) == (2, 2)


def test_the_intent_is_recorded_when_nothing_slow_is_left_to_do(emulator: Emulator) -> None:
    arrived = threading.Event()
    seen: list[bytes] = []
    call = transcripts.submit(URL, {})

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while b"\r\n\r\n" not in b"".join(seen):
                seen.append(connection.recv(65536))
            arrived.set()
            while part := connection.recv(65536):
                seen.append(part)

    def refused() -> None:
        assert arrived.wait(10), "the connection is made and the headers are out"
        raise Superseded("another try has taken over")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer, args=(listener,))
        server.start()
        with (
            Client(
                "key", hosts_for("us", override=f"http://127.0.0.1:{listener.getsockname()[1]}")
            ) as client,
            pytest.raises(Superseded),
        ):
            client.send(call, before=refused)
        server.join(10)
    head, _, body = b"".join(seen).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/transcript")
    assert body == b""


def test_only_the_same_request_is_adopted(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    die(Client, "_exchange", when=is_submit)
    with pytest.raises(Killed):
        run(operator(), context)
    foreign = AssemblyAIHook().send(transcripts.submit(URL, {"punctuate": False}))["id"]
    assert run(operator(config={"punctuate": True}), context)["transcript_id"] != foreign
    context["task_state_store"].values.clear()
    die(Client, "_exchange", when=is_submit)
    with pytest.raises(Killed):
        run(operator(config={"punctuate": False}), context)
    before = money(emulator)[0]
    assert run(operator(config={"punctuate": False}), context)["transcript_id"] != foreign, (
        "older than the intent"
    )
    assert money(emulator)[0] == before + 1


def test_what_was_adopted_by_its_url_is_never_deleted(
    emulator: Emulator, context: Any, run: Any, die: Any, tmp_path: Path
) -> None:
    die(Submission, "_accepted")
    arguments: dict[str, Any] = {"output_path": str(tmp_path), "delete_after": True}
    with pytest.raises(Killed):
        run(operator(**arguments), context)
    summary = run(operator(**arguments), context)
    assert not emulator.transcripts()[0]["deleted"]
    assert "Not deleted" in summary["warnings"][0]


def test_a_recorded_id_that_is_gone(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    die(Submission, "mark_stored")
    with pytest.raises(Killed):
        run(operator(), context)
    emulator.reset()
    with pytest.raises(
        AirflowFailException, match=r"30 days.*another project.*on_missing='resubmit' submits"
    ):
        run(operator(), context)
    assert money(emulator) == (0, 0)
    assert run(operator(on_missing="resubmit"), context)["status"] == "completed"
    assert money(emulator) == (1, 1)


def test_a_deleted_record_is_never_a_result(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    die(Submission, "mark_stored")
    with pytest.raises(Killed):
        run(operator(), context)
    AssemblyAIHook().send(transcripts.delete(emulator.transcripts()[0]["id"]))
    with pytest.raises(AirflowFailException, match="was deleted"):
        run(operator(), context)
    assert run(operator(on_missing="resubmit"), context)["status"] == "completed"
    assert money(emulator) == (2, 2)


def test_faults_of_the_service_are_resubmitted_and_counted(
    emulator: Emulator, context: Any, run: Any, recording: Path, deferrable: bool
) -> None:
    emulator.fault("fail_job", times=2, error="server")
    assert run(operator(audio=str(recording), deferrable=deferrable), context)["status"] == "completed"
    assert money(emulator) == (3, 1)
    assert emulator.counters()["uploads"] == 1


def test_resubmissions_are_bounded_across_tries(emulator: Emulator, context: Any, run: Any, die: Any) -> None:
    emulator.fault("fail_job", times=None, error="server")
    die(Submission, "_search_list", when=lambda *_: False)
    die(
        Client,
        "_exchange",
        when=lambda _, call, *rest: is_submit(_, call) and emulator.counters()["accepted"] == 2,
    )
    with pytest.raises(Killed):
        run(operator(), context)
    with pytest.raises(AirflowFailException, match="Server error"):
        run(operator(), context)
    assert money(emulator) == (3, 0)
    emulator.clear_faults()
    assert run(operator(), context)["status"] == "completed", "cleared by hand"


def test_audio_that_was_mended_can_be_cleared(emulator: Emulator, context: Any, run: Any) -> None:
    emulator.fault("fail_job", error="download")
    with pytest.raises(AirflowFailException, match="Download error"):
        run(operator(), context)
    assert money(emulator) == (1, 0)
    assert run(operator(), context)["status"] == "completed"


def test_an_address_of_ours_that_expired_is_made_anew(
    emulator: Emulator, context: Any, run: Any, recording: Path
) -> None:
    emulator.fault("fail_job", error="download")
    assert run(operator(audio=str(recording)), context)["status"] == "completed"
    assert money(emulator) == (2, 1)
    assert emulator.counters()["uploads"] == 2


def test_an_upload_of_another_try_that_is_refused(
    emulator: Emulator, context: Any, run: Any, die: Any, recording: Path
) -> None:
    die(Client, "_exchange", when=is_submit)
    with pytest.raises(Killed):
        run(operator(audio=str(recording)), context)
    emulator.fault(
        "http_status", status=403, message="Cannot access uploaded file", method="POST", path="/v2/transcript"
    )
    run(operator(audio=str(recording)), context)
    assert money(emulator) == (1, 1)
    assert emulator.counters()["uploads"] == 2


def test_without_any_home_that_is_said_once(
    emulator: Emulator, old_context: Any, run: Any, deferrable: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault("drop_response", method="POST", path="/v2/transcript")
    run(operator(), old_context)
    assert money(emulator) == (1, 1), "the lost answer is looked up all the same"


def test_killed_before_the_post(emulator: Emulator, context: Any) -> None:
    dying = operator()
    dying.on_kill()
    with pytest.raises(TaskKilled):
        dying.execute(context)
    assert money(emulator) == (0, 0)


def test_the_host_changed(
    emulator: Emulator,
    assemblyai_emulator_eu: Emulator,
    context: Any,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", emulator.connection_json)
    run(operator(), context)
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", assemblyai_emulator_eu.connection_json)
    with pytest.raises(AirflowFailException, match="was begun at"):
        run(operator(), context)
    assert money(assemblyai_emulator_eu) == (0, 0)


def test_audio_that_is_gone_does_not_lose_what_is_paid_for(
    emulator: Emulator, context: Any, run: Any, die: Any, recording: Path, tmp_path: Path, deferrable: bool
) -> None:
    """The retry may run on another machine, where a local file is not."""
    slow = operator(audio=str(recording), deferrable=deferrable, wait_for_completion=False)
    slow.wait_for_completion = True
    die(TranscribeOperator, "_finish")
    with pytest.raises(Killed):
        run(slow, context)
    recording.unlink()
    assert run(operator(audio=str(recording), deferrable=deferrable), context)["status"] == "completed"
    assert money(emulator) == (1, 1)
    context["ti"].max_tries += 3
    with pytest.raises(AirflowFailException, match="does not exist"):
        run(operator(audio=str(recording)), context)  # cleared: this audio is wanted


def test_mapped_runs_find_each_other_by_input(
    emulator: Emulator, context: Any, old_context: Any, run: Any, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"output_path": str(tmp_path), "reuse": "output"}
    context["ti"].map_index = 0
    first = run(operator(**arguments), context)
    old_context["ti"].run_id, old_context["ti"].map_index = "another_run", 5
    again = run(operator(**arguments), old_context)
    assert again["transcript_id"] == first["transcript_id"]
    assert again["outputs"]["txt"].endswith("monday-5.txt")
    assert money(emulator) == (1, 1)


def test_half_a_recording_is_a_warning(emulator: Emulator, context: Any, run: Any, recording: Path) -> None:
    summary = run(operator(audio=str(recording)), context)
    assert summary["warnings"] == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_assemblyai.jobs.audio._seconds", lambda _: 60.0)
        context["task_state_store"].values.clear()
        assert "Only 3 of 60" in run(operator(audio=str(recording)), context)["warnings"][0]
        context["task_state_store"].values.clear()
        cut = {"audio_start_from": 10_000, "audio_end_at": 13_000}
        assert run(operator(audio=str(recording), config=cut), context)["warnings"] == []

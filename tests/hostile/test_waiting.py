# SPDX-License-Identifier: Apache-2.0
"""Tasks against a service that does what it wants: they end, and others of the account end as if nothing had happened."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout, TaskDeferred

from airflow_provider_assemblyai.api.errors import (
    AssemblyAIError,
    GatewayTimeout,
    ResponseLost,
    StateUnknown,
    TranscriptTimeout,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.client.http import AsyncClient
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.polling.connection import get_connection
from airflow_provider_assemblyai.polling.policy import PollEvent
from airflow_provider_assemblyai.polling.shared_poller import wait_for_transcripts
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from tests.hostile import server as catalogue
from tests.hostile.conftest import GENEROUS, at_once, ended
from tests.hostile.server import ID, Attack, Exchange, HostileServer, hostile

KEY = "KEY-0123456789abcdef"


def transcript_id(number: int) -> str:
    return f"{number:08x}-4a0a-4d7e-9d5b-0d2f3c4b5a69"


def by_id(exchange: Exchange) -> None:
    asked = exchange.path.rpartition("/")[2]
    exchange.json({**catalogue.TRANSCRIPT, "id": asked})


def whole_list(exchange: Exchange) -> None:
    rows = [{"id": transcript_id(number), "status": "completed"} for number in range(40)]
    exchange.json({"page_details": {"prev_url": None}, "transcripts": rows})


def service(on_list: Attack, on_read: Attack = by_id) -> Attack:
    """Return a service that lists and reads as it is told."""

    def answer(exchange: Exchange) -> None:
        path = exchange.path.partition("?")[0]
        (on_list if path == "/v2/transcript" else on_read)(exchange)

    return answer


def wait_for(server: HostileServer, count: int, name: str) -> list[PollEvent]:
    """Wait for as many transcripts, each by itself, and return their events."""

    async def connect() -> tuple[AsyncClient, None]:
        return AsyncClient(KEY, hosts_for("us", override=server.url)), None

    async def main() -> list[list[PollEvent]]:
        waits = (
            wait_for_transcripts(
                get_connection(name, connect),
                [transcript_id(number)],
                poll_interval=1.0,
                ready_at=time.time(),
                deadline=time.time() + 4 * 3600,
            )
            for number in range(count)
        )
        async with asyncio.timeout(GENEROUS):
            return await asyncio.gather(*waits)

    return [event for events in ended(lambda: asyncio.run(main())) for event in events]


LISTS: dict[str, Attack] = {
    "drip": catalogue.drip_on_body,
    "drip_on_head": catalogue.drip_on_head,
    "silence": catalogue.silence,
    "endless": catalogue.endless_chunks,
    "bomb": catalogue.gzip_bomb,
    "deep": catalogue.deep_json,
    "truncated": catalogue.truncated_body,
    "html": catalogue.html,
    "null": lambda exchange: exchange.json(None),
    "zone": catalogue.wait_for("Mon, 23 Nov 2026 10:00:01 -0000"),
    "strange_rows": catalogue.list_of_strange_rows,
}


def test_a_list_that_does_what_it_wants_holds_up_no_waiter() -> None:
    def wait(name: str) -> None:
        with hostile(service(LISTS[name])) as server:
            events = wait_for(server, 40, name)
            assert server.wait_until_left(GENEROUS)
        assert [event["outcome"] for event in events] == ["done"] * 40

    at_once([name for name in LISTS if name != "zone"], wait)


@pytest.mark.parametrize("name", ["drip", "drip_on_head", "silence", "deep", "zone", "another"])
def test_one_answer_holds_up_no_other_waiter(name: str) -> None:
    """
    The list does not show the first; what is asked about it by its id is answered badly, for hours.

    The others end while that answer goes on, or after it has come, if it comes at all.
    """
    attack = {**LISTS, "another": catalogue.WRONG_IDS["another_id"]}[name]
    goes_on, has_come = threading.Event(), threading.Event()

    def read_first(exchange: Exchange) -> None:
        goes_on.set()
        try:
            attack(exchange)
        finally:
            goes_on.clear()
        has_come.set()

    def list_without_first(exchange: Exchange) -> None:
        status = "completed" if goes_on.is_set() or has_come.is_set() else "processing"
        rows = [{"id": transcript_id(number), "status": status} for number in range(1, 20)]
        exchange.json({"page_details": {"prev_url": None}, "transcripts": rows})

    async def main(server: HostileServer) -> tuple[list[PollEvent], bool]:
        async def connect() -> tuple[AsyncClient, None]:
            return AsyncClient(KEY, hosts_for("us", override=server.url)), None

        def wait(number: int) -> asyncio.Task[list[PollEvent]]:
            now = time.time()
            waiting = wait_for_transcripts(
                get_connection(f"one {name}", connect),
                [transcript_id(number)],
                poll_interval=1.0,
                ready_at=now,
                deadline=now + 4 * 3600,
            )
            return asyncio.ensure_future(waiting)

        first, *others = (wait(number) for number in range(20))
        async with asyncio.timeout(GENEROUS):
            events = [event for events in await asyncio.gather(*others) for event in events]
        still_waiting = not first.done()
        first.cancel()
        return events, still_waiting

    with hostile(service(list_without_first, read_first)) as server:
        events, still_waiting = ended(lambda: asyncio.run(main(server)))
    assert [event["outcome"] for event in events] == ["done"] * 19
    assert still_waiting


# --- operators --------------------------------------------------------------------------------------------


class TaskInstance:
    dag_id, run_id, task_id, map_index, max_tries = "a_dag", "a_run", "a_task", -1, 2

    def xcom_push(self, key: str, value: Any) -> None:
        assert "Four words" not in str(value)


def execute(task: Any) -> Any:
    context: Any = {"ti": TaskInstance()}
    return ended(lambda: task.execute(context))


Connect = Callable[[HostileServer], str]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Make a connection to a server, and return its name; the last one is also the default."""

    def connect(server: HostileServer) -> str:
        name = f"at_{server.address.rpartition(':')[2]}"
        connection = {"conn_type": "assemblyai", "password": KEY, "host": server.url}
        for one in (name, "assemblyai_default"):
            monkeypatch.setenv(f"AIRFLOW_CONN_{one.upper()}", json.dumps(connection))
        return name

    return connect


def submitted(status: str) -> Attack:
    return lambda exchange: exchange.json({**catalogue.TRANSCRIPT, "status": status})


def empty_list(exchange: Exchange) -> None:
    exchange.json({"page_details": {"prev_url": None}, "transcripts": []})


def transcription(on_list: Attack, on_submit: Attack, on_read: Attack) -> Attack:
    def answer(exchange: Exchange) -> None:
        if exchange.method == "POST":
            on_submit(exchange)
        else:
            service(on_list, on_read)(exchange)

    return answer


def test_a_blocking_task_ends_at_its_own_timeout(connect: Connect) -> None:
    """The answer to a poll never ends. What is left of the task's two minutes of repeats would go on."""

    def end(attack: Attack) -> None:
        with hostile(transcription(empty_list, submitted("queued"), attack)) as server:
            connection = connect(server)
            task = TranscribeOperator(
                task_id="t", assemblyai_conn_id=connection, audio="https://example.com/a.wav", timeout=3.0
            )
            with pytest.raises(TranscriptTimeout, match=ID):
                execute(task)
            assert sum(head.startswith(b"GET /v2/transcript/") for head in server.heads) <= 3

    at_once([catalogue.drip_on_body, catalogue.drip_on_head, catalogue.silence], end)


def test_a_task_ends_wherever_the_service_hangs(connect: Connect) -> None:
    """A submission whose answer never ends is looked up as long as there is time, and never repeated on a guess."""

    def end(part: str) -> None:
        drip = catalogue.drip_on_body
        parts = (drip, submitted("queued")) if part == "list" else (empty_list, drip)
        with hostile(transcription(*parts, by_id)) as server:
            connection = connect(server)
            task = TranscribeOperator(
                task_id="t", assemblyai_conn_id=connection, audio="https://example.com/a.wav", timeout=3.0
            )
            with pytest.raises(AssemblyAIError) as caught:
                execute(task)
            assert server.wait_until_left(GENEROUS)
            assert caught.value.retryable
            assert sum(head.startswith(b"POST") for head in server.heads) == (part == "submit")

    at_once(["list", "submit"], end)


def test_a_job_that_may_be_a_row_that_cannot_be_read_is_not_submitted_again(connect: Connect) -> None:
    def answer(exchange: Exchange) -> None:
        lists = catalogue.list_of_strange_rows if posts() else empty_list
        transcription(lists, catalogue.nothing, by_id)(exchange)

    def posts() -> int:
        return sum(head.startswith(b"POST") for head in server.heads)

    with hostile(answer) as server:
        task = TranscribeOperator(
            task_id="t",
            assemblyai_conn_id=connect(server),
            audio="https://example.com/b.wav",
            settle_time=0.01,
        )
        with pytest.raises(StateUnknown, match="cannot be read"):
            execute(task)
        assert posts() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"audio_duration": "long", "audio_channels": -3, "multichannel": "yes"},
        {"audio_duration": -5.0, "confidence": "NaN", "language_code": 7},
        {"audio_duration": True, "confidence": 2.0, "speech_model_used": {}, "metadata": []},
        {"audio_duration": 1e300, "text": 5, "words": [1], "utterances": {}, "metadata": {"warnings": 7}},
        {"audio_duration": 10**400, "error": [], "metadata": {"warnings": [None, 5, {"message": 5}]}},
    ],
)
def test_nonsense_in_a_transcript_never_reaches_a_summary(
    change: dict[str, Any], connect: Connect, tmp_path: Any
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.json({**catalogue.TRANSCRIPT, **change, "tomorrow": {"kept": 1}})

    with hostile(transcription(empty_list, answer, answer)) as server:
        connection = connect(server)
        task = TranscribeOperator(
            task_id="t",
            assemblyai_conn_id=connection,
            audio="https://example.com/a.wav",
            output_path=str(tmp_path),
            formats=["json", "txt"],
        )
        summary = execute(task)
    assert summary["audio_duration"] is None
    assert summary["confidence"] in (None, 0.9)
    for name in ("language_code", "speech_model_used", "text"):
        assert summary[name] is None
    assert summary["warnings"] == []
    stored = next(
        path for path in tmp_path.rglob("*.json") if ID in path.read_text() and "tomorrow" in path.read_text()
    )
    assert json.loads(stored.read_text())["tomorrow"] == {"kept": 1}


def test_a_sensor_ends_at_its_own_timeout(connect: Connect) -> None:
    def end(attack: Attack) -> None:
        with hostile(service(empty_list, attack)) as server:
            connection = connect(server)
            task = TranscriptSensor(
                task_id="t", assemblyai_conn_id=connection, transcript_id=ID, timeout=2.0, poke_interval=0.1
            )
            with pytest.raises((TransportError, AirflowSensorTimeout)):
                execute(task)
            assert server.wait_until_left(GENEROUS)

    at_once([catalogue.drip_on_body, catalogue.drip_on_head], end)


def test_a_model_whose_answer_never_comes_is_lost_and_not_asked_again(connect: Connect) -> None:
    def end(attack: Attack) -> None:
        with hostile(attack) as server:
            connection = connect(server)
            task = LLMGatewayOperator(
                task_id="t", assemblyai_conn_id=connection, prompt="Hello.", model="gpt-5", timeout=5.0
            )
            with pytest.raises(ResponseLost):
                execute(task)
            assert server.wait_until_left(GENEROUS)
            assert sum(head.startswith(b"POST") for head in server.heads) == 1

    at_once([catalogue.drip_on_body, catalogue.gzip_bomb, catalogue.silence], end)


def test_an_answer_that_a_filter_ended_is_not_taken_for_a_whole_one(
    connect: Connect,
) -> None:
    answer = {"choices": [{"message": {"content": "Half a sen"}, "finish_reason": "content_filter"}]}
    with hostile(lambda exchange: exchange.json(answer)) as server:
        connect(server)
        task = LLMGatewayOperator(task_id="t", prompt="Hello.", model="gpt-5")
        with pytest.raises(AirflowFailException, match=r"content_filter.*on_truncation") as caught:
            execute(task)
        assert "Half" not in str(caught.value)
        assert sum(head.startswith(b"POST") for head in server.heads) == 1


def test_a_model_that_is_to_be_asked_in_a_thousand_seconds(
    connect: Connect,
) -> None:
    with hostile(catalogue.wait_for("1000")) as server:
        connection = connect(server)
        task = LLMGatewayOperator(
            task_id="t", assemblyai_conn_id=connection, prompt="Hello.", model="gpt-5", max_wait=86_400
        )
        with pytest.raises(GatewayTimeout, match="a wait of 1000 s"):
            execute(task)
        assert len(server.heads) == 1


def test_a_result_is_fetched_although_the_time_is_over(connect: Connect, tmp_path: Any) -> None:
    """The trigger has seen the end of the job a moment before the deadline."""
    with hostile(service(empty_list)) as server:
        connection = connect(server)
        task = TranscribeOperator(
            task_id="t",
            assemblyai_conn_id=connection,
            audio="https://example.com/a.wav",
            timeout=3.0,
            output_path=str(tmp_path),
            formats=["json"],
        )
        event: PollEvent = {"transcript_id": ID, "outcome": "done", "detail": "completed"}
        context: Any = {"ti": TaskInstance()}
        summary = ended(
            lambda: task.execute_complete(context, event, deadline=time.time() - 1, fingerprint="f")
        )
    assert summary["transcript_id"] == ID


# --- a list that is ahead of the transcripts --------------------------------------------------------------


def done_list(exchange: Exchange) -> None:
    rows = [{"id": ID, "status": "completed"}]
    exchange.json({"page_details": {"prev_url": None}, "transcripts": rows})


DONE: PollEvent = {"transcript_id": ID, "outcome": "done", "detail": "completed"}


@pytest.mark.parametrize("over", [False, True])
def test_what_only_the_list_calls_done_is_waited_for_until_the_time_is_over(
    over: bool, connect: Connect
) -> None:
    context: Any = {"ti": TaskInstance()}
    deadline = time.time() + (-1 if over else 3600)
    transcribe = TranscribeOperator(task_id="t", audio="https://example.com/a.wav", deferrable=True)
    sensor = TranscriptSensor(task_id="t", transcript_id=ID, deferrable=True)
    with hostile(service(done_list, submitted("queued"))) as server:
        connect(server)
        with pytest.raises(TranscriptTimeout if over else TaskDeferred):
            transcribe.execute_complete(context, DONE, deadline=deadline, fingerprint="f")
        with pytest.raises(AirflowSensorTimeout if over else TaskDeferred) as caught:
            sensor.execute_complete(context, DONE, region="us", deadline=deadline)
        if isinstance(caught.value, TaskDeferred):
            assert caught.value.kwargs == {"region": "us", "deadline": deadline}


def test_a_batch_ends_although_only_the_list_calls_it_done(connect: Connect, tmp_path: Any) -> None:
    with hostile(transcription(done_list, submitted("queued"), submitted("queued"))) as server:
        connect(server)
        task = TranscribeBatchOperator(
            task_id="t", audios=["https://example.com/a.wav"], output_path=str(tmp_path), timeout=3.0
        )
        with pytest.raises(TranscriptTimeout, match=ID):
            execute(task)
        assert sum(head.startswith(b"POST") for head in server.heads) == 1


@pytest.mark.parametrize("body", [b'{"error": "busy"}', b"<html>busy</html>", b"null", b"\xef\xbb\xbf [1]"])
@pytest.mark.parametrize("name", ["srt", "vtt", "sentences", "paragraphs"])
def test_an_error_that_comes_with_a_good_status_is_no_export(
    name: Any, body: bytes, connect: Connect, tmp_path: Any
) -> None:
    def answer(exchange: Exchange) -> None:
        exchange.answer(body) if exchange.path.endswith(name) else by_id(exchange)

    with hostile(answer) as server:
        connect(server)
        task = TranscriptExportOperator(
            task_id="t", transcript_id=ID, output_path=str(tmp_path), formats=[name]
        )
        with pytest.raises(UnexpectedReply):
            execute(task)
    assert not list(tmp_path.glob(f"{ID}*"))


def test_a_word_that_is_none_does_not_take_the_others_along(connect: Connect, tmp_path: Any) -> None:
    words = [{"text": "one"}, "two", {"text": "three"}]

    def answer(exchange: Exchange) -> None:
        exchange.json({**catalogue.TRANSCRIPT, "words": words})

    with hostile(answer) as server:
        connect(server)
        task = TranscriptExportOperator(
            task_id="t", transcript_id=ID, output_path=str(tmp_path), formats=["json"]
        )
        execute(task)
    stored = json.loads((tmp_path / f"{ID}.json").read_text())
    assert [word["text"] for word in stored["words"]] == ["one", "three"]


def test_a_transcript_that_is_unknown_for_a_moment_is_not_given_up(
    connect: Connect,
) -> None:
    """It was submitted a moment ago; the key is refused once, too."""
    refusals = ["404 Not Found", "401 Unauthorized", "400 Bad Request"]
    error = {"error": "Transcript lookup error, transcript id not found"}

    def read(exchange: Exchange) -> None:
        exchange.json(error, status=refusals.pop(0)) if refusals else by_id(exchange)

    with hostile(transcription(empty_list, submitted("queued"), read)) as server:
        connect(server)
        task = TranscribeOperator(task_id="t", audio="https://example.com/a.wav", poll_interval=0.1)
        assert execute(task)["status"] == "completed"


@pytest.mark.parametrize("texts", [None, {}, {"es": 5}, "hola"])
def test_a_translation_without_any_text_is_none(texts: object, connect: Connect) -> None:
    features = {"translation": {"target_languages": ["es"]}}
    body: dict[str, Any] = {"speech_understanding": {"response": {"translation": {"status": "success"}}}}
    with hostile(lambda exchange: exchange.json({**body, "translated_texts": texts})) as server:
        connect(server)
        task = UnderstandOperator(task_id="t", transcript_id=ID, features=features)
        with pytest.raises(AirflowFailException, match="no text of it"):
            execute(task)
        # What it costs is asked for after it.
        assert [head.split(b" ")[0] for head in server.heads] == [b"POST", b"GET"]

# SPDX-License-Identifier: Apache-2.0
"""Each event is counted once, whatever becomes of the try that it belongs to, and with the tags of its own task."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptDeleteOperator
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.polling import shared_poller
from airflow_provider_assemblyai.polling.connection import get_connection
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from airflow_provider_assemblyai.telemetry import metrics
from tests.integration.conftest import Sent, TaskInstance
from tests.integration.operators.test_transcribe_batch import make_operator
from tests.support import captures
from tests.support.emulator_api import wav
from tests.support.polling import FakeConnection, submit, until

TASK = {"dag_id": "a_dag", "task_id": "a_task", "region": "us"}
TRANSCRIBED = {**TASK, "model": "universal-3-5-pro"}
MINUTE = "https://example.com/minute.wav?emulator=duration:60"
CHAT = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


def totals(sent: list[Sent]) -> Counter[str]:
    """What counters were given."""
    found: Counter[str] = Counter()
    for one in sent:
        if one.method == "incr":
            found[one.name.removeprefix("assemblyai.")] += round(one.value, 6)  # type: ignore[assignment]
    return found


def tags_of(sent: list[Sent], *names: str) -> list[dict[str, str]]:
    """The tags with which metrics were sent, of all but the polls."""
    wanted = [f"assemblyai.{name}" for name in names]
    return [one.tags for one in sent if one.name in wanted or (not names and "polls" not in one.name)]


def timers(sent: list[Sent], name: str) -> list[float]:
    return [one.value for one in sent if one.name == f"assemblyai.{name}"]


def transcribe(audio: str = MINUTE, **kwargs: Any) -> TranscribeOperator:
    return TranscribeOperator(
        task_id="a_task", audio=audio, poll_interval=0.05, **{"defer_after": 0, **kwargs}
    )


# --- jobs --------------------------------------------------------------------------------------------------


def test_a_job_and_a_task_that_is_cleared(
    emulator: Emulator, context: Any, run: Callable[..., Any], sent: list[Sent], deferrable: bool
) -> None:
    run(transcribe(deferrable=deferrable), context)
    paid = {
        "jobs.completed": 1,
        "audio_minutes.billed": 1,
        "audio_minutes.submitted": 1,
        "estimated_cost_usd": 0.0035,
    }
    assert {name: value for name, value in totals(sent).items() if name != "polls"} == paid
    assert all(tags == TRANSCRIBED for tags in tags_of(sent) if "hostname" not in tags)
    assert 0 < timers(sent, "job_duration")[0] < 600_000
    assert not metrics.in_task()
    run(transcribe(deferrable=deferrable), context)
    again = {"jobs.reused": 1, "audio_minutes.reused": 1}
    assert {name: value for name, value in totals(sent).items() if name != "polls"} == {**paid, **again}
    assert tags_of(sent, "jobs.reused", "audio_minutes.reused") == [TRANSCRIBED] * 2
    assert len(timers(sent, "job_duration")) == 1


def test_a_result_of_which_only_the_files_are_left(
    emulator: Emulator, context: Any, run: Callable[..., Any], sent: list[Sent], out: Path
) -> None:
    made = run(transcribe(output_path=str(out)), context)
    TranscriptDeleteOperator(task_id="a_task", transcript_id=made["transcript_id"]).execute({})
    run(transcribe(output_path=str(out)), context)
    found = totals(sent)
    assert (found["jobs.completed"], found["jobs.reused"], found["audio_minutes.reused"]) == (1, 1, 1)
    assert tags_of(sent, "jobs.reused") == [TRANSCRIBED]


def test_jobs_that_fail_and_the_one_in_their_place(
    emulator: Emulator, context: Any, run: Callable[..., Any], sent: list[Sent], deferrable: bool
) -> None:
    failing = "https://example.com/failing.wav?emulator=error:server*2,duration:60"
    run(transcribe(failing, deferrable=deferrable), context)
    found = totals(sent)
    assert (found["jobs.failed"], found["jobs.completed"], found["estimated_cost_usd"]) == (2, 1, 0.0035)
    assert tags_of(sent, "jobs.failed") == [TASK] * 2
    refused = "https://example.com/refused.wav?emulator=error:download,duration:60"
    with pytest.raises(AirflowFailException):
        run(transcribe(refused, deferrable=deferrable), context)
    assert (totals(sent)["jobs.failed"], totals(sent)["jobs.completed"]) == (3, 1)


def test_a_batch(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Callable[..., Any],
    sent: list[Sent],
    out: Path,
    deferrable: bool,
) -> None:
    audios = [f"https://example.com/{name}.wav?emulator=duration:60" for name in "abc"]
    audios.append("https://example.com/d.wav?emulator=error:download,duration:60")
    arguments: dict[str, Any] = {"deferrable": deferrable, "on_partial_failure": "succeed"}
    summary = run(make_operator(audios, out, **arguments), context)
    found = totals(sent)
    assert (found["jobs.completed"], found["jobs.failed"], found["audio_minutes.billed"]) == (3, 1, 3)
    assert found["estimated_cost_usd"] == summary["estimated_cost_usd"]
    paid = ("jobs.completed", "job_duration", "audio_minutes.billed", "estimated_cost_usd")
    assert tags_of(sent, *paid) == [TRANSCRIBED] * 12
    assert tags_of(sent, "jobs.failed") == [TASK]
    # What is there needs no work.
    other_context["ti"].run_id = "another_run"
    before = len(tags_of(sent))
    run(make_operator(audios[:3], out, **arguments), other_context)
    assert len(tags_of(sent)) == before


def test_a_clip_is_no_call_of_the_gateway(
    emulator: Emulator, context: Any, sent: list[Sent], tmp_path: Path, out: Path
) -> None:
    (clip := tmp_path / "clip.wav").write_bytes(wav(6, 16_000))
    emulator.fault("refuse_clip", retry_after=1)
    for _ in range(2):
        TranscribeShortOperator(task_id="a_task", audio=str(clip), output_path=str(out)).execute(context)
    found = totals(sent)
    assert (found["jobs.completed"], found["jobs.reused"], found["audio_minutes.billed"]) == (1, 1, 0.1)
    assert not [name for name in found if name.startswith("llm_gateway")]
    assert timers(sent, "llm_gateway.waited") == []


# --- sensors -----------------------------------------------------------------------------------------------


class Try(TaskInstance):
    """A task instance that knows which of its tries it is."""

    def __init__(self, try_number: int) -> None:
        super().__init__()
        self.try_number = try_number


def wait_for(given: Any, run: Callable[..., Any], *, deferrable: bool, try_number: int = 1) -> None:
    sensor = TranscriptSensor(
        task_id="a_task", transcript_id=given, poke_interval=0.05, deferrable=deferrable, retries=2
    )
    sensor.render_template_fields({})
    run(sensor, {"ti": Try(try_number)})


def test_a_sensor_counts_what_no_task_has_counted(
    emulator: Emulator, context: Any, run: Callable[..., Any], sent: list[Sent], deferrable: bool
) -> None:
    submitted = run(transcribe(wait_for_completion=False), context)
    assert tags_of(sent) == []
    wait_for(submitted, run, deferrable=deferrable)
    found = totals(sent)
    assert (found["jobs.completed"], found["audio_minutes.billed"], found["estimated_cost_usd"]) == (
        1,
        1,
        0.0035,
    )
    assert all(tags == TRANSCRIBED for tags in tags_of(sent) if "hostname" not in tags)
    before = len(tags_of(sent, "jobs.completed"))
    wait_for({**submitted, "estimated_cost_usd": 0.0035}, run, deferrable=deferrable)
    assert len(tags_of(sent, "jobs.completed")) == before


def test_a_failed_job_that_retries_of_a_sensor_see(
    emulator: Emulator, run: Callable[..., Any], sent: list[Sent], deferrable: bool
) -> None:
    """A fault of the service may be retried, and is there each time; others end the task."""
    (passing,) = submit(1, "https://example.com/a.wav?emulator=error:server,duration:60")
    for number in (1, 2, 3):
        assert totals(sent)["jobs.failed"] == 0
        with pytest.raises(AssemblyAIError):
            wait_for(passing, run, deferrable=deferrable, try_number=number)
    assert totals(sent)["jobs.failed"] == 1
    assert tags_of(sent, "jobs.failed") == [TASK]
    (lasting,) = submit(1, "https://example.com/b.wav?emulator=error:download,duration:60")
    with pytest.raises(AirflowFailException):
        wait_for(lasting, run, deferrable=deferrable)
    assert totals(sent)["jobs.failed"] == 2


# --- the gateway -------------------------------------------------------------------------------------------


def ask(context: Any, **kwargs: Any) -> Any:
    return LLMGatewayOperator(task_id="a_task", model="gpt-5", prompt="A title.", **kwargs).execute(context)


def test_tokens_are_counted_when_they_are_paid_for(
    emulator: Emulator, context: Any, sent: list[Sent]
) -> None:
    emulator.set_llm_answers("no title")
    for _ in range(3):
        with pytest.raises(AirflowFailException, match="does not fit"):
            ask(context, response_format=SCHEMA)
    billed, found = emulator.counters()["gateway"], totals(sent)
    assert billed["accepted"] == found["llm_gateway.calls"] == 1, "later tries found the answer"
    assert found["llm_gateway.tokens.input"] == billed["input_tokens"]
    assert found["llm_gateway.tokens.output"] == billed["output_tokens"]
    assert all(tags == {**TASK, "model": "gpt-5"} for tags in tags_of(sent))


def test_a_wait_is_told_with_the_answer_that_it_was_for(
    emulator: Emulator, context: Any, run: Callable[..., Any], sent: list[Sent], deferrable: bool
) -> None:
    emulator.set_llm_answers("no title", '{"title": "A call"}')
    emulator.fault("rate_limit", path=CHAT, retry_after=1)
    asked = LLMGatewayOperator(
        task_id="a_task",
        model="gpt-5",
        prompt="A title.",
        response_format=SCHEMA,
        repair=1,
        deferrable=deferrable,
    )
    run(asked, context)
    found, billed = totals(sent), emulator.counters()["gateway"]
    assert (found["llm_gateway.refused"], found["llm_gateway.calls"]) == (1, 2)
    assert found["llm_gateway.tokens.input"] == billed["input_tokens"]
    first, repair = timers(sent, "llm_gateway.waited")
    assert first >= 1_000
    assert repair == 0


def test_speech_understanding_is_a_call_of_the_gateway(
    emulator: Emulator, new_context: Any, run: Callable[..., Any], sent: list[Sent]
) -> None:
    given = run(transcribe(), new_context())
    sent.clear()
    features = {"translation": {"target_languages": ["es"]}}
    UnderstandOperator(task_id="a_task", transcript_id=given, features=features).execute(new_context())
    found = totals(sent)
    assert found["llm_gateway.calls"] == 1
    assert found["estimated_cost_usd"] > 0


# --- captures ----------------------------------------------------------------------------------------------


def test_a_capture_and_the_job_in_its_place(
    listening: Emulator, context: Any, sent: list[Sent], tape: Path, out: Path
) -> None:
    listening.fault("stream_close", after=1.0, code=1008, error="Account has no funds")
    for _ in range(2):
        summary = captures.operator(str(tape), out, fallback="transcribe").execute(context)
    assert summary["transcript_id"]
    found = totals(sent)
    assert found["jobs.completed"] == 1
    assert found["audio_minutes.billed"] == pytest.approx(2 / 60, abs=1e-3)
    assert found["streaming.billed_seconds"] == pytest.approx(summary["billed_session_seconds"])
    assert found["estimated_cost_usd"] == pytest.approx(summary["estimated_cost_usd"])
    streamed = {**TASK, "model": "universal-3-6-pro"}
    assert tags_of(sent, "streaming.billed_seconds") == [streamed]
    assert tags_of(sent, "jobs.completed", "audio_minutes.billed") == [TRANSCRIBED] * 2
    assert tags_of(sent, "estimated_cost_usd") == [TRANSCRIBED, streamed]


def test_the_lag_of_a_capture(
    listening: Emulator, context: Any, sent: list[Sent], tape: Path, out: Path
) -> None:
    captures.operator(str(tape), out, duration=8).execute(context)
    assert timers(sent, "streaming.lag")
    assert all(0 <= lag < 60_000 for lag in timers(sent, "streaming.lag"))
    assert tags_of(sent, "streaming.lag")[0] == {**TASK, "model": "universal-3-6-pro"}


# --- triggerers --------------------------------------------------------------------------------------------


def wait_until_done(
    connection: FakeConnection, ids: list[str], name: str, limit: float = 600, first_poll: float = 0
) -> Any:
    return asyncio.create_task(
        shared_poller.wait_for_transcripts(
            get_connection(name, connection),
            ids,
            poll_interval=0.02,
            ready_at=time.time(),
            deadline=time.time() + limit,
            first_poll_at=time.time() + first_poll,
        )
    )


def test_what_waits_for_two_accounts_of_a_region_is_one_number(
    emulator: Emulator, sent: list[Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_poller, "_GAUGES", 0.0)
    monkeypatch.setattr(shared_poller, "_LINGER", 0.0)
    ids = submit(5)

    async def main() -> None:
        # The second key knows none of them: it waits for its first poll, which does not come.
        one = wait_until_done(FakeConnection(emulator), ids[:3], "one")
        other = wait_until_done(FakeConnection(emulator, "another-key"), ids[3:], "other", first_poll=500)
        await until(lambda: 5 in timers(sent, "in_flight"))
        other.cancel()
        await asyncio.to_thread(emulator.advance, 3600)
        await one
        await until(lambda: timers(sent, "in_flight")[-1] == 0)

    asyncio.run(main())
    assert set(timers(sent, "in_flight")) <= {0, 2, 3, 5}
    assert all(0 <= used <= 1 for used in timers(sent, "status_budget_used"))
    hosts = {tuple(sorted(tags)) for tags in tags_of(sent, "in_flight", "status_budget_used")}
    assert hosts == {("hostname", "region")}
    assert totals(sent)["polls"] > totals(sent)["polls.failed"]


def test_a_triggerer_that_stops_leaves_no_number_behind(emulator: Emulator, sent: list[Sent]) -> None:
    ids = submit(2)

    async def main() -> None:
        wait_until_done(FakeConnection(emulator), ids, "one")
        await until(lambda: 2 in timers(sent, "in_flight"))

    asyncio.run(main())  # which cancels what still waits
    assert timers(sent, "in_flight") == [2, 0]


def test_what_waits_on_a_worker_is_no_triggerer(emulator: Emulator, sent: list[Sent]) -> None:
    ids = submit(2, "https://example.com/a.wav")

    async def main() -> None:
        await wait_until_done(FakeConnection(emulator), ids, "one")

    with metrics.task_tags(**TASK):
        asyncio.run(main())
    assert totals(sent)["polls"] >= 1
    assert tags_of(sent, "polls")[0] == {"region": "us"}
    assert timers(sent, "in_flight") == timers(sent, "status_budget_used") == []


def test_polls_that_fail(emulator: Emulator, sent: list[Sent]) -> None:
    emulator.fault("rate_limit", method="GET", path="/v2/transcript", retry_after=1)
    ids = submit(1, "https://example.com/a.wav")
    sent.clear()

    async def main() -> None:
        await wait_until_done(FakeConnection(emulator), ids, "one")

    asyncio.run(main())
    assert totals(sent)["polls.failed"] == 1
    assert totals(sent)["polls"] >= 2

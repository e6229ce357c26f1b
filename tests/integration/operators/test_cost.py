# SPDX-License-Identifier: Apache-2.0
"""What tasks say they cost: the same dollars as the emulator bills, told once."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import ItemsFailed
from airflow_provider_assemblyai.batch.ledger import Ledger
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from airflow_provider_assemblyai.storage.records import sealed_lines
from airflow_provider_assemblyai.triggers.transcript_batch import TranscriptBatchTrigger
from tests.integration.conftest import StateStore, TaskInstance
from tests.integration.operators.test_transcribe_batch import make_operator, manifest, sound, urls
from tests.support import captures

HOUR = "https://example.com/hour.wav?emulator=duration:3600"
EXAMPLE = Path(__file__).parents[3] / "example_dags" / "transcript_to_summary.py"
METRIC = "assemblyai.estimated_cost_usd"
#: Requests with everything that costs, each alone and some together.
REQUESTS: list[dict[str, Any]] = [
    {},
    {"speech_models": ["universal-2"]},
    {"speech_models": ["universal-3-pro"]},
    {"multichannel": True},
    {"multichannel": True, "speaker_labels": True},
    {"speaker_labels": True, "speaker_options": {"long_file_diarization_method": "experimental"}},
    {"prompt": "A call."},
    {"keyterms_prompt": ["parcel"]},
    {"keyterms_prompt": ["parcel"], "speech_models": ["universal-2"]},
    {"domain": "medical-v1"},
    {"domain": "medical-v1", "language_code": "it"},
    *(
        {name: True}
        for name in (
            *("auto_highlights", "sentiment_analysis", "entity_detection", "iab_categories"),
            *("auto_chapters", "summarization", "filter_profanity", "content_safety"),
        )
    ),
    {"redact_pii": True, "redact_pii_policies": ["person_name"]},
    {"redact_pii": True, "redact_pii_policies": ["person_name"], "redact_pii_audio": True},
    {
        "speaker_labels": True,
        "speech_understanding": {"request": {"translation": {"target_languages": ["es"]}}},
    },
    {"speech_understanding": {"request": {"summarization": {"summary_type": "bullets"}}}},
]


def transcribe(audio: str = HOUR, **kwargs: Any) -> TranscribeOperator:
    return TranscribeOperator(task_id="a_task", audio=audio, poll_interval=0.05, **kwargs)


def with_prices(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, prices: Any) -> None:
    connection = json.loads(emulator.connection_json)
    connection["extra"] = {**connection["extra"], "prices": prices}
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))


class Log:
    """What tasks have logged so far."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.text = ""

    def read(self) -> str:
        self.text += "".join(self._capfd.readouterr())
        return self.text

    def last_line(self) -> str:
        """The last line of a task, which tells what it has done."""
        self.text = ""
        # Not those of the emulator, which is in this process.
        lines = [line for line in self.read().splitlines() if "[airflow." in line and "[info" in line]
        if "Success criteria met" in lines[-1]:
            del lines[-1]  # Airflow's own, of every sensor
        done = [line for line in lines if " is done: " in line]
        assert len(done) == 1, done
        assert lines[-1] == done[0], "nothing comes after it"
        return re.sub(r"^\S+ \[info\s*\] | \[airflow\..*$", "", done[0])


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Log:
    return Log(capfd)


# --- one transcript ----------------------------------------------------------------------------------------


def test_the_emulator_bills_the_same_dollars(
    emulator: Emulator, new_context: Any, run: Callable[..., Any], counted: Counter[str]
) -> None:
    total = 0.0
    for number, config in enumerate(REQUESTS):
        audio = f"https://example.com/{number}.wav?emulator=duration:{3600 + 60 * number}"
        if number % 2 and "speech_understanding" not in config:
            summary = run(transcribe(audio, config=config), new_context())
        else:
            # Of what another program asked for, the transcript tells.
            known = {"speech_models": ["universal-3-5-pro", "universal-2"], **config}
            emulator.add_transcript(str(uuid.UUID(int=number + 1)), audio_url=audio, **known)
            assert emulator.transcripts()[-1]["status"] == "completed"
            waiting = TranscriptSensor(
                task_id="wait", transcript_id=str(uuid.UUID(int=number + 1)), poke_interval=0.05
            )
            summary = run(waiting, new_context())
        billed = emulator.transcripts()[-1]["billed_usd"]
        assert summary["estimated_cost_usd"] == billed, config
        total += billed or 0.0
    assert total > 4
    assert emulator.counters()["billed_usd"] == pytest.approx(total)
    assert emulator.counters()["unpriced"] == 1
    assert counted[METRIC] == pytest.approx(total)


def test_a_cost_is_told_once(
    emulator: Emulator, new_context: Any, run: Callable[..., Any], counted: Counter[str], out: Path
) -> None:
    context, other = new_context(), new_context()
    assert run(transcribe(output_path=str(out)), context)["estimated_cost_usd"] == 0.21
    # A retry of the same run takes the result up and says what that run has paid.
    assert run(transcribe(output_path=str(out)), context)["estimated_cost_usd"] == 0.21
    # A cleared task pays nothing.
    context["ti"].max_tries = 5
    assert run(transcribe(output_path=str(out)), context)["estimated_cost_usd"] == 0.0
    other["ti"].run_id = "another_run"
    again = transcribe(output_path=str(out), reuse="output")
    assert run(again, other)["estimated_cost_usd"] == 0.21, "no shared record was there"
    third = new_context()
    third["ti"].run_id = "a_third_run"
    assert run(transcribe(output_path=str(out), reuse="output"), third)["estimated_cost_usd"] == 0.0
    assert emulator.counters()["accepted"] == 2
    assert counted[METRIC] == emulator.counters()["billed_usd"] == 0.42


def test_a_deleted_transcript_costs_nothing_again(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    kept: dict[str, Any] = {"output_path": str(out), "delete_after": True}
    assert run(transcribe(**kept), context)["estimated_cost_usd"] == 0.21
    context["ti"].max_tries = 5
    assert run(transcribe(**kept), context)["estimated_cost_usd"] == 0.0


def test_jobs_that_failed_cost_nothing(
    emulator: Emulator, context: Any, run: Callable[..., Any], counted: Counter[str]
) -> None:
    audio = "https://example.com/a.wav?emulator=error:server*2,duration:3600"
    assert run(transcribe(audio), context)["estimated_cost_usd"] == 0.21
    assert emulator.counters()["accepted"] == 3
    assert counted[METRIC] == emulator.counters()["billed_usd"] == 0.21


def test_who_waits_tells_and_who_exports_does_not(
    emulator: Emulator,
    new_context: Any,
    run: Callable[..., Any],
    counted: Counter[str],
    out: Path,
    deferrable: bool,
    log: Log,
) -> None:
    submitted = run(transcribe(wait_for_completion=False), new_context())
    assert submitted["estimated_cost_usd"] is None
    assert "estimated cost not known" in log.last_line()
    sensor = TranscriptSensor(
        task_id="wait", transcript_id=submitted, poke_interval=0.05, deferrable=deferrable
    )
    waited = run(sensor, new_context())
    waited = getattr(waited, "xcom_value", waited)
    assert waited["estimated_cost_usd"] == 0.21
    assert (
        "3600.0 s of audio, model universal-3-5-pro, 60.00 minutes billed, estimated cost 0.210000 USD"
        in (log.last_line())
    )
    export = TranscriptExportOperator(task_id="export", transcript_id=submitted, output_path=str(out))
    exported = run(export, new_context())
    assert exported["estimated_cost_usd"] == 0.0
    assert f"estimated cost 0.000000 USD, 2 files: file://{out}" in log.last_line()
    run(TranscriptDeleteOperator(task_id="delete", transcript_id=submitted), new_context())
    assert "estimated cost 0.000000 USD, 0 files" in log.last_line()
    assert counted[METRIC] == emulator.counters()["billed_usd"] == 0.21


def test_prices_of_the_connection(
    emulator: Emulator, context: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_prices(monkeypatch, emulator, {"universal-3-5-pro": 1.0, "new": 0.5})
    assert run(transcribe(), context)["estimated_cost_usd"] == 1.0


@pytest.mark.parametrize("wrong", ["[]", {"universal-2": "cheap"}])
def test_wrong_prices_are_refused_before_anything_is_sent(
    emulator: Emulator, context: Any, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, wrong: Any
) -> None:
    with_prices(monkeypatch, emulator, wrong)
    with pytest.raises(AirflowFailException, match="Connection 'assemblyai_default': prices"):
        run(transcribe(), context)
    assert AssemblyAIHook().test_connection()[0] is False
    assert emulator.requests == []


def test_the_last_line_says_what_was_done(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, log: Log
) -> None:
    summary = run(transcribe(output_path=str(out), config={"multichannel": True}), context)
    assert log.last_line() == (
        f"Transcript {summary['transcript_id']} is done: 3600.0 s of audio, model universal-3-5-pro, "
        "120.00 minutes billed, estimated cost 0.420000 USD, 2 files: "
        f"{summary['outputs']['json']}, {summary['outputs']['txt']}."
    )


# --- models and Speech Understanding -----------------------------------------------------------------------


def test_the_summary_example(
    emulator: Emulator,
    run: Callable[..., Any],
    counted: Counter[str],
    out: Path,
    log: Log,
) -> None:
    example = runpy.run_path(str(EXAMPLE))
    params = {"audio": HOUR, "config": {"speaker_labels": True}, "output_path": str(out)}
    params["model"] = "claude-sonnet-4-6"
    lines: list[str] = []
    results: list[Any] = []
    for task_id in ("transcribe", "summarize"):
        context: dict[str, Any] = {"ti": TaskInstance(), "task_state_store": StateStore(), "params": params}
        context["ti"].task_id = task_id
        operator = example[task_id]
        if results:
            operator.transcript_id = results[0]
        operator.render_template_fields(context)
        results.append(run(operator, context))
        lines.append(log.last_line())
    usage = context["ti"].xcoms["usage"]
    # An hour of audio by universal-3-5-pro, with speakers; tokens at 3 and 15 USD a million, and a tenth more in a region.
    by_hand = [0.21 + 0.02, (usage["input_tokens"] * 3.0 + usage["output_tokens"] * 15.0) / 1e6 * 1.1]
    assert usage["input_tokens"] > 30
    assert results[0]["estimated_cost_usd"] == pytest.approx(by_hand[0])
    assert usage["estimated_cost_usd"] == pytest.approx(by_hand[1])
    told = [float(re.findall(r"estimated cost ([\d.]+) USD", line)[0]) for line in lines]
    assert told == pytest.approx(by_hand, abs=1e-6)
    assert "model claude-sonnet-4-6" in lines[1]
    assert results[1]["output"] in lines[1]
    assert counted[METRIC] == pytest.approx(sum(by_hand))
    counters = emulator.counters()
    assert counters["billed_usd"] + counters["gateway"]["cost"] == pytest.approx(sum(by_hand))


def test_an_answer_that_was_delivered_is_not_counted_again(
    emulator: Emulator, context: Any, run: Callable[..., Any], counted: Counter[str], out: Path
) -> None:
    told = []
    # A retry, and a task that was cleared, which asks anew.
    for max_tries in (0, 0, 5):
        context["ti"].max_tries = max_tries
        operator = LLMGatewayOperator(
            task_id="a_task", prompt="Name a colour.", model="gpt-5", output_path=str(out)
        )
        run(operator, context)
        told.append(context["ti"].xcoms["usage"]["estimated_cost_usd"])
    cost = emulator.counters()["gateway"]["cost"]
    assert emulator.counters()["gateway"]["accepted"] == 2
    assert told == pytest.approx([cost / 2] * 3)
    assert counted[METRIC] == pytest.approx(cost)


@pytest.mark.parametrize("knows_length", [True, False])
def test_speech_understanding(
    emulator: Emulator,
    new_context: Any,
    run: Callable[..., Any],
    counted: Counter[str],
    log: Log,
    knows_length: bool,
) -> None:
    summary = run(transcribe(), new_context())
    counted.clear()
    given = summary if knows_length else summary["transcript_id"]
    log.last_line()
    features = {"translation": {"target_languages": ["es"]}, "custom_formatting": {"date": "mm/dd/yyyy"}}
    operator = UnderstandOperator(task_id="a_task", transcript_id=given, features=features)
    operator.render_template_fields({})
    assert run(operator, new_context())["estimated_cost_usd"] == 0.09
    assert "estimated cost 0.090000 USD" in log.last_line()
    assert counted[METRIC] == emulator.counters()["gateway"]["understanding"]["cost"] == 0.09


def test_speech_understanding_without_a_published_price(
    emulator: Emulator, new_context: Any, run: Callable[..., Any], counted: Counter[str]
) -> None:
    summary = run(transcribe(), new_context())
    features = {"summarization": {"summary_type": "bullets"}}
    operator = UnderstandOperator(task_id="a_task", transcript_id=summary, features=features)
    assert run(operator, new_context())["estimated_cost_usd"] is None
    assert counted[METRIC] == 0.21


# --- captures ----------------------------------------------------------------------------------------------


def test_a_capture(
    listening: Emulator,
    context: Any,
    counted: Counter[str],
    tape: Path,
    out: Path,
    log: Log,
) -> None:
    config = {"speech_model": "universal-streaming-english", "keyterms_prompt": ["parcel"]}
    summary = captures.operator(str(tape), out, config=config).execute(context)
    line = log.last_line()
    cost = summary["estimated_cost_usd"]
    assert cost == round(0.19 * summary["billed_session_seconds"] / 3600, 6)
    assert cost == listening.counters()["streaming"]["billed_usd"] == counted[METRIC] > 0
    assert "model universal-streaming-english, " in line
    assert f"estimated cost {cost:.6f} USD, 2 files" in line
    # The result is made again by a retry, and by a task that was cleared.
    assert captures.operator(str(tape), out, config=config).execute(context)["estimated_cost_usd"] == cost
    context["ti"].max_tries = 5
    assert captures.operator(str(tape), out, config=config).execute(context)["estimated_cost_usd"] == 0.0
    assert counted[METRIC] == cost


# --- batches -----------------------------------------------------------------------------------------------


def test_a_batch(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Callable[..., Any],
    counted: Counter[str],
    out: Path,
    deferrable: bool,
    log: Log,
) -> None:
    audios: list[Any] = [
        {"audio": "https://example.com/a.wav?emulator=duration:3600"},
        {"audio": "https://example.com/b.wav?emulator=duration:3600", "config": {"multichannel": True}},
        {"audio": "https://example.com/c.wav?emulator=duration:1800,error:server*1"},
        {"audio": "https://example.com/d.wav?emulator=duration:60,error:download"},
        {
            "audio": "https://example.com/e.wav?emulator=duration:3600",
            "config": {"speech_models": ["universal-2"]},
        },
    ]
    arguments: dict[str, Any] = {"deferrable": deferrable, "on_partial_failure": "succeed"}
    summary = run(make_operator(audios, out, **arguments), context)
    costs = {line["source"][-5:-4]: line["estimated_cost_usd"] for line in manifest(out)}
    assert costs == {"a": 0.21, "b": 0.42, "c": 0.105, "d": 0.0, "e": 0.15}
    assert summary["estimated_cost_usd"] == emulator.counters()["billed_usd"] == 0.885
    assert counted[METRIC] == pytest.approx(0.885)
    assert log.last_line() == (
        "The batch of 5 items is done: 12600.0 s of audio, model universal-2, universal-3-5-pro, "
        f"270.00 minutes billed, estimated cost 0.885000 USD, 9 files in {out}."
    )
    other_context["ti"].run_id = "another_run"
    summary = run(make_operator(audios, out, **arguments), other_context)
    assert summary["estimated_cost_usd"] == 0.0
    assert {line["estimated_cost_usd"] for line in manifest(out)} == {0.0}
    assert counted[METRIC] == pytest.approx(0.885)


def test_what_a_model_costs_that_has_no_price_is_not_known(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    audios: list[Any] = [*urls(2), {"audio": "https://example.com/x.wav", "config": {"new_feature": True}}]
    summary = run(make_operator(audios, out), context)
    assert summary["estimated_cost_usd"] is None
    assert Counter(line["estimated_cost_usd"] for line in manifest(out)) == {0.00175: 2, None: 1}


def test_more_dollars_than_the_cap_are_refused_before_anything_is_sent(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    for number in range(3):
        sound(tmp_path / "calls" / f"{number}.wav", seconds=60, sample=number)
    with pytest.raises(
        AirflowFailException, match=r"costs at least an estimated 0\.0105 USD.* 0\.0005 USD too much"
    ):
        run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=0.01), context)
    assert emulator.counters()["accepted"] == emulator.counters()["uploads"] == 0
    assert run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=0.0105), context)["completed"] == 3


def test_nothing_is_submitted_beyond_the_cap_in_dollars(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, log: Log
) -> None:
    audios = urls(10, "?emulator=duration:3600")
    with pytest.raises(ItemsFailed) as failed:
        run(make_operator(audios, out, max_cost_usd=0.5, max_in_flight=1), context)
    assert "an estimated 0.6300 USD, 0.1300 USD more than the cap" in str(failed.value)
    assert "0.1300 USD more than the cap" in log.read()
    summary = context["ti"].xcoms["summary"]
    assert (summary["completed"], summary["not_submitted"]) == (3, 7)
    assert summary["errors"] == {"CostCap": 7}
    assert summary["estimated_cost_usd"] == emulator.counters()["billed_usd"] == 0.63
    # The next try of this run has spent that already, and a run of its own has not.
    with pytest.raises(ItemsFailed):
        run(make_operator(audios, out, max_cost_usd=0.6, max_in_flight=1), context)
    assert emulator.counters()["accepted"] == 3
    # Nor is it forgotten when the task is cleared.
    context["ti"].max_tries = 5
    with pytest.raises(ItemsFailed):
        run(make_operator(audios, out, max_cost_usd=0.6, max_in_flight=1), context)
    assert emulator.counters()["accepted"] == 3
    with pytest.raises(ItemsFailed, match=r"estimated 0\.8400 USD, 0\.1400 USD more"):
        run(make_operator(audios, out, max_cost_usd=0.7, max_in_flight=1), context)
    assert context["ti"].xcoms["summary"]["estimated_cost_usd"] == 0.21, "the rest was told before"
    context["ti"].run_id = "another_run"
    with pytest.raises(ItemsFailed):
        run(make_operator(audios, out, max_cost_usd=0.2, max_in_flight=1), context)
    assert emulator.counters()["accepted"] == 5


def test_a_cap_that_is_exceeded_is_told_also_where_nothing_was_left_out(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, log: Log
) -> None:
    summary = run(make_operator(urls(3, "?emulator=duration:3600"), out, max_cost_usd=0.5), context)
    assert summary["completed"] == 3
    assert "an estimated 0.6300 USD, 0.1300 USD more than the cap" in log.read()


@pytest.mark.parametrize("count", [3, 11])
def test_a_cap_that_is_just_enough(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path, count: int
) -> None:
    """Sums of many small numbers are not exact."""
    for number in range(count):
        sound(tmp_path / "calls" / f"{number}.wav", seconds=60, sample=number)
    cap = round(count * 0.0035, 4)
    assert sum([0.0035] * 11) > 0.0385
    assert run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=cap), context)["completed"] == count


def test_what_an_item_is_known_to_cost_must_be_left(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    known = [str(sound(tmp_path / f"{number}.wav", seconds=60, sample=number)) for number in range(3)]
    audios = [*urls(1, "?emulator=duration:3600"), *known]
    arguments: dict[str, Any] = {"max_cost_usd": 0.214, "max_in_flight": 1, "on_partial_failure": "succeed"}
    summary = run(make_operator(audios, out, **arguments), context)
    assert (summary["completed"], summary["errors"]) == (2, {"CostCap": 2})
    assert emulator.counters()["billed_usd"] == summary["estimated_cost_usd"] == 0.2135


def test_a_job_that_took_the_place_of_another_counts_as_well(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    """A recording changes between two tries, and is transcribed twice in one run."""
    audio = sound(tmp_path / "calls" / "0.wav", seconds=60)
    run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=1), context)
    sound(audio, seconds=60, sample=7)
    sound(tmp_path / "calls" / "1.wav", seconds=60, sample=8)
    summary = run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=1), context)
    assert summary["estimated_cost_usd"] == emulator.counters()["billed_usd"] == 0.0105
    sound(tmp_path / "calls" / "2.wav", seconds=60, sample=9)
    with pytest.raises(AirflowFailException, match=r"this run has spent an estimated 0\.0105 USD"):
        run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=0.012), context)


def test_a_job_that_was_submitted_again_because_it_was_gone_counts_as_well(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    out: Path,
    counted: Counter[str],
) -> None:
    sound(tmp_path / "calls" / "0.wav", seconds=60)
    arguments: dict[str, Any] = {"max_cost_usd": 1, "on_missing": "resubmit", "deferrable": True}
    with pytest.raises(TaskDeferred):
        make_operator(f"{tmp_path}/calls", out, **arguments).execute(context)
    (only,) = emulator.transcripts()
    AssemblyAIHook().send(transcripts.delete(only["id"]))
    summary = run(make_operator(f"{tmp_path}/calls", out, **arguments), context)
    assert emulator.counters()["accepted"] == 2
    assert summary["estimated_cost_usd"] == emulator.counters()["billed_usd"] == 0.007
    assert counted[METRIC] == pytest.approx(0.007)


def test_jobs_that_are_gone_are_submitted_again_only_within_the_cap(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    out: Path,
    counted: Counter[str],
) -> None:
    for number in range(5):
        sound(tmp_path / "calls" / f"{number}.wav", seconds=60, sample=number)
    arguments: dict[str, Any] = {"on_missing": "resubmit", "deferrable": True}
    with pytest.raises(TaskDeferred):
        make_operator(f"{tmp_path}/calls", out, max_cost_usd=0.0175, **arguments).execute(context)
    for one in emulator.transcripts():
        AssemblyAIHook().send(transcripts.delete(one["id"]))
    with pytest.raises(ItemsFailed):
        run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=0.0245, **arguments), context)
    assert emulator.counters()["accepted"] == 7
    summary = context["ti"].xcoms["summary"]
    assert (summary["completed"], summary["errors"]) == (2, {"CostCap": 3})
    assert summary["estimated_cost_usd"] == emulator.counters()["billed_usd"] == 0.0245
    assert counted[METRIC] == pytest.approx(0.0245)
    summary = run(make_operator(f"{tmp_path}/calls", out, max_cost_usd=0.035, **arguments), context)
    assert summary["completed"] == 5
    assert summary["estimated_cost_usd"] == emulator.counters()["billed_usd"] == 0.035
    assert counted[METRIC] == pytest.approx(0.035)


@pytest.mark.parametrize("batch", [True, False], ids=["batch", "one"])
def test_what_is_gone_of_unknown_length_cost_what_its_successor_does(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, counted: Counter[str], batch: bool
) -> None:
    def task() -> Any:
        arguments: dict[str, Any] = {"on_missing": "resubmit", "deferrable": True}
        if batch:
            return make_operator([HOUR], out, **arguments)
        return transcribe(defer_after=0, output_path=str(out), **arguments)

    for _ in range(2):
        with pytest.raises(TaskDeferred):
            task().execute(context)
        AssemblyAIHook().send(transcripts.delete(emulator.transcripts()[-1]["id"]))
    assert run(task(), context)["estimated_cost_usd"] == 0.63
    assert run(task(), context)["estimated_cost_usd"] == 0.63
    assert emulator.counters()["accepted"] == 3
    assert emulator.counters()["billed_usd"] == 0.63
    assert counted[METRIC] == pytest.approx(0.63)


def test_what_is_in_doubt_is_submitted_only_within_the_cap(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    arguments: dict[str, Any] = {"max_cost_usd": 0.3, "settle_time": 0.01, "max_in_flight": 1}
    audios = urls(3, "?emulator=duration:3600")
    emulator.fault("reset_connection", method="POST", path="/v2/transcript", times=None)
    with pytest.raises(ItemsFailed):
        run(make_operator(audios, out, **arguments), context)
    assert emulator.counters()["accepted"] == 0
    emulator.clear_faults()
    with pytest.raises(ItemsFailed):
        run(make_operator(audios, out, **arguments), context)
    assert context["ti"].xcoms["summary"]["errors"] == {"CostCap": 1}
    assert emulator.counters()["billed_usd"] == 0.42
    summary = run(make_operator(audios, out, **{**arguments, "max_cost_usd": 1}), context)
    assert (summary["completed"], summary["estimated_cost_usd"]) == (3, 0.63)


def test_what_was_spent_is_not_forgotten_when_segments_are_put_together(
    emulator: Emulator,
    context: Any,
    other_context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    audios = [str(sound(tmp_path / f"{number}.wav", seconds=60, sample=number)) for number in range(2)]
    run(make_operator(audios, out, max_cost_usd=0.007), context)
    # Another run does them again, and puts the segments of both together.
    for number, audio in enumerate(audios):
        sound(Path(audio), seconds=60, sample=number + 10)
    other_context["ti"].run_id = "another_run"
    monkeypatch.setattr(Ledger.__init__, "__defaults__", (1,))
    run(make_operator(audios, out), other_context)
    assert list((out / ".assemblyai" / "batch" / "chunks").iterdir())
    third = str(sound(tmp_path / "2.wav", seconds=60, sample=20))
    with pytest.raises(AirflowFailException, match=r"spent an estimated 0\.0070 USD"):
        run(make_operator([*audios, third], out, max_cost_usd=0.007), context)


def test_a_price_that_is_not_known_is_refused_while_a_cap_is_set(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unknown = {"speech_models": ["universal-9", "universal-2"], "new_feature": True}
    with pytest.raises(AirflowFailException, match=r"price of 'universal-9', 'new_feature' .*'prices'"):
        run(make_operator(urls(3), out, config=unknown, max_cost_usd=5), context)
    assert emulator.counters()["accepted"] == 0

    audios: list[Any] = [*urls(2), {"audio": "https://example.com/x.wav", "config": {"new_feature": True}}]
    arguments: dict[str, Any] = {"max_cost_usd": 5, "on_partial_failure": "succeed"}
    summary = run(make_operator(audios, out, **arguments), context)
    assert (summary["completed"], summary["errors"]) == (2, {"PriceUnknown": 1})
    assert emulator.counters()["accepted"] == 2

    with_prices(monkeypatch, emulator, {"new_feature": 0.03})
    summary = run(make_operator(audios, out, **arguments), context)
    assert summary["completed"] == 3
    assert summary["estimated_cost_usd"] == pytest.approx(2 * 0.00175 + 0.002)


def test_a_ledger_of_an_older_version_has_no_cost(
    emulator: Emulator, context: Any, other_context: Any, run: Callable[..., Any], out: Path
) -> None:

    run(make_operator(urls(3, "?emulator=duration:3600"), out), context)
    for segment in (out / ".assemblyai" / "batch" / "segments").iterdir():
        lines = [json.loads(line) for line in segment.read_text().splitlines()]
        for line in lines:
            for name in ("speech_model_used", "estimated_cost_usd"):
                line.get("result", {}).pop(name, None)
            line.pop("checksum", None)
        entries = [json.dumps(line).encode() for line in lines if "key" in line or "run_started" in line]
        segment.write_bytes(sealed_lines(entries))
    # Of this run each hour counts at what its request costs.
    with pytest.raises(ItemsFailed, match=r"an estimated 0\.6300 USD"):
        run(make_operator(urls(4, "?emulator=duration:3600"), out, max_cost_usd=0.5), context)
    assert context["ti"].xcoms["summary"]["estimated_cost_usd"] is None
    assert emulator.counters()["accepted"] == 3


# --- a batch that waits in the triggerer -------------------------------------------------------------------


def test_the_event_of_a_batch_holds_counts_and_no_ids(
    emulator: Emulator, context: Any, out: Path, log: Log
) -> None:
    from tests.integration.conftest import fired

    operator = make_operator(urls(30, "?emulator=processing:0.1"), out, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    event = fired(*deferred.value.trigger.serialize())
    assert event["counts"] == {"done": 30, "in_flight": 0}
    assert set(event) == {"version", "counts", "detail", "state"}
    ids = [one["id"] for one in emulator.transcripts()]
    assert not any(one in json.dumps(event) for one in ids)
    before = len(emulator.requests)
    summary = operator.execute_complete(context, event)
    assert summary["completed"] == 30
    listed = [request for request in emulator.requests[before:] if request["path"] == "/v2/transcript"]
    assert 1 <= len(listed) <= 4, "they are found by the list"


@pytest.mark.parametrize("counts", [None, {"timeout": 1}, {"unreachable": 2}])
def test_an_event_that_says_that_waiting_was_given_up(
    emulator: Emulator, context: Any, out: Path, counts: Any
) -> None:
    operator = make_operator(urls(2, "?emulator=processing:3600"), out, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context)
    state = deferred.value.trigger.serialize()[1]["state"]
    event = {
        "version": 1,
        "state": state,
        "detail": "It broke.",
        **({} if counts is None else {"counts": counts}),
    }
    problem = {"timeout": "not finished in time", "unreachable": "It broke", None: "where to go on"}
    with pytest.raises(Exception, match=problem[next(iter(counts or {}), None)]):
        operator.execute_complete(context, event)


def test_a_deferred_batch_tells_its_progress(emulator: Emulator, context: Any, out: Path, log: Log) -> None:
    audios = [*urls(3), "https://example.com/slow.wav?emulator=processing:3600"]
    with pytest.raises(TaskDeferred) as deferred:
        make_operator(audios, out, deferrable=True).execute(context)
    trigger = deferred.value.trigger
    assert isinstance(trigger, TranscriptBatchTrigger)
    trigger.max_remaining, trigger.progress_interval = 0, 0.05

    async def until_told() -> None:
        waiting = asyncio.ensure_future(trigger.wait(0.0))
        while "3 of 4 transcripts have ended, 1 are in flight." not in log.read():
            await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()

    asyncio.run(asyncio.wait_for(until_told(), 60))

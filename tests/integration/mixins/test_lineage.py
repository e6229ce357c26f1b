# SPDX-License-Identifier: Apache-2.0
"""What OpenLineage's own extractor makes of every operator: before its work, after it, and when it has failed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath, TaskDeferred
from airflow.providers.openlineage.extractors.base import DefaultExtractor
from airflow.providers.openlineage.utils.utils import OpenLineageRedactor, TaskInfoComplete
from jsonschema import Draft202012Validator
from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.decorators.llm_gateway import _LLMGatewayDecoratedOperator
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcribe_short import TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from tests.integration.conftest import SPOKEN, fired, through_database
from tests.support import inventory
from tests.support.emulator_api import wav

SCHEMA = Path(__file__).parents[3] / "docs/openlineage/1-0-0/AssemblyAITaskRunFacet.json"
#: Words that stand for text of a recording, of a prompt and of an answer.
TEXTS = (SPOKEN, "quick brown", "my question", "my answer")
SIGNATURE = "b6a1f0-signature"
TRANSCRIPT = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"

Json = dict[str, Any]


def event(operator: Any, state: RunState) -> Json:
    """What Airflow's OpenLineage provider would send of an operator."""
    extractor = DefaultExtractor(operator)
    extract: dict[RunState, Callable[[], Any]] = {
        RunState.START: extractor.extract,
        RunState.COMPLETE: partial(extractor.extract_on_complete, None),
        RunState.FAIL: partial(extractor.extract_on_failure, None),
    }
    lineage = extract[state]()
    assert lineage is not None
    made = RunEvent(
        eventType=state,
        eventTime="2026-01-01T00:00:00Z",
        run=Run("0193d5c4-2b1a-7000-8000-000000000000", lineage.run_facets),
        job=Job("here", "a_task"),
        inputs=lineage.inputs,
        outputs=lineage.outputs,
        producer="https://example.com",
    )
    text = Serde.to_json(OpenLineageRedactor().redact(made, max_depth=20))
    for hidden in (*TEXTS, SIGNATURE, ".assemblyai/", "***"):
        assert hidden not in text
    sent: Json = json.loads(text)
    if (facet := facets(sent).get("assemblyai_task")) is not None:
        schema = json.loads(SCHEMA.read_text())["$defs"]["AssemblyAITaskRunFacet"]["allOf"][1]
        assert list(Draft202012Validator(schema).iter_errors(facet)) == []
        assert set(facet) - {"_producer", "_schemaURL"} <= set(schema["properties"])
    return sent


def facets(sent: Json) -> Json:
    found: Json = sent["run"]["facets"]
    return found


def facts(sent: Json) -> Json:
    """The fields of the facet."""
    found = facets(sent).get("assemblyai_task", {})
    return {name: value for name, value in found.items() if not name.startswith("_")}


def names(datasets: Sequence[Json]) -> list[str]:
    return [f"{one['namespace']} {one['name']}" for one in datasets]


def job(sent: Json) -> tuple[str, str] | None:
    """The id and the host of the work at the service."""
    found = facets(sent).get("externalQuery")
    return found and (found["externalQueryId"], found["source"])


def to_the_end(make: Callable[[], Any], context: Any, started: Callable[[Any], None] = lambda _: None) -> Any:
    """Run a task as Airflow does, where each step has an operator of its own; return the last one and its result."""
    operator = make()
    started(operator)
    step = partial(operator.execute, context)
    while True:
        try:
            return operator, step()
        except TaskDeferred as deferred:
            given = {
                **through_database(deferred.kwargs or {}),
                "event": fired(*deferred.trigger.serialize()),
            }
            operator = make()
            started(operator)
            step = partial(operator.resume_execution, deferred.method_name, given, context)


@dataclass
class Case:
    """
    A task, and what its event must hold.

    :param make: makes the operator.
    :param inputs: names of datasets.
    :param outputs: makes those of what it returned, and of what it pushed.
    :param job: makes id and host of the work.
    :param fields: of the facet, beside those that it has under the names of its XComs.
    """

    make: Callable[..., Any]
    inputs: list[str]
    outputs: Callable[[Any, Json], list[str]] = lambda result, _: local_names(result["outputs"].values())
    job: Callable[[Any, Json], tuple[str, str] | None] = lambda result, _: (
        result["transcript_id"],
        "api.assemblyai.com",
    )
    fields: Json = field(default_factory=dict)


def local_names(uris: Any) -> list[str]:
    return [f"file {uri.removeprefix('file://')}" for uri in uris]


def _made_and_written(result: Any, _: Json) -> list[str]:
    return [*local_names(result["outputs"].values()), f"assemblyai transcript/{result['transcript_id']}"]


def _nothing(*_: Any) -> list[str]:
    return []


def _answer(result: Any, _: Json) -> list[str]:
    return local_names([result["output"]])


def _request(_: Any, pushed: Json) -> tuple[str, str]:
    return pushed["request_id"], "llm-gateway.assemblyai.com"


URL = f"https://me:{SIGNATURE}@example.com/calls/a.wav?X-Amz-Signature={SIGNATURE}"
CASES: dict[Any, Callable[[Any], Case]] = {
    TranscribeOperator: lambda here: Case(
        partial(
            TranscribeOperator,
            audio=f"{URL}&emulator=processing:0.2",
            output_path=str(here.out),
            defer_after=0,
            **here.waiting,
        ),
        ["https://example.com calls/a.wav"],
        _made_and_written,
        fields={"minutes": 0.5},
    ),
    TranscribeShortOperator: lambda here: Case(
        partial(TranscribeShortOperator, audio=str(here.clip), output_path=str(here.out)),
        [f"file {here.clip}"],
        job=lambda _, pushed: (pushed["session_id"], "sync.us.assemblyai.com"),
        fields={"minutes": 0.05},
    ),
    TranscribeBatchOperator: lambda here: Case(
        partial(
            TranscribeBatchOperator,
            audios=[f"{URL}&emulator=processing:0.2", str(here.clip)],
            output_path=str(here.out),
            **here.waiting,
        ),
        ["https://example.com calls/a.wav", f"file {here.clip}"],
        lambda result, _: local_names([*here.files(), result["manifest"]]),
        lambda *_: None,
        fields={
            "model": "universal-3-5-pro",
            "audio_duration": 33,
            "minutes": 0.55,
            "submitted_minutes": 0.55,
            "failed_minutes": 0,
            "reused_minutes": 0,
        },
    ),
    StreamingCaptureOperator: lambda here: Case(
        partial(StreamingCaptureOperator, source=str(here.tape), duration=2, output_path=str(here.out)),
        [f"file {here.tape}"],
        job=lambda result, _: (result["session_ids"][0], "streaming.us.assemblyai.com"),
        fields={"sessions": 1, "gaps": 0, "model": "universal-3-6-pro", "minutes": here.measured},
    ),
    TranscriptSensor: lambda here: Case(
        partial(
            TranscriptSensor,
            transcript_id=here.summary,
            poke_interval=0.05,
            deferrable=here.waiting["deferrable"],
        ),
        here.transcript,
        _nothing,
        fields={"minutes": 0},
    ),
    TranscriptExportOperator: lambda here: Case(
        partial(TranscriptExportOperator, transcript_id=here.summary, output_path=str(here.out)),
        here.transcript,
        fields={"minutes": 0},
    ),
    TranscriptDeleteOperator: lambda here: Case(
        partial(TranscriptDeleteOperator, transcript_id=here.summary),
        here.transcript,
        _nothing,
        lambda result, _: (result, "api.assemblyai.com"),
        fields={"region": "us", "estimated_cost_usd": 0},
    ),
    LLMGatewayOperator: lambda here: Case(
        partial(
            LLMGatewayOperator,
            transcript_id=here.summary,
            prompt="my question",
            model="gpt-5",
            output_path=str(here.out),
        ),
        here.transcript,
        _answer,
        _request,
        fields={"region": "us", "total_tokens": here.measured},
    ),
    _LLMGatewayDecoratedOperator: lambda here: Case(
        partial(
            _LLMGatewayDecoratedOperator,
            python_callable=lambda: "my question",
            model="gpt-5",
            output_path=str(here.out),
        ),
        [],
        _answer,
        _request,
        fields={"region": "us", "total_tokens": here.measured},
    ),
    UnderstandOperator: lambda here: Case(
        partial(
            UnderstandOperator,
            transcript_id=here.summary,
            features={"summarization": {"summary_type": "bullets"}},
            output_path=str(here.out),
        ),
        here.transcript,
        _answer,
        _request,
    ),
}


@dataclass
class Here:
    """What the tasks work with."""

    folder: Path
    summary: Json
    waiting: Json
    #: Equal to every number.
    measured: Any = field(default_factory=lambda: pytest.approx(0, abs=1e9))

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def clip(self) -> Path:
        return self.folder / "order.wav"

    @property
    def tape(self) -> Path:
        return self.folder / "show.pcm"

    @property
    def transcript(self) -> list[str]:
        return [f"assemblyai transcript/{self.summary['transcript_id']}"]

    def files(self) -> list[str]:
        """The files of a batch, in the order of its manifest."""
        lines = (self.out / "manifest.jsonl").read_text().splitlines()
        return [uri for line in lines for uri in json.loads(line)["outputs"].values()]


@pytest.fixture
def here(listening: Emulator, tmp_path: Path, tape: Path, deferrable: bool) -> Here:
    listening.set_transcript(SPOKEN)
    listening.set_llm_answers("my answer")
    (tmp_path / "order.wav").write_bytes(wav(3, 16_000))
    done = AssemblyAIHook().send(transcripts.submit("https://example.com/b.wav", {"speaker_labels": True}))
    AssemblyAIHook().send(transcripts.get(done["id"]))
    told = {"transcript_id": done["id"], "region": "us", "estimated_cost_usd": 0.1, "text": SPOKEN}
    return Here(tmp_path, told, {"poll_interval": 0.05, "settle_time": 0.05, "deferrable": deferrable})


def test_no_operator_is_forgotten() -> None:
    assert inventory.missing(CASES, inventory.operators()) == []


@pytest.mark.parametrize("operator", CASES, ids=lambda one: one.__name__)
def test_what_a_task_tells(operator: type, here: Here, context: Any) -> None:
    case = CASES[operator](here)
    started: list[Json] = []
    done, result = to_the_end(
        partial(case.make, task_id="a_task"),
        context,
        lambda one: started.append(event(one, RunState.START)),
    )
    completed = event(done, RunState.COMPLETE)
    assert completed == {**event(done, RunState.FAIL), "eventType": "COMPLETE"}
    for sent in (*started, completed):
        assert sorted(names(sent["inputs"])) == sorted(case.inputs)
    assert all(sent["outputs"] == [] for sent in started)
    pushed = context["ti"].xcoms
    assert sorted(names(completed["outputs"])) == sorted(case.outputs(result, pushed))
    assert job(completed) == case.job(result, pushed)
    # All that the XComs hold under these names, and nothing else.
    told = {**pushed, **pushed.get("usage", {}), **(result if isinstance(result, Mapping) else {})}
    told.setdefault("model", told.get("speech_model_used"))
    fields = json.loads(SCHEMA.read_text())["$defs"]["AssemblyAITaskRunFacet"]["allOf"][1]["properties"]
    same = {name: told[name] for name in fields if told.get(name) is not None and name not in case.fields}
    wanted = {name: value for name, value in {**same, **case.fields}.items() if value not in ({}, None)}
    assert facts(completed) == wanted


def test_each_call_makes_the_same(here: Here, context: Any) -> None:
    done, _ = to_the_end(partial(CASES[TranscribeOperator](here).make, task_id="a_task"), context)
    first, second = (done.get_openlineage_facets_on_complete(None) for _ in range(2))
    kinds = [type(made.run_facets["assemblyai_task"]) for made in (first, second)]
    assert kinds[0] is kinds[1]
    assert first == second


# --- failures --------------------------------------------------------------------------------------------


def test_a_job_that_failed(emulator: Emulator, context: Any, deferrable: bool, tmp_path: Path) -> None:
    operators: list[Any] = []

    def make() -> Any:
        operators.append(
            TranscribeOperator(
                task_id="a_task",
                audio="https://example.com/a.wav?emulator=error:download,processing:0.2",
                output_path=str(tmp_path),
                deferrable=deferrable,
                defer_after=0,
                poll_interval=0.05,
                settle_time=0.05,
            )
        )
        return operators[-1]

    with pytest.raises(AirflowFailException):
        to_the_end(make, context)
    failed = event(operators[-1], RunState.FAIL)
    assert len(operators) == 1 + deferrable
    (row,) = emulator.transcripts()
    assert job(failed) == (row["id"], "api.assemblyai.com")
    assert facts(failed) == {"region": "us"}
    assert (names(failed["inputs"]), failed["outputs"]) == (["https://example.com a.wav"], [])


@pytest.mark.parametrize("outcome", ["timeout", "unreachable", "refused", "odd"])
def test_a_job_whose_end_is_not_known(outcome: str, context: Any) -> None:
    operator = TranscribeOperator(task_id="a_task", audio="https://example.com/a.wav")
    ended: Any = {"transcript_id": TRANSCRIPT, "outcome": outcome}
    with pytest.raises((AirflowFailException, AssemblyAIError)):
        operator.execute_complete(context, ended, region="eu")
    assert job(event(operator, RunState.FAIL)) == (TRANSCRIPT, "api.eu.assemblyai.com")


def test_an_answer_that_does_not_fit_is_paid_for(emulator: Emulator, context: Any) -> None:
    emulator.set_llm_answers("my answer")
    operator = LLMGatewayOperator(
        task_id="a_task", prompt="my question", model="gpt-5", response_format={"type": "object"}
    )
    with pytest.raises(AirflowFailException):
        operator.execute(context)
    failed, usage = event(operator, RunState.FAIL), context["ti"].xcoms["usage"]
    assert facts(failed)["estimated_cost_usd"] == usage["estimated_cost_usd"] > 0
    assert facts(failed)["output_tokens"] == usage["output_tokens"]
    assert job(failed) == (context["ti"].xcoms["request_id"], "llm-gateway.assemblyai.com")


def test_a_batch_with_failures(emulator: Emulator, context: Any, out: Path) -> None:
    audios = ["https://example.com/a.wav", "https://example.com/b.wav?emulator=error:download", "nowhere"]
    operator = TranscribeBatchOperator(
        task_id="a_task", audios=audios, output_path=str(out), poll_interval=0.05, settle_time=0.05
    )
    with pytest.raises(AirflowFailException):
        operator.execute(context)
    failed = event(operator, RunState.FAIL)
    assert (facts(failed)["completed"], facts(failed)["failed"]) == (1, 2)
    assert facts(failed)["errors"] == {"TranscriptFailed.source": 1, "InvalidInput": 1}
    wanted = [f"file {Path.cwd()}/nowhere", "https://example.com a.wav", "https://example.com b.wav"]
    assert sorted(names(failed["inputs"])) == wanted


# --- batches ---------------------------------------------------------------------------------------------


class Asked(Sequence[str]):
    """What mapped tasks returned: each item is asked for when it is read."""

    def __init__(self, items: list[str]) -> None:
        self.items = items
        self.asked = 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        self.asked += 1
        return self.items[index]


def batch(audios: Any, out: Path, **kwargs: Any) -> TranscribeBatchOperator:
    return TranscribeBatchOperator(
        task_id="a_task",
        audios=audios,
        output_path=str(out),
        **{"poll_interval": 0.05, "settle_time": 0.05, "formats": ["txt"], **kwargs},
    )


def statistics(datasets: Sequence[Json]) -> dict[str, int | None]:
    """Name -> number of files."""
    found = {}
    for one in datasets:
        counted = {**one.get("inputFacets", {}), **one.get("outputFacets", {})}
        found[one["name"]] = next((facet["fileCount"] for facet in counted.values()), None)
    return found


def test_a_list_of_thousands_is_named_by_its_folders(out: Path) -> None:
    audios = [f"s3://calls/2026/{number % 40}/{number}.wav" for number in range(8_000)]
    sent = event(batch(audios, out), RunState.START)
    assert statistics(sent["inputs"]) == {f"2026/{number}": 200 for number in range(40)}
    sent = event(batch(json.dumps([{"audio": one} for one in audios]), out), RunState.START)
    assert statistics(sent["inputs"]) == {f"2026/{number}": 200 for number in range(40)}
    sent = event(batch(2 * audios, out), RunState.START)
    assert statistics(sent["inputs"]) == {f"2026/{number}": None for number in range(40)}, "some are not seen"


@pytest.mark.parametrize(
    ("audios", "named"),
    [
        ("s3://my_conn@calls/2026/", "s3://calls 2026"),
        ("s3://calls", "s3://calls /"),
        ("s3://calls/2026/*/call-?.wav", "s3://calls 2026"),
        ("s3://calls/*.wav", "s3://calls /"),
        ("/*.wav", "file /"),
        ("*.wav", f"file {Path.cwd()}"),
        (ObjectStoragePath("gs://calls/2026"), "gs://calls 2026"),
        (Path("/data/calls"), "file /data/calls"),
        ("https://example.com/a.wav?key=b6a1f0-signature", "https://example.com a.wav"),
    ],
)
def test_a_folder_is_named_as_it_was_given(audios: Any, named: str, out: Path) -> None:
    assert names(event(batch(audios, out), RunState.START)["inputs"]) == [named]


def test_a_folder_with_many(emulator: Emulator, context: Any, tmp_path: Path, out: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    for number in range(60):
        (folder / f"{number}.wav").write_bytes(wav(1, 8_000))
    done, result = to_the_end(partial(batch, f"{folder}/*.wav", out, deferrable=True), context)
    sent = event(done, RunState.COMPLETE)
    assert statistics(sent["inputs"]) == {str(folder): 60}
    assert statistics(sent["outputs"]) == {str(out): 60, f"{out}/manifest.jsonl": None}
    assert facts(sent)["items"] == result["items"] == 60


def test_what_mapped_tasks_returned_is_not_asked_for_once_more(
    emulator: Emulator, context: Any, out: Path, deferrable: bool
) -> None:
    given = Asked([f"https://example.com/{number}.wav?emulator=processing:0.2" for number in range(60)])
    operator = batch(given, out, deferrable=deferrable)
    assert event(operator, RunState.START)["inputs"] == []
    assert given.asked == 0
    done, _ = to_the_end(lambda: operator, context)
    asked = given.asked
    assert statistics(event(done, RunState.COMPLETE)["inputs"]) == {"/": 60}
    assert given.asked == asked


# --- what a task is given, and what is its own ------------------------------------------------------------


class Rude:
    """Raises whatever it is asked."""

    def __str__(self) -> str:
        raise RuntimeError(SPOKEN)

    __repr__ = __fspath__ = __str__


@pytest.mark.parametrize(
    "odd",
    ["{{ ti.xcom_pull('find') }}", "", "  ", "https://[bad", "s3://", None, 5, b"/a.wav", Rude(), ["/a.wav"]],
    ids=lambda odd: type(odd).__name__,
)
def test_what_is_no_address_is_not_named(odd: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for operator in (TranscribeOperator, TranscribeShortOperator):
        task: Any = operator(task_id="a_task", audio="https://example.com/a.wav")
        task.audio = odd
        assert event(task, RunState.START)["inputs"] == []
    task = batch([odd, {"audio": odd}, "https://example.com/a.wav"], out)
    assert names(event(task, RunState.START)["inputs"]) == ["https://example.com a.wav"]
    sensor = TranscriptSensor(task_id="a_task", transcript_id=TRANSCRIPT)
    sensor.transcript_id = {"transcript_id": odd}
    assert event(sensor, RunState.START)["inputs"] == []
    assert SPOKEN not in str(capsys.readouterr())


class Broken(TranscribeOperator):
    """Fails wherever lineage asks it."""

    def _read_addresses(self) -> Iterator[object]:
        raise RuntimeError(SPOKEN)

    def _given_transcript(self) -> str | None:
        raise RuntimeError(SPOKEN)


def test_a_failure_of_lineage_is_none_of_the_task(
    emulator: Emulator, context: Any, run: Any, caplog: pytest.LogCaptureFixture, capsys: Any
) -> None:
    task = Broken(task_id="a_task", audio="https://example.com/a.wav", poll_interval=0.05)
    assert run(task, context)["status"] == "completed"
    assert task.get_openlineage_facets_on_start() is None
    assert task.get_openlineage_facets_on_complete(None) is None
    assert task.get_openlineage_facets_on_failure(None) is None
    logged = f"{caplog.text}{capsys.readouterr()}"
    assert "reports no lineage: RuntimeError" in logged
    assert SPOKEN not in logged


def test_no_text_is_kept_in_the_operator(emulator: Emulator, context: Any, run: Any) -> None:
    """With ``include_full_task_info`` Airflow sends all that an operator holds."""
    task = TranscribeOperator(task_id="a_task", audio="https://example.com/a.wav", poll_interval=0.05)
    assert run(task, context)["text"] == SPOKEN
    assert SPOKEN not in Serde.to_json({"task": TaskInfoComplete(task)})

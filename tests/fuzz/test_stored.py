# SPDX-License-Identifier: Apache-2.0
"""
Every parser of what was stored, against whatever may lie there: a value, or a typed error, in bounded work.

The samples are what an older commit stored, ``tests/golden``.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    ObjectStoragePath,
    TaskDeferred,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.batch.items import Items
from airflow_provider_assemblyai.batch.ledger import Ledger
from airflow_provider_assemblyai.batch.manifest import ManifestTotals, manifest_lines
from airflow_provider_assemblyai.batch.plan import LedgerIndex, Plan, item_status
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.capture.output.merge import transcript
from airflow_provider_assemblyai.capture.output.segments import SegmentStore
from airflow_provider_assemblyai.capture.state import CAPTURE, CaptureStateStore
from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.events.watermark import Watermark
from airflow_provider_assemblyai.jobs.results import restore_summary
from airflow_provider_assemblyai.jobs.state import JOB
from airflow_provider_assemblyai.jobs.state_store import open_state_store
from airflow_provider_assemblyai.llm_gateway.call_state import CALL, CallStateStore
from airflow_provider_assemblyai.polling.policy import require_completed_event
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import open_record, seal
from tests.fuzz.answers import (
    ATTACKS,
    JSON,
    THOROUGH,
    as_bytes,
    bounded,
    contents,
    damaged,
    each,
    lines,
    parsers,
)
from tests.golden.moments import HERE, names, restore
from tests.integration.conftest import StateStore, TaskInstance, import_string
from tests.support import inventory

MOMENTS = {name: json.loads((HERE / name / "moment.json").read_text()) for name in names()}
URL = "https://example.com/calls/monday.mp3"


def stored(prefix: str) -> list[Any]:
    """The values of the state stores of some moments."""
    return [value for name, moment in MOMENTS.items() if prefix in name for value in moment["store"].values()]


def kept_lines(pattern: str) -> list[Any]:
    """The lines of files below the moments."""
    return [json.loads(line) for path in sorted(HERE.glob(pattern)) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    with pytest.MonkeyPatch.context() as patch, serve() as emulator:
        patch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", emulator.connection_json)
        patch.setattr("airflow_provider_assemblyai.polling.policy.FIRST_POLL_DELAY", 0.001)
        yield emulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def typed(work: Callable[[], Any], size: int = 0) -> Any:
    """Return a value, or the typed error, ours or what Airflow has for it; anything else is raised."""
    try:
        return bounded(size, work)
    except (AssemblyAIError, AirflowFailException, AirflowSkipException, AirflowSensorTimeout) as error:
        return error


def context_with(value: Any, key: str) -> dict[str, Any]:
    store = StateStore()
    store.values = {key: json.dumps(value)}
    return {"ti": TaskInstance(), "task_state_store": store}


# --- states ----------------------------------------------------------------------------------------------


@parsers
@each("content", ATTACKS)
@given(content=contents(stored("/transcribe")))
def test_a_state_in_a_file(folder: Path, content: bytes) -> None:
    outputs = OutputFiles.at(str(folder / "states"), "monday")
    context: Any = {"ti": TaskInstance()}
    store = open_state_store(context, JOB, outputs)
    store.write({"version": 1, "serial": 1, "phase": "intent", "fingerprint": "f"})
    (path,) = (folder / "states" / ".assemblyai").glob("monday.*.json")
    try:
        path.write_bytes(content)
        found = typed(store.read, len(content))
        assert isinstance(found, dict | AssemblyAIError)
        typed(
            lambda: store.write({"version": 1, "serial": 9, "phase": "intent", "fingerprint": "f"}),
            len(content),
        )
    finally:
        path.unlink(missing_ok=True)


@parsers
@given(record=damaged([seal(value) for value in stored("")]))
def test_a_change_of_a_record_is_noticed(record: Any) -> None:
    kinds = {"assemblyai": JOB, "assemblyai_capture": CAPTURE}
    sealed = [(key, seal(value)) for moment in MOMENTS.values() for key, value in moment["store"].items()]
    for key, kind in kinds.items():
        read = typed(lambda kind=kind: open_record(record, kind, "The state"))  # type: ignore[misc]
        same = any(where == key and one == record for where, one in sealed)
        without = isinstance(record, dict) and record.get("version") == 1 and record.get("checksum") is None
        assert isinstance(read, AssemblyAIError) or same or without or record in [one for _, one in sealed]


@parsers
@given(value=damaged(stored("/transcribe")) | JSON)
def test_a_task_goes_on_from_any_state(service: Emulator, value: Any) -> None:
    service.reset()
    operator = import_string("airflow_provider_assemblyai.operators.transcribe.TranscribeOperator")(
        task_id="a_task", audio=URL, poll_interval=0.01, settle_time=0.001, on_missing="fail"
    )
    context = context_with(value, "assemblyai")
    readable = not isinstance(typed(open_state_store(context, JOB).read), AssemblyAIError)  # type: ignore[arg-type]
    result = typed(partial(operator.execute, context), 100_000)
    assert readable or isinstance(result, Exception), "what cannot be read is never a reason to submit"
    assert readable or service.counters()["accepted"] == 0


@parsers
@given(value=damaged(stored("/llm") + stored("/understand")) | JSON)
def test_the_state_of_a_call(value: Any) -> None:
    context: Any = context_with(value, "assemblyai")
    state = CallStateStore(open_state_store(context, CALL), "assemblyai_default", "us", {}, 2)
    found = typed(state.find_answer)
    assert found is None or isinstance(found, dict | AssemblyAIError)
    typed(state.require_no_lost_answer)
    typed(state.record_intent)


@parsers
@given(value=damaged(stored("/capture")) | JSON, now=st.floats(0, 2e9))
def test_the_state_of_a_capture(value: Any, now: float) -> None:
    context: Any = context_with(value, "assemblyai_capture")
    state = CaptureStateStore(open_state_store(context, CAPTURE, key="assemblyai_capture"))
    if not isinstance(typed(state.read), Exception):
        typed(lambda: state.can_continue(now))
        typed(lambda: state.begin_try(10.0))


@parsers
@given(
    value=damaged([moment["asset_state"] for moment in MOMENTS.values() if "asset_state" in moment]) | JSON
)
def test_a_watermark(value: Any) -> None:
    values = list(value.values()) if isinstance(value, dict) else [value]
    for one in values:
        found = typed(lambda one=one: Watermark.from_json(one))  # type: ignore[misc]
        if isinstance(found, Watermark):
            assert found.to_json()["settled_until"] < math.inf
            json.dumps(found.to_json(), allow_nan=False)


@parsers
@each("content", ATTACKS)
@given(
    content=contents([json.loads(path.read_text()) for path in HERE.glob("v1/transcribe-stored/out/*.json")])
)
def test_a_result_that_is_read_back(folder: Path, content: bytes) -> None:
    path = folder / "monday.json"
    path.write_bytes(content)
    summary: Any = {**MOMENTS["v1/transcribe-deleted"]["store"]["assemblyai"]["summary"]}
    summary["outputs"] = {"json": f"file://{path}"}
    typed(lambda: restore_summary(summary, push_text=True), len(content))


# --- a batch ---------------------------------------------------------------------------------------------

SEGMENTS = kept_lines("v1/batch-*/out/.assemblyai/batch/[sc][eh]*s/*.jsonl")
PLANS = kept_lines("v1/batch-*/out/.assemblyai/batch/plans/*/items*.jsonl")
LEASES = [json.loads(path.read_text()) for path in HERE.glob("v1/batch-*/out/.assemblyai/batch/lease/*.json")]
TOKEN = "00000001-3f3bc0511c12"


def batch_folder(folder: Path, name: str) -> ObjectFolder:
    return ObjectFolder(ObjectStoragePath(str(folder / name)))


@parsers
@each("content", ATTACKS, part="segments")
@given(content=lines(SEGMENTS), part=st.sampled_from(["segments", "chunks"]))
def test_a_ledger(folder: Path, content: bytes, part: str) -> None:
    place = batch_folder(folder, "ledger")
    lease = Lease(place.subfolder("lease"), "me", lambda _: False)
    ledger = Ledger(place, lease, lambda _: None, compact_at=1)
    (target := folder / "ledger" / part).mkdir(parents=True, exist_ok=True)
    file = target / f"{TOKEN}-00000001.jsonl"
    file.write_bytes(content)
    try:
        entries = typed(lambda: list(ledger.entries()), len(content))
        typed(lambda: ledger.read_checkpoint(file.name), len(content))
        if isinstance(entries, list):
            typed(lambda: use_entries(entries), len(content))
        lease.claim()
        typed(ledger.compact, len(content))
    finally:
        for left in (folder / "ledger").rglob("*.json*"):
            left.unlink()


def use_entries(entries: list[Any]) -> None:
    """What is done with entries: the index, and the rows of the manifest."""
    index = LedgerIndex()
    for entry in entries:
        index.add(entry, item_status(entry, ("json", "txt"), "transient", lambda _: True))
    wanted = {bytes.fromhex(entry["key"]): 1 for entry in entries}
    totals = ManifestTotals("ours")
    list(manifest_lines(lambda: entries, wanted, totals))
    json.dumps(totals.summary("us", "file:///manifest.jsonl"), allow_nan=False)


@parsers
@each("claim", ATTACKS, heartbeat=b"{}")
@given(claim=contents(LEASES), heartbeat=contents(LEASES))
def test_a_lease(folder: Path, claim: bytes, heartbeat: bytes) -> None:
    (target := folder / "lease").mkdir(exist_ok=True)
    (target / f"{TOKEN}.claim.json").write_bytes(claim)
    (target / f"{TOKEN}.heartbeat.json").write_bytes(heartbeat)
    lease = Lease(batch_folder(folder, "lease"), "me", lambda _: False)
    holder = typed(lease.current_holder, len(claim) + len(heartbeat))
    if holder is not None and not isinstance(holder, Exception):
        assert 0 < holder.ttl < math.inf
        assert isinstance(holder.owner, str | None)


@parsers
@each("items", ATTACKS, keys=b"")
@given(items=lines(PLANS), keys=lines(["0" * 32, "zz", 5]))
def test_a_plan(folder: Path, items: bytes, keys: bytes) -> None:
    (target := folder / "plan").mkdir(exist_ok=True)
    (target / "items-0-begun-000000-2.jsonl").write_bytes(items)
    (target / "keys-000000-2.jsonl").write_bytes(keys)
    plan = Plan(batch_folder(folder, "plan"))
    audios = [f"https://example.com/{name}.wav" for name in "abc"]
    wanted = Items(audios, {}, "assemblyai_default", ObjectStoragePath(str(folder / "out")))
    typed(plan.keys, len(keys))
    entries = typed(lambda: list(plan.items()), len(items))
    for entry in entries if isinstance(entries, list) else ():
        typed(lambda entry=entry: wanted.restore(entry))  # type: ignore[misc]


# --- a capture -------------------------------------------------------------------------------------------

CAPTURED = [json.loads(path.read_text()) for path in HERE.glob("v1/capture-*/out/.assemblyai/*/*.json")]


@parsers
@each("content", ATTACKS)
@each("content", [as_bytes({**CAPTURED[0], "recorded": [odd]}) for odd in ([], [1], [1, 2, 3], [None, 2])])
@given(content=contents(CAPTURED))
def test_a_segment_of_a_capture(folder: Path, content: bytes) -> None:
    outputs = OutputFiles.at(str(folder / "captured"), "show")
    segments = SegmentStore(outputs, ("capture",), CaptureConfig(duration=8.0))
    segments.folder.write("001-00000.json", [content])
    data = typed(lambda: segments.read(1), len(content))
    if isinstance(data, Exception):
        return

    def use() -> None:
        turns = data.turns()
        json.dumps(transcript(data, turns, 1), allow_nan=False)
        data.gaps(8000, 1)
        assert math.isfinite(data.billed_seconds + data.captured_ms + data.end_ms)

    typed(use, len(content))


# --- events ----------------------------------------------------------------------------------------------

DEFERRED = {
    moment["operator"]: (name, moment) for name, moment in MOMENTS.items() if moment["deferral"] is not None
}
EVENTS = [moment["deferral"]["event"] for _, moment in DEFERRED.values()]


@parsers
@given(damaged(EVENTS) | JSON)
def test_the_event_of_a_wait(event: Any) -> None:
    typed(lambda: require_completed_event(event, "us"))


def is_in_future(event: Any) -> bool:
    """Whether an event names a moment to call at that has not come."""
    moment = event.get("call_at") if isinstance(event, dict) else None
    return isinstance(moment, int | float) and moment > 1_000_000


@pytest.mark.parametrize(
    "operator",
    [one for one in inventory.operators() if inventory.can_defer(one)],
    ids=lambda one: one.__name__,
)
def test_an_event_for_an_operator(service: Emulator, folder: Path, operator: Any) -> None:
    name, _ = DEFERRED[inventory.path_of(operator)]
    kept = restore(name, folder, service.url)

    @settings(parsers, max_examples=2_000 if THOROUGH else 50)
    @given(damaged([kept.deferral["event"]]) | JSON, damaged([kept.deferral["kwargs"]]))
    def check(event: Any, kwargs: Any) -> None:
        assume(not is_in_future(event))  # such a task waits a while, as it should
        assume(isinstance(kwargs, dict) and kwargs.keys() <= kept.deferral["kwargs"].keys())
        # Each example has a place of its own: what an earlier one left would change what a later one does.
        moment = restore(name, Path(tempfile.mkdtemp(dir=folder)), service.url)
        arguments = dict(moment.content["arguments"])
        if "python_callable" in arguments:
            arguments["python_callable"] = import_string(arguments["python_callable"])
        if hasattr(operator(task_id="a_task", **arguments), "max_wait"):
            arguments["max_wait"] = 0.01
        task = operator(task_id="a_task", **arguments)
        store = StateStore()
        store.values = {key: json.dumps(value) for key, value in moment.store.items()}
        context: Any = {"ti": TaskInstance(), "task_state_store": store}
        with suppress(TaskDeferred):
            given = {"event": event, **kwargs}
            typed(lambda: task.resume_execution("execute_complete", given, context), 100_000)

    check()

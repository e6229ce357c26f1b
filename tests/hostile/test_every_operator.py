# SPDX-License-Identifier: Apache-2.0
"""
Every operator, sensor and trigger times every attack, at each of the requests that it makes.

Whatever the service does: our side ends the connection, the task ends with a result or a typed error, no secret is
where it does not belong, nothing is paid for twice, and another task of the account that waits in the same triggerer
ends as if nothing had happened. `make test` runs a sample, always the same; `make fuzz` runs all of it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, nullcontext, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from airflow_provider_assemblyai.triggers.transcript import TranscriptTrigger
from tests.hostile import operator_table as table
from tests.hostile.conftest import ended
from tests.hostile.operator_table import LARGE, ROWS, SECRET, Case, attack_named
from tests.hostile.server import OTHER_ID, HostileServer, hostile
from tests.hostile.service import IDS, OTHERS_ID, PAID, TEXT, Service
from tests.hostile.stream_server import TOKEN
from tests.integration.conftest import StateStore, TaskInstance, import_string, through_database
from tests.support import inventory
from tests.support.captures import marked

KEY = "KEY-0123456789abcdef"
#: Seconds after which it is not slow, but endless.
ENDLESS: Final = 400.0
#: Seconds that another task waits for its transcript where the service has the whole account wait.
PATIENCE: Final = 5.0
#: Tasks at the same time: nearly all of them wait for a time to be over. Few of them are on their way to the attack,
#: because their time has begun.
TOGETHER = 100
ON_THE_WAY = 3
#: Arguments that are a task's time. Where it was over before the attack, because the machine is busy, there is more.
TIMES: Final = ("timeout", "execution_timeout")
LONGER: Final = (1, 4, 30)

#: What results begin with, whose words are those of the service.
BEGINNINGS: Final = {
    ".txt": (TEXT, "An answer."),
    ".srt": ("1\n00:00:00,000 -->",),
    ".vtt": ("WEBVTT",),
}

_large = threading.Lock()
_on_the_way = threading.BoundedSemaphore(ON_THE_WAY)
_numbers = count()


@pytest.fixture(autouse=True)
def looks_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look comes at once: there is no scheduler here to be careful with."""
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.FIRST_POLL_DELAY", 0.01)
    monkeypatch.setattr("airflow_provider_assemblyai.polling.policy.DEFERRAL_DELAY", 0.01)


class LogLines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def logged(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """Returns all that our side has logged: tasks print it."""
    handler, root = LogLines(), logging.getLogger()
    level = root.level
    for name in (
        "httpcore",
        "urllib3",
        "asyncio",
        "fsspec",
    ):  # at DEBUG level they log what comes, which Airflow masks
        logging.getLogger(name).setLevel(logging.INFO)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lambda: [*handler.lines, *"".join(capfd.readouterr()).splitlines()]
    root.setLevel(level)
    root.removeHandler(handler)


def secrets_in(text: str) -> list[str]:
    return [secret for secret in (KEY, TOKEN, SECRET) if secret in text]


class Run:
    """
    One case.

    :param case: what happens.
    :param folder: of this case alone.
    :param elsewhere: a server that there is no reason to call.
    :param longer: how many times as much time as usual the task has.
    :ivar faults: what is wrong, in sentences.
    """

    def __init__(self, case: Case, folder: Path, elsewhere: HostileServer, longer: int = 1) -> None:
        self.case, self.folder, self._longer = case, folder, longer
        self._arrived = threading.Event()
        self.connection = f"hostile_{next(_numbers)}"
        url = f"{elsewhere.url}/{self.connection}"
        self.service = Service(case.target, attack_named(case.attack), url, self._arrived.set)
        self.context: Any = {"ti": TaskInstance(), "task_state_store": StateStore()}
        self.waited_in: set[type] = set()
        self.faults: list[str] = []

    def __call__(self) -> list[str]:
        with self.service, _large if self.case.attack in LARGE else nullcontext():
            connection = {"conn_type": "assemblyai", "password": KEY, "host": self.service.api.url}
            os.environ[f"AIRFLOW_CONN_{self.connection.upper()}"] = json.dumps(connection)
            try:
                self._start()
                self._check(self.service.wait_until_left(ENDLESS), "a connection was left open")
            except AssertionError as error:
                self.faults.append(str(error))
        self._check_what_is_left()
        expected = {self.case.row.trigger} if self.case.row.trigger else {TranscriptTrigger}
        self._check(self.waited_in <= expected, f"it waited in {self.waited_in}")
        return [f"{self.case}: {fault}" for fault in self.faults]

    def _check(self, holds: object, fault: str) -> None:
        if not holds:
            self.faults.append(fault)

    def _start(self) -> None:
        def run() -> None:
            try:
                self._run()
            finally:
                self._arrived.set()

        def wait() -> None:
            with _on_the_way:
                thread.start()
                self._arrived.wait()
            thread.join()

        thread = threading.Thread(target=run, daemon=True)
        ended(wait, ENDLESS)

    def _run(self) -> None:
        if self.case.operator is TranscriptEventTrigger:
            return asyncio.run(self._feed())
        (self.folder / "show.pcm").write_bytes(marked(2))
        places = {"folder": str(self.folder), "files": self.service.files.url}
        arguments = {name: _filled(value, places) for name, value in self.case.row.arguments.items()}
        if inventory.can_defer(self.case.operator):
            arguments["deferrable"] = self.case.deferrable
        arguments |= {name: arguments[name] * self._longer for name in TIMES if name in arguments}
        try:
            task = self.case.operator(task_id="a_task", assemblyai_conn_id=self.connection, **arguments)
            self._check_result(self._to_the_end(task))
        except (AssemblyAIError, AirflowException) as error:
            self._check_error(error)
        except Exception as error:
            shown = "".join(traceback.format_exception(error))
            self.faults.append(f"an error that is not ours: {shown}")

    def _to_the_end(self, task: Any) -> Any:
        step = partial(task.execute, self.context)
        while True:
            try:
                return step()
            except TaskDeferred as deferred:
                event = asyncio.run(self._wait(*deferred.trigger.serialize()))
                given = {**through_database(deferred.kwargs or {}), "event": through_database(event)}
                step = partial(task.resume_execution, deferred.method_name, given, self.context)

    async def _wait(self, path: str, kwargs: Any) -> Any:
        """Wait in a trigger, and in that of another task that has the same account."""
        trigger = import_string(path)(**through_database(kwargs))
        self.waited_in.add(type(trigger))
        end = time.time() + (PATIENCE if self.case.is_refusal else ENDLESS)
        other = TranscriptTrigger(OTHERS_ID, self.connection, "us", 0.05, end)
        event, others = await asyncio.gather(_first_event(trigger), _first_event(other))
        # A refused poll is refused to the account: the service says when all may go on.
        fine = ("done", "timeout") if self.case.is_refusal else ("done",)
        self._check(others["outcome"] in fine, f"the other task waited in vain: {others}")
        self._check(
            not secrets_in(str(event)) and TEXT not in str(event), f"an event tells too much: {event}"
        )
        return event

    async def _feed(self) -> None:
        """Wait for the next event of the account, beside a task; the service calms down when that has ended."""
        feed = TranscriptEventTrigger(self.connection, since="2020-01-01", poll_interval=0.05).run()
        async with aclosing(feed) as events:
            first = asyncio.ensure_future(anext(events))
            await self._wait(
                *TranscriptTrigger(IDS[0], self.connection, "us", 0.05, time.time() + 1).serialize()
            )
            self.service.calm.set()
            if self.case.is_refusal:  # the service may have it wait for minutes
                first.cancel()
            with suppress(asyncio.CancelledError):
                payload = (await first).payload
                self._check(payload["transcript_id"] in (*IDS, OTHERS_ID), f"a wrong event: {payload}")

    def _check_result(self, result: Any) -> None:
        self._check(not secrets_in(str(result)), "a secret is in the result")
        if self.case.operator is TranscribeBatchOperator:
            lines = [
                json.loads(line) for line in (self.folder / "out" / "manifest.jsonl").read_text().splitlines()
            ]
            self._check(len(lines) == self.case.row.units, f"the manifest has {len(lines)} lines")
            self._check(all(line["status"] for line in lines), f"an item has no end: {lines}")
        elif isinstance(result, dict) and "transcript_id" in result:
            self._check(result["transcript_id"] in (*IDS, None, OTHER_ID), f"a wrong result: {result}")

    def _check_error(self, error: BaseException) -> None:
        shown = "".join(traceback.format_exception(error))
        ours = isinstance(error, AssemblyAIError | AirflowSensorTimeout)
        caused = isinstance(error, AirflowFailException | AirflowSkipException) and isinstance(
            error.__context__, AssemblyAIError
        )
        self._check(ours or caused, f"an error that is not ours: {shown}")
        self._check(len(str(error)) < 3000, "a sentence that is too long to read")
        self._check(not secrets_in(shown) and TEXT not in shown, f"an error tells too much: {shown}")

    def _check_what_is_left(self) -> None:
        """Look for secrets, and count what was paid for."""
        case, service = self.case, self.service
        for path in self.folder.rglob("*"):
            if path.is_file():
                content = path.read_text(errors="replace")
                found = secrets_in(content)
                self._check(not found, f"{found} in the file {path.relative_to(self.folder)}")
                beginning = BEGINNINGS.get(path.suffix) if path.parent.name == "out" else None
                if beginning and content.strip() and case.operator is not StreamingCaptureOperator:
                    self._check(content.startswith(beginning), f"{path.name} holds {content[:200]}")
        kept = f"{self.context['ti'].xcoms} {self.context['task_state_store'].values}"
        self._check(not secrets_in(kept), "a secret is in Airflow's database")
        heads = b"".join(service.files.heads) + b"".join(
            head for head in service.api.heads if head.startswith(b"GET /v3/ws")
        )
        self._check(KEY.encode() not in heads, "the key went where it does not belong")
        if case.is_refusal and case.target.routes & PAID:
            return  # it says that nothing is billed, and is asked again in time
        self._check(
            service.paid() <= case.row.units, f"{service.paid()} paid calls instead of {case.row.units}"
        )


async def _first_event(trigger: Any) -> Any:
    async with aclosing(trigger.run()) as events:
        return (await anext(events)).payload


def _filled(value: Any, places: dict[str, str]) -> Any:
    if isinstance(value, str):
        return value.format(**places) if "{" in value else value
    return [_filled(one, places) for one in value] if isinstance(value, list) else value


def run_all(cases: Sequence[Case], folder: Path, logged: Callable[[], list[str]]) -> None:
    """Run cases, many at the same time; nothing may be wrong with any of them."""
    with hostile(lambda exchange: exchange.json({})) as elsewhere, ThreadPoolExecutor(TOGETHER) as pool:
        numbers = count()
        runs: list[Run] = []

        def run_one(case: Case) -> list[str]:
            for longer in LONGER:
                (own := folder / str(next(numbers))).mkdir()
                runs.append(run := Run(case, own, elsewhere, longer))
                faults = run()
                if faults or run.service.attacked:
                    return faults
            return [f"{case}: nothing was attacked of {run.service.seen}"]

        faults = [fault for found in pool.map(run_one, cases) for fault in found]
        called = {head.split(b"/")[1].decode() for head in elsewhere.heads}
        assert KEY.encode() not in b"".join(elsewhere.heads)
    for run in runs:  # not earlier: other threads go through the environment
        del os.environ[f"AIRFLOW_CONN_{run.connection.upper()}"]
    # Files are fetched from wherever they are, without the key.
    strict = [run for run in runs if not run.case.target.routes & {"source.wav", "redacted.mp3"}]
    faults += [f"{run.case}: another host was called" for run in strict if run.connection in called]
    lines = logged()
    assert any("airflow.task.operators" in line for line in lines), "nothing was logged"
    faults += [f"a log tells too much: {line}" for line in lines if secrets_in(line) or TEXT in line]
    assert not faults, f"{len(faults)} of {len(cases)}:\n" + "\n".join(faults)


def test_no_operator_and_no_trigger_is_forgotten() -> None:
    assert inventory.missing(ROWS, inventory.operators()) == []
    triggers = {row.trigger for row in ROWS.values() if row.trigger is not None}
    assert inventory.missing([*triggers, *ROWS], inventory.triggers()) == []


def test_the_sample_has_everything() -> None:
    chosen, everything = table.sample(), list(table.product())
    assert {case.attack for case in chosen} == {case.attack for case in everything}
    of_modes = {(case.operator, case.deferrable, case.place) for case in chosen}
    assert of_modes == set(table.places())


#: All of it takes long; the rest is a sample.
PARTS: Final = 8 if os.environ.get("FUZZ_PROFILE") == "thorough" else 1


@pytest.mark.parametrize("part", range(PARTS))
def test_every_operator_under_attack(part: int, tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    cases = table.sample() if PARTS == 1 else list(table.product())[part::PARTS]
    run_all(cases, tmp_path, logged)

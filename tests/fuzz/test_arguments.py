# SPDX-License-Identifier: Apache-2.0
"""
Every operator, sensor and trigger with all its arguments drawn together, up to its first request.

What may happen: a request is made, the task waits, or a sentence of ours refuses an argument and nothing was sent.
Never an exception that another library raised over an argument of ours. The classes are found, not listed.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowSkipException,
    BaseSensorOperator,
    TaskDeferred,
)
from airflow.triggers.base import BaseTrigger
from hypothesis import find, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    InvalidInput,
    ItemsFailed,
    SourceFailed,
    TransportError,
)
from airflow_provider_assemblyai.api.validation import check_nesting
from airflow_provider_assemblyai.jobs.audio import TRANSFERS
from airflow_provider_assemblyai.jobs.results import FORMATS
from tests.fuzz.strategies import (
    BOOLEANS,
    ODD,
    SECONDS,
    NoStrategy,
    arguments,
    arguments_of,
    good,
)
from tests.integration.conftest import StateStore, TaskInstance
from tests.support import emulator_api, inventory
from tests.support.odd_values import PRIVATE, odd_values
from tests.support.refusing_server import RefusingServer

OPERATORS = inventory.operators()
TRIGGERS = inventory.triggers()
CONN = "fuzz"
CONNECTIONS = (f"AIRFLOW_CONN_{CONN.upper()}", "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT")
TRANSCRIPT = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
PATHS = ("audio", "audios", "source", "output_path")
#: Arguments that Airflow checks itself, in its own words.
AIRFLOWS = {"retries", "mode", "python_callable", "op_args", "op_kwargs"}
#: Seconds that a trigger gets for its first sign; one that waits for something else has none.
PATIENCE = 0.2


def strings(*texts: str | None) -> st.SearchStrategy[Any]:
    return st.sampled_from(texts)


def counts(least: int, most: int) -> st.SearchStrategy[Any]:
    return st.none() | st.integers(least, most)


def least(cls: type, table: Mapping[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """Return the arguments that a class must have, each with the simplest of its good values."""
    return {
        name: simplest(good(cls, name, table))
        for name, required in arguments_to_draw(cls).items()
        if required
    }


def simplest(strategy: st.SearchStrategy[Any]) -> Any:
    return find(strategy, lambda _: True, settings=settings(max_examples=1, database=None))


def made_to_fit(cls: type, kwargs: Mapping[str, Any], odd: set[str]) -> dict[str, Any]:
    """Return arguments without what excludes each other, so that more than that is tried."""
    fitting = dict(kwargs)
    names = arguments_to_draw(cls)
    if {"prompt", "messages"} <= set(names) and not odd & {"prompt", "messages"}:
        if "prompt" in fitting:
            fitting.pop("messages", None)
        elif fitting.get("messages") is None:
            fitting["prompt"] = "Say hello."
    if "python_callable" in names:
        for name in {"prompt", "messages"} - odd:
            fitting.pop(name, None)
    # What is odd is not asked whether it is true: it may be anything.
    if not odd & {"tools", "tool_choice"} and not fitting.get("tools"):
        fitting.pop("tool_choice", None)
    if fitting.get("soft_fail") is True is fitting.get("never_fail"):
        del fitting["never_fail"]  # Airflow says so
    if {"output_path", "formats"} <= set(names) and not odd & {"output_path", "wait_for_completion"}:
        fitting.pop("wait_for_completion", None)
    return fitting


def says_hello() -> str:
    return "Say hello."


def silence() -> Iterator[bytes]:
    yield bytes(3200)


def good_values(folder: Path, address: str) -> dict[str, st.SearchStrategy[Any]]:
    """
    Return good values by the argument's name, or by class and name.

    :param folder: files are below it.
    :param address: of the service, which has a recording as well.
    """
    (wav := folder / "a.wav").write_bytes(b"RIFF" + bytes(400))
    (pcm := folder / "a.pcm").write_bytes(bytes(6400))
    (clip := folder / "clip.wav").write_bytes(emulator_api.wav(1))
    # Each example has a place of its own: what an earlier one left would change what a later one does.
    new_folder = st.builds(lambda: tempfile.mkdtemp(dir=folder))
    transcript = st.sampled_from([TRANSCRIPT, {"transcript_id": TRANSCRIPT, "region": "us"}])
    config = st.sampled_from([{}, {"speaker_labels": True, "tomorrow": [1]}, '{"language_code": "en"}'])
    dicts = st.sampled_from([None, [], [{"model": "gpt-5", "type": "function"}]])
    moments = st.sampled_from([0, 1.5, 1_700_000_000.5])
    odd_path = ODD.filter(may_be_a_path)
    return {
        **dict.fromkeys((f"odd {name}" for name in PATHS), odd_path),
        **dict.fromkeys((f"odd {name}" for name in AIRFLOWS), ODD.filter(can_be_written_out)),
        # of all
        "assemblyai_conn_id": st.just(CONN),
        "retries": st.integers(0, 3),
        "retry_delay": SECONDS,
        "region": strings(None, "us", "EU ", ""),
        "transcript_id": transcript,
        "GatewayCallOperator.transcript_id": st.none() | transcript,
        "UnderstandOperator.transcript_id": transcript,
        "TranscriptTrigger.transcript_id": st.just(TRANSCRIPT),
        **dict.fromkeys(("deferrable", "delete_after", "wait_for_completion", "keep_audio"), BOOLEANS),
        **dict.fromkeys(("push_text", "push_answer", "push_result", "push_utterances"), BOOLEANS),
        **dict.fromkeys(
            ("TranscribeOperator.push_text", "TranscribeShortOperator.push_text"), st.none() | BOOLEANS
        ),
        **dict.fromkeys(("poll_interval", "poke_interval", "timeout", "max_wait", "presign_expiry"), SECONDS),
        **dict.fromkeys(("settle_time", "drain_timeout", "start_within", "duration"), SECONDS),
        # of files
        "audio": strings(str(wav), f"file://{wav}", f"{address}/a.wav"),
        "TranscribeShortOperator.audio": strings(str(clip), f"{address}/a.wav"),
        "TranscribeShortOperator.config": st.sampled_from([{}, {"timestamps": True}, '{"prompt": "Foxes."}']),
        "TranscribeShortOperator.formats": st.none() | st.lists(strings("json", "srt"), min_size=1),
        "source_id": strings(None, "call-1", "one call"),
        "audios": st.lists(strings(str(wav), "nothing.wav"), max_size=3) | st.just(str(folder / "*.wav")),
        "source": st.sampled_from([str(pcm), pcm, silence]),
        "output_path": new_folder,
        "PaidCallOperator.output_path": st.none() | new_folder,
        "config": config,
        "fallback_config": config,
        "formats": st.lists(strings(*FORMATS), min_size=1, max_size=3) | st.just('["json"]'),
        "StreamingCaptureOperator.formats": st.none() | st.lists(strings("json", "srt"), min_size=1),
        "name": strings(None, "a name", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
        "chars_per_caption": counts(1, 100),
        # of jobs
        "transfer": strings(*TRANSFERS),
        "on_same_url": strings("adopt", "resubmit", "fail"),
        "on_missing": strings("fail", "resubmit"),
        "max_resubmits": st.integers(0, 3),
        "reuse": BOOLEANS | st.just("output"),
        "on_kill": strings("keep", "delete"),
        "defer_after": SECONDS | st.sampled_from([0, "auto"]),
        # of a batch
        "max_in_flight": st.integers(1, 600),
        "upload_workers": st.integers(1, 8),
        "max_audio_minutes": st.none() | st.floats(0.01, 1000),
        "max_cost_usd": st.none() | st.floats(0.0001, 1000),
        "on_partial_failure": strings("fail", "skip", "succeed"),
        "retry_failed": strings("transient", "all"),
        "on_locked": strings("wait", "fail"),
        # of a capture
        "channels": st.sampled_from([1, 2]),
        "segment": st.sampled_from([5, 60]),
        "stop_when_silent": st.none() | SECONDS,
        "inactivity_timeout": st.sampled_from([5, 30.5]),
        "catch_up_rate": st.sampled_from([1, 1.25, 4.0]),
        "max_reconnects": st.integers(0, 3),
        "on_partial": strings("succeed", "fail"),
        "fallback": strings(None, "transcribe"),
        # of a model
        "prompt": strings("Sum it up.", "Say hello."),
        "messages": st.none() | st.just([{"role": "user", "content": "Say hello."}]),
        "system_prompt": strings(None, "Be brief."),
        "model": strings(None, "gpt-5"),
        "LLMGatewayTrigger.model": st.just("gpt-5"),
        "response_format": st.none() | st.just({"type": "object", "properties": {"a": {"type": "string"}}}),
        "repair": st.sampled_from([0, 1]),
        "max_tokens": st.integers(1, 5000),
        "temperature": st.none() | st.floats(0, 2),
        "tools": dicts,
        "tool_choice": strings(None, "auto", "none"),
        "fallbacks": dicts,
        "LLMGatewayOperator.fallback_config": st.none() | st.just({"depth": 1}),
        "extra_body": st.none() | st.just({"reasoning": {"effort": "low"}}),
        "on_truncation": strings("fail", "return"),
        "wait_for_turn": BOOLEANS | st.just("auto"),
        "on_lost_answer": strings("retry", "fail"),
        "python_callable": st.just(says_hello),
        "op_args": st.just([]),
        "op_kwargs": st.just({}),
        "features": st.sampled_from([{"translation": {}}, '{"summarization": {"effort": "low"}}']),
        "on_failed_feature": strings("fail", "warn"),
        # of a sensor
        **dict.fromkeys(("soft_fail", "never_fail", "silent_fail", "exponential_backoff"), BOOLEANS),
        "mode": strings("poke", "reschedule"),
        # of triggers
        **dict.fromkeys(("deadline", "entered_at"), moments),
        "not_before": st.none() | moments,
        **dict.fromkeys(("startup_seconds", "audio_duration"), st.none() | st.floats(0, 100)),
        "refusal": st.none() | st.just({"at": 1_700_000_000.5, "retry_after": None}),
        "version": st.just(1),
        "delete_on_kill": BOOLEANS,
        "transcript_ids": st.lists(st.just(TRANSCRIPT), max_size=2),
        "max_remaining": st.integers(0, 3),
        "state": st.just({"version": 1}),
        "delay": st.sampled_from([0, 0.01]),
        "status": strings("completed", "error", "any"),
        "audio_url_prefix": strings(None, "", "https://example.com/"),
        "since": strings(None, "2026-11-23", "2026-11-23T08:00:00+02:00"),
    }


def may_be_a_path(value: object, levels: int = 3) -> bool:
    """
    Whether an odd value is given to an argument that names files: it could be a listing of this machine.

    :param levels: of lists in lists that are looked into; a few lists can be very many values.
    """
    if isinstance(value, list | tuple):
        return len(value) < 100 and (not levels or all(may_be_a_path(one, levels - 1) for one in value))
    return not isinstance(value, str) or not value.lstrip().startswith("/")


def can_be_written_out(value: object) -> bool:
    """Whether an odd value is given to an argument that Airflow repeats in its message, however long that is."""
    try:
        check_nesting("value", value)
    except InvalidInput:
        return False
    return True


def arguments_to_draw(cls: type) -> dict[str, bool]:
    return arguments_of(cls, also=(BaseSensorOperator,))


@pytest.fixture(autouse=True)
def connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CONNECTIONS:
        monkeypatch.setenv(name, "")


def connect_anew(service: RefusingServer) -> None:
    """Have the next task or trigger be another client of the service."""
    service.new_client()
    os.environ.update(dict.fromkeys(CONNECTIONS, service.connection_json))


def test_nothing_is_missing(folder: Path) -> None:
    """What is found is what there is, and for each argument it is known what a good value is."""
    names = {cls.__name__ for cls in OPERATORS}
    assert {"TranscribeOperator", "TranscriptSensor", "_LLMGatewayDecoratedOperator"} <= names
    assert len(OPERATORS) >= 9
    assert len(TRIGGERS) >= 4
    missing, table = [], good_values(folder, "http://127.0.0.1:1")
    for cls in [*OPERATORS, *TRIGGERS]:
        assert arguments_to_draw(cls)
        for name in arguments_to_draw(cls):
            try:
                good(cls, name, table)
            except NoStrategy as error:
                missing.append(str(error))
    assert missing == []


def caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    """Whether an error is of a kind, or what Airflow knows of such a one."""
    while error is not None and not isinstance(error, kind):
        error = error.__context__
    return error is not None


def check_sentence(error: BaseException) -> None:
    assert PRIVATE not in str(error)
    assert len(str(error)) < 2000


def run_task(cls: Any, kwargs: Mapping[str, Any], odd: set[str], service: RefusingServer) -> str:
    """Make a task and run it; return how far it came. Whatever may not happen is raised."""
    connect_anew(service)
    try:
        task = cls(task_id="fuzz", **kwargs)
    except InvalidInput as error:
        check_sentence(error)
        return "refused"
    except Exception:
        if odd & AIRFLOWS:
            return "refused by Airflow"
        raise
    context: Any = {"ti": TaskInstance(), "task_state_store": StateStore()}
    context["ti"].get_first_reschedule_date = lambda _: None
    try:
        task.render_template_fields(context)
    except Exception as error:
        # Airflow calls what can be called, with arguments of its own.
        if isinstance(error, TemplateError) or any(callable(kwargs[name]) for name in odd):
            return "refused by Airflow"
        raise
    try:
        task.execute(context)
    except TaskDeferred:
        return "deferred"
    except (AssemblyAIError, AirflowException) as error:
        check_sentence(error)
        if caused_by(error, ItemsFailed) or (
            isinstance(error, AirflowSkipException) and not error.__context__
        ):
            return "done"  # each bad item is a line of the manifest
        if caused_by(error, SourceFailed) and callable(kwargs["source"]):
            return "done"  # it was called, which is what it is for
        if caused_by(error, ApiError) or caused_by(error, TransportError):
            return "asked"  # also for a recording, or given up too early to be counted
        asked = service.asked()
        if bool(asked) is caused_by(error, InvalidInput):
            raise AssertionError(f"{asked} requests were made, and then: {error}") from error
        return "asked" if asked else "refused"
    except Exception:
        if odd & AIRFLOWS:
            return "refused by Airflow"
        raise
    return "done"


@pytest.mark.parametrize("cls", OPERATORS, ids=lambda cls: cls.__name__)
def test_operators_and_sensors(cls: Any, service: RefusingServer, folder: Path) -> None:
    seen: set[str] = set()

    @given(drawn=arguments(cls, arguments_to_draw(cls), good_values(folder, service.address)))
    def run(drawn: tuple[dict[str, Any], set[str]]) -> None:
        kwargs, odd = drawn
        seen.add(run_task(cls, made_to_fit(cls, kwargs, odd), odd, service))

    run()
    # Otherwise nothing was tried.
    assert "refused" in seen
    assert seen & {"asked", "deferred"}


@pytest.mark.parametrize(
    ("cls", "number", "name"),
    [(cls, *argument) for cls in (*OPERATORS, *TRIGGERS) for argument in enumerate(arguments_to_draw(cls))],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_an_argument_alone(cls: Any, number: int, name: str, service: RefusingServer, folder: Path) -> None:
    """What is drawn meets a kind of value in a kind of argument only by chance; here all do, or a share of them."""
    table = good_values(folder, service.address)
    values = len(odd_values())
    step = 1 if settings().max_examples > values else 8 * values // settings().max_examples
    for index in range(number % step, values, step):
        odd = odd_values()[index]
        if name in AIRFLOWS and not can_be_written_out(odd):
            continue
        if name in PATHS and not may_be_a_path(odd):
            continue
        if name == "python_callable" and not callable(odd):
            continue  # Python itself says so, and shows all of it
        kwargs = made_to_fit(cls, {**least(cls, table), name: odd}, {name})
        try:
            if issubclass(cls, BaseTrigger):
                run_trigger(cls, kwargs, service)
            else:
                run_task(cls, kwargs, {name}, service)
        except Exception as error:
            error.add_note(f"{name} was number {index} of tests/support/odd_values.py")
            raise


async def first_sign(trigger: Any, service: RefusingServer) -> str:
    """Run a trigger until it asks the service, or fires; return which."""
    async with aclosing(trigger.run()) as events:
        task = asyncio.ensure_future(anext(events))
        end = asyncio.get_running_loop().time() + PATIENCE
        while not task.done() and not service.asked() and asyncio.get_running_loop().time() < end:
            await asyncio.wait([task], timeout=0.005)
        if task.done():
            task.result()
            return "fired"
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return "asked" if service.asked() else "waits"


def run_trigger(cls: Any, kwargs: Mapping[str, Any], service: RefusingServer) -> str:
    connect_anew(service)
    try:
        trigger = cls(**kwargs)
    except InvalidInput as error:
        check_sentence(error)
        return "refused"
    # What a row holds is what comes back.
    assert cls(**trigger.serialize()[1]).serialize() == trigger.serialize()
    try:
        return asyncio.run(first_sign(trigger, service))
    except InvalidInput as error:
        check_sentence(error)
        assert not service.asked()
        return "refused"


@pytest.mark.parametrize("cls", TRIGGERS, ids=lambda cls: cls.__name__)
def test_triggers(cls: Any, service: RefusingServer, folder: Path) -> None:
    seen: set[str] = set()

    @given(drawn=arguments(cls, arguments_to_draw(cls), good_values(folder, service.address)))
    def run(drawn: tuple[dict[str, Any], set[str]]) -> None:
        seen.add(run_trigger(cls, drawn[0], service))

    run()
    assert "refused" in seen
    assert seen & {"asked", "fired"}

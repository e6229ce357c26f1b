# SPDX-License-Identifier: Apache-2.0
"""Troubleshooting: each message that users see has its place on a page, and each place is about something that exists."""

from __future__ import annotations

import inspect
import json
import re
import unicodedata
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from airflow.sdk.execution_time import task_runner

from airflow_provider_assemblyai.api import llm_gateway, transcript_status, transcripts, understanding
from airflow_provider_assemblyai.api.call import Call, Reply
from airflow_provider_assemblyai.api.close_codes import CLOSE_CODES, close_reason
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    BatchLocked,
    CaptureIncomplete,
    GatewayTimeout,
    ItemsFailed,
    ResponseLost,
    StreamingError,
    TranscriptFailed,
)
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion, Usage
from airflow_provider_assemblyai.api.regions import hosts_for
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.api.transcript_status import failure_of, hint_for, require_completed
from airflow_provider_assemblyai.capture.audio.sources import open_source
from airflow_provider_assemblyai.client import reasons
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.client.task_control import TaskControl
from airflow_provider_assemblyai.jobs.state import JOB
from airflow_provider_assemblyai.jobs.state_store import open_task_state
from airflow_provider_assemblyai.llm_gateway.structured_output import OutputSchema, parse_answer
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.polling.policy import check_event, require_completed_event
from airflow_provider_assemblyai.storage.atomic_files import store_errors
from airflow_provider_assemblyai.storage.records import open_lines, parse_object
from tests.docs import package_texts
from tests.docs.bad_input_cases import TRANSCRIPT
from tests.docs.troubleshooting_pages import INTERNAL, as_pattern, first_cells, page, quotes, sections
from tests.integration.conftest import StateStore, TaskInstance
from tests.support import emulator_api

# --- errors ----------------------------------------------------------------------------------------------


def kinds_of(cls: type) -> set[str]:
    """Return the kinds of an error: each value of an argument that is a choice or a Boolean."""
    found = set()
    for name, hint in get_type_hints(vars(cls)["__init__"]).items():
        values = get_args(hint) if get_origin(hint) is Literal else (False, True) if hint is bool else ()
        found |= {f"`{cls.__name__}`, `{name}={value!r}`" for value in values}
    return found


def error_classes() -> dict[str, type]:
    found = {}
    for name, module in package_texts.exception_classes().items():
        path = module.removesuffix(".py").replace("/", ".")
        found[name] = getattr(import_module(f"airflow_provider_assemblyai.{path}"), name)
    return found


def test_every_class_of_error_has_its_heading() -> None:
    text = page("errors")
    parts = sections(text, 2)
    seen = {name: cls for name, cls in error_classes().items() if name not in INTERNAL}
    assert set(INTERNAL) < set(error_classes())
    assert {f"`{name}`" for name in seen} == set(sections(parts["Classes of this package"], 3))
    kinds = {kind for cls in seen.values() if "__init__" in vars(cls) for kind in kinds_of(cls)}
    assert kinds == set(sections(text, 4))
    in_manifest = set(sections(parts["Classes of a manifest"], 3))
    assert in_manifest == {f"`{name}`" for name in package_texts.manifest_classes()}
    others = set(sections(parts["Classes of Airflow and others"], 3))
    assert others == {f"`{name}`" for name in package_texts.foreign_exceptions()}


def test_every_class_of_error_has_cause_retry_cost_and_remedy() -> None:
    for title, body in sections(page("errors"), 3).items():
        for part in ("What happened: ", "Does a retry help: ", "Did it cost money: ", "What to do:\n\n1. "):
            assert f"\n{part}" in body, (title, part)


def ended(**fields: Any) -> Any:
    return {"id": TRANSCRIPT, "status": "error", **fields}


def answer(text: str, reason: str | None = "stop") -> ChatCompletion:
    usage: Any = dict.fromkeys(Usage.__annotations__)
    return ChatCompletion(text, [], reason, usage, "gpt-5", "a-request")


def fail(call: Call[Any], status: int, content: bytes = b"{}") -> Any:
    return call.result(Reply(status, {}, content))


def not_connected(_: Path) -> Any:
    hosts = hosts_for("us", override="http://127.0.0.1:1")
    with Client("a-key", hosts, max_retry_time=0) as client:
        client.send(transcripts.get(TRANSCRIPT))


def changed_source(folder: Path) -> Any:
    (wav := folder / "a.wav").write_bytes(emulator_api.wav(1))
    source = open_source(str(wav), 1, lambda: False)
    wav.write_bytes(b"something else")
    list(source.blocks(0))


def refused_state(_: Path) -> Any:
    (store := StateStore()).refuses = True
    backend = open_task_state({"ti": TaskInstance(), "task_state_store": store}, JOB)  # type: ignore[typeddict-item]
    assert backend is not None
    backend.write({"serial": 1})


def full_disk(_: Path) -> Any:
    with store_errors("output_path", "s3://bucket/a"):
        raise RuntimeError("no answer")


def no_problem(entry: object, where: str) -> None:
    """Every line of the file is what it should be."""


def raise_(error: Exception) -> Any:
    raise error


ENDED = {"version": 1, "transcript_id": TRANSCRIPT, "detail": "HTTP 503."}
GET = transcripts.get(TRANSCRIPT)
SCHEMA = OutputSchema({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
#: Class -> what ends with it, by the product's own code.
RAISED: dict[str, list[Callable[[Path], Any]]] = {
    "InvalidInput": [lambda _: TranscribeOperator(task_id="t", audio="a", deferrable="yes")],
    "StorageError": [full_disk],
    "StateUnknown": [lambda _: parse_object("{", "The record")],
    "TornFile": [lambda _: open_lines(b'{"version": 2', "The file", no_problem)],
    "Superseded": [refused_state],
    "TaskKilled": [lambda _: TaskControl(lambda: "The task is being killed").check()],
    "TransportError": [not_connected],
    "ApiError": [
        lambda _: fail(GET, 400),
        lambda _: fail(llm_gateway.chat({}), 200, b'{"llm_status_code": 500}'),
    ],
    "AuthenticationError": [lambda _: fail(GET, 401)],
    "NotFoundError": [lambda _: fail(GET, 404)],
    "RateLimitError": [
        lambda _: fail(GET, 429),
        lambda _: fail(llm_gateway.chat({}), 200, b'{"llm_status_code": 429}'),
    ],
    "UnexpectedReply": [lambda _: fail(GET, 200, b"<html>"), lambda _: check_event(5)],
    "TranscriptFailed": [lambda _: require_completed(ended(error="Download error"))],
    "TranscriptNotReady": [lambda _: require_completed(ended(status="processing"))],
    "TranscriptDeleted": [lambda _: require_completed(ended(status="completed", is_deleted=True))],
    "TranscriptTimeout": [lambda _: require_completed_event({**ENDED, "outcome": "timeout"}, "us")],
    "ServiceUnreachable": [lambda _: require_completed_event({**ENDED, "outcome": "unreachable"}, "us")],
    "PollRefused": [lambda _: require_completed_event({**ENDED, "outcome": "refused"}, "us")],
    "BatchLocked": [lambda _: raise_(BatchLocked("s3://bucket/out", "another task"))],
    "ItemsFailed": [lambda _: raise_(ItemsFailed(1, 2, {"ApiError": 1}, "manifest.jsonl", retryable=True))],
    "GatewayTimeout": [lambda _: raise_(GatewayTimeout("gpt-5", 3600, "At the end."))],
    "ResponseLost": [lambda _: raise_(ResponseLost("no answer", retryable=True))],
    "ResponseUnusable": [
        lambda _: parse_answer(answer("{", "length"), SCHEMA, 10, allow_truncated=False),
        lambda _: parse_answer(answer("{}"), SCHEMA, 10, allow_truncated=False),
    ],
    "SourceFailed": [changed_source],
    "StreamingError": [
        lambda _: raise_(
            StreamingError(close_reason(4001).sentence + " What was captured is kept: a.", code=4001)
        )
    ],
    "CaptureIncomplete": [
        lambda _: raise_(CaptureIncomplete("The capture is incomplete: text 1.0-2.0 s. What there is: a."))
    ],
}


@pytest.mark.parametrize(
    "name", sorted(set(package_texts.exception_classes()) - set(INTERNAL) - {"AssemblyAIError"})
)
def test_the_message_of_a_class_is_the_one_that_comes(name: str, tmp_path: Path) -> None:
    body = sections(page("errors"), 3)[f"`{name}`"]
    messages = []
    for ends in RAISED[name]:
        with pytest.raises(AssemblyAIError) as caught:
            ends(tmp_path)
        assert type(caught.value) is error_classes()[name]
        messages.append(str(caught.value))
        said = re.search(r"^Does a retry help: (\w+)", body, re.MULTILINE)
        assert said
        assert said[1] in {True: ("yes", "see", "for"), False: ("no", "see", "for")}[caught.value.retryable]
    known = {text for text in package_texts.error_texts()[name] if re.search(r"\w", text)}
    quoted = quotes(body)
    assert quoted
    for quote in quoted:
        assert any(as_pattern(quote).search(text) for text in (*messages, *known)), quote
    for message in messages:
        assert any(as_pattern(quote).search(message) for quote in quoted), message


# --- service codes ---------------------------------------------------------------------------------------


def codes(title: str) -> dict[str, str]:
    """Return the headings below a part of the page of codes, and what they say."""
    return sections(sections(page("service-codes"), 2)[title], 3)


def is_quoted(advice: str, body: str) -> bool:
    """Return whether a part of the product's advice is on the page."""
    return any(len(quote) > 15 and quote in advice for quote in re.findall(r"`([^`]+)`", body))


def test_every_code_has_cause_and_remedy() -> None:
    for title, body in sections(page("service-codes"), 3).items():
        assert "\nCause: " in body, title
        assert "\nWhat to do: " in body, title


def test_every_status_that_the_code_knows_has_its_heading() -> None:
    busy = {str(status) for status in llm_gateway._BUSY}
    named = {str(status) for status, _ in (*clips._BUSY, *clips._FAILED)} | set(map(str, clips._STATUS_HINTS))
    assert set(codes("HTTP statuses")) == {f"HTTP {one}" for one in package_texts.statuses() | busy | named}


def test_every_text_of_a_failed_job_has_its_heading() -> None:
    found = codes("Texts of failed jobs")
    assert failure_of("anything") in found.pop("Any other text")
    seen: set[str] = set()
    for title, body in found.items():
        reason = title.strip('"')
        failure = failure_of(reason)
        assert f"class `{failure}`" in body
        assert is_quoted(str(TranscriptFailed(TRANSCRIPT, reason, failure, hint_for(reason))), body)
        parts = {text for text, _ in transcript_status._FAILURES if reason.lower().startswith(text)}
        parts |= {text for text, _ in transcript_status._HINTS if text in reason.lower()}
        assert parts, title
        seen |= parts
    assert seen == {text for text, _ in (*transcript_status._FAILURES, *transcript_status._HINTS)}


def test_every_code_of_short_clips_has_its_heading() -> None:
    found = codes("Short clips")
    named = {code for _, code in (*clips._BUSY, *clips._FAILED)}
    assert set(found) == {f"`{code}`" for code in named | set(clips._HINTS)}
    for code, advice in clips._HINTS.items():
        assert is_quoted(advice, found[f"`{code}`"]), advice


def refusal(text: str) -> Reply:
    return Reply(400, {}, json.dumps({"message": text}).encode())


def test_every_refusal_of_the_gateway_has_its_heading() -> None:
    found = codes("LLM Gateway")
    fields = {title.strip("`") for title in found if title.startswith("`")}
    tree = inspect.getsource(llm_gateway._raise_for_model_status)
    assert fields == set(re.findall(r'"(\w+_status_code)"', tree))
    assert "but the model's own answer was" in found["`llm_status_code`"]
    seen = set()
    for title, body in found.items():
        if title.startswith("`"):
            continue
        reply = refusal(title.strip('"'))
        advice = llm_gateway.hint(reply)
        with pytest.raises(ApiError) as caught:
            llm_gateway.chat({}).result(reply)
        unknown = llm_gateway.names_unknown_model(caught.value)
        assert bool(advice) is not unknown, title
        assert unknown or is_quoted(advice, body), title
        seen.add(advice)
    assert seen == {advice for _, advice in llm_gateway._HINTS} | {""}


def test_every_finish_reason_that_matters_is_on_the_page() -> None:
    listed = re.findall(r"^- `(\w+)`$", sections(page("service-codes"), 2)["Finish reasons"], re.MULTILINE)
    assert sorted(listed) == sorted(llm_gateway._TRUNCATED | llm_gateway._INCOMPLETE)


def test_every_status_of_understanding_has_its_heading() -> None:
    found = codes("Speech Understanding")
    seen = set()
    for title, body in found.items():
        if title.startswith('"'):
            advice = understanding.hint(refusal(title.strip('"')))
            assert is_quoted(advice, body), title
            seen.add(advice)
    assert seen == {advice for _, advice in understanding._HINTS}
    texts = package_texts.texts_in("api/understanding.py", "_problem")
    texts |= package_texts.texts_in("api/understanding.py", "_read_response")
    texts -= package_texts.error_texts()["UnexpectedReply"]
    texts = {text for text in texts if re.match(r"\w", text)}
    titles = {title.strip("`") for title in found if title.startswith("`")}
    assert len(titles) == len(texts)
    assert all(any(text.startswith(title) for text in texts) for title in titles)


def test_every_close_code_has_its_heading() -> None:
    happens = {
        "done": "none",
        "reconnect": "A new session is opened at once",
        "wait": "A new session is opened after a wait",
        "fail": "No new session is opened",
    }
    found = codes("Streaming close codes")
    assert "happens: codes of the WebSocket protocol" in found.pop("Any other code")
    assert "HTTP status" in found.pop("HTTP status in place of a session")
    assert set(found) == {f"Close code {code}" for code in CLOSE_CODES}
    for code, (action, meaning) in CLOSE_CODES.items():
        body = found[f"Close code {code}"]
        assert f"\nCause: {meaning}\n" in body
        assert f"\nWhat happens: {happens[action]}" in body


def test_every_result_of_the_connection_test_has_its_heading() -> None:
    texts = {
        text for text in package_texts.texts_in("hooks/assemblyai.py", "_probe") if re.search(r"\w", text)
    }
    titles = set(codes("Results of the connection test"))
    for title in titles:
        assert any(title in text for text in texts), title
    for text in texts:
        assert any(title in text for title in titles), text


def test_every_reason_for_no_connection_is_in_the_table() -> None:
    texts = package_texts.texts_in("client/reasons.py", "plain_reason")
    texts |= {*reasons._BY_NAME.values(), *reasons._BY_NUMBER.values()}
    listed = first_cells(sections(page("service-codes"), 2)["No connection at all"])
    assert all(any(text.startswith(cell) for text in texts) for cell in listed)
    assert all(any(text.startswith(cell) for cell in listed) for text in texts)


# --- log lines -------------------------------------------------------------------------------------------

#: Lines that are put together of others, or whose text stands elsewhere, and why.
WITHOUT_A_TEXT = {
    ("capture/output/publisher.py", "…"): "the warnings of the result, each of which is on the page",
    ("operators/transcribe_batch.py", "…"): "what caps.explain_cost returns, which is on the page",
    ("operators/understand.py", "…"): "the last warning of the result, which is on the page",
    ("jobs/billing.py", "… is done: ……."): "the closing line, in parts",
}


def other_lines() -> set[str]:
    """What is logged, or ends a task, by other ways than a call of the log with a text."""
    stops = {
        f"{reason}: nothing more is submitted."
        for module, name in (
            ("mixins/cancellation.py", "_stop_reason"),
            ("operators/transcribe_batch.py", "_stop_reason"),
            ("operators/streaming_capture.py", "_stop_reason"),
        )
        for reason in package_texts.texts_in(module, name)
    }
    airflows = set(re.findall(r'log\.info\("(Pausing task as DEFERRED)', inspect.getsource(task_runner)))
    return {
        *stops,
        *airflows,
        *package_texts.first_arguments("_log_running_job", "AirflowSkipException"),
        *package_texts.texts_in("jobs/billing.py", "log_success"),
        *package_texts.error_texts()["ItemsFailed"],
        *package_texts.result_warnings(),
        *package_texts.texts_in("jobs/audio.py", "upload_shortfall"),
        *package_texts.texts_in("batch/caps.py", "explain_cost"),
    }


def test_every_closing_line_has_its_heading() -> None:
    part = sections(page("log-lines"), 2)["The last line of a task that ends well"]
    assert set(sections(part, 3)) == {f"`{line} is done`" for line in package_texts.closing_lines()}
    parts = [
        text for text in package_texts.texts_in("jobs/billing.py", "log_success") if re.search(r"\w", text)
    ]
    listed = first_cells(part)
    for text in parts:
        if not text.startswith((" in ", ": ")) and "is done" not in text:
            assert any(text.startswith(cell) for cell in listed), text


@pytest.mark.parametrize(("part", "warnings"), [("Warnings that need action", True), (None, False)])
def test_every_line_has_its_row(part: str | None, warnings: bool) -> None:
    text = page("log-lines")
    listed = first_cells(text if part is None else sections(text, 2)[part])
    lines = package_texts.log_texts(warnings=warnings)
    for module, line in lines:
        if (module, line) not in WITHOUT_A_TEXT:
            assert any(line.startswith(cell) for cell in listed), (module, line)


def test_every_warning_of_a_result_has_its_row() -> None:
    listed = first_cells(sections(page("log-lines"), 2)["Warnings that need action"])
    texts = package_texts.result_warnings() | package_texts.texts_in("jobs/audio.py", "upload_shortfall")
    for text in texts:
        if re.match(r"[\w…]", text):
            assert any(text.startswith(cell) for cell in listed), text


def test_every_row_is_about_a_line_that_exists() -> None:
    lines = package_texts.log_texts(warnings=True) | package_texts.log_texts(warnings=False)
    texts = {line for _, line in lines} | other_lines()
    cells = first_cells(page("log-lines"))
    assert len(cells) == len(set(cells))
    for cell in cells:
        assert any(text.startswith(cell) for text in texts), cell
    assert set(WITHOUT_A_TEXT) <= lines


# --- the way to the answer -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        *(
            "429",
            "401",
            "403",
            "404",
            "billed twice",
            "speaker labels",
            "EU",
            "reattach",
            "re-attach",
            "subtitles",
        ),
        *("timeout", "stuck in deferred", "no text in XCom", "wrong key", "empty text", "without words"),
    ],
)
def test_the_first_page_has_the_words_that_people_search_for(words: str) -> None:
    assert re.search(rf"(?<!\w){re.escape(words)}(?!\w)", page("index"), re.IGNORECASE)


def slug(heading: str) -> str:
    """Return what the site calls a heading in links."""
    ascii_only = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


@pytest.mark.parametrize("name", ["index", "errors", "service-codes", "bad-input", "log-lines"])
def test_links_to_these_pages_lead_to_headings(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page(name)):
        path, _, anchor = target.partition("#")
        if "/" in path:
            continue  # another folder
        text = page(path.removesuffix(".md") or name)
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert not anchor or anchor in map(slug, headings), target

# SPDX-License-Identifier: Apache-2.0
"""Bad input gets a clear error, uses no retry, and costs nothing: no upload, no submission."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from airflow.sdk import DAG

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from tests.support.odd_values import PRIVATE, BadEquality, TellTale, holds_itself, nested

URL = "https://example.com/a.wav"
CONN = "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"


@pytest.fixture(autouse=True)
def costs_nothing(emulator: Emulator) -> Iterator[None]:
    yield
    counters = emulator.counters()
    assert (counters["uploads"], counters["accepted"]) == (0, 0)


def fails(context: Any, match: str, **kwargs: Any) -> None:
    kwargs.setdefault("audio", URL)
    with pytest.raises(AirflowFailException, match=match):
        TranscribeOperator(task_id="t", **kwargs).execute(context)


@pytest.mark.parametrize("audio", [None, 5, b"bytes", ["a"], {}, "", "  ", " https://example.com/a.wav"])
def test_not_an_address(context: Any, audio: Any) -> None:
    fails(context, "audio", audio=audio)


@pytest.mark.parametrize("audio", ["http://", "https:///a.wav", "https://[bad/a.wav"])
def test_urls_without_a_host(context: Any, audio: str) -> None:
    fails(context, "not a URL with a host", audio=audio)


@pytest.mark.parametrize("audio", ["gopher://x/a.wav", "nonsense://x", "assembly://x"])
def test_unknown_scheme(context: Any, audio: str) -> None:
    fails(context, "no filesystem", audio=audio)


def test_a_store_that_is_not_installed_names_the_provider(context: Any) -> None:
    fails(context, "apache-airflow-providers-google", audio="gs://bucket/a.wav")


def test_missing_file(context: Any, tmp_path: Path) -> None:
    fails(context, "does not exist", audio=str(tmp_path / "nothing.wav"))
    fails(context, "does not exist", audio=tmp_path / "nothing.wav")
    fails(context, "does not exist", audio=f"file://{tmp_path}/nothing.wav")


def test_directory(context: Any, tmp_path: Path) -> None:
    fails(context, "is a directory", audio=str(tmp_path))


def test_empty_file(context: Any, tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    fails(context, "is empty", audio=str(tmp_path / "a.wav"))


def test_no_read_permission(context: Any, tmp_path: Path) -> None:
    secret = tmp_path / "a.wav"
    secret.write_bytes(b"RIFF")
    secret.chmod(0)
    if os.geteuid() != 0:
        fails(context, "no permission", audio=str(secret))
        return
    # root reads everything, so a child of this process becomes another user and tries
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    child = os.fork()
    if child == 0:
        try:
            os.seteuid(65534)
            from airflow_provider_assemblyai.jobs.audio import locate

            locate(str(secret))
        except Exception as error:
            os._exit(7 if "no permission" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_three_gigabytes_without_a_store_that_signs(context: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(3 * 2**30)
    fails(context, r"at most 2\.2 GB.*presign", audio=str(large))
    fails(context, "cannot sign", audio=str(large), transfer="presign")
    with large.open("wb") as file:
        file.truncate(6 * 2**30)
    fails(context, "at most 5 GB", audio=str(large))


def test_ways_that_do_not_fit_the_audio(context: Any, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    fails(context, r"needs an http\(s\) URL", audio=str(tmp_path / "a.wav"), transfer="url")
    fails(context, "not a URL", transfer="presign")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (5, "must be a dict"),
        (["speaker_labels"], "must be a dict"),
        ("speaker_labels", "text, but not JSON"),
        ("[]", "must be a dict"),
        ({"audio_url": "https://example.com/b.wav"}, "must not hold audio_url"),
        ({"speaker_labels": "yes"}, "speaker_labels must be a Boolean, not str"),
        ({"speaker_labels": 1}, "speaker_labels must be a Boolean, not int"),
        ({"speakers_expected": "2"}, "speakers_expected must be an integer"),
        ({"speakers_expected": True}, "speakers_expected must be an integer, not bool"),
        ({"keyterms_prompt": "fox"}, "keyterms_prompt must be a list"),
        ({"language_code": ["en"]}, "language_code must be a string"),
        ({"speaker_options": []}, "speaker_options must be an object"),
        ({"speech_models": []}, "at least one model"),
        ({5: True}, "is not a string"),
        ({"tomorrow": {1, 2}}, "cannot be sent as JSON"),
        ({"tomorrow": b"x"}, "a value of type bytes"),
        ({"tomorrow": float("nan")}, "nan, which is no number"),
        ({"tomorrow": [{"a": {1: "b"}}]}, "a name of type int"),
        ({"tomorrow": "a\ud800"}, "a lone surrogate"),
        ({"audio_end_at": 10**400}, "more than 64 bits"),
        ("[" * 100_000, "text, but not JSON"),
    ],
)
def test_config(context: Any, config: Any, match: str) -> None:
    fails(context, match, config=config)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"poll_interval": 0},
        {"poll_interval": -5},
        {"poll_interval": "5"},
        {"poll_interval": float("nan")},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("inf")},
        {"presign_expiry": 0},
        {"transfer": "carrier pigeon"},
        {"formats": ["json"]},
        {"delete_after": True},
        {"chars_per_caption": 40},
        {"chars_per_caption": 0, "output_path": "x"},
        {"chars_per_caption": 10**9, "output_path": "x"},
        {"chars_per_caption": True, "output_path": "x"},
        {"config": holds_itself()},
        {"config": {"a": nested(5000)}},
        *(
            {name: wrong}
            for name in ("poll_interval", "timeout", "presign_expiry", "settle_time", "retry_delay")
            for wrong in (1e30, 10**400, timedelta.max, float("nan"), True, Decimal(1), None)
        ),
        {"max_resubmits": 1e30},
        {"max_resubmits": 10**6},
        {"transfer": ["auto"]},
        {"transfer": BadEquality()},
        {"wait_for_completion": False, "output_path": "x"},
        {"wait_for_completion": False, "push_text": True},
        {"wait_for_completion": False, "delete_after": True, "output_path": "x"},
    ],
)
def test_options_are_refused_while_the_dag_is_parsed(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the messages are for people
        TranscribeOperator(task_id="t", audio=URL, **kwargs)


@pytest.mark.parametrize(
    "formats",
    [
        *(
            ["pdf"],
            [],
            "json",
            ["json", "docx"],
            5,
            b"json",
            {"json": 1},
            [["json"]],
            [{}],
            [b"json"],
            [None],
        ),
        *(["x"] * 10_000, "[" * 100_000, [BadEquality()], {"json"}),
    ],
    ids=lambda given: type(given).__name__,
)
def test_formats(context: Any, formats: Any, tmp_path: Path) -> None:
    fails(context, "formats", formats=formats, output_path=str(tmp_path))


def test_delete_after_without_json(context: Any, tmp_path: Path) -> None:
    fails(context, "needs 'json'", formats=["txt"], output_path=str(tmp_path), delete_after=True)


@pytest.mark.parametrize("config", [None, {"redact_pii": True}, {"redact_pii_audio": False}])
def test_redacted_audio_that_the_service_would_not_make(context: Any, tmp_path: Path, config: Any) -> None:
    formats = ["json", "redacted_audio"]
    fails(context, "needs redact_pii_audio", formats=formats, config=config, output_path=str(tmp_path))


def test_output_that_cannot_be_written(context: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    fails(context, "output_path", output_path=str(tmp_path / "file"))
    fails(context, "output_path", output_path="/proc/nowhere")
    fails(context, "no filesystem", output_path="gopher://x/y")
    fails(context, "output_path must be a path", output_path="")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"password": None}, "key is empty"),
        ({"password": ""}, "key is empty"),
        ({"password": "   "}, "white space"),
        ({"password": "abc def1234"}, "white space"),
        ({"password": "abcdef1234\n"}, "white space"),
        ({"password": "abcdéf1234"}, "characters that no key has"),
        ({"extra": {"region": "mars"}}, "Unknown AssemblyAI region"),
        ({"host": "http://proxy.example.com"}, "in clear"),
        ({"host": "ftp://example.com"}, "must start with http"),
    ],
)
def test_connections(
    emulator: Emulator, context: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], match: str
) -> None:
    monkeypatch.setenv(CONN, json.dumps(json.loads(emulator.connection_json) | change))
    with pytest.raises(AirflowFailException, match=match) as caught:
        TranscribeOperator(task_id="t", audio=URL).execute(context)
    assert "assemblyai_default" in str(caught.value)
    if (key := change.get("password")) and key.strip():
        assert key not in str(caught.value)


#: What may have been meant for a Boolean; each of these texts is true for Python.
NO_BOOLEANS = ["no", "off", "0", "False ", "yes", "on", "1", "", 0, 1, 0.0, [], b"false", object()]
TRANSCRIPT = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"


def boolean_arguments() -> list[tuple[Any, str, dict[str, Any]]]:
    """Every Boolean argument, with what its class needs beside it."""
    transcribe = {"audio": URL, "output_path": "/tmp/out"}
    capture = {"source": "x.pcm", "duration": 5, "output_path": "/tmp/out"}
    understand = {"features": {}, "output_path": "/tmp/out", "transcript_id": TRANSCRIPT}
    prompt = {"prompt": "x", "output_path": "/tmp/out"}
    sensor = {"transcript_id": TRANSCRIPT}
    return [
        *(
            (TranscribeOperator, name, transcribe)
            for name in ("deferrable", "delete_after", "push_text", "reuse")
        ),
        (TranscribeOperator, "wait_for_completion", {"audio": URL}),
        (TranscribeBatchOperator, "deferrable", {"audios": [URL], "output_path": "/tmp/out"}),
        *((StreamingCaptureOperator, name, capture) for name in ("keep_audio", "push_text")),
        *((UnderstandOperator, name, understand) for name in ("push_result", "deferrable")),
        *((LLMGatewayOperator, name, prompt) for name in ("push_answer", "deferrable")),
        (LLMGatewayOperator, "wait_for_turn", {**prompt, "deferrable": True}),
        (TranscriptExportOperator, "push_text", {**sensor, "output_path": "/tmp/out"}),
        *(
            (TranscriptSensor, name, sensor)
            for name in ("push_text", "deferrable", "soft_fail", "never_fail")
        ),
        *((TranscriptSensor, name, sensor) for name in ("silent_fail", "exponential_backoff")),
    ]


@pytest.mark.parametrize(("operator", "name", "others"), boolean_arguments())
def test_a_text_that_is_no_boolean_is_not_taken_for_true(
    operator: Any, name: str, others: dict[str, Any]
) -> None:
    def made(value: Any) -> Any:
        one = operator(task_id="t", **others, **{name: value})
        return one.policy.reuse if name == "reuse" else getattr(one, name)

    for text, meant in (("false", False), ("False", False), ("TRUE", True), (True, True), (False, False)):
        assert made(text) is meant
    for wrong in NO_BOOLEANS:
        with pytest.raises(InvalidInput, match=f"{name} must be True"):
            made(wrong)


#: Every operator that has a connection, ready to be run.
TASKS: list[tuple[Any, dict[str, Any]]] = [
    (TranscribeOperator, {"audio": URL}),
    (TranscribeBatchOperator, {"audios": [URL], "output_path": "out"}),
    (StreamingCaptureOperator, {"source": "x.pcm", "duration": 5, "output_path": "out"}),
    (LLMGatewayOperator, {"prompt": "x", "model": "gpt-5"}),
    (UnderstandOperator, {"features": {"translation": {}}, "transcript_id": TRANSCRIPT}),
    (TranscriptExportOperator, {"transcript_id": TRANSCRIPT, "output_path": "out"}),
    (TranscriptDeleteOperator, {"transcript_id": TRANSCRIPT}),
    (TranscriptSensor, {"transcript_id": TRANSCRIPT}),
]


def refused(context: Any, operator: Any, match: str, **kwargs: Any) -> None:
    with pytest.raises(AirflowFailException, match=match) as caught:
        operator(task_id="t", **kwargs).execute(context)
    assert isinstance(caught.value.__context__, InvalidInput)


@pytest.mark.parametrize(("operator", "kwargs"), TASKS, ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize("conn_id", [b"assemblyai_default", object(), "", " ", None, 5, "a\0b", "\ud800"])
def test_what_cannot_name_a_connection(
    emulator: Emulator, context: Any, tmp_path: Path, operator: Any, kwargs: dict[str, Any], conn_id: Any
) -> None:
    if "output_path" in kwargs:
        kwargs = {**kwargs, "output_path": str(tmp_path)}
    refused(context, operator, "assemblyai_conn_id", assemblyai_conn_id=conn_id, **kwargs)
    assert emulator.requests == []


@pytest.mark.parametrize(("operator", "kwargs"), TASKS[4:], ids=lambda one: getattr(one, "__name__", ""))
@pytest.mark.parametrize(
    "given",
    [
        5,
        True,
        b"x",
        [PRIVATE],
        {},
        {"transcript_id": [PRIVATE]},
        TellTale(),
        f"\N{LATIN SMALL LETTER LONG S}{TRANSCRIPT[1:]}",
    ],
)
def test_what_is_no_transcript(
    emulator: Emulator, context: Any, tmp_path: Path, operator: Any, kwargs: dict[str, Any], given: Any
) -> None:
    if "output_path" in kwargs:
        kwargs = {**kwargs, "output_path": str(tmp_path)}
    with pytest.raises(AirflowFailException, match="not a transcript id") as caught:
        operator(task_id="t", **{**kwargs, "transcript_id": given}).execute(context)
    assert PRIVATE not in str(caught.value)
    regions: list[Any] = [0, [], False, {"a": 1}, "mars"]
    for region in regions:
        refused(context, operator, "Unknown AssemblyAI region", **{**kwargs, "region": region})
    assert emulator.requests == []


@pytest.mark.parametrize(
    "kwargs",
    [
        *({"upload_workers": wrong} for wrong in (1e30, 10**30, 257, True, "16", 0)),
        *({"max_in_flight": wrong} for wrong in (1e30, 10**30, True, "16", 0)),
        *({"max_audio_minutes": wrong} for wrong in (True, float("nan"), 1e30, 10**400, "5", Decimal(5))),
        *({"max_cost_usd": wrong} for wrong in (True, float("nan"), 1e30, 10**400, "5", Decimal(5))),
        {"audios": holds_itself()},
    ],
)
def test_options_of_a_batch_are_refused_while_the_dag_is_parsed(kwargs: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        TranscribeBatchOperator(task_id="t", **{"audios": [URL], "output_path": "/x", **kwargs})


@pytest.mark.parametrize("audios", [None, 5, {}, {"audio": URL}, b"x", bytearray(b"x"), {URL}, iter([URL])])
def test_what_is_no_list_of_recordings(context: Any, tmp_path: Path, audios: Any) -> None:
    path = str(tmp_path)
    refused(context, TranscribeBatchOperator, "audios must be a list", audios=audios, output_path=path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kwargs",
    [
        *({"max_reconnects": wrong} for wrong in (1e30, 10**30, -1, True)),
        *({"duration": wrong} for wrong in (1e30, timedelta.max, float("nan"), True, 0)),
        *({"catch_up_rate": wrong} for wrong in (0.99, 0, -1, 4.1, 1e30, float("nan"), "2", None, True)),
        *({"drain_timeout": wrong} for wrong in (1e30, timedelta.max, None)),
        *({"start_within": wrong} for wrong in (1e30, timedelta.max, None)),
        *({"stop_when_silent": wrong} for wrong in (1e30, timedelta.max, False)),
        {"chars_per_caption": 1e30},
        {"retry_delay": 1e30},
    ],
)
def test_options_of_a_capture_are_refused_while_the_dag_is_parsed(kwargs: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        StreamingCaptureOperator(task_id="t", **{"source": "x", "duration": 5, "output_path": "/x", **kwargs})


@pytest.mark.parametrize("duration", [None, b"5", [5], {}, "nan", "1e30", "soon", ""])
def test_a_duration_that_is_known_when_the_task_runs(context: Any, tmp_path: Path, duration: Any) -> None:
    refused(
        context,
        StreamingCaptureOperator,
        "duration must be",
        source="x.pcm",
        duration=duration,
        output_path=str(tmp_path),
    )


@pytest.mark.parametrize("name", ["poke_interval", "timeout", "max_wait"])
@pytest.mark.parametrize("wrong", [1e30, 10**400, timedelta.max, float("nan"), float("inf"), "5", True, -1])
def test_times_of_a_sensor(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match=name):
        TranscriptSensor(task_id="t", transcript_id=TRANSCRIPT, **{name: wrong})


def test_missing_connection(context: Any) -> None:
    fails(context, "'nowhere' is not defined", assemblyai_conn_id="nowhere")


@pytest.mark.parametrize("name", ["", " ", "a/b", 5, 0, False, [], b"name", "a\0b", "\ud800"])
def test_export_names(emulator: Emulator, context: Any, tmp_path: Path, name: Any) -> None:
    path = str(tmp_path)
    refused(context, TranscriptExportOperator, "name ", transcript_id=TRANSCRIPT, output_path=path, name=name)
    assert emulator.requests == []


def test_what_is_known_only_when_the_task_runs_passes_while_the_dag_is_parsed(context: Any) -> None:
    with DAG("a_dag", schedule=None):
        earlier = TranscribeOperator(
            task_id="earlier", audio="{{ params.audio }}", config="{{ params.config }}"
        )
        asked: Any = earlier.output
        TranscribeOperator(task_id="a", audio=asked, config=asked, output_path=asked, formats=asked)
        TranscribeBatchOperator(task_id="b", audios=asked, output_path=asked, assemblyai_conn_id=asked)
        StreamingCaptureOperator(task_id="c", source=asked, duration=asked, output_path=asked, config=asked)
        LLMGatewayOperator(task_id="d", prompt=asked, system_prompt=asked, model=asked, region=asked)
        UnderstandOperator(task_id="e", transcript_id=asked, features=asked)
        TranscriptExportOperator(
            task_id="f", transcript_id=asked, output_path=asked, name=asked, formats=asked
        )
        TranscriptSensor(task_id="g", transcript_id=asked, region="{{ params.region }}")
        TranscribeOperator.partial(task_id="h", deferrable="true").expand(audio=asked)
        StreamingCaptureOperator.partial(task_id="i", output_path="/x").expand_kwargs(
            [{"source": "x", "duration": 5}]
        )
    assert earlier.downstream_task_ids == set("abcdefgh")

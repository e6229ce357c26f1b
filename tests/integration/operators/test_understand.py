# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding of a transcript: what is asked, what comes back, what fails, and what it costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, TaskDeferred

from airflow_provider_assemblyai.api import transcripts, understanding
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AuthenticationError,
    GatewayTimeout,
    InvalidInput,
    NotFoundError,
    ResponseLost,
    ResponseUnusable,
)
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.operators.understand import UnderstandOperator

PATH = "/v1/understanding"
UNKNOWN = "1b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
BULLETS = {"summarization": {"summary_type": "bullets"}}
SPOKEN = "Please send the blue parcel to Martha on Monday. We agreed on that. Thank you."


@pytest.fixture
def summary(emulator: Emulator) -> dict[str, Any]:
    """What a task returned for a transcript with speakers."""
    return transcript(emulator, SPOKEN)


def transcript(emulator: Emulator, text: str, **config: Any) -> dict[str, Any]:
    emulator.set_transcript(text)
    hook = AssemblyAIHook()
    config = {"speaker_labels": True, **config}
    done = hook.send(transcripts.submit("https://example.com/a.wav", config))
    hook.send(transcripts.get(done["id"]))
    return {"transcript_id": done["id"], "region": "us", "status": "completed"}


def operator(of: Any, **kwargs: Any) -> UnderstandOperator:
    return UnderstandOperator(
        **{"task_id": "a_task", "transcript_id": of, "features": BULLETS, "retries": 1, **kwargs}
    )


def billed_calls(emulator: Emulator) -> int:
    return int(emulator.counters()["gateway"]["understanding"]["accepted"])


def calls(emulator: Emulator) -> int:
    return sum(request["path"] == PATH for request in emulator.requests)


def fails(of: Any, context: Any, match: str, **kwargs: Any) -> BaseException:
    with pytest.raises(AirflowFailException, match=match) as caught:
        operator(of, **kwargs).execute(context)
    assert caught.value.__context__ is not None
    return caught.value.__context__


# --- what comes back -------------------------------------------------------------------------------------


def test_what_was_found_is_returned(emulator: Emulator, summary: dict[str, Any], context: Any) -> None:
    features = {
        "summarization": {"summary_type": "bullets", "headline_length": 5},
        "action_items": {"include_decisions": True},
        "translation": {"target_languages": ["es"]},
    }
    found = operator(summary, features=features).execute(context)
    assert found["transcript_id"] == summary["transcript_id"]
    assert (found["region"], found["output"], found["warnings"]) == ("us", None, [])
    assert found["features"] == dict.fromkeys(features, "success")
    result = found["result"]
    assert result is not None
    assert "Please send the blue parcel" in " ".join(result["summarization"]["summary"][0]["bullets"])
    assert result["action_items"]["items"][0]["action_item"].startswith("Please send")
    assert result["translated_texts"] == {"es": f"[es] {SPOKEN}"}
    pushed = context["ti"].xcoms
    assert (pushed["attempts"], pushed["waited_seconds"]) == (1, 0.0)
    assert pushed["request_id"]
    assert (calls(emulator), billed_calls(emulator)) == (1, 1), "several features are one call"


def test_an_id_alone_and_features_as_json_text(summary: dict[str, Any], context: Any) -> None:
    found = operator(summary["transcript_id"], features=json.dumps(BULLETS)).execute(context)
    assert found["features"] == {"summarization": "success"}


@pytest.mark.parametrize("effort", ["low", "medium", None])
def test_formatting_takes_an_effort(summary: dict[str, Any], context: Any, effort: str | None) -> None:
    features = {"custom_formatting": {"date": "mm/dd/yyyy", "effort": effort}}
    found = operator(summary, features=features).execute(context)
    assert found["features"] == {"custom_formatting": "success"}


def test_turns_have_their_new_speakers_but_no_words(summary: dict[str, Any], context: Any) -> None:
    features = {"speaker_identification": {"speaker_type": "role", "known_values": ["Clerk"]}}
    result = operator(summary, features=features).execute(context)["result"]
    assert result is not None
    assert result["speaker_identification"]["mapping"] == {"A": "Clerk"}
    (turn,) = result["utterances"]
    assert (turn["speaker"], "words" in turn) == ("Clerk", False)


def test_the_file_has_everything_and_the_xcom_then_nothing(
    summary: dict[str, Any], context: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    features = {**BULLETS, "speaker_identification": {"speaker_type": "role", "known_values": ["Clerk"]}}
    found = operator(summary, features=features, output_path=str(tmp_path)).execute(context)
    path = tmp_path / f"{summary['transcript_id']}.a_task.json"
    assert (found["output"], found["result"]) == (f"file://{path}", None)
    whole = json.loads(path.read_text())
    assert (whole["transcript_id"], whole["region"]) == (summary["transcript_id"], "us")
    assert whole["words"][0]["speaker"] == "Clerk"
    assert whole["speech_understanding"]["response"]["summarization"]["status"] == "success"
    seen = f"{found} {context['ti'].xcoms} {context['task_state_store'].history} {caplog.text}"
    assert "parcel" not in seen


def test_pushed_as_well_if_asked_for(summary: dict[str, Any], context: Any, tmp_path: Path) -> None:
    found = operator(summary, output_path=str(tmp_path), push_result=True).execute(context)
    assert found["output"]
    assert found["result"]
    assert "words" not in found["result"]


def test_the_files_of_mapped_tasks_are_apart(summary: dict[str, Any], context: Any, tmp_path: Path) -> None:
    context["ti"].map_index = 3
    found = operator(summary, output_path=str(tmp_path)).execute(context)
    assert found["output"] == f"file://{tmp_path}/{summary['transcript_id']}.a_task-3.json"


def test_what_is_too_large_for_xcom_is_left_out_and_named(
    emulator: Emulator, context: Any, tmp_path: Path
) -> None:
    long = transcript(emulator, "The blue parcel has arrived in the harbour. " * 3000)
    features = {**BULLETS, "translation": {"target_languages": ["es", "fr"]}}
    found = operator(long, features=features, output_path=str(tmp_path), push_result=True).execute(context)
    result = found["result"]
    assert result is not None
    assert set(result) == {"summarization", "translation"}
    (warning,) = found["warnings"]
    assert warning.startswith("translated_texts has 26")
    assert warning.endswith("too many for XCom: it is only in the file.")
    assert "[fr]" in next(tmp_path.glob("*.json")).read_text()


def test_without_a_file_nothing_is_left_out_because_there_is_no_other_copy(
    emulator: Emulator, context: Any
) -> None:
    long = transcript(emulator, "The blue parcel has arrived in the harbour. " * 3000)
    features = {"translation": {"target_languages": ["es", "fr"]}}
    result = operator(long, features=features).execute(context)["result"]
    assert result is not None
    assert set(result["translated_texts"]) == {"es", "fr"}


def test_in_the_region_of_the_transcript(
    emulator: Emulator, assemblyai_emulator_eu: Emulator, context: Any
) -> None:
    done = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav", {}))
    AssemblyAIHook().send(transcripts.get(done["id"]))
    found = operator({"transcript_id": done["id"], "region": "eu"}).execute(context)
    assert found["region"] == "eu"
    assert (calls(assemblyai_emulator_eu), calls(emulator)) == (1, 0)
    two = fails({"transcript_id": done["id"], "region": "eu"}, context, "lives in region eu", region="us")
    assert isinstance(two, InvalidInput)


# --- what fails ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({}, "features must name at least one feature: translation, speaker_identification"),
        ({"summarization": None}, "at least one"),
        ("bullets", "text, but not JSON"),
        (["summarization"], "must be a dict, not list"),
        ({"summarization": "bullets"}, "summarization must be a dict, not str"),
        (
            {"translation": {"target_languages": "es"}},
            "translation: target_languages must be a list, not str",
        ),
        (
            {"summarization": {"summary_type": "bullets", "headline_length": True}},
            "headline_length must be an int",
        ),
        *(
            (
                {"custom_formatting": {"date": "mm/dd/yyyy", "effort": effort}},
                "custom_formatting: effort must be a str",
            )
            for effort in (1, True, ["low"])
        ),
        ({"summarization": {"summary_type": "bullets", "more": {1, 2}}}, "cannot be sent as JSON"),
    ],
)
def test_bad_features_cost_no_request(
    features: Any, words: str, emulator: Emulator, summary: dict[str, Any], context: Any
) -> None:
    assert isinstance(fails(summary, context, words, features=features), InvalidInput)
    assert calls(emulator) == 0


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"push_result": False}, "needs an output_path"),
        ({"on_failed_feature": "ignore"}, "on_failed_feature='ignore'"),
        ({"wait_for_turn": True}, "needs deferrable=True"),
        ({"on_lost_answer": "repeat"}, "on_lost_answer='repeat'"),
        ({"max_wait": 0}, "max_wait must be"),
        ({"timeout": "long"}, "timeout must be"),
    ],
)
def test_bad_arguments_are_refused_while_the_dag_is_parsed(kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        operator(UNKNOWN, **kwargs)


@pytest.mark.parametrize("envelope", ["current", "auth", "march"])
@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"summarization": {"summary_type": "short"}}, "summary_type must be one of: bullets, paragraph"),
        ({"translation": {}}, "target_languages is empty"),
        (
            {"custom_formatting": {"date": "mm/dd/yyyy", "effort": "high"}},
            "effort must be one of: low, medium",
        ),
        ({"poetry": {}}, "poetry is not a known feature.*The features are translation"),
    ],
)
def test_what_the_service_refuses_is_not_retried(
    features: Any, words: str, envelope: str, emulator: Emulator, summary: dict[str, Any], context: Any
) -> None:
    emulator.configure_gateway(envelope=envelope)
    error = fails(summary, context, words, features=features)
    assert isinstance(error, ApiError)
    assert (error.status, calls(emulator), billed_calls(emulator)) == (400, 1, 0)
    assert error.request_id


def test_a_transcript_without_speakers(emulator: Emulator, context: Any) -> None:
    plain = transcript(emulator, SPOKEN, speaker_labels=False)
    features = {"speaker_identification": {"speaker_type": "name"}}
    fails(plain, context, "requires speaker_labels.*Transcribe with speaker_labels", features=features)


def test_an_unknown_transcript(emulator: Emulator, context: Any) -> None:
    assert isinstance(fails(UNKNOWN, context, "known only to the account"), NotFoundError)


def test_an_account_that_may_not(emulator: Emulator, summary: dict[str, Any], context: Any) -> None:
    emulator.configure_gateway(access=False)
    fails(summary, context, "The plan of this account has no LLM Gateway")


def test_one_of_several_features_fails(
    emulator: Emulator, summary: dict[str, Any], context: Any, tmp_path: Path
) -> None:
    features = {**BULLETS, "action_items": {}}
    emulator.fault("understanding_error", feature="action_items", message="too few words", times=None)
    error = fails(summary, context, "action_items failed: status error, too few words", features=features)
    assert isinstance(error, ResponseUnusable)
    assert error.reason == "failed"
    assert "'partial'" in str(error)
    assert set(context["ti"].xcoms["partial"]["result"]) > {"summarization"}
    # What did not fail is paid for.
    fails(summary, context, "The rest is in file://", features=features, output_path=str(tmp_path))
    (path,) = tmp_path.glob("*.json")
    assert json.loads(path.read_text())["speech_understanding"]["response"]["summarization"]["summary"]

    found = operator(summary, features=features, on_failed_feature="warn").execute(context)
    assert found["features"] == {"summarization": "success", "action_items": "failed"}
    assert found["warnings"] == ["action_items failed: status error, too few words."]
    assert billed_calls(emulator) == 1, "what was paid for is kept"


def test_a_feature_that_is_missing_in_the_answer(
    emulator: Emulator, summary: dict[str, Any], context: Any
) -> None:
    emulator.fault("understanding_error", feature="summarization", status=None)
    error = fails(summary, context, "it is not in the answer", on_failed_feature="warn")
    assert isinstance(error, ResponseUnusable)
    assert "found nothing" in str(error), "nothing is left that could be returned"


def test_the_other_word_for_success(emulator: Emulator, summary: dict[str, Any], context: Any) -> None:
    emulator.fault("understanding_error", feature="summarization", status="completed")
    assert operator(summary).execute(context)["features"] == {"summarization": "success"}


# --- waiting, and paying once ----------------------------------------------------------------------------


def test_no_capacity(
    emulator: Emulator, summary: dict[str, Any], context: Any, run: Callable[..., Any], deferrable: bool
) -> None:
    emulator.fault("rate_limit", path=PATH, retry_after=1)
    began = time.time()
    found = run(operator(summary, deferrable=deferrable), context)
    assert found["features"] == {"summarization": "success"}
    assert time.time() - began >= 1
    pushed = context["ti"].xcoms
    assert pushed["attempts"] == 2
    assert pushed["waited_seconds"] >= 1
    assert (calls(emulator), billed_calls(emulator)) == (2, 1)


def test_all_of_one_account_wait_at_one_rate_limiter(summary: dict[str, Any], context: Any) -> None:
    context["ti"].map_index = 0
    with pytest.raises(TaskDeferred) as deferred:
        operator(summary, deferrable=True).execute(context)
    path, kwargs = deferred.value.trigger.serialize()
    assert path.endswith("LLMGatewayTrigger")
    assert (kwargs["model"], kwargs["region"], kwargs["refusal"]) == ("speech-understanding", "us", None)


def test_no_capacity_for_too_long(emulator: Emulator, summary: dict[str, Any], context: Any) -> None:
    emulator.fault("rate_limit", path=PATH, retry_after=60)
    with pytest.raises(GatewayTimeout, match="nothing was billed"):
        operator(summary, max_wait=30).execute(context)
    assert (calls(emulator), billed_calls(emulator)) == (1, 0)


def test_a_key_that_was_changed_meanwhile(emulator: Emulator, summary: dict[str, Any], context: Any) -> None:
    emulator.fault("http_status", path=PATH, status=401)
    assert operator(summary).execute(context)["features"] == {"summarization": "success"}
    context["ti"].max_tries += 1  # the task was cleared
    emulator.fault("http_status", path=PATH, status=401, times=2)
    assert isinstance(fails(summary, context, "HTTP 401"), AuthenticationError)


@pytest.mark.parametrize("fault", ["drop_response", "truncate_response", "corrupt_response"])
def test_a_lost_answer_is_not_paid_for_again_in_the_same_try(
    fault: str, emulator: Emulator, summary: dict[str, Any], context: Any
) -> None:
    emulator.fault(fault, path=PATH)
    with pytest.raises(ResponseLost, match="a retry of the task calls again and may pay twice"):
        operator(summary).execute(context)
    assert calls(emulator) == 1


def test_nor_by_a_retry_if_that_is_forbidden(
    emulator: Emulator, summary: dict[str, Any], context: Any
) -> None:
    emulator.fault("drop_response", path=PATH)
    assert isinstance(fails(summary, context, "is not called again", on_lost_answer="fail"), ResponseLost)
    fails(summary, context, "an earlier try", on_lost_answer="fail")
    assert calls(emulator) == 1


def test_a_retry_takes_the_file_that_is_there(
    emulator: Emulator, summary: dict[str, Any], context: Any, old_context: Any, tmp_path: Path
) -> None:
    for each in (context, old_context):
        first = operator(summary, output_path=str(tmp_path)).execute(each)
        pushed = dict(each["ti"].xcoms)
        each["ti"].xcoms.clear()
        assert operator(summary, output_path=str(tmp_path)).execute(each) == first
        assert each["ti"].xcoms == pushed
        shown = operator(summary, output_path=str(tmp_path), push_result=True).execute(each)
        assert shown["result"]
        assert shown["result"]["summarization"]
    assert billed_calls(emulator) == 1
    other = {**BULLETS, "action_items": {}}
    operator(summary, output_path=str(tmp_path), features=other).execute(context)
    assert billed_calls(emulator) == 2, "another question"


def test_validate_costs_nothing(emulator: Emulator, summary: dict[str, Any]) -> None:
    hook = AssemblyAIHook()
    # [START validate]
    AssemblyAIHook().send(understanding.validate({"translation": {"target_languages": ["es"]}}))
    # [END validate]
    hook.send(understanding.validate(BULLETS, summary["transcript_id"]))
    with pytest.raises(ApiError, match="target_languages is empty"):
        hook.send(understanding.validate({"translation": {}}))
    assert billed_calls(emulator) == 0


# --- the last line ---------------------------------------------------------------------------------------

FORMATTING = {"custom_formatting": {"date": "mm/dd/yyyy"}}


@pytest.mark.parametrize(
    ("features", "known", "words"),
    [
        # It is read, because the estimate needs it.
        (FORMATTING, None, "The call is done: 60.0 s of audio, estimated cost 0."),
        (FORMATTING, 90.5, "The call is done: 90.5 s of audio, estimated cost 0."),
        # There is no price, so nothing is read.
        (BULLETS, 90.5, "The call is done: 90.5 s of audio, estimated cost not known"),
        (BULLETS, None, "The call is done: estimated cost not known"),
        (BULLETS, "long", "The call is done: estimated cost not known"),
    ],
)
def test_the_last_line_names_the_duration_where_it_is_known(
    emulator: Emulator,
    context: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    features: Any,
    known: Any,
    words: str,
) -> None:
    done = AssemblyAIHook().send(transcripts.submit("https://example.com/a.wav?emulator=duration:60", {}))
    AssemblyAIHook().send(transcripts.get(done["id"]))
    given = {"transcript_id": done["id"], "region": "us", "audio_duration": known}
    # The second finds the file of the first.
    for task in range(2):
        capfd.readouterr()
        operator(given, features=features, output_path=str(tmp_path)).execute(context)
        lines = [line for line in "".join(capfd.readouterr()).splitlines() if " is done: " in line]
        assert len(lines) == 1
        if task == 0 or known is not None:
            assert words in lines[0]
    assert billed_calls(emulator) == 1

# SPDX-License-Identifier: Apache-2.0
"""A paid call that an older commit has begun, made or lost: it is not paid for again on a guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api.errors import GatewayTimeout
from tests.golden.conftest import Restored

OPERATORS = pytest.mark.parametrize("name", ["v1/llm", "v1/decorated", "v1/understand", "v2/short"])
HOMES = pytest.mark.parametrize("home", ["store", "file", "both"])
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])


def one_call(name: str) -> dict[str, int]:
    return {{"v1/understand": "understandings", "v2/short": "clips"}.get(name, "chats"): 1}


def outputs(result: Any) -> list[str]:
    """The addresses of the files that a task names."""
    return list(result["outputs"].values()) if "outputs" in result else [result["output"]]


@OPERATORS
@HOMES
@MODES
def test_a_call_whose_answer_was_lost_is_reported(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(f"{name}-intent", home=home)
    with pytest.raises(AirflowFailException, match="earlier try"):
        found.retry(deferrable=deferrable)
    assert found.paid == {}


@OPERATORS
@HOMES
@MODES
def test_an_answer_that_was_delivered_is_read_from_its_file(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(f"{name}-stored", home=home)
    result = found.retry(deferrable=deferrable)
    assert found.paid == {}
    assert all(uri.startswith(f"file://{found.folder}/out/") for uri in outputs(result))
    assert found.context["ti"].xcoms["attempts"] == 1


@OPERATORS
@HOMES
def test_a_call_that_was_refused_is_made_once(
    restored: Callable[..., Restored], name: str, home: str
) -> None:
    found = restored(f"{name}-failed", home=home)
    assert outputs(found.retry())
    assert found.paid == one_call(name)


@OPERATORS
@HOMES
@pytest.mark.parametrize("fires_now", [False, True], ids=["fired before", "fires now"])
def test_a_task_that_waits_for_its_turn_calls_once(
    restored: Callable[..., Restored], name: str, home: str, fires_now: bool
) -> None:
    found = restored(f"{name}-deferred", home=home)
    assert outputs(found.resume(fires_now=fires_now))
    assert found.paid == one_call(name)
    assert found.context["ti"].xcoms["attempts"] == 2


def test_a_task_that_would_have_to_wait_again_keeps_its_deadline(restored: Callable[..., Restored]) -> None:
    found = restored("v1/llm-deferred", age=7200)
    found.emulator.fault("rate_limit", path="/v1/chat/completions", retry_after=1)
    with pytest.raises(GatewayTimeout):
        found.resume(fires_now=False)
    assert found.paid == {}

# SPDX-License-Identifier: Apache-2.0
"""A paid call that an older commit has begun, made or lost: it is not paid for again on a guess."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api.errors import GatewayTimeout
from tests.golden.conftest import Restored

OPERATORS = pytest.mark.parametrize("name", ["llm", "decorated", "understand"])
HOMES = pytest.mark.parametrize("home", ["store", "file", "both"])
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["blocking", "deferrable"])


def one_call(name: str) -> dict[str, int]:
    return {"understandings" if name == "understand" else "chats": 1}


@OPERATORS
@HOMES
@MODES
def test_a_call_whose_answer_was_lost_is_reported(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(f"v1/{name}-intent", home=home)
    with pytest.raises(AirflowFailException, match="earlier try"):
        found.retry(deferrable=deferrable)
    assert found.paid == {}


@OPERATORS
@HOMES
@MODES
def test_an_answer_that_was_delivered_is_read_from_its_file(
    restored: Callable[..., Restored], name: str, home: str, deferrable: bool
) -> None:
    found = restored(f"v1/{name}-stored", home=home)
    result = found.retry(deferrable=deferrable)
    assert found.paid == {}
    assert result["output"].startswith(f"file://{found.folder}/out/")
    assert found.context["ti"].xcoms["attempts"] == 1


@OPERATORS
@HOMES
def test_a_call_that_was_refused_is_made_once(
    restored: Callable[..., Restored], name: str, home: str
) -> None:
    found = restored(f"v1/{name}-failed", home=home)
    assert found.retry()["output"]
    assert found.paid == one_call(name)


@OPERATORS
@HOMES
@pytest.mark.parametrize("fires_now", [False, True], ids=["fired before", "fires now"])
def test_a_task_that_waits_for_its_turn_calls_once(
    restored: Callable[..., Restored], name: str, home: str, fires_now: bool
) -> None:
    found = restored(f"v1/{name}-deferred", home=home)
    assert found.resume(fires_now=fires_now)["output"]
    assert found.paid == one_call(name)
    assert found.context["ti"].xcoms["attempts"] == 2


def test_a_task_that_would_have_to_wait_again_keeps_its_deadline(restored: Callable[..., Restored]) -> None:
    found = restored("v1/llm-deferred", age=7200)
    found.emulator.fault("rate_limit", path="/v1/chat/completions", retry_after=1)
    with pytest.raises(GatewayTimeout):
        found.resume(fires_now=False)
    assert found.paid == {}

# SPDX-License-Identifier: Apache-2.0
"""What a sensor says a transcript cost: nothing, if another task has said it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor

HOUR = "https://example.com/hour.wav?emulator=duration:3600"
COST = "assemblyai.estimated_cost_usd"
MINUTES = "assemblyai.audio_minutes.billed"
TOLD = "60.00 minutes billed, estimated cost 0.210000 USD"
NOTHING = "0.00 minutes billed, estimated cost 0.000000 USD"


@pytest.fixture
def wait(
    run: Callable[..., Any], new_context: Any, deferrable: bool, capfd: pytest.CaptureFixture[str]
) -> Callable[[Any], tuple[float | None, str]]:
    """Run a sensor for what it is given; return the cost in its summary and its last line."""

    def wait(given: Any) -> tuple[float | None, str]:
        capfd.readouterr()
        sensor = TranscriptSensor(
            task_id="wait", transcript_id=given, poke_interval=0.05, deferrable=deferrable
        )
        sensor.render_template_fields({})
        found = run(sensor, new_context())
        summary = getattr(found, "xcom_value", found)
        lines = [line for line in "".join(capfd.readouterr()).splitlines() if " is done: " in line]
        assert len(lines) == 1
        return summary["estimated_cost_usd"], lines[0]

    return wait


def transcribe(run: Callable[..., Any], context: Any, **kwargs: Any) -> Any:
    return run(TranscribeOperator(task_id="a_task", audio=HOUR, poll_interval=0.05, **kwargs), context)


def test_what_the_operator_has_told_is_not_told_again(
    emulator: Emulator, context: Any, run: Callable[..., Any], counted: Counter[str], wait: Any
) -> None:
    done = transcribe(run, context)
    assert done["estimated_cost_usd"] == 0.21
    for _ in range(2):
        cost, line = wait(done)
        assert cost == 0.0
        assert NOTHING in line
    assert counted[COST] == emulator.counters()["billed_usd"] == 0.21
    assert counted[MINUTES] == 60


def test_nor_what_another_sensor_has_told(
    emulator: Emulator, context: Any, run: Callable[..., Any], counted: Counter[str], wait: Any
) -> None:
    submitted = transcribe(run, context, wait_for_completion=False)
    assert submitted["estimated_cost_usd"] is None
    cost, line = wait(submitted)
    assert cost == 0.21
    assert TOLD in line
    cost, line = wait({**submitted, "estimated_cost_usd": cost})
    assert cost == 0.0
    assert NOTHING in line
    assert counted[COST] == emulator.counters()["billed_usd"] == 0.21


@pytest.mark.parametrize("zero", [0, 0.0])
def test_a_result_that_was_used_again_has_been_told(
    emulator: Emulator, context: Any, run: Callable[..., Any], counted: Counter[str], wait: Any, zero: float
) -> None:
    done = transcribe(run, context)
    assert wait({**done, "estimated_cost_usd": zero})[0] == 0.0
    assert counted[COST] == 0.21


@pytest.mark.parametrize("given", ["an id", "an id in a dict", "no estimate", "no number"])
def test_it_tells_a_cost_that_is_not_known_to_be_told(
    emulator: Emulator, context: Any, run: Callable[..., Any], counted: Counter[str], wait: Any, given: str
) -> None:
    done = transcribe(run, context)
    counted.clear()
    transcript: dict[str, Any] = {
        "an id": done["transcript_id"],
        "an id in a dict": {"transcript_id": done["transcript_id"]},
        "no estimate": {**done, "estimated_cost_usd": None},
        "no number": {**done, "estimated_cost_usd": True},
    }
    for number in (1, 2):
        cost, line = wait(transcript[given])
        assert cost == 0.21
        assert TOLD in line
        assert counted[COST] == pytest.approx(number * 0.21)

# SPDX-License-Identifier: Apache-2.0
"""What is a template and what is not: the marker for a transcript, other templates, and text out of XCom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator
from airflow.sdk import DAG, task

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.llm_gateway.messages import TRANSCRIPT_MARKER
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

#: Text of a recording that looks like templates.
SPOKEN = "Well, {{ 1 + 1 }} and {{ conn.assemblyai_default.password }}, {% raw %}that is all."
MODEL = "gpt-5"


class Upstream(BaseOperator):
    """A task whose XCom the others take."""


class TaskInstance:
    dag_id, run_id, task_id = "d", "r", "ask"
    max_tries = 0
    _upstream_map_indexes: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, pulled: Any, map_index: int) -> None:
        self.pulled = pulled
        self.map_index = map_index
        self.task: Any = None
        self.xcoms: dict[str, Any] = {}

    def xcom_pull(self, **_: Any) -> Any:
        return self.pulled

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


def rendered(dag: DAG, pulled: Any = None, map_index: int = -1, *, task_id: str = "ask") -> tuple[Any, Any]:
    """Render a task as Airflow does before it runs it."""
    ti = TaskInstance(pulled, map_index)
    ti.task = dag.task_dict[task_id]
    context: Any = {
        "ti": ti,
        "dag": dag,
        "dag_run": SimpleNamespace(conf={}),
        "ds": "2026-11-23",
        "params": {"who": "Ada"},
        "task": ti.task,
    }
    ti.task.render_template_fields(context, dag.get_template_env())
    return context["ti"].task, context


def dag(*, native: bool = False) -> DAG:
    return DAG("d", schedule=None, params={"who": "Ada"}, render_template_as_native_obj=native)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("For {{ params.who }}, {{ ds }}: {{ transcript }}", f"For Ada, 2026-11-23: {TRANSCRIPT_MARKER}"),
        (
            "{{transcript}} {{   transcript\n}}{{- transcript }}",
            f"{TRANSCRIPT_MARKER} {TRANSCRIPT_MARKER}{TRANSCRIPT_MARKER}",
        ),
        ("{% if params.who %}{{ transcript }}{% endif %}", TRANSCRIPT_MARKER),
        ("{% raw %}{{ transcript }}{% endraw %}", TRANSCRIPT_MARKER),
    ],
)
def test_the_marker_beside_other_templates(prompt: str, expected: str) -> None:
    for native in (False, True):
        with dag(native=native) as d:
            LLMGatewayOperator(task_id="ask", model=MODEL, prompt=prompt, system_prompt=prompt)
            LLMGatewayOperator(task_id="chat", model=MODEL, messages=[{"role": "user", "content": prompt}])
        operator, _ = rendered(d)
        assert (operator.prompt, operator.system_prompt) == (expected, expected)
        chatting, _ = rendered(d, task_id="chat")
        assert chatting.messages == [{"role": "user", "content": expected}]


def test_elsewhere_the_marker_is_an_unknown_name() -> None:
    with dag() as d:
        LLMGatewayOperator(task_id="ask", model="{{ transcript }}", prompt="a")
    with pytest.raises(Exception, match="transcript"):
        rendered(d)


def test_text_from_xcom_is_not_rendered() -> None:
    with dag() as d:
        up = Upstream(task_id="up")
        LLMGatewayOperator(task_id="ask", model=MODEL, prompt=up.output)
        LLMGatewayOperator(
            task_id="chat",
            model=MODEL,
            messages=[{"role": "user", "content": up.output}, {"role": "user", "content": "{{ ds }}"}],
        )
        LLMGatewayOperator(
            task_id="pull", model=MODEL, prompt="{{ ds }}: {{ ti.xcom_pull(task_ids='up') }} {{ transcript }}"
        )
    assert rendered(d, SPOKEN)[0].prompt == SPOKEN
    chat = rendered(d, SPOKEN, task_id="chat")[0].messages
    assert [message["content"] for message in chat] == [SPOKEN, "2026-11-23"]
    assert rendered(d, SPOKEN, task_id="pull")[0].prompt == f"2026-11-23: {SPOKEN} {TRANSCRIPT_MARKER}"


def test_mapped_over_transcripts_with_one_prompt() -> None:
    with dag() as d:
        up = Upstream(task_id="up")
        LLMGatewayOperator.partial(task_id="ask", model=MODEL, prompt="{{ ds }}: {{transcript}}").expand(
            transcript_id=up.output
        )
    ids = [{"transcript_id": "a"}, {"transcript_id": "b"}]
    operator, _ = rendered(d, ids, 1)
    assert operator.prompt == f"2026-11-23: {TRANSCRIPT_MARKER}"
    assert operator.transcript_id == {"transcript_id": "b"}


@pytest.mark.parametrize("mapped", [False, True])
def test_of_another_tasks_summary_only_the_id_is_shown(mapped: bool) -> None:
    summary = {"transcript_id": "a", "region": "eu", "text": SPOKEN, "outputs": {}}
    with dag() as d:
        up = Upstream(task_id="up")
        if mapped:
            LLMGatewayOperator.partial(task_id="ask", model=MODEL, prompt="a").expand(transcript_id=up.output)
        else:
            LLMGatewayOperator(task_id="ask", model=MODEL, prompt="a", transcript_id=up.output)
    operator, _ = rendered(d, [summary] if mapped else summary, 0 if mapped else -1)
    assert operator.transcript_id == {"transcript_id": "a", "region": "eu"}


def test_mapped_over_text_from_xcom() -> None:
    with dag() as d:
        up = Upstream(task_id="up")
        LLMGatewayOperator.partial(task_id="ask", model=MODEL, system_prompt="{{ ds }}").expand(
            prompt=up.output
        )
        LLMGatewayOperator.partial(task_id="chat", model=MODEL).expand(messages=up.output)
    operator, _ = rendered(d, ["a", SPOKEN], 1)
    assert (operator.prompt, operator.system_prompt) == (SPOKEN, "2026-11-23")
    turns = [{"role": "user", "content": SPOKEN}]
    assert rendered(d, [turns], 0, task_id="chat")[0].messages == turns


def test_mapped_over_prompts_in_the_dag_file() -> None:
    with dag() as d:
        LLMGatewayOperator.partial(task_id="ask", model=MODEL).expand(
            prompt=["a", "{{ ds }}: {{transcript}}"]
        )
        LLMGatewayOperator.partial(task_id="kwargs", model=MODEL).expand_kwargs(
            [{"prompt": "{{ ds }}: {{transcript}}", "system_prompt": "{{ params.who }}"}]
        )
    assert rendered(d, None, 1)[0].prompt == f"2026-11-23: {TRANSCRIPT_MARKER}"
    operator, _ = rendered(d, None, 0, task_id="kwargs")
    assert (operator.prompt, operator.system_prompt) == (f"2026-11-23: {TRANSCRIPT_MARKER}", "Ada")


def test_expand_kwargs_out_of_xcom_is_data() -> None:
    with dag() as d:
        up = Upstream(task_id="up")
        LLMGatewayOperator.partial(task_id="ask", model=MODEL, system_prompt="{{ ds }}").expand_kwargs(
            up.output
        )
        LLMGatewayOperator.partial(task_id="one", model=MODEL).expand_kwargs(
            [{"prompt": "{{ ds }}"}, up.output]
        )
    operator, _ = rendered(d, [{"prompt": SPOKEN, "transcript_id": "{{ params.who }}"}], 0)
    assert (operator.prompt, operator.transcript_id, operator.system_prompt) == (
        SPOKEN,
        "{{ params.who }}",
        "2026-11-23",
    )
    turns = [{"role": "user", "content": SPOKEN}]
    assert rendered(d, [{"messages": turns}], 0)[0].messages == turns
    assert rendered(d, None, 0, task_id="one")[0].prompt == "2026-11-23"
    assert rendered(d, {"prompt": SPOKEN}, 1, task_id="one")[0].prompt == SPOKEN


# --- the decorator ---------------------------------------------------------------------------------------


def test_what_the_function_returns_is_not_rendered(emulator: Emulator) -> None:
    with dag() as d:

        @task.llm_gateway(model="{{ params.model }}", system_prompt="{{ ds }} {{transcript}}")
        def ask(text: Any, note: str, ds: str | None = None) -> str:
            return f"{ds} {note} {text}"

        ask(Upstream(task_id="up").output, note="{{ params.who }} {{transcript}}")
    d.params["model"] = MODEL
    operator, context = rendered_with(d, SPOKEN, {"who": "Ada", "model": MODEL})
    assert operator.system_prompt == f"2026-11-23 {TRANSCRIPT_MARKER}"
    assert operator.model == MODEL
    assert operator._prompt(context) == (f"2026-11-23 Ada {TRANSCRIPT_MARKER} {SPOKEN}", None)
    assert "prompt" not in operator.template_fields


def rendered_with(d: DAG, pulled: Any, params: dict[str, Any]) -> tuple[Any, Any]:
    ti = TaskInstance(pulled, -1)
    ti.task = d.task_dict["ask"]
    context: Any = {"ti": ti, "dag": d, "ds": "2026-11-23", "params": params}
    ti.task.render_template_fields(context, d.get_template_env())
    return ti.task, context


def test_mapped_functions(emulator: Emulator) -> None:
    with dag() as d:
        up = Upstream(task_id="up")

        @task.llm_gateway(model=MODEL)
        def ask(text: str, note: str) -> str:
            return f"{note} {text}"

        ask.partial(note="{{ ds }}").expand(text=up.output)
        ask.override(task_id="kwargs").partial(note="{{ ds }}").expand_kwargs(up.output)
    operator, context = rendered(d, ["a", SPOKEN], 1)
    assert operator._prompt(context) == (f"2026-11-23 {SPOKEN}", None)
    operator, context = rendered(d, [{"text": SPOKEN}], 0, task_id="kwargs")
    assert operator._prompt(context) == (f"2026-11-23 {SPOKEN}", None)


def test_a_function_that_returns_messages(emulator: Emulator) -> None:
    with dag() as d:

        @task.llm_gateway(model=MODEL)
        def ask() -> list[dict[str, Any]]:
            return [{"role": "user", "content": "The {{ fox }} is here."}]

        ask()
    operator, context = rendered(d)
    assert operator.execute(context) == "The {{ fox }} is here."


def test_the_function_runs_again_after_a_wait(emulator: Emulator, run: Any) -> None:
    emulator.configure_gateway(limit=None)
    emulator.fault("rate_limit", path="/v1/chat/completions", retry_after=0)
    calls = []
    with dag() as d:

        @task.llm_gateway(model=MODEL, deferrable=True)
        def ask() -> str:
            calls.append(1)
            return "The fox is here."

        ask()
    operator, context = rendered(d)
    assert run(operator, context) == "The fox is here."
    assert len(calls) == 2


def test_a_function_that_returns_no_prompt(emulator: Emulator) -> None:
    with dag() as d:

        @task.llm_gateway(model=MODEL)
        def ask() -> int:
            return 5

        ask()
    operator, context = rendered(d)
    with pytest.raises(Exception, match="must return a prompt as text or a list of messages, not int"):
        operator.execute(context)
    with pytest.raises(InvalidInput, match="the function returns prompt"), dag():
        task.llm_gateway(model=MODEL, prompt="a")(lambda: "b")()

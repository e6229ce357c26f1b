# SPDX-License-Identifier: Apache-2.0
"""Calls of models in every way: about a transcript by its id, about texts out of XCom, mapped and not."""

from __future__ import annotations

from typing import Any, cast

from airflow.sdk import DAG, task
from pydantic import BaseModel

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

#: Spoken text is data: it must come out as it went in.
SPOKEN = "She said {{ 1 + 1 }} and {{ nonsense.name }} today."


class Summary(BaseModel):
    title: str
    action_items: list[str]


with DAG("llm_by_id", schedule=None, params={"audio": "", "output_path": ""}):
    transcribe: Any = TranscribeOperator(
        task_id="transcribe", audio="{{ params.audio }}", deferrable=True, poll_interval=1, push_text=False
    )
    # [START by_id]
    LLMGatewayOperator(
        task_id="summarize",
        model="gpt-5",
        prompt="In run {{ run_id }} a caller said: {{ transcript }}",
        transcript_id=transcribe.output,  # what a TranscribeOperator returned, or an id
        response_format=Summary,  # a pydantic model class, or a JSON schema
        output_path="{{ params.output_path }}",
        push_answer=True,
        deferrable=True,
    )
    # [END by_id]

with DAG("llm_texts", schedule=None, params={"name": "Ada"}):

    @task(show_return_value_in_logs=False)
    def questions() -> list[dict[str, Any]]:
        return [{"prompt": SPOKEN}, {"messages": [{"role": "user", "content": SPOKEN}]}]

    @task(show_return_value_in_logs=False)
    def texts() -> list[str]:
        return [SPOKEN, SPOKEN]

    # [START decorator]
    @task.llm_gateway(model="gpt-5-mini", system_prompt="Be brief, {{ params.name }}.", deferrable=True)
    def ask(text: str, name: str) -> str:
        return f"For {name}. {text}"

    # [END decorator]

    LLMGatewayOperator.partial(task_id="mapped", model="gpt-5-mini", deferrable=True).expand_kwargs(
        cast(Any, questions())
    )
    ask.partial(name="{{ params.name }}").expand(text=cast(Any, texts()))
    ask.override(task_id="single", deferrable=False)("She said so.", name="{{ params.name }}")

with DAG("llm_refused", schedule=None):
    LLMGatewayOperator(task_id="no_such_model", model="gpt-55", prompt="Hello.")

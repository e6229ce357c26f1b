# SPDX-License-Identifier: Apache-2.0
"""Models asked in every way: about a transcript by its id, about texts out of XCom, mapped and not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, task
from pydantic import BaseModel

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

#: What somebody may have said: data, which must come out as it went in.
SPOKEN = "She said {{ 1 + 1 }} and {{ nonsense.name }} today."


class Summary(BaseModel):
    title: str
    action_items: list[str]


with DAG("llm_by_id", schedule=None, params={"audio": "", "output_path": ""}):
    spoken: Any = TranscribeOperator(
        task_id="transcribe", audio="{{ params.audio }}", deferrable=True, poll_interval=1, push_text=False
    )
    LLMGatewayOperator(
        task_id="summarize",
        model="gpt-5",
        prompt="In {{ run_id }}, sum up this call: {{transcript}}",
        transcript_id=spoken.output,
        response_format=Summary,
        output_path="{{ params.output_path }}",
        push_answer=True,
        deferrable=True,
        retry_delay=timedelta(seconds=1),
    )

with DAG("llm_texts", schedule=None, params={"who": "Ada"}):

    @task(show_return_value_in_logs=False)
    def texts() -> list[dict[str, Any]]:
        return [{"prompt": SPOKEN}, {"messages": [{"role": "user", "content": SPOKEN}]}]

    @task.llm_gateway(model="gpt-5-mini", system_prompt="Be brief, {{ params.who }}.", deferrable=True)
    def ask(text: dict[str, Any], who: str) -> str:
        return f"For {who}. {text.get('prompt') or text['messages'][0]['content']}"

    found: Any = texts()
    LLMGatewayOperator.partial(task_id="mapped", model="gpt-5-mini", deferrable=True).expand_kwargs(found)
    ask.partial(who="{{ params.who }}").expand(text=found)
    ask.override(task_id="single", deferrable=False)({"prompt": SPOKEN.replace("{", "[")}, who="{{ run_id }}")

with DAG("llm_refused", schedule=None):
    LLMGatewayOperator(task_id="no_such_model", model="gpt-55", prompt="Hello.")

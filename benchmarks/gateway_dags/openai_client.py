# SPDX-License-Identifier: Apache-2.0
"""The same mapped question with the openai package as it is, in a task of the user's own."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG, task

PROMPTS = [
    f"Summarize call {number}: the invoice, again." for number in range(int(os.environ["BENCH_CALLS"]))
]

with DAG("openai_client", schedule=None):

    @task(retries=3, retry_delay=timedelta(seconds=30))
    def ask(prompt: str) -> str | None:
        from airflow.sdk import BaseHook
        from openai import OpenAI

        connection = BaseHook.get_connection("assemblyai_default")
        client = OpenAI(api_key=connection.password, base_url=f"{connection.host}/v1")
        answer = client.chat.completions.create(
            model="gpt-5.1", messages=[{"role": "user", "content": prompt}]
        )
        return answer.choices[0].message.content

    ask.expand(prompt=PROMPTS)

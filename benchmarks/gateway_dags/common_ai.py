# SPDX-License-Identifier: Apache-2.0
"""The same mapped question with the operator of the common.ai provider."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.providers.common.ai.operators.llm import LLMOperator
from airflow.sdk import DAG

PROMPTS = [
    f"Summarize call {number}: the invoice, again." for number in range(int(os.environ["BENCH_CALLS"]))
]

with DAG("common_ai", schedule=None):
    LLMOperator.partial(
        task_id="ask",
        llm_conn_id="gateway",
        model_id="openai-chat:gpt-4.1",
        retries=3,
        retry_delay=timedelta(seconds=30),
    ).expand(prompt=PROMPTS)

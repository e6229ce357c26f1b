# SPDX-License-Identifier: Apache-2.0
"""The same mapped question with our operator: at the service's rate, without a limit, and alone."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

PROMPTS = [
    f"Summarize call {number}: the invoice, again." for number in range(int(os.environ["BENCH_CALLS"]))
]
RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=30)}

with DAG("ours", schedule=None):
    LLMGatewayOperator.partial(task_id="ask", model="gpt-5-mini", deferrable=True, **RETRIES).expand(
        prompt=PROMPTS
    )

with DAG("ours_unlimited", schedule=None):
    LLMGatewayOperator.partial(task_id="ask", model="gpt-5-nano", deferrable=False, **RETRIES).expand(
        prompt=PROMPTS
    )

with DAG("ours_alone", schedule=None):
    LLMGatewayOperator.partial(task_id="ask", model="gpt-5-nano", deferrable=False, **RETRIES).expand(
        prompt=PROMPTS[:1]
    )

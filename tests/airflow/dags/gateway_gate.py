# SPDX-License-Identifier: Apache-2.0
"""A hundred mapped calls of one model, all of which wait for the rate limiter."""

from __future__ import annotations

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

with DAG("gateway_gate", schedule=None):
    LLMGatewayOperator.partial(
        task_id="ask", model="gpt-5-nano", assemblyai_conn_id="rate_limited", deferrable=True, max_wait=3600
    ).expand(prompt=[f"Summarize call {number}." for number in range(100)])

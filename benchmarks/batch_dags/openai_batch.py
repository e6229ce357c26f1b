# SPDX-License-Identifier: Apache-2.0
"""A job for each recording, with the operator of the OpenAI provider."""

from __future__ import annotations

import os

from airflow.providers.openai.operators.openai import OpenAITriggerBatchOperator
from airflow.sdk import DAG

with DAG("openai_batch", schedule=None):
    OpenAITriggerBatchOperator.partial(
        task_id="batch",
        conn_id="openai_bench",
        endpoint="/v1/responses",
        poll_interval=5,
        deferrable=True,
    ).expand(file_id=[f"file-{number}" for number in range(int(os.environ["BENCH_MAPPED"]))])

# SPDX-License-Identifier: Apache-2.0
"""Captures that are ended from outside, or by Airflow's own limit."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.streaming_capture import StreamingCaptureOperator

with DAG("capture_long", schedule=None, params={"source": "", "output_path": ""}):
    StreamingCaptureOperator(
        task_id="record",
        source="{{ params.source }}",
        duration=600,
        output_path="{{ params.output_path }}",
        segment=1,
        retries=0,
    )

with DAG("capture_timeout", schedule=None, params={"source": "", "output_path": ""}):
    StreamingCaptureOperator(
        task_id="record",
        source="{{ params.source }}",
        duration=600,
        output_path="{{ params.output_path }}",
        execution_timeout=timedelta(seconds=30),
        retries=0,
    )

with DAG("capture_retried", schedule=None, params={"source": "", "output_path": "", "duration": 90}):
    StreamingCaptureOperator(
        task_id="record",
        source="{{ params.source }}",
        duration="{{ params.duration }}",
        output_path="{{ params.output_path }}",
        segment=1,
        keep_audio=True,
        inactivity_timeout=15,
        retries=2,
        retry_delay=timedelta(seconds=1),
    )

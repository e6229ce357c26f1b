# SPDX-License-Identifier: Apache-2.0
"""Many recordings in one task."""

from __future__ import annotations

import json
import os

from airflow.sdk import DAG

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

for files, seconds in json.loads(os.environ["BENCH_FILES"]):
    with DAG(f"batch_{files}", schedule=None):
        TranscribeBatchOperator(
            task_id="transcribe",
            audios=[f"https://example.com/{files}/{number:05}.wav{seconds}" for number in range(files)],
            output_path=f"{os.environ['BENCH_OUT']}/{files}",
            formats=["txt"],
            deferrable=True,
        )

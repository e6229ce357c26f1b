# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

from airflow_provider_assemblyai.jobs.results import summarize


def test_a_text_that_no_database_takes_does_not_fail_the_task_at_its_end() -> None:
    transcript: Any = {"id": "an-id", "status": "completed", "text": "a \ud800 b \0 c"}
    summary = summarize(transcript, "us", push_text=True)
    assert summary["text"] == "a \N{REPLACEMENT CHARACTER} b \N{REPLACEMENT CHARACTER} c"
    assert json.dumps(summary, ensure_ascii=False).encode()

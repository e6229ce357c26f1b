# SPDX-License-Identifier: Apache-2.0
"""The page of limits names the numbers that the code has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from airflow_provider_assemblyai.api import call, transcripts
from airflow_provider_assemblyai.api.errors import RETENTION
from airflow_provider_assemblyai.api.short_audio import clips as clip_api
from airflow_provider_assemblyai.api.validation import MAX_SECONDS
from airflow_provider_assemblyai.batch import item_processor
from airflow_provider_assemblyai.capture import config as capture
from airflow_provider_assemblyai.capture.streaming import pace
from airflow_provider_assemblyai.events import feed, watermark
from airflow_provider_assemblyai.jobs import (
    audio,
    clips,
    pushed_words,
    results,
    state,
    state_store,
    submission,
)
from airflow_provider_assemblyai.llm_gateway import call_window, kept_answers
from airflow_provider_assemblyai.operators import paid_call, transcribe_batch
from airflow_provider_assemblyai.plugins import routes, transcript_roots
from airflow_provider_assemblyai.polling import connection, list_index, policy, token_bucket
from airflow_provider_assemblyai.storage import atomic_files, lease

PAGE = (Path(__file__).parents[2] / "docs" / "operations" / "limits.md").read_text()
DAY, MIB = 86_400, 1 << 20

#: What a row begins with, and what it must say.
ROWS: Mapping[str, str] = {
    "an upload": f"{transcripts.MAX_UPLOAD_BYTES / 1e9:g} GB",
    "a recording by URL": f"{transcripts.MAX_URL_BYTES / 1e9:g} GB",
    "a URL": f"{audio._MAX_URL >> 10} KiB",
    "`source_id`": f"{audio._MAX_SOURCE_ID} bytes",
    "reading a URL to upload it": f"{audio._LONGEST_UPLOAD / 3600:g} hours",
    "length": f"{clip_api.SHORTEST_MS} ms to {clip_api.LONGEST_MS // 1000} s",
    "size as sent": f"{clip_api.MAX_BYTES / 1e6:g} MB",
    "size that is read before it is converted": f"{clips.MAX_READ / 1e6:g} MB",
    "`prompt`": f"{clip_api._MAX_PROMPT:,} characters",
    "`keyterms_prompt`": f"{clip_api._MAX_TERMS} terms, {clip_api._MAX_TERM_CHARS:,} characters",
    "`duration`": f"{capture.MAX_DURATION / DAY:g} days",
    "`segment`": f"{capture.MAX_SEGMENT:g} s",
    "`catch_up_rate`": f"1.0 to {capture.MAX_CATCH_UP_RATE}",
    "ahead of real time in one session": f"{pace._MAX_AHEAD_MS / 1000:g} s",
    "`max_in_flight`": f"{transcribe_batch._MAX_WINDOW:,}",
    "`upload_workers`": f"{transcribe_batch._MAX_THREADS}",
    "failed items in a row for temporary reasons": f"{item_processor._MAX_FAILURES_IN_A_ROW};",
    "errors of items in the log": f"{item_processor._MAX_LOGGED_ERRORS};",
    "text in the XCom": f"{results.MAX_XCOM_TEXT >> 10} KiB",
    "utterances in the XCom": f"{pushed_words.MAX_XCOM_UTTERANCES // MIB} MiB",
    "a transcript from the service": f"{transcripts.MAX_TRANSCRIPT_BYTES // MIB} MiB",
    "any other answer of the service": f"{call.MAX_BYTES // MIB} MiB",
    "`chars_per_caption`": f"{results._MAX_CAPTION:,}",
    "stem of a file's name": f"{atomic_files.MAX_STEM} bytes",
    "file of a transcript on the page in Airflow": f"{transcript_roots.MAX_TRANSCRIPT // MIB} MiB",
    "failures on the page in Airflow": f"{routes._MAX_FAILURES:,} rows",
    "any duration in a parameter": f"{MAX_SECONDS / DAY / 365:g} years",
    "`timeout` of a model call or a clip": f"{paid_call._MAX_ANSWER_TIME / 3600:g} hours",
    "polls that fail": f"{policy.MAX_ERROR_TIME / 60:g} minutes",
    "requests of one triggerer": f"{token_bucket.DEFAULT_REQUESTS:,} in 5 minutes",
    "calls of one model": f"{call_window._ASSUMED:g} in {call_window.WINDOW:g} s",
    "`max_resubmits`": f"{state.MAX_RESUBMITS}",
    "look-up of a lost submission": f"{submission.MAX_PAGES * list_index.PAGE:,} transcripts",
    "submissions after lost answers": f"{submission.MAX_LOST} in one try",
    "a transcript at the service": RETENTION,
    "a job state in Airflow's task state store": f"{state_store._RETENTION.days} days",
    "a model's answer in Airflow's task state store": f"{kept_answers._RETENTION.days} days, at most "
    f"{kept_answers.MAX_IN_AIRFLOW // MIB} MiB",
    "a lease without a heartbeat": f"{lease.DEFAULT_TTL:g} seconds",
    "events at once": f"{watermark.MAX_EVENTS}, five seconds",
    "rows of one poll": f"{feed._MOST_PAGES * list_index.PAGE:,}",
}


@pytest.mark.parametrize("row", ROWS)
def test_a_limit_is_the_one_of_the_code(row: str) -> None:
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| {row} |"))
    assert ROWS[row] in line


def test_limits_that_are_said_in_words() -> None:
    assert feed._BACKLOG_PAUSE == 5
    assert watermark.STUCK == 2 * DAY
    assert connection._FEED_SHARE == 0.25
    assert "| a job that does not end | given up after two days |" in PAGE
    assert "| share of the triggerer's requests | a quarter |" in PAGE

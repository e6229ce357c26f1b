# SPDX-License-Identifier: Apache-2.0
"""The policy for S3 on the page about permissions is enough for every task that uses a store, and no right is in vain."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api.errors import AssemblyAIError
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.operators.transcripts import TranscriptExportOperator
from tests.integration.conftest import to_the_end
from tests.support.airflow_settings import clean_environment
from tests.support.processes import ProcessSet, free_port, until
from tests.support.sample import SAMPLE
from tests.support.webhook_relay import RECIPES

POLICY = json.loads((RECIPES / "s3_policy.json").read_text())
NAMES = [one["Sid"] for one in POLICY["Statement"]]
#: Makes a user with a policy, and returns the connection to that user.
Allow = Callable[[dict[str, Any]], str]
OUT = "transcripts/calls"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Allow]:
    """An S3 that checks rights; a user with the policy that is given is behind a connection."""
    processes = ProcessSet(tmp_path / "output")
    address = f"http://127.0.0.1:{(port := free_port())}"
    server = processes.start(
        "s3", [sys.executable, "-m", "moto.server", "-p", str(port)], clean_environment(), tmp_path
    )

    def ready() -> bool:
        server.require_running()
        try:
            return requests.get(f"{address}/moto-api/", timeout=60).ok
        except requests.ConnectionError:
            return False

    try:
        until(ready, what="an S3")

        def allow(policy: dict[str, Any]) -> str:
            # File systems are kept by their connection.
            name = f"limited_{uuid.uuid4().hex}"
            options = {"endpoint_url": address, "region_name": "us-east-1"}
            root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
            client: Any = boto3.client("s3", **options, **root)
            for bucket in ("recordings", "transcripts"):
                client.create_bucket(Bucket=bucket)
            client.upload_file(str(SAMPLE), "recordings", "calls/monday.wav")
            users: Any = boto3.client("iam", **options, **root)
            users.create_user(UserName="airflow")
            users.put_user_policy(UserName="airflow", PolicyName="tasks", PolicyDocument=json.dumps(policy))
            key = users.create_access_key(UserName="airflow")["AccessKey"]
            connection = {
                "conn_type": "aws",
                "login": key["AccessKeyId"],
                "password": key["SecretAccessKey"],
                "extra": options,
            }
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
            requests.post(f"{address}/moto-api/reset-auth", data="0", timeout=60).raise_for_status()
            return name

        yield allow
    finally:
        processes.stop()


def work(context: Any, conn: str) -> None:
    """What tasks do with a store."""
    recording = f"s3://{conn}@recordings/calls/monday.wav"
    one = TranscribeOperator(
        task_id="one", audio=recording, output_path=f"s3://{conn}@{OUT}", poll_interval=0.05
    )
    summary = to_the_end(one, context, partial(one.execute, context))
    many = TranscribeBatchOperator(
        task_id="many",
        audios=f"s3://{conn}@recordings/calls",
        output_path=f"s3://{conn}@{OUT}/many",
        poll_interval=0.05,
    )
    assert to_the_end(many, context, partial(many.execute, context))["completed"] == 1
    export = TranscriptExportOperator(
        task_id="export", transcript_id=summary, output_path=f"s3://{conn}@{OUT}", formats=["srt"]
    )
    assert export.execute(context)["outputs"]


def test_the_policy_is_enough(emulator: Emulator, store: Allow, context: Any) -> None:
    work(context, store(POLICY))


@pytest.mark.parametrize("left_out", NAMES)
def test_no_statement_is_in_vain(
    emulator: Emulator,
    store: Allow,
    context: Any,
    left_out: str,
) -> None:
    conn = store({**POLICY, "Statement": [one for one in POLICY["Statement"] if one["Sid"] != left_out]})
    with pytest.raises((AssemblyAIError, AirflowFailException), match="no permission for"):
        work(context, conn)

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.running_airflow import Airflow
from tests.support.s3 import s3

#: Calls a route of the emulator's own: method, path, body.
Control = Callable[..., Any]

HERE = Path(__file__).parent
EXAMPLE_DAGS = HERE.parents[1] / "example_dags"


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """An S3 of this machine; the connection `my_aws_conn` of the example DAGs leads to it."""
    with s3() as address:
        yield address


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, object_store: str) -> Iterator[Airflow]:
    """One Airflow for all tests of this folder: starting it costs more than most of them."""
    folders = {"examples": EXAMPLE_DAGS, "tests": HERE / "dags"}
    aws = {
        "conn_type": "aws",
        "login": "moto",
        "password": "moto-secret",
        "extra": {"endpoint_url": object_store, "region_name": "us-east-1"},
    }
    settings = {"AIRFLOW_CONN_MY_AWS_CONN": json.dumps(aws)}
    home = tmp_path_factory.mktemp("airflow")
    models = {"pydanticai_assemblyai_default": {"conn_type": "pydanticai_assemblyai"}}
    with Airflow(home, dag_folders=folders, settings=settings, connections=models) as running:
        yield running


@pytest.fixture
def spent(airflow: Airflow) -> Callable[[str], int]:
    """What the test cost so far, from the emulator's books: `spent("accepted")`, `spent("billed")`..."""

    def counters() -> dict[str, Any]:
        counted: dict[str, Any] = requests.get(
            f"{airflow.emulator_url}/_emulator/counters", timeout=30
        ).json()
        return counted

    before = counters()
    return lambda name: int(counters()[name]) - int(before[name])


@pytest.fixture
def control(airflow: Airflow) -> Iterator[Control]:
    """Calls of the emulator's own routes; what was changed is put right at the end."""

    def ask(method: str, path: str, body: object = None) -> Any:
        answer = requests.request(method, f"{airflow.emulator_url}/_emulator{path}", json=body, timeout=90)
        answer.raise_for_status()
        return answer.json()

    yield ask
    ask("DELETE", "/faults")
    ask("POST", "/llm-answers", {"answers": []})
    ask("POST", "/transcript-text", {"text": None})

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.airflow_settings import lineage_file, lineage_settings
from tests.support.processes import free_port
from tests.support.running_airflow import Airflow
from tests.support.s3 import s3
from tests.support.statsd import StatsdReceiver

#: Calls a control route of the emulator: method, path, body.
Control = Callable[..., Any]
#: How much a counter of the emulator has grown since the test began.
CounterDelta = Callable[[str], int]

#: Words of the recording that occur nowhere else in an Airflow.
CANARIES = ("coffee", "parcel", "heavy snow")

HERE = Path(__file__).parent
#: The path below which users reach this Airflow, as its workers know it: links of tasks carry it.
PREFIX = "/tools/airflow"
EXAMPLE_DAGS = HERE.parents[1] / "example_dags"


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """An S3 of this machine; the connection `my_aws_conn` of the example DAGs leads to it."""
    with s3() as address:
        yield address


@pytest.fixture(scope="session")
def s3_client(object_store: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=object_store,
        region_name="us-east-1",
        aws_access_key_id="moto",
        aws_secret_access_key="moto-secret",
    )


@pytest.fixture(scope="session")
def statsd() -> Iterator[StatsdReceiver]:
    """Takes the metrics that the Airflow of this folder sends."""
    receiver = StatsdReceiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, object_store: str, statsd: StatsdReceiver
) -> Iterator[Airflow]:
    """One Airflow for all tests of this folder: starting it costs more than most of them."""
    folders = {"examples": EXAMPLE_DAGS, "tests": HERE / "dags"}
    aws = {
        "conn_type": "aws",
        "login": "moto",
        "password": "moto-secret",
        "extra": {"endpoint_url": object_store, "region_name": "us-east-1"},
    }
    home = tmp_path_factory.mktemp("airflow")
    settings = {
        "AIRFLOW_CONN_MY_AWS_CONN": json.dumps(aws),
        **lineage_settings(home),
        **statsd.settings,
    }
    # The api-server that the other tests ask has no prefix: those that it has serve nothing without it.
    public = {"AIRFLOW__API__BASE_URL": f"https://intranet.example{PREFIX}"}
    others = {
        "pydanticai_assemblyai_default": {"conn_type": "pydanticai_assemblyai"},
        "assemblyai_wrong_key": {"password": "0" * 32},
        # Nothing listens there.
        "assemblyai_nowhere": {"host": f"http://127.0.0.1:{free_port()}"},
    }
    with Airflow(
        home, dag_folders=folders, settings=settings, worker_settings=public, connections=others
    ) as running:
        yield running
        # Of all tests, those of tasks that failed included.
        told = lineage_file(home).read_text()
        for hidden in (running.api_key, ".assemblyai/", *CANARIES):
            assert hidden not in told


@pytest.fixture
def counted(airflow: Airflow) -> CounterDelta:
    """What the test has cost so far: `counted("accepted")`, `counted("billed")`..."""
    before = airflow.emulator.counters()
    return lambda name: int(airflow.emulator.counters()[name]) - int(before[name])


@pytest.fixture
def control(airflow: Airflow) -> Iterator[Control]:
    """The emulator's control routes; the emulator's settings are restored at the end."""
    call = airflow.emulator.call
    yield call
    call("DELETE", "/faults")
    call("POST", "/release", {})
    call("POST", "/llm-answers", {"answers": []})
    call("POST", "/transcript-text", {"text": None})


def local_path(uri: str) -> Path:
    """The path of a `file://` URI."""
    return Path(uri.removeprefix("file://"))

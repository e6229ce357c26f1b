# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.airflow_settings import emulator_command, lineage_file, lineage_settings
from tests.support.processes import free_port, until
from tests.support.running_airflow import Airflow, Run
from tests.support.s3 import s3
from tests.support.sample import SAMPLE
from tests.support.statsd import StatsdReceiver

#: Calls a control route of the emulator: method, path, body.
Control = Callable[..., Any]
#: How much a counter of the emulator has grown since the test began.
CounterDelta = Callable[[str], int]
#: Unpauses a DAG that watches assets.
Watch = Callable[[str], None]

#: Words of the recording that occur nowhere else in an Airflow.
CANARIES = ("coffee", "parcel", "heavy snow")

HERE = Path(__file__).parent
#: The path below which users reach this Airflow, as its workers know it: links of tasks carry it.
PREFIX = "/tools/airflow"
EXAMPLE_DAGS = HERE.parents[1] / "example_dags"
#: A DAG that is no example to follow, so it is not among them.
SDK_DAG = HERE.parents[1] / "docs" / "recipes" / "sdk_in_a_python_operator.py"


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
    recipes = tmp_path_factory.mktemp("recipes")
    shutil.copy(SDK_DAG, recipes)
    folders = {"examples": EXAMPLE_DAGS, "tests": HERE / "dags", "recipes": recipes}
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
        home,
        dag_folders=folders,
        settings=settings,
        worker_settings=public,
        connections=others,
        # Of recordings with one channel, where a request wants speaker labels.
        emulator=emulator_command("whisper", "--speakers", "2"),
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


def transcribe_folder(airflow: Airflow, s3_client: Any, bucket: str) -> Run:
    """A batch of two recordings in a new bucket, by the example; its run, which has succeeded."""
    s3_client.create_bucket(Bucket=bucket)
    for key in ("in/monday/call.wav", "in/tuesday/call.wav"):
        s3_client.upload_file(str(SAMPLE), bucket, key)
    conf = {"audios": f"s3://my_aws_conn@{bucket}/in", "output_path": f"s3://my_aws_conn@{bucket}/out"}
    run = airflow.trigger("assemblyai_transcribe_folder", conf)
    assert airflow.wait(run) == "success", airflow.describe(run)
    return run


def local_path(uri: str) -> Path:
    """The path of a `file://` URI."""
    return Path(uri.removeprefix("file://"))


@pytest.fixture(scope="module")
def watch(airflow: Airflow) -> Iterator[Watch]:
    """
    Unpauses a DAG and waits for the first poll for its assets; at the end all are paused again.

    Not in between: SQLite gives the number of a deleted trigger to the next one, and a triggerer that has not yet
    noticed takes the new one for the old.
    """
    unpaused: set[str] = set()

    def polls() -> int:
        requests = airflow.emulator.requests()
        return sum(one["method"] == "GET" and one["path"] == "/v2/transcript" for one in requests)

    def watch(dag_id: str) -> None:
        if dag_id in unpaused:
            return
        before = polls()
        unpaused.add(dag_id)
        _pause(airflow, dag_id, paused=False)
        until(lambda: polls() > before, what=f"a poll for {dag_id}")

    yield watch
    for dag_id in unpaused:
        _pause(airflow, dag_id, paused=True)
    until(lambda: not _watchers_run(airflow), what="the end of all watchers")


def _watchers_run(airflow: Airflow) -> bool:
    """Whether an asset has a trigger, or a triggerer still runs one."""
    # The second is its name in Airflow 3.1.
    (table,) = {"asset_watcher", "asset_trigger"} & set(airflow.tables())
    if airflow.query(f"select count(*) as number from {table}")[0]["number"]:
        return True
    outputs = [
        process.read_output() for name, process in airflow.processes.items() if name.startswith("triggerer")
    ]
    # A restart has ended all triggers of the process before it.
    outputs = [text.rpartition("Starting the triggerer")[2] for text in outputs]
    began, ended = r"trigger ID \d+ starting", r"trigger completed .*name='ID \d+'"
    return any(len(re.findall(began, text)) > len(re.findall(ended, text)) for text in outputs)


def _pause(airflow: Airflow, dag_id: str, *, paused: bool) -> None:
    """Pause or unpause as the switch of the UI does, and have the file parsed at once."""

    def known() -> dict[str, Any] | None:
        found = airflow.request("GET", "/dags", params={"limit": 100})["dags"]
        return next((dag for dag in found if dag["dag_id"] == dag_id), None)

    dag = until(known, what=f"DAG {dag_id} to be parsed")
    airflow.request("PATCH", f"/dags/{dag_id}", body={"is_paused": paused})
    airflow.request("PUT", f"/parseDagFile/{dag['file_token']}")

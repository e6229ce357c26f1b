# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

from tests.airflow.dags.secrets_in_fields import CONFIG, SIGNED
from tests.support.running_airflow import Airflow


def test_signatures_are_shown_nowhere(airflow: Airflow) -> None:
    run = airflow.trigger("secrets_in_fields")
    assert airflow.wait(run) == "failed"  # there is nothing to download

    instances = (airflow.task_instance(run, "plain"), airflow.task_instance(run, "mapped", map_index=0))
    fields = json.dumps([instance["rendered_fields"] for instance in instances])
    messages = airflow.task_logs(run, "plain") + airflow.task_logs(run, "mapped", map_index=0)
    assert "example.com/nowhere.wav" in fields
    assert "Download error" in messages
    for secret in (SIGNED.rpartition("=")[2], CONFIG["webhook_auth_header_value"]):
        assert secret not in fields
        assert secret not in airflow.all_log_text()
        for table in ("rendered_task_instance_fields", "xcom", "trigger", "log"):
            assert secret not in json.dumps(airflow.query(f"select * from {table}"), default=str)

# SPDX-License-Identifier: Apache-2.0
"""The Test button of the connection form, as the UI presses it: in the api-server, with the values of the form."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.processes import free_port
from tests.support.running_airflow import Airflow


@pytest.fixture(scope="module")
def answers(airflow: Airflow) -> dict[str, tuple[bool, str]]:
    forms: dict[str, dict[str, Any]] = {
        "right": {},
        "wrong key": {"password": "not-a-key-of-this-account"},
        "wrong host": {"host": f"http://127.0.0.1:{free_port()}"},
        "another service": {"host": airflow.url},
    }
    return {case: airflow.test_connection(airflow.connection(**changes)) for case, changes in forms.items()}


def test_each_case_gets_a_sentence_of_its_own(answers: dict[str, tuple[bool, str]]) -> None:
    worked = {case for case, (status, _message) in answers.items() if status}
    messages = [message for _status, message in answers.values()]

    assert worked == {"right"}
    assert len(set(messages)) == len(messages)
    assert all(message.endswith((".", ")")) and "\n" not in message for message in messages), messages


def test_the_sentences_name_what_to_look_at(answers: dict[str, tuple[bool, str]]) -> None:
    assert "US" in answers["right"][1]
    assert "key" in answers["wrong key"][1]
    assert "host" in answers["wrong host"][1]
    assert "host" in answers["another service"][1]


def test_no_sentence_shows_a_key(airflow: Airflow, answers: dict[str, tuple[bool, str]]) -> None:
    for _status, message in answers.values():
        assert airflow.api_key not in message
        assert "not-a-key-of-this-account" not in message


def test_no_log_shows_a_key(airflow: Airflow, answers: dict[str, tuple[bool, str]]) -> None:
    logs = airflow.all_log_text()

    assert airflow.api_key not in logs
    assert "not-a-key-of-this-account" not in logs

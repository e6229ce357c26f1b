# SPDX-License-Identifier: Apache-2.0
"""Bad input: each parameter has its heading, and the messages on the page are those that come."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.providers.common.compat.sdk import BaseSensorOperator

from airflow_provider_assemblyai import get_provider_info
from airflow_provider_assemblyai.decorators.llm_gateway import llm_gateway_task
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.triggers.base import DeferralTrigger
from tests.docs import package_texts
from tests.docs.bad_input_cases import TABLES, Place, message_of
from tests.docs.troubleshooting_pages import INTERNAL, as_pattern, first_cells, page, quotes, sections
from tests.fuzz.strategies import arguments_of
from tests.support import inventory
from tests.support.refusing_server import RefusingServer

#: What is not refused here, and why.
UNCHECKED = {
    "`op_args`": "Airflow collects it, and Python checks the call",
    "`op_kwargs`": "the same",
    "`multiple_outputs`": "Airflow reads it",
    "`pause` of the hook": "for the operators of this package",
    "`deadline` of the hook": "for the operators of this package",
    "`min_timeout` of the hook": "for the operators of this package",
    "`before` of the hook": "for the operators of this package",
    "`max_session` of the hook": "it is moved into its range",
    "`llm_model` of the connection": "only the service knows the models of an account",
    "`fallback_conn_ids` of the Pydantic AI connection": "the common.ai provider reads it",
    "`media_hosts` of the configuration": "what is no host is left out without a word",
}


def user_classes() -> list[type]:
    """Operators, sensors and triggers that users write: not those that a task defers to."""
    triggers = [one for one in inventory.triggers() if not issubclass(one, DeferralTrigger)]
    return [*inventory.operators(), *triggers]


def wanted_headings() -> set[str]:
    names: set[str] = set()
    for cls in user_classes():
        names |= set(arguments_of(cls, also=(BaseSensorOperator,)))
    names |= set(inspect.signature(llm_gateway_task).parameters) - {"kwargs"}
    hook = set(inspect.signature(AssemblyAIHook.__init__).parameters)
    for method in inventory.hook_methods().values():
        hook |= set(inspect.signature(method).parameters)
    found = {f"`{name}`" for name in names} | {f"`{name}` of the hook" for name in hook - names - {"self"}}
    places = {"assemblyai": "the connection", "pydanticai_assemblyai": "the Pydantic AI connection"}
    for connection in get_provider_info()["connection-types"]:
        place = places[connection["connection-type"]]
        found |= {f"`{name}` of {place}" for name in connection["conn-fields"]}
    # Those of every connection that are not hidden in the form.
    found |= {f"`{name}` of the connection" for name in ("password", "host", "extra")}
    options = get_provider_info()["config"]["assemblyai"]["options"]
    return found | {f"`{name}` of the configuration" for name in options}


def test_every_parameter_field_and_option_has_its_heading() -> None:
    assert set(sections(page("bad-input"), 3)) == wanted_headings()


def test_what_is_refused_is_tried_for_every_heading() -> None:
    tried = {
        f"`{name}`{suffix}" for suffix, table in TABLES.items() for name, cases in table.items() if cases
    }
    assert tried | set(UNCHECKED) == wanted_headings()
    assert tried & set(UNCHECKED) == set()


@pytest.fixture(scope="module")
def service() -> Iterator[RefusingServer]:
    """A service that counts what is asked, and refuses it."""
    with RefusingServer() as server:
        yield server


@pytest.mark.parametrize("title", sorted(wanted_headings()))
def test_the_message_on_the_page_is_the_one_that_comes(
    title: str,
    service: RefusingServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = sections(page("bad-input"), 3)[title]
    assert "\nAccepted: " in body
    assert "\nWrite instead: " in body
    quoted = quotes(body)
    if title in UNCHECKED:
        assert not quoted
        assert "Refused: nothing here." in body
        return
    _, name, suffix = title.split("`")
    service.new_client()
    messages = []
    for number, case in enumerate(TABLES[suffix][name]):
        folder = tmp_path / str(number)
        folder.mkdir()
        messages.append(message_of(case, Place(folder, monkeypatch, service.address, caplog)))
    assert service.asked() == 0
    for quote in quoted:
        assert any(quote in message for message in messages), (quote, messages)
    for message in messages:
        assert any(quote in message for quote in quoted), message


#: Messages of arguments that only this package gives, in the rows of deferred tasks.
OF_DEFERRALS = {
    "refusal must be a dict, not ….",
    "state must be a dict, not ….",
    "transcript_ids must be a list, not ….",
}


def is_telling(text: str) -> bool:
    """Return whether enough of a message is written down to know it by."""
    return len(re.findall(r"\w", text)) > 8


def test_every_message_is_on_a_page(
    service: RefusingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rows = first_cells(sections(page("errors"), 2)["Every other message"])
    shown = [one for one in (*quotes(page("errors")), *rows) if is_telling(one) or one in rows]
    known = {name: texts for name, texts in package_texts.error_texts().items() if name not in INTERNAL}
    texts = {text for found in known.values() for text in found if re.search(r"\w", text)}
    assert texts >= OF_DEFERRALS
    missing = {
        text
        for text in texts - OF_DEFERRALS
        if not any(
            as_pattern(one).search(text) or as_pattern(text.rstrip(" ….")).search(one) for one in shown
        )
    }
    # What is tried for the page of bad input is quoted there.
    for number, case in enumerate(
        one for table in TABLES.values() for cases in table.values() for one in cases
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        message = message_of(case, Place(folder, monkeypatch, service.address, caplog))
        missing -= {text for text in missing if as_pattern(text).search(message)}
    assert missing == set()
    for row in rows:
        assert any(as_pattern(row).search(text) for text in texts), row
    assert len(rows) == len(set(rows))

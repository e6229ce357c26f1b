# SPDX-License-Identifier: Apache-2.0
"""Triggers that an older commit has stored fire; and none is without a stored one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from tests.golden.conftest import Restored
from tests.golden.moments import HERE, names
from tests.integration.conftest import import_string, through_database
from tests.integration.events.test_feed import AssetState
from tests.support import inventory
from tests.support.polling import until


def kept() -> dict[str, Any]:
    return {name: json.loads((HERE / name / "moment.json").read_text()) for name in names()}


def test_the_watermark_goes_on_where_it_was(restored: Callable[..., Restored]) -> None:
    found = restored("v1/events")
    stored = found.moment.content
    told = {payload["transcript_id"] for payload in stored["payloads"]}
    state = AssetState()
    state.values = {key: json.dumps(value) for key, value in stored["asset_state"].items()}
    (watermark,) = stored["asset_state"].values()
    assert watermark["open"], "one was running when this was kept"
    path, kwargs = stored["trigger"]
    trigger = import_string(path)(**through_database(kwargs))
    trigger.asset_state_store = state
    events: list[Any] = []

    async def listen() -> None:
        async with aclosing(trigger.run()) as payloads:
            async for event in payloads:
                events.append(event.payload)  # noqa: PERF401  read while it fills

    async def main() -> None:
        listening = asyncio.create_task(listen())
        await until(lambda: not json.loads(next(iter(state.values.values())))["open"])
        listening.cancel()

    asyncio.run(main())
    assert {event["transcript_id"] for event in events} == set(watermark["open"]), "each once"
    assert not told & set(watermark["open"])
    assert set(state.values) == set(stored["asset_state"]), "the watermark has the same name"
    assert all(set(event) == set(stored["payloads"][0]) for event in events)


def trigger_of(content: Any) -> Any:
    """The path and the arguments of a moment's trigger."""
    return content.get("trigger") or (content["deferral"] or {}).get("trigger")


@pytest.mark.parametrize("name", [name for name, content in kept().items() if trigger_of(content)])
def test_arguments_are_stored_as_they_were(restored: Callable[..., Restored], name: str) -> None:
    """What the code of now stores, a triggerer that is upgraded later can read."""
    path, kwargs = trigger_of(restored(name).moment.content)
    assert import_string(path)(**kwargs).serialize() == (path, kwargs)


def test_every_trigger_and_every_operator_that_defers_has_a_moment() -> None:
    stored = kept().values()
    triggers = {trigger_of(content)[0] for content in stored if trigger_of(content)}
    assert triggers == {inventory.path_of(trigger) for trigger in inventory.triggers()}
    operators = {content["operator"] for content in stored if content["deferral"]}
    deferring = {operator for operator in inventory.operators() if inventory.can_defer(operator)}
    assert operators == {inventory.path_of(operator) for operator in deferring}

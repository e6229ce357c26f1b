# SPDX-License-Identifier: Apache-2.0
"""Events for what ends, over loopback: filters, faults, and watermarks that outlive a process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.events.feed import Subscriber
from airflow_provider_assemblyai.events.watermark import ListedTranscript, ListSnapshot, Watermark
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.triggers.events import TranscriptEventTrigger
from tests.support.polling import until

SINCE = "2000-01-01T00:00:00+00:00"


class AssetState:
    """Airflow's asset state store, as far as values go: JSON in, JSON out."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.broken = False
        self.refused = 0

    def _check(self) -> None:
        if self.broken:
            self.refused += 1
            raise RuntimeError("API_SERVER_ERROR")

    async def aget(self, key: str, default: Any = None) -> Any:
        self._check()
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self._check()
        self.values[key] = json.dumps(value)


def submit(name: str = "a", marker: str = "processing:0") -> str:
    url = f"https://example.com/{name}.wav?X-Amz-Signature=5ecret&emulator={marker}"
    return str(AssemblyAIHook().send(transcripts.submit(url, {}))["id"])


def trigger(state: AssetState | None = None, **change: Any) -> TranscriptEventTrigger:
    kwargs: dict[str, Any] = {"poll_interval": 0.02, "since": SINCE}
    made = TranscriptEventTrigger(**(kwargs | change))
    made.asset_state_store = state  # type: ignore[assignment]
    return made


async def payloads(of: TranscriptEventTrigger, number: int) -> list[dict[str, Any]]:
    """The next events, as many as are asked for."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60), aclosing(of.run()) as events:
        async for event in events:
            found.append(event.payload)
            if len(found) == number:
                break
    return found


async def heard(of: TranscriptEventTrigger, number: int) -> list[str]:
    return [payload["transcript_id"] for payload in await payloads(of, number)]


def watermarks(state: AssetState) -> list[Any]:
    return [json.loads(value) for value in state.values.values()]


async def listen(of: TranscriptEventTrigger, into: list[str]) -> None:
    async with aclosing(of.run()) as events:
        async for event in events:
            into.append(event.payload["transcript_id"])  # noqa: PERF401  read while it fills


def test_serialized_and_back() -> None:
    path, kwargs = trigger(status="any", since=datetime(2026, 11, 23, tzinfo=UTC)).serialize()
    assert path == "airflow_provider_assemblyai.triggers.events.TranscriptEventTrigger"
    assert kwargs["since"] == "2026-11-23T00:00:00+00:00"
    assert json.loads(json.dumps(kwargs)) == kwargs
    assert TranscriptEventTrigger(**kwargs).serialize() == (path, kwargs)


def each(name: str, words: str, *wrong: Any) -> list[tuple[dict[str, Any], str]]:
    """Return a case for each wrong value of an argument."""
    return [({name: value}, words) for value in wrong]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": "done"}, "status='done'"),
        ({"status": ["completed"]}, "status=list"),
        *each("poll_interval", "poll_interval must be", 0, "x", None, inf, nan, True, 1e30),
        ({"poll_interval": timedelta.max}, "poll_interval must be"),
        ({"since": "yesterday"}, "not a time"),
        *each("since", "since must be text", 0, 1.5e9, [], date(2026, 1, 1)),
        *each("since", "2000 to 2100", datetime.max, datetime.min, "9999-12-31", "1999-12-31"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "2000 to 2100"),
        *each("region", "Unknown AssemblyAI region", "mars", 0, [], False, {"a": 1}),
        *each("audio_url_prefix", "audio_url_prefix must be text", 5, 0, [], b"https://x.com"),
        *each("assemblyai_conn_id", "assemblyai_conn_id must be", None, "", b"x", ["x"], 5),
        ({"audio_url_prefix": "https://x.com/a?token=1"}, "no user, query"),
        ({"audio_url_prefix": "https://me:pass@x.com/"}, "no user, query"),
    ],
)
def test_bad_arguments_are_refused_where_the_dag_is_written(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        TranscriptEventTrigger(**change)


def test_an_event_holds_ids_and_facts_only(emulator: Emulator) -> None:
    transcript_id = submit()
    (payload,) = asyncio.run(payloads(trigger(), 1))
    assert datetime.fromisoformat(payload.pop("created")) <= datetime.fromisoformat(payload.pop("completed"))
    assert payload == {
        "version": 1,
        "transcript_id": transcript_id,
        "status": "completed",
        "region": "us",
        "assemblyai_conn_id": "assemblyai_default",
        "audio_url": "https://example.com/a.wav",
    }


def test_filters(emulator: Emulator) -> None:
    done, failed, other = submit("in/a"), submit("in/b", "error:server"), submit("out/c")
    assert asyncio.run(heard(trigger(status="any"), 3)) == [done, failed, other]
    assert asyncio.run(heard(trigger(status="error"), 1)) == [failed]
    assert asyncio.run(heard(trigger(), 2)) == [done, other]
    assert asyncio.run(heard(trigger(audio_url_prefix="https://example.com/out/"), 1)) == [other]


def test_a_deleted_transcript_has_no_event(emulator: Emulator) -> None:
    gone, kept = submit("a"), submit("b")
    AssemblyAIHook().send(transcripts.delete(gone))
    assert asyncio.run(heard(trigger(), 1)) == [kept]


def test_only_what_ends_from_now_on(emulator: Emulator) -> None:
    async def main() -> list[str]:
        submit("before")
        running = submit("running", "processing:30")
        state, found = AssetState(), list[str]()
        listening = asyncio.create_task(listen(trigger(state, since=None), found))
        await until(lambda: state.values)
        after = submit("after")
        await until(lambda: found)
        emulator.advance(60)
        await until(lambda: len(found) > 1)
        listening.cancel()
        assert found == [after, running]
        return found

    assert len(asyncio.run(main())) == 2


def test_a_restart_goes_on_where_the_last_one_stood(emulator: Emulator) -> None:
    async def main() -> None:
        state, found = AssetState(), list[str]()
        long = submit("long", "processing:300")
        short = [submit(f"s{number}") for number in range(3)]
        listening = asyncio.create_task(listen(trigger(state), found))
        await until(lambda: watermarks(state) and len(watermarks(state)[0]["emitted"]) == 3)
        listening.cancel()
        assert found == short
        meanwhile = submit("meanwhile")
        emulator.advance(600)
        found.clear()
        listening = asyncio.create_task(listen(trigger(state), found))
        await until(lambda: len(found) == 2 and not watermarks(state)[0]["open"])
        listening.cancel()
        assert found == [long, meanwhile]
        assert len(state.values) == 1

    asyncio.run(main())


def test_two_at_once_send_each_event_once(emulator: Emulator) -> None:
    """A triggerer that comes back after another took over sees what that one stored."""

    async def main() -> None:
        state, first, second = AssetState(), list[str](), list[str]()
        a = submit("a")
        old = trigger(state)
        subscriber = await old._subscriber()
        async with asyncio.timeout(60), aclosing(old._shared_feed().snapshots()) as snapshots:
            with old._shared_feed().serving(subscriber):
                number, snapshot = await anext(snapshots)
                first += [entry.id for entry in await subscriber.take(snapshot)]
                subscriber.mark_delivered(number)
                await subscriber.commit(number)
                b = submit("b")
                listening = asyncio.create_task(listen(trigger(state), second))
                await until(lambda: len(watermarks(state)[0]["emitted"]) == 2)
                listening.cancel()
                number, snapshot = await anext(snapshots)
                first += [entry.id for entry in await subscriber.take(snapshot)]
        assert (first, second) == ([a], [b])

    asyncio.run(main())


def test_a_late_watermark_does_not_overwrite_a_newer_one() -> None:
    entries = tuple(
        ListedTranscript(name, "completed", 1_800_000_000.0 + at, None, "") for at, name in enumerate("abc")
    )

    async def main() -> None:
        state = AssetState()
        old, new = (
            Subscriber(Watermark.begin(1_700_000_000.0), lambda _: True, state, "key") for _ in range(2)
        )
        for number in (1, 2):
            assert len(await old.take(ListSnapshot(entries[:number][::-1]))) == 1
            old.mark_delivered(number)
        await old.commit(1)
        await new.load(0.01)
        assert [entry.id for entry in await new.take(ListSnapshot(entries[::-1]))] == ["b", "c"]
        new.mark_delivered(1)
        await new.commit(1)
        stored = dict(state.values)
        await old.commit(2)
        assert state.values == stored
        assert await old.take(ListSnapshot(entries[::-1])) == []

    asyncio.run(main())


def test_a_watermark_that_was_stored_without_an_answer_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_assemblyai.events.feed._STORE_TIMEOUT", 0.01)
    entries = tuple(
        ListedTranscript(name, "completed", 1_800_000_000.0 + at, None, "") for at, name in enumerate("abc")
    )

    class Mute(AssetState):
        async def aset(self, key: str, value: Any) -> None:
            await super().aset(key, value)
            await asyncio.Event().wait()

    async def main() -> None:
        subscriber = Subscriber(Watermark.begin(1_700_000_000.0), lambda _: True, Mute(), "key")
        for number in (1, 2, 3):
            found = await subscriber.take(ListSnapshot(entries[:number][::-1]))
            assert [entry.id for entry in found] == ["abc"[number - 1]]
            subscriber.mark_delivered(number)
            await subscriber.commit(number - 1)

    asyncio.run(main())


def test_many_pages_and_a_backlog(emulator: Emulator) -> None:
    emulator.seed(450)
    everything = [record["id"] for record in emulator.transcripts()]
    found = asyncio.run(heard(trigger(status="any"), 450))
    assert sorted(found) == sorted(everything)
    assert len(set(found)) == 450
    asked = [request for request in emulator.requests if request["path"] == "/v2/transcript"]
    assert len(asked) == 3, "one snapshot serves all parts of a backlog"


class WorkPerTurn:
    """Counts the functions that are called in each turn of the running event loop; nothing of it depends on the machine."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self._calls = 0

    async def __aenter__(self) -> WorkPerTurn:
        self._ticking = asyncio.create_task(self._tick())
        sys.setprofile(self._count)
        return self

    async def __aexit__(self, *_: object) -> None:
        sys.setprofile(None)
        self._ticking.cancel()

    def _count(self, frame: object, event: str, argument: object) -> None:
        self._calls += event in ("call", "c_call")

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turns.append(self._calls)
            self._calls = 0


#: Transcripts that end at the same moment, and calls of functions that are too many for one turn of the event loop.
MANY = 3_000
TOO_MANY_CALLS = 20_000


def test_thousands_that_end_at_once_do_not_hold_up_the_event_loop(emulator: Emulator) -> None:
    emulator.seed(MANY)
    last = emulator.transcripts()[-1]

    async def main() -> None:
        # All have ended, and one is wanted.
        wanted = trigger(audio_url_prefix=last["audio_url"])
        assert await heard(wanted, 1) == [last["id"]], "what is imported at first use is imported"
        async with WorkPerTurn() as work:
            assert await heard(wanted, 1) == [last["id"]]
        assert sum(work.turns) > 5 * TOO_MANY_CALLS, "all rows were gone through"
        assert max(work.turns) < TOO_MANY_CALLS

    asyncio.run(main())


def test_many_triggers_that_get_a_snapshot_at_once_take_turns() -> None:
    rows = [
        ListedTranscript(f"t{at}", "completed", 1.8e9 - at, None, f"https://example.com/{at}.wav")
        for at in range(MANY)
    ]

    async def main() -> None:
        triggers = [trigger(audio_url_prefix="https://example.com/b") for _ in range(5)]
        subscribers = [await one._subscriber() for one in triggers]
        async with WorkPerTurn() as work:
            found = await asyncio.gather(*(one.take(ListSnapshot(tuple(rows))) for one in subscribers))
        assert found == [[]] * len(subscribers)
        assert sum(work.turns) > 5 * len(subscribers) * TOO_MANY_CALLS, "all rows were gone through"
        assert max(work.turns) < TOO_MANY_CALLS

    asyncio.run(main())


def test_errors_of_the_service_are_tolerated(emulator: Emulator) -> None:
    transcript_id = submit()
    emulator.fault("http_status", status=503, method="GET", times=2)
    emulator.fault("http_status", status=401, method="GET", times=1)
    assert asyncio.run(heard(trigger(), 1)) == [transcript_id]


def test_a_store_that_fails_loses_nothing(emulator: Emulator) -> None:
    async def main() -> None:
        state, found = AssetState(), list[str]()
        state.broken = True
        first = submit("a")
        listening = asyncio.create_task(listen(trigger(state), found))
        await until(lambda: state.refused > 1)
        assert not [one for one in emulator.requests if one["method"] == "GET"]
        state.broken = False
        await until(lambda: found)
        state.broken = True
        second = submit("b")
        await until(lambda: len(found) == 2)
        state.broken = False
        third = submit("c")
        await until(lambda: watermarks(state) and third in watermarks(state)[0]["emitted"])
        listening.cancel()
        assert found == [first, second, third]

    asyncio.run(main())


def test_a_watermark_that_was_damaged_is_left_out(emulator: Emulator) -> None:
    state = AssetState()
    state.values[trigger()._state_key()] = '"nonsense"'
    transcript_id = submit()
    assert asyncio.run(heard(trigger(state), 1)) == [transcript_id]


def test_one_poll_for_all_that_share_it(emulator: Emulator) -> None:
    async def main() -> None:
        transcript_id = submit()
        triggers = [
            trigger(AssetState(), status=status, poll_interval=5.0) for status in ("any", "completed")
        ]
        assert len({one.shared_stream_key() for one in triggers}) == 1
        assert len({one._state_key() for one in triggers}) == 2
        (feed,) = {one._shared_feed() for one in triggers}
        queues: list[asyncio.Queue[Any]] = [asyncio.Queue() for _ in triggers]

        async def drawn(queue: asyncio.Queue[Any]) -> AsyncIterator[Any]:
            while True:
                yield await queue.get()

        async with asyncio.timeout(60):
            waiting = [
                asyncio.ensure_future(anext(one.filter_shared_stream(drawn(queue))))
                for one, queue in zip(triggers, queues, strict=True)
            ]
            async with aclosing(feed.snapshots()) as snapshots:
                numbered = await anext(snapshots)
            for queue in queues:
                queue.put_nowait(numbered)
            events = await asyncio.gather(*waiting)
        assert [event.payload["transcript_id"] for event in events] == [transcript_id] * 2
        assert len([one for one in emulator.requests if one["method"] == "GET"]) == 1

    asyncio.run(main())

# SPDX-License-Identifier: Apache-2.0
"""What is killed where, as data: the points of the protocol, and the cases that hit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, Literal

#: ``stop``: it goes on as soon as a second attempt lives; ``stop for long``: once that one is finished.
Kill = Literal["task", "supervisor", "both", "stop", "stop for long", "triggerer", "scheduler", "node"]
Source = Literal["upload", "shared URL", "signed URL", "signing store"]
Output = Literal["xcom", "files", "delete"]

#: Requests that the emulator stops, as (method, path, before or after it took effect).
HOLDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "hold:upload": ("POST", "/v2/upload", "before"),
    "hold:submitted": ("POST", "/v2/transcript", "after"),
    "hold:deleted": ("DELETE", "/v2/transcript/{id}", "after"),
}
#: No stop at all: the harness waits until the task is deferred.
DEFERRED: Final = "deferred"

#: Sites that need a job which takes this many seconds; only an address can ask the emulator for one.
SLOW: Final[Mapping[str, int]] = {DEFERRED: 40, "poll": 8}

_WORKER: Final[tuple[Kill, ...]] = ("task", "supervisor", "both")
#: Points whose first two cases use one public URL in one project at the same time.
_SHARING: Final = frozenset("abcd")
_SOURCES: Final[tuple[Source, ...]] = ("upload", "signed URL", "signing store")


@dataclass(frozen=True)
class Point:
    """
    One kind of death.

    :param letter: how the table calls it.
    :param title: what is killed when.
    :param blocking: where a blocking task is stopped for it; several are taken in turns.
    :param deferrable: the same for a deferrable task. Empty: the point does not exist in that mode.
    :param kills: who dies, in turns.
    :param outputs: what is asked for, in turns.
    """

    letter: str
    title: str
    blocking: tuple[str, ...]
    deferrable: tuple[str, ...]
    kills: tuple[Kill, ...] = _WORKER
    outputs: tuple[Output, ...] = ("files", "xcom")

    def sites(self, deferrable: bool) -> tuple[str, ...]:
        return self.deferrable if deferrable else self.blocking


def _both(*sites: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return sites, sites


POINTS: Final = (
    Point("a", "worker before send", *_both("after-intent", "before-post")),
    Point("b", "worker after acceptance, before the answer", *_both("hold:submitted")),
    Point("c", "worker with the answer, id not recorded", *_both("after-post")),
    Point("d", "worker with the id recorded", *_both("recorded")),
    Point("e", "triggerer while deferred", (), (DEFERRED,), kills=("triggerer",)),
    Point("f", "worker in the fetch after the trigger", (), ("fetch",)),
    Point("g", "worker while writing files", *_both("write", "write*2"), outputs=("files",)),
    Point("i", "worker during upload", *_both("hold:upload")),
    Point("k1", "worker before DELETE", *_both("before-delete"), outputs=("delete",)),
    Point("k2", "worker after DELETE took effect", *_both("hold:deleted"), outputs=("delete",)),
    Point(
        "l",
        "supervisor while its task lives on",
        ("recorded", "after-intent", "poll"),
        ("recorded", "after-intent", "fetch"),
        kills=("supervisor",),
    ),
    Point(
        "m",
        "SIGSTOP past the heartbeat limit, SIGCONT",
        ("after-intent", "poll", "hold:upload", "before-post", "write"),
        ("after-intent", "hold:upload", "fetch", "before-post", "write"),
        kills=("stop", "stop for long"),
        outputs=("files",),
    ),
)
#: Hit last and on their own, because they hit everything that runs.
SCHEDULER: Final = Point(
    "h",
    "scheduler, workers with it or living on",
    ("after-intent", "after-post", "recorded", "poll", "write"),
    (DEFERRED, "after-intent", "after-post", "recorded", "fetch"),
    kills=("node", "scheduler"),
    outputs=("files",),
)
#: Cases of a mapped task, with the sites taken in turns.
MAPPED: Final = Point(
    "j",
    "worker of a mapped task among fifty",
    ("after-intent", "after-post", "recorded", "write"),
    ("after-intent", "after-post", "recorded", "write", "fetch"),
)
TITLES: Final = {point.letter: point.title for point in (*POINTS, SCHEDULER, MAPPED)}


@dataclass(frozen=True)
class Case:
    """
    One task that is to be hit once.

    :param name: also that of its files.
    :param connection: number of the key, so of the emulator's project; tasks that share a URL share it.
    """

    name: str
    letter: str
    deferrable: bool
    site: str
    kill: Kill
    source: Source
    output: Output
    connection: int

    @property
    def mode(self) -> str:
        return "deferrable" if self.deferrable else "blocking"

    @property
    def dag_id(self) -> str:
        return f"chaos_{self.mode}_{self.output}"


def plan(hits: int) -> list[Case]:
    """
    Cases that hit every point in every mode it has.

    :param hits: how often each.
    """
    connections, turns = count(), count()
    cases: list[Case] = []
    for point in POINTS:
        # Two at least where the money is, so that a URL used by two tasks at once is always among them.
        wanted = max(hits, 2) if point.letter == "b" else hits
        for deferrable in (False, True):
            if point.sites(deferrable):
                cases += _of(point, deferrable, wanted, connections, turns)
    return cases


def scheduler_plan(hits: int, first_connection: int, kill: Kill) -> list[Case]:
    """Cases that are in the middle of something when the scheduler dies."""
    connections, turns = count(first_connection), count()
    cases = []
    for deferrable in (False, True):
        cases.extend(
            replace(case, kill=kill, name=f"{case.name}-{kill}")
            for case in _of(SCHEDULER, deferrable, hits, connections, turns)
        )
    return cases


def _of(
    point: Point, deferrable: bool, hits: int, connections: Iterator[int], turns: Iterator[int]
) -> Iterator[Case]:
    sites = point.sites(deferrable)
    shared: int | None = None
    may_share = hits > 1 and point.letter in _SHARING
    for number in range(hits):
        turn = next(turns)
        site = sites[number % len(sites)]
        source = _source(site, turn)
        pair = may_share and number < 2
        if pair:
            source = "shared URL"
        connection = shared if pair and shared is not None else next(connections)
        shared = connection
        yield Case(
            name=f"{point.letter}-{'d' if deferrable else 'b'}-{number}",
            letter=point.letter,
            deferrable=deferrable,
            site=site,
            kill=point.kills[turn % len(point.kills)],
            source=source,
            output=point.outputs[number % len(point.outputs)],
            connection=connection,
        )


def _source(site: str, turn: int) -> Source:
    if site == "hold:upload":
        return "upload"
    if site in SLOW:
        return "signed URL"
    # Not in step with the kills.
    return _SOURCES[(turn + turn // len(_SOURCES)) % len(_SOURCES)]

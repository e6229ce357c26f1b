# SPDX-License-Identifier: Apache-2.0
"""The points of the protocol at which something is killed, and the cases that hit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final, Literal

#: ``stop``: the task continues as soon as a second attempt runs; ``stop for long``: once that one has finished.
Kill = Literal["task", "supervisor", "both", "stop", "stop for long", "triggerer", "scheduler", "node"]
Source = Literal["upload", "shared URL", "signed URL", "signing store"]
Output = Literal["xcom", "files", "delete"]

#: Requests that the emulator holds, as (method, path, before or after it took effect).
HOLDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "hold:upload": ("POST", "/v2/upload", "before"),
    "hold:submitted": ("POST", "/v2/transcript", "after"),
    "hold:deleted": ("DELETE", "/v2/transcript/{id}", "after"),
}
#: Nothing is stopped: the harness waits until the task is deferred.
DEFERRED: Final = "deferred"

#: Site -> seconds that its job must take at least; only a URL can set that in the emulator.
SLOW: Final[Mapping[str, int]] = {DEFERRED: 40, "poll": 8}

_WORKER: Final[tuple[Kill, ...]] = ("task", "supervisor", "both")
#: Points whose first two cases use one public URL in one project at the same time.
_SHARING: Final = frozenset("abcd")
_SOURCES: Final[tuple[Source, ...]] = ("upload", "signed URL", "signing store")


@dataclass(frozen=True)
class KillPoint:
    """
    One point of the protocol.

    :param letter: its name in the table.
    :param title: what is killed when.
    :param blocking: sites at which a blocking task is stopped, in turns.
    :param deferrable: the same for a deferrable task. Empty: the point does not exist in that mode.
    :param kills: what is killed, in turns.
    :param outputs: outputs of the task, in turns.
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


KILL_POINTS: Final = (
    KillPoint("a", "worker before send", *_both("after-intent", "before-post")),
    KillPoint("b", "worker after acceptance, before the answer", *_both("hold:submitted")),
    KillPoint("c", "worker with the answer, id not recorded", *_both("after-post")),
    KillPoint("d", "worker with the id recorded", *_both("recorded")),
    KillPoint("e", "triggerer while deferred", (), (DEFERRED,), kills=("triggerer",)),
    KillPoint("f", "worker in the fetch after the trigger", (), ("fetch",)),
    KillPoint("g", "worker while writing files", *_both("write", "write*2"), outputs=("files",)),
    KillPoint("i", "worker during upload", *_both("hold:upload")),
    KillPoint("k1", "worker before DELETE", *_both("before-delete"), outputs=("delete",)),
    KillPoint("k2", "worker after DELETE took effect", *_both("hold:deleted"), outputs=("delete",)),
    KillPoint(
        "l",
        "supervisor while its task lives on",
        ("recorded", "after-intent", "poll"),
        ("recorded", "after-intent", "fetch"),
        kills=("supervisor",),
    ),
    KillPoint(
        "m",
        "SIGSTOP past the heartbeat limit, SIGCONT",
        ("after-intent", "poll", "hold:upload", "before-post", "write"),
        ("after-intent", "hold:upload", "fetch", "before-post", "write"),
        kills=("stop", "stop for long"),
        outputs=("files",),
    ),
)
#: Comes last and alone, because it hits everything that runs.
SCHEDULER_POINT: Final = KillPoint(
    "h",
    "scheduler, workers with it or living on",
    ("after-intent", "after-post", "recorded", "poll", "write"),
    (DEFERRED, "after-intent", "after-post", "recorded", "fetch"),
    kills=("node", "scheduler"),
    outputs=("files",),
)
#: Cases of a mapped task, with the sites taken in turns.
MAPPED_POINT: Final = KillPoint(
    "j",
    "worker of a mapped task among fifty",
    ("after-intent", "after-post", "recorded", "write"),
    ("after-intent", "after-post", "recorded", "write", "fetch"),
)
TITLES: Final = {point.letter: point.title for point in (*KILL_POINTS, SCHEDULER_POINT, MAPPED_POINT)}


@dataclass(frozen=True)
class Case:
    """
    One task that is to be hit once.

    :param name: also that of its files.
    :param connection: number of the key, and so of the emulator's project; tasks that share a URL share it.
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
    for point in KILL_POINTS:
        # At least two where a job can be paid twice, so that two tasks that use one URL are always among them.
        wanted = max(hits, 2) if point.letter == "b" else hits
        for deferrable in (False, True):
            if point.sites(deferrable):
                cases += _of(point, deferrable, wanted, connections, turns)
    return cases


def scheduler_plan(hits: int, first_connection: int, kill: Kill) -> list[Case]:
    """Cases that are in the middle of something when the scheduler dies."""
    connections, turns = count(first_connection), count()
    cases: list[Case] = []
    for deferrable in (False, True):
        cases.extend(
            replace(case, kill=kill, name=f"{case.name}-{kill}")
            for case in _of(SCHEDULER_POINT, deferrable, hits, connections, turns)
        )
    return cases


def _of(
    point: KillPoint, deferrable: bool, hits: int, connections: Iterator[int], turns: Iterator[int]
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

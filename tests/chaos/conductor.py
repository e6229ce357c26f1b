# SPDX-License-Identifier: Apache-2.0
"""Watches over running cases and kills each where it asked for it.

A task gets to its place either in the emulator, which stops its request, or at the kill switch, which
leaves a file. Every request of the kinds that can be stopped is stopped; one that nobody asked for goes on
at the next look.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.cluster import Cluster, parent_of
from tests.chaos.emulator import project
from tests.chaos.points import DEFERRED, HOLDS, Kill
from tests.support.running_airflow import FINISHED, JsonDict, Run

_PAUSE = 0.15

# Some workers of the executor are left alive until it has made new ones, or until it would have, as it does
# not while nothing is queued; see the pool in cluster.py.
_SPARED_WORKERS = 3
_SPARED_FOR = 8.0


@dataclass
class Target:
    """
    One task instance that is to be hit.

    :param token: how the kill switch calls it.
    :param together: how many tasks of its project are struck at once, if that is done to a request.
    :param held: the request that stays stopped while the task is, if it is.
    :param pids: task and supervisor, while they are stopped.
    """

    token: str
    connection: int
    site: str
    kill: Kill
    run: Run
    map_index: int = -1
    together: int = 1
    hit: bool = False
    reached: int | None = None
    held: int | None = None
    pids: tuple[int, ...] = ()
    try_number: int = 0

    @property
    def stopped(self) -> bool:
        return bool(self.pids)


@dataclass
class Conductor:
    cluster: Cluster
    say: Callable[[str], None]
    targets: list[Target] = field(default_factory=list)
    _released: set[int] = field(default_factory=set)
    _pause: threading.Event = field(default_factory=threading.Event)
    _few_since: float | None = None

    def hold_requests(self) -> None:
        """From now on every request of the kinds in `HOLDS` waits for `tick`."""
        self.cluster.control.add_faults(
            *(
                {"kind": "hold", "method": method, "path": path, "when": when, "times": None}
                for method, path, when in HOLDS.values()
            )
        )

    def let_requests_go(self) -> None:
        self.cluster.control.clear_faults()
        for held in self.cluster.control.held():
            self.cluster.control.release(held["id"], "continue")

    def until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Keep ticking until `done`; False when the time is over."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() >= deadline:
                return False
            self.tick()
            self._pause.wait(_PAUSE)
        return True

    def tick(self) -> None:
        self._look_at_held()
        self._look_at_reached()
        for target in self.targets:
            if target.stopped:
                self._maybe_continue(target)

    def unfinished(self, runs: Iterable[Run]) -> list[Run]:
        wanted = {(run.dag_id, run.run_id) for run in runs}
        rows = self.cluster.query("select dag_id, run_id, state from dag_run")
        over = {(row["dag_id"], row["run_id"]) for row in rows if row["state"] in FINISHED}
        return [Run(*key) for key in wanted - over]

    # Reaching a place

    def _look_at_held(self) -> None:
        waiting: dict[tuple[str, tuple[str, str, str]], list[JsonDict]] = {}
        kept = {target.held for target in self.targets if target.stopped}
        for held in self.cluster.control.held():
            if held["id"] not in self._released and held["id"] not in kept:
                place = (held["method"], held["path"], held["when"])
                waiting.setdefault((held["project"], place), []).append(held)
        for (owner, place), requests in waiting.items():
            wanted = [
                target
                for target in self.targets
                if not target.hit and project(target.connection) == owner and HOLDS.get(target.site) == place
            ]
            if not wanted:
                for held in requests:
                    self._release(held["id"], "continue")
            elif len(requests) >= self._missing(wanted):
                # Tasks that share a project are struck together: the emulator cannot tell them apart.
                for target, held in zip(wanted, requests, strict=False):
                    self._strike_held(target, held["id"])

    def _missing(self, wanted: list[Target]) -> int:
        gone = sum(target.hit for target in self.targets if target.connection == wanted[0].connection)
        return wanted[0].together - gone

    def is_there(self, target: Target) -> bool:
        """Whether a task has got to its place, if it is one of the exact ones."""
        owner = project(target.connection)
        held = target.site in HOLDS and any(
            found["project"] == owner for found in self.cluster.control.held()
        )
        return target.hit or target.reached is not None or held

    def _strike_held(self, target: Target, number: int) -> None:
        pid = self._attempt(target)["pid"]
        if not pid or not self.cluster.is_ours(pid) or self._spares(target):
            return  # the next look knows more
        target.held = number
        self._strike(target, pid)
        if not target.stopped:
            self._release(number, "continue" if target.kill == "supervisor" else "reset")

    def _release(self, number: int, then: str) -> None:
        self._released.add(number)
        self.cluster.control.release(number, then)

    def _look_at_reached(self) -> None:
        barriers = self.cluster.folder / "barriers"
        for target in self.targets:
            if target.hit or target.reached or target.site in HOLDS or target.site == DEFERRED:
                continue
            file = barriers / f"{target.token}.reached"
            if file.exists() and not self._spares(target):
                target.reached = int(json.loads(file.read_text(encoding="utf-8"))["pid"])
                if target.kill in ("node", "scheduler"):
                    continue  # they all die together, and not here
                self._strike(target, target.reached)
                if target.kill == "supervisor":
                    self.go(target)

    def go(self, target: Target) -> None:
        """Let a task that waits at the kill switch go on."""
        (self.cluster.folder / "barriers" / f"{target.token}.go").touch()

    # Killing

    def _spares(self, target: Target) -> bool:
        """Whether this supervisor has to live a little longer, for the sake of the executor."""
        if target.kill in ("task", "triggerer", "scheduler", "node"):
            return False
        if self.cluster.living_workers() > _SPARED_WORKERS:
            self._few_since = None
            return False
        now = time.monotonic()
        self._few_since = self._few_since or now
        if now - self._few_since < _SPARED_FOR:
            return True
        self._few_since = now
        return False

    def _strike(self, target: Target, pid: int) -> None:
        supervisor = parent_of(pid)
        if not (self.cluster.is_ours(pid) and self.cluster.is_ours(supervisor)):
            raise RuntimeError(f"{target.token}: process {pid} or its parent {supervisor} is not ours")
        match target.kill:
            case "task":
                os.kill(pid, signal.SIGKILL)
            case "supervisor":
                os.kill(supervisor, signal.SIGKILL)
            case "both":
                os.kill(supervisor, signal.SIGKILL)
                os.kill(pid, signal.SIGKILL)
            case "stop" | "stop for long":
                os.kill(supervisor, signal.SIGSTOP)
                os.kill(pid, signal.SIGSTOP)
                target.pids = (pid, supervisor)
            case other:
                raise ValueError(f"{target.token}: {other} is not done to one task")
        target.try_number = self._attempt(target)["try_number"]
        target.hit = True
        self.say(f"{target.token}: {target.kill} at {target.site}")

    def _attempt(self, target: Target) -> JsonDict:
        return self.cluster.attempt(target.run.dag_id, target.run.run_id, target.map_index)

    def _maybe_continue(self, target: Target) -> None:
        """Wake a stopped worker as soon as a second attempt is alive beside it, or has finished."""
        attempt = self._attempt(target)
        states = ("success",) if target.kill == "stop for long" else ("running", "success")
        if attempt["try_number"] <= target.try_number or attempt["state"] not in states:
            return
        if target.held is None:
            self.go(target)
        self.wake(target)
        if target.held is not None:
            self._release(target.held, "continue")
        self.say(f"{target.token}: goes on beside attempt {attempt['try_number']} ({attempt['state']})")

    def wake(self, target: Target) -> None:
        for pid in target.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        target.pids = ()

    def kill_triggerer_when_deferred(self, look: Callable[[], Any]) -> Callable[[], None]:
        """Return what has to be called again and again: it strikes once all who ask for it are deferred."""

        def strike() -> None:
            asking = [target for target in self.targets if target.kill == "triggerer" and not target.hit]
            waiting = [target for target in asking if self._attempt(target)["state"] != "success"]
            if not waiting or not all(self.in_triggerer(target) for target in waiting):
                return
            look()
            self.cluster.kill_triggerer()
            for target in waiting:
                target.hit = True
            self.say(f"triggerer killed under {len(waiting)} cases")

        return strike

    def in_triggerer(self, target: Target) -> bool:
        """Whether a triggerer has taken on the trigger of this task."""
        rows = self.cluster.query(
            "select 1 from task_instance i join trigger t on t.id = i.trigger_id"
            " where i.state = 'deferred' and t.triggerer_id is not null"
            " and i.dag_id = %s and i.run_id = %s and i.map_index = %s",
            *(target.run.dag_id, target.run.run_id, target.map_index),
        )
        return bool(rows)

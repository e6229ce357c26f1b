# SPDX-License-Identifier: Apache-2.0
"""Follows running cases and kills each at its site.

A task reaches its site either in the emulator, which holds its request, or at the kill switch, which writes a file.
Every request of the kinds in `HOLDS` is held; one that no target waits for is released at the next tick.
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

from tests.chaos.cluster import Cluster, parent_of, project
from tests.chaos.kill_points import DEFERRED, HOLDS, Kill
from tests.support.running_airflow import FINISHED, JsonDict, Run

_PAUSE = 0.15

# Some workers of the executor are left alive until it has started new ones, or had the time to: it starts none while
# nothing is queued; see the pool in cluster.py.
_LEAST_WORKERS = 3
_WORKER_START_SECONDS = 8.0


@dataclass
class Target:
    """
    One task instance that is to be hit.

    :param token: its name at the kill switch.
    :param together: how many tasks of its project are hit at once, if the site is a request.
    :param reached: process id of the task once it waits at the kill switch.
    :param held: the request that stays held while the task is stopped.
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
class KillController:
    cluster: Cluster
    log: Callable[[str], None]
    targets: list[Target] = field(default_factory=list)
    _released: set[int] = field(default_factory=set)
    _pause: threading.Event = field(default_factory=threading.Event)
    _few_workers_since: float | None = None

    def hold_requests(self) -> None:
        """From now on every request of the kinds in `HOLDS` waits for `tick`."""
        self.cluster.emulator.add_faults(
            *(
                {"kind": "hold", "method": method, "path": path, "when": when, "times": None}
                for method, path, when in HOLDS.values()
            )
        )

    def release_requests(self) -> None:
        self.cluster.emulator.clear_faults()
        for held in self.cluster.emulator.held():
            self.cluster.emulator.release(held["id"], "continue")

    def until(self, done: Callable[[], bool], timeout: float) -> bool:
        """Keep ticking until `done`; False at the deadline."""
        deadline = time.monotonic() + timeout
        while not done():
            if time.monotonic() >= deadline:
                return False
            self.tick()
            self._pause.wait(_PAUSE)
        return True

    def tick(self) -> None:
        self._check_held_requests()
        self._check_kill_switches()
        for target in self.targets:
            if target.stopped:
                self._continue_if_replaced(target)

    def unfinished(self, runs: Iterable[Run]) -> list[Run]:
        wanted = {(run.dag_id, run.run_id) for run in runs}
        rows = self.cluster.query("select dag_id, run_id, state from dag_run")
        ended = {(row["dag_id"], row["run_id"]) for row in rows if row["state"] in FINISHED}
        return [Run(*key) for key in wanted - ended]

    # Reaching a site

    def _check_held_requests(self) -> None:
        waiting: dict[tuple[str, tuple[str, str, str]], list[JsonDict]] = {}
        kept = {target.held for target in self.targets if target.stopped}
        for held in self.cluster.emulator.held():
            if held["id"] not in self._released and held["id"] not in kept:
                kind = (held["method"], held["path"], held["when"])
                waiting.setdefault((held["project"], kind), []).append(held)
        for (owner, kind), requests in waiting.items():
            wanted = [
                target
                for target in self.targets
                if not target.hit and project(target.connection) == owner and HOLDS.get(target.site) == kind
            ]
            if not wanted:
                for held in requests:
                    self._release(held["id"], "continue")
            elif len(requests) >= self._missing(wanted):
                # Tasks that share a project are hit together: the emulator cannot tell them apart.
                for target, held in zip(wanted, requests, strict=False):
                    self._kill_at_request(target, held["id"])

    def _missing(self, wanted: list[Target]) -> int:
        hit = sum(target.hit for target in self.targets if target.connection == wanted[0].connection)
        return wanted[0].together - hit

    def is_at_site(self, target: Target) -> bool:
        """Whether a task waits at its site, or has been hit there."""
        owner = project(target.connection)
        held = target.site in HOLDS and any(
            found["project"] == owner for found in self.cluster.emulator.held()
        )
        return target.hit or target.reached is not None or held

    def _kill_at_request(self, target: Target, number: int) -> None:
        pid = self._attempt(target)["pid"]
        if not pid or not self.cluster.is_ours(pid) or self._executor_needs_workers(target):
            return  # the next tick tries again
        target.held = number
        self._kill(target, pid)
        if not target.stopped:
            self._release(number, "continue" if target.kill == "supervisor" else "reset")

    def _release(self, number: int, then: str) -> None:
        self._released.add(number)
        self.cluster.emulator.release(number, then)

    def _check_kill_switches(self) -> None:
        barriers = self.cluster.folder / "barriers"
        for target in self.targets:
            if target.hit or target.reached or target.site in HOLDS or target.site == DEFERRED:
                continue
            file = barriers / f"{target.token}.reached"
            if file.exists() and not self._executor_needs_workers(target):
                target.reached = int(json.loads(file.read_text(encoding="utf-8"))["pid"])
                if target.kill in ("node", "scheduler"):
                    continue  # they are all killed together, elsewhere
                self._kill(target, target.reached)
                if target.kill == "supervisor":
                    self.resume(target)

    def resume(self, target: Target) -> None:
        """Let a task continue that waits at the kill switch."""
        (self.cluster.folder / "barriers" / f"{target.token}.resume").touch()

    # Killing

    def _executor_needs_workers(self, target: Target) -> bool:
        """Whether the executor has too few workers for this supervisor to be killed now."""
        if target.kill in ("task", "triggerer", "scheduler", "node"):
            return False
        if self.cluster.living_workers() > _LEAST_WORKERS:
            self._few_workers_since = None
            return False
        now = time.monotonic()
        self._few_workers_since = self._few_workers_since or now
        if now - self._few_workers_since < _WORKER_START_SECONDS:
            return True
        self._few_workers_since = now
        return False

    def _kill(self, target: Target, pid: int) -> None:
        supervisor = parent_of(pid)
        if not (self.cluster.is_ours(pid) and self.cluster.is_ours(supervisor)):
            raise RuntimeError(
                f"{target.token}: process {pid} or its parent {supervisor} was not started here"
            )
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
                raise ValueError(f"{target.token}: {other} does not hit a single task")
        target.try_number = self._attempt(target)["try_number"]
        target.hit = True
        self.log(f"{target.token}: {target.kill} at {target.site}")

    def _attempt(self, target: Target) -> JsonDict:
        return self.cluster.attempt(target.run.dag_id, target.run.run_id, target.map_index)

    def _continue_if_replaced(self, target: Target) -> None:
        """Continue a stopped worker as soon as a second attempt runs beside it, or has finished."""
        attempt = self._attempt(target)
        states = ("success",) if target.kill == "stop for long" else ("running", "success")
        if attempt["try_number"] <= target.try_number or attempt["state"] not in states:
            return
        if target.held is None:
            self.resume(target)
        self.continue_stopped(target)
        if target.held is not None:
            self._release(target.held, "continue")
        self.log(f"{target.token}: continues beside attempt {attempt['try_number']} ({attempt['state']})")

    def continue_stopped(self, target: Target) -> None:
        for pid in target.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        target.pids = ()

    def kill_triggerer_when_deferred(self, before_kill: Callable[[], Any]) -> Callable[[], None]:
        """Return a function to call at every tick: it kills the triggerer once all its targets are deferred."""

        def kill_if_deferred() -> None:
            targets = [target for target in self.targets if target.kill == "triggerer" and not target.hit]
            waiting = [target for target in targets if self._attempt(target)["state"] != "success"]
            if not waiting or not all(self.in_triggerer(target) for target in waiting):
                return
            before_kill()
            self.cluster.kill_triggerer()
            for target in waiting:
                target.hit = True
            self.log(f"triggerer killed under {len(waiting)} cases")

        return kill_if_deferred

    def in_triggerer(self, target: Target) -> bool:
        """Whether a triggerer runs the trigger of this task."""
        rows = self.cluster.query(
            "select 1 from task_instance i join trigger t on t.id = i.trigger_id"
            " where i.state = 'deferred' and t.triggerer_id is not null"
            " and i.dag_id = %s and i.run_id = %s and i.map_index = %s",
            *(target.run.dag_id, target.run.run_id, target.map_index),
        )
        return bool(rows)

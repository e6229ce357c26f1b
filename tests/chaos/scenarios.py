# SPDX-License-Identifier: Apache-2.0
"""The scenarios: tasks and the triggerer, the scheduler, the storm of faults. Each adds its rows to the table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos import outcome_checks
from tests.chaos.canary import Canary
from tests.chaos.cluster import Cluster, project
from tests.chaos.kill_controller import KillController
from tests.chaos.kill_points import DEFERRED, Case, Kill
from tests.chaos.report import Row
from tests.chaos.run_starter import RunStarter, StartedRun

#: Seconds that a scenario may take.
LIMIT = 900.0


@dataclass
class MappedScenario:
    """A run of fifty mapped tasks, some of which are hit."""

    deferrable: bool
    hits: int
    connection: int


@dataclass
class Scenarios:
    cluster: Cluster
    canary: Canary
    log: Callable[[str], None]
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shared: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._starter = RunStarter(self.cluster)

    def tasks(self, cases: Sequence[Case], mapped: Sequence[MappedScenario]) -> None:
        """Every point that hits one task, all at once, and the triggerer in between."""
        controller = KillController(self.cluster, self.log)
        controller.hold_requests()
        kill_triggerer_if_deferred = controller.kill_triggerer_when_deferred(self.canary.search_triggers)
        paired: set[int] = set()
        started: list[StartedRun] = []

        def start(one: StartedRun) -> None:
            started.append(one)
            controller.targets += one.targets
            controller.tick()
            if one.shared and one.connection not in paired:
                # The other run with this URL starts while this one is in doubt, and not at the same instant.
                paired.add(one.connection)
                controller.until(all_at_site(one), 60)

        def all_at_site(one: StartedRun) -> Callable[[], bool]:
            def reached() -> bool:
                kill_triggerer_if_deferred()
                return all(controller.is_at_site(target) for target in one.targets)

            return reached

        # First the cases of the triggerer: it is killed once all of them are deferred.
        for case in sorted(cases, key=lambda case: case.kill != "triggerer"):
            start(self._starter.case(case))
        for scenario in mapped:
            start(
                self._starter.mapped(
                    deferrable=scenario.deferrable, hits=scenario.hits, connection=scenario.connection
                )
            )
        self._wait(started, controller, kill_triggerer_if_deferred)
        controller.release_requests()
        self._record_outcomes(started, controller)

    def scheduler(self, cases: Sequence[Case], kill: Kill) -> None:
        """Kill the scheduler once all cases have reached their sites."""
        controller = KillController(self.cluster, self.log)
        started = [self._starter.case(case) for case in cases]
        controller.targets = [target for one in started for target in one.targets]

        def all_at_site() -> bool:
            return all(
                controller.in_triggerer(target) if target.site == DEFERRED else target.reached
                for target in controller.targets
            )

        if controller.until(all_at_site, 120):
            self.canary.search_triggers()
            self.cluster.kill_scheduler(with_workers=kill == "node")
            for target in controller.targets:
                target.hit = True
            self.log(f"{kill} killed under {len(started)} cases")
        else:
            missing = [target.token for target in controller.targets if not target.reached]
            self.log(f"not all cases reached their sites: {', '.join(missing)}")
        for target in controller.targets:
            controller.resume(target)
        self._wait(started, controller)
        self._record_outcomes(started, controller)

    def storm(self, size: int, connection: int, seed: int) -> None:
        """One run of mapped tasks while a fifth of all answers fail."""
        self.cluster.emulator.add_faults(*storm_rules(seed))
        one = self._starter.storm(size, connection)
        searched = False

        def search_triggers_once() -> None:
            nonlocal searched
            deferred = "select 1 from task_instance where state = 'deferred' limit 1"
            if not searched and self.cluster.query(deferred):
                searched = True
                self.canary.search_triggers()

        controller = KillController(self.cluster, self.log)
        self._wait([one], controller, search_triggers_once, limit=120 + 6.0 * size)
        met = [f"{rule['hits']} {rule['kind']}" for rule in self.cluster.emulator.faults()]
        self.cluster.emulator.clear_faults()
        requests = sum(entry["project"] == project(connection) for entry in self.cluster.emulator.requests())
        self.notes.append(f"The storm of {size}: {requests} requests met {', '.join(met)}.")
        self._record_outcomes([one], controller)

    def _wait(
        self,
        started: Sequence[StartedRun],
        controller: KillController,
        meanwhile: Callable[[], None] = lambda: None,
        limit: float = LIMIT,
    ) -> None:
        """Wait for the end of all runs."""
        runs = [one.run for one in started]
        last_logged = time.monotonic()

        def all_ended() -> bool:
            nonlocal last_logged
            meanwhile()
            unfinished = controller.unfinished(runs)
            if unfinished and time.monotonic() - last_logged > 20:
                last_logged = time.monotonic()
                self.log(
                    f"{len(unfinished)} of {len(runs)} runs go on: {_few(run.dag_id for run in unfinished)}"
                )
            return not unfinished

        controller.until(all_ended, limit)
        for target in controller.targets:
            controller.continue_stopped(target)
            controller.resume(target)

    def _record_outcomes(self, started: Sequence[StartedRun], controller: KillController) -> None:
        """Add the outcome of runs, after their end or the deadline, to the table."""
        hanging = {run.run_id for run in controller.unfinished(one.run for one in started)}
        mismatches = outcome_checks.mismatches(self.cluster)
        delivered = {one.run: self._record_outcome(one, hanging, mismatches) for one in started}
        for connection in dict.fromkeys(one.connection for one in started):
            together = [one for one in started if one.connection == connection]
            self._record_billing(together, set().union(*(delivered[one.run] for one in together)))

    def _record_outcome(self, one: StartedRun, hanging: set[str], mismatches: dict[str, int]) -> set[str]:
        """Add the outcome of a run's tasks to the table; returns the transcripts of the results."""
        row = self.rows.setdefault((one.letter, one.mode), Row(one.letter, one.mode))
        hits = [target for target in one.targets if target.hit]
        row.wanted += len(one.targets)
        row.hits += len(hits)
        row.kills.update(target.kill for target in hits)
        row.tasks += one.tasks
        if one.run.run_id in hanging:
            row.hanging += one.tasks
            row.complaints.append(self.cluster.describe(one.run))
            return set()
        noticed = sum(target.kill not in ("triggerer", "scheduler", "node") for target in hits)
        mismatched = max(0, mismatches.get(one.run.run_id, 0) - noticed)
        key = self.cluster.keys[one.connection]
        outcomes = outcome_checks.task_outcomes(self.cluster, one.run, one.output, key)
        row.mismatches += mismatched
        row.tries += max(0, sum(outcome.tries - 1 for outcome in outcomes) - len(hits) - mismatched)
        complaints = [outcome.complaint for outcome in outcomes if outcome.complaint]
        transcripts = {outcome.transcript_id for outcome in outcomes if outcome.transcript_id}
        if (doubles := len(outcomes) - len(complaints) - len(transcripts)) > 0:
            complaints += ["it has the same transcript as another task of its run"] * doubles
        row.delivered += len(transcripts)
        row.lost += one.tasks - len(transcripts)
        where = f"{one.run.dag_id} {_few(target.token for target in one.targets)}"
        row.complaints += [f"{where}: {complaint}" for complaint in complaints]
        return transcripts

    def _record_billing(self, started: Sequence[StartedRun], delivered: set[str]) -> None:
        """Compare what the service bills to the project of some runs with what the runs delivered."""
        row = self.rows[started[0].letter, started[0].mode]
        billing = outcome_checks.billing(self.cluster, {one.connection for one in started})
        tasks = sum(one.tasks for one in started)
        row.excess += len(billing.accepted - delivered)
        if started[0].shared:
            self.shared.update(tasks=tasks, jobs=len(billing.accepted))
        row.uploads += billing.uploads - sum(one.uploads for one in started)
        # Less than one a task proves nothing: a task that shares a URL may find the other's job and submit none.
        row.submissions += max(0, billing.submissions - tasks)
        row.lists += billing.lists

    def remarks(self) -> list[str]:
        """What the table has no column for."""
        shared, partial = self.shared, sum(1 for _ in (self.cluster.folder / "out").rglob("*.partial"))
        return [
            *self.notes,
            f"Tasks that shared a URL with another one: {shared['tasks']}, with {shared['jobs']} jobs billed: a task "
            "that lost its response may adopt the other's job.",
            f"Unfinished files that killed writers left behind: {partial}.",
        ]


def storm_rules(seed: int) -> list[dict[str, object]]:
    """A fifth of all answers fail, in four ways; lists lag up to 5 s; the clock is 10 minutes off."""
    submit = {"method": "POST", "path": "/v2/transcript"}
    # Only the first rule that matches a request applies, so the shares of the later ones are smaller.
    faults: list[dict[str, object]] = [
        {"kind": "drop_response", **submit, "probability": 0.12},
        {"kind": "reset_connection", "probability": 0.06},
        {"kind": "http_status", "status": 503, "probability": 0.05},
        {"kind": "http_status", "status": 500, "when": "after", "probability": 0.04},
        {"kind": "rate_limit", "retry_after": 1, "probability": 0.06},
    ]
    lags: list[dict[str, object]] = [
        {"kind": "list_lag", "seconds": seconds, "probability": share}
        for seconds, share in ((5, 0.34), (2, 0.5), (0.5, 0.5))
    ]
    chances = [
        {**rule, "times": None, "seed": seed * 100 + number} for number, rule in enumerate(faults + lags)
    ]
    return [*chances, {"kind": "clock_skew", "seconds": 600}]


def _few(names: Iterable[str]) -> str:
    listed = sorted(set(names))
    return ", ".join(listed[:6]) + (" ..." if len(listed) > 6 else "")

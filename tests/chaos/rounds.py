# SPDX-License-Identifier: Apache-2.0
"""The rounds: tasks and the triggerer, the scheduler, the storm. Each adds its rows to the table."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos import evidence
from tests.chaos.canary import Canary
from tests.chaos.cluster import Cluster
from tests.chaos.conductor import Conductor
from tests.chaos.emulator import project
from tests.chaos.points import DEFERRED, Case, Kill
from tests.chaos.report import Row
from tests.chaos.starting import Job, Starter

#: Seconds that a round may take.
PATIENCE = 900.0


@dataclass
class Fifty:
    """A run of fifty mapped tasks, some of which are hit."""

    deferrable: bool
    hits: int
    connection: int


@dataclass
class Rounds:
    cluster: Cluster
    canary: Canary
    say: Callable[[str], None]
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    shared: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._starter = Starter(self.cluster)

    def tasks(self, cases: Sequence[Case], fifties: Sequence[Fifty]) -> None:
        """Every point that hits one task, all at once, and the triggerer in between."""
        conductor = Conductor(self.cluster, self.say)
        conductor.hold_requests()
        strike = conductor.kill_triggerer_when_deferred(self.canary.look_into_triggers)
        paired: set[int] = set()
        jobs: list[Job] = []

        def start(job: Job) -> None:
            jobs.append(job)
            conductor.targets += job.targets
            conductor.tick()
            if job.shared and job.connection not in paired:
                # The other one comes while this one is in doubt, and not at the same instant.
                paired.add(job.connection)
                conductor.until(there(job), 60)

        def there(job: Job) -> Callable[[], bool]:
            def reached() -> bool:
                strike()
                return all(conductor.is_there(target) for target in job.targets)

            return reached

        # First those that wait for the triggerer's death: it comes once all of them are deferred.
        for case in sorted(cases, key=lambda case: case.kill != "triggerer"):
            start(self._starter.case(case))
        for fifty in fifties:
            start(
                self._starter.fifty(deferrable=fifty.deferrable, hits=fifty.hits, connection=fifty.connection)
            )
        self._wait(jobs, conductor, strike)
        conductor.let_requests_go()
        self._settle(jobs, conductor)

    def scheduler(self, cases: Sequence[Case], kill: Kill) -> None:
        """Get all cases to their places, then kill the scheduler under them."""
        conductor = Conductor(self.cluster, self.say)
        jobs = [self._starter.case(case) for case in cases]
        conductor.targets = [target for job in jobs for target in job.targets]

        def there() -> bool:
            return all(
                conductor.in_triggerer(target) if target.site == DEFERRED else target.reached
                for target in conductor.targets
            )

        if conductor.until(there, 120):
            self.canary.look_into_triggers()
            self.cluster.kill_scheduler(with_workers=kill == "node")
            for target in conductor.targets:
                target.hit = True
            self.say(f"{kill} killed under {len(jobs)} cases")
        else:
            missing = [target.token for target in conductor.targets if not target.reached]
            self.say(f"not all cases got to their places: {', '.join(missing)}")
        for target in conductor.targets:
            conductor.go(target)
        self._wait(jobs, conductor)
        self._settle(jobs, conductor)

    def storm(self, size: int, connection: int, seed: int) -> None:
        """One run of mapped tasks while a fifth of all answers fail."""
        self.cluster.control.add_faults(*storm_rules(seed))
        job = self._starter.storm(size, connection)
        unseen = [True]

        def look() -> None:
            deferred = "select 1 from task_instance where state = 'deferred' limit 1"
            if unseen and self.cluster.query(deferred):
                unseen.clear()
                self.canary.look_into_triggers()

        conductor = Conductor(self.cluster, self.say)
        self._wait([job], conductor, look, patience=120 + 6.0 * size)
        met = [f"{rule['hits']} {rule['kind']}" for rule in self.cluster.control.faults()]
        self.cluster.control.clear_faults()
        asked = sum(entry["project"] == project(connection) for entry in self.cluster.control.requests())
        self.notes.append(f"The storm of {size}: {asked} requests met {', '.join(met)}.")
        self._settle([job], conductor)

    def _wait(
        self,
        jobs: Sequence[Job],
        conductor: Conductor,
        meanwhile: Callable[[], None] = lambda: None,
        patience: float = PATIENCE,
    ) -> None:
        """Until the end of all runs."""
        runs = [job.run for job in jobs]
        shown = [time.monotonic()]

        def over() -> bool:
            meanwhile()
            left = conductor.unfinished(runs)
            if left and time.monotonic() - shown[0] > 20:
                shown[0] = time.monotonic()
                self.say(f"{len(left)} of {len(runs)} runs go on: {_few(run.dag_id for run in left)}")
            return not left

        conductor.until(over, patience)
        for target in conductor.targets:
            conductor.wake(target)
            conductor.go(target)

    def _settle(self, jobs: Sequence[Job], conductor: Conductor) -> None:
        """Take down what became of runs that had their time."""
        hanging = {run.run_id for run in conductor.unfinished(job.run for job in jobs)}
        mismatches = evidence.mismatches(self.cluster)
        delivered = {job.run: self._take_down(job, hanging, mismatches) for job in jobs}
        for connection in dict.fromkeys(job.connection for job in jobs):
            together = [job for job in jobs if job.connection == connection]
            self._count_money(together, set().union(*(delivered[job.run] for job in together)))

    def _take_down(self, job: Job, hanging: set[str], mismatches: dict[str, int]) -> set[str]:
        """Note what became of the tasks of a run; returns the transcripts that results were made of."""
        row = self.rows.setdefault((job.letter, job.mode), Row(job.letter, job.mode))
        hits = [target for target in job.targets if target.hit]
        row.wanted += len(job.targets)
        row.hits += len(hits)
        row.kills.update(target.kill for target in hits)
        row.tasks += job.tasks
        if job.run.run_id in hanging:
            row.hanging += job.tasks
            row.complaints.append(self.cluster.describe(job.run))
            return set()
        noticed = sum(target.kill not in ("triggerer", "scheduler", "node") for target in hits)
        mismatched = max(0, mismatches.get(job.run.run_id, 0) - noticed)
        key = self.cluster.keys[job.connection]
        results = evidence.results(self.cluster, job.run, job.output, key)
        row.mismatches += mismatched
        row.tries += max(0, sum(result.tries - 1 for result in results) - len(hits) - mismatched)
        complaints = [result.complaint for result in results if result.complaint]
        transcripts = {result.transcript_id for result in results if result.transcript_id}
        if (doubles := len(results) - len(complaints) - len(transcripts)) > 0:
            complaints += ["it has the same transcript as another task of its run"] * doubles
        row.delivered += len(transcripts)
        row.lost += job.tasks - len(transcripts)
        where = f"{job.run.dag_id} {_few(target.token for target in job.targets)}"
        row.complaints += [f"{where}: {complaint}" for complaint in complaints]
        return transcripts

    def _count_money(self, jobs: Sequence[Job], delivered: set[str]) -> None:
        """Compare what the service bills to the projects of some runs with what the runs delivered."""
        row = self.rows[jobs[0].letter, jobs[0].mode]
        spent = evidence.money(self.cluster, {job.connection for job in jobs})
        tasks = sum(job.tasks for job in jobs)
        row.excess += len(spent.accepted - delivered)
        if jobs[0].shared:
            self.shared.update(tasks=tasks, jobs=len(spent.accepted))
        row.uploads += spent.uploads - sum(job.uploads for job in jobs)
        # Less than one a task is no merit: whoever shares a URL may find the other's job and submit none.
        row.submissions += max(0, spent.submissions - tasks)
        row.lists += spent.lists

    def remarks(self) -> list[str]:
        """What the table has no column for."""
        shared, left = self.shared, sum(1 for _ in (self.cluster.folder / "out").rglob("*.partial"))
        return [
            *self.notes,
            f"Tasks that shared a URL with another one: {shared['tasks']}, with {shared['jobs']} jobs billed: who "
            "lost its answer may adopt the other's job.",
            f"Unfinished files that killed writers left behind: {left}.",
        ]


def storm_rules(seed: int) -> list[dict[str, object]]:
    """A fifth of all answers fail, in four ways; lists lag up to 5 s; the clock is 10 minutes off."""
    submit = {"method": "POST", "path": "/v2/transcript"}
    # Only the first rule that meets a request counts, so what is left for the others shrinks.
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

# SPDX-License-Identifier: Apache-2.0
"""Checks of a run that has ended: its results, its files, what was billed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

from tests.chaos.cluster import Cluster, project
from tests.chaos.kill_points import Output
from tests.support.running_airflow import JsonDict, Run


@dataclass
class TaskOutcome:
    """
    How one task ended.

    :param transcript_id: of its result; None without a right result.
    :param complaint: what is wrong with the result.
    """

    transcript_id: str | None = None
    complaint: str | None = None
    tries: int = 0


@dataclass
class Billing:
    """
    What the service received from some projects.

    :param accepted: transcript ids of the jobs that it bills.
    """

    accepted: set[str] = field(default_factory=set)
    uploads: int = 0
    submissions: int = 0
    lists: int = 0


def task_outcomes(cluster: Cluster, run: Run, output: Output, key: str) -> list[TaskOutcome]:
    """The outcome of each task instance of a run."""
    rows = cluster.query(
        "select map_index, state, try_number from task_instance"
        " where dag_id = %s and run_id = %s and task_id = 'transcribe' order by map_index",
        *(run.dag_id, run.run_id),
    )
    found = []
    for row in rows:
        result = TaskOutcome(tries=row["try_number"] or 0)
        if row["state"] != "success":
            result.complaint = f"ended as {row['state']}"
        else:
            try:
                summary = cluster.xcom(run, "transcribe", map_index=row["map_index"])
                _check(cluster, summary, output, key, row["map_index"])
                result.transcript_id = summary["transcript_id"]
            except (
                _WrongResult,
                OSError,
                requests.RequestException,
                KeyError,
                TypeError,
                ValueError,
            ) as error:
                result.complaint = f"{type(error).__name__}: {error}"
        found.append(result)
    return found


class _WrongResult(Exception):
    pass


def _check(cluster: Cluster, summary: Any, output: Output, key: str, map_index: int) -> None:
    text = summary["text"] if output == "xcom" else _read(summary, "txt")
    if not text.strip():
        raise _WrongResult("the text is empty")
    whole = None if output == "xcom" else json.loads(_read(summary, "json"))
    if whole is not None and (whole["id"], whole["text"]) != (summary["transcript_id"], text.rstrip("\n")):
        raise _WrongResult("the files do not belong to the result")
    known = cluster.emulator.api(key, "GET", f"/v2/transcript/{summary['transcript_id']}")
    deleted = known["audio_url"] == "http://deleted_by_user"
    if deleted != (output == "delete"):
        raise _WrongResult("the transcript is deleted" if deleted else "the transcript is not deleted")
    if (
        map_index >= 0
        and "/upload/" not in (audio := known["audio_url"])
        and not audio.endswith(f"/{map_index}.wav")
    ):
        raise _WrongResult("the transcript is of another task's audio")
    if not deleted and known["text"] != text.rstrip("\n"):
        raise _WrongResult("the text is another transcript's")


def _read(summary: Mapping[str, Any], form: str) -> str:
    return Path(unquote(urlsplit(summary["outputs"][form]).path)).read_text(encoding="utf-8")


def billing(cluster: Cluster, connections: Iterable[int]) -> Billing:
    owners = {project(number) for number in connections}
    kinds = Counter(
        (entry["method"], entry["path"])
        for entry in cluster.emulator.requests()
        if entry["project"] in owners
    )
    counters = cluster.emulator.counters()["projects"]
    return Billing(
        accepted={
            transcript["id"]
            for transcript in cluster.emulator.transcripts()
            if transcript["project"] in owners and transcript["billed"]
        },
        uploads=sum(counters[owner]["uploads"] for owner in owners if owner in counters),
        submissions=kinds["POST", "/v2/transcript"],
        lists=kinds["GET", "/v2/transcript"],
    )


def mismatches(cluster: Cluster) -> dict[str, int]:
    """Run id -> how often Airflow mistook its own late report for a failure of the task."""
    found: Counter[str] = Counter()
    rows: list[JsonDict] = cluster.query(
        "select run_id from log where event = 'state mismatch' and run_id is not null"
    )
    for row in rows:
        found[row["run_id"]] += 1
    return dict(found)

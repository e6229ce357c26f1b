# SPDX-License-Identifier: Apache-2.0
"""What is true of a run after it has ended: its result, its files, its money."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests

from tests.chaos.cluster import Cluster
from tests.chaos.emulator import project
from tests.chaos.points import Output
from tests.support.running_airflow import JsonDict, Run


@dataclass
class Result:
    """
    What became of one task.

    :param transcript_id: of its result; None when there is no right result.
    :param complaint: what is wrong with it.
    """

    transcript_id: str | None = None
    complaint: str | None = None
    tries: int = 0


@dataclass
class Money:
    """
    What the service saw of some projects.

    :param accepted: ids of the jobs it accepted and did not end in an error.
    """

    accepted: set[str] = field(default_factory=set)
    uploads: int = 0
    submissions: int = 0
    lists: int = 0


def results(cluster: Cluster, run: Run, output: Output, key: str) -> list[Result]:
    """One for each task instance of a run."""
    rows = cluster.query(
        "select map_index, state, try_number from task_instance"
        " where dag_id = %s and run_id = %s and task_id = 'transcribe' order by map_index",
        *(run.dag_id, run.run_id),
    )
    found = []
    for row in rows:
        result = Result(tries=row["try_number"] or 0)
        if row["state"] != "success":
            result.complaint = f"ended as {row['state']}"
        else:
            try:
                summary = cluster.xcom(run, "transcribe", map_index=row["map_index"])
                _check(cluster, summary, output, key, row["map_index"])
                result.transcript_id = summary["transcript_id"]
            except (_Wrong, OSError, requests.RequestException, KeyError, TypeError, ValueError) as error:
                result.complaint = f"{type(error).__name__}: {error}"
        found.append(result)
    return found


class _Wrong(Exception):
    pass


def _check(cluster: Cluster, summary: Any, output: Output, key: str, map_index: int) -> None:
    text = summary["text"] if output == "xcom" else _read(summary, "txt")
    if not text.strip():
        raise _Wrong("the text is empty")
    whole = None if output == "xcom" else json.loads(_read(summary, "json"))
    if whole is not None and (whole["id"], whole["text"]) != (summary["transcript_id"], text.rstrip("\n")):
        raise _Wrong("the files do not belong to the result")
    known = cluster.control.transcript(summary["transcript_id"], key)
    deleted = known["audio_url"] == "http://deleted_by_user"
    if deleted != (output == "delete"):
        raise _Wrong("the transcript is deleted" if deleted else "the transcript is not deleted")
    if (
        map_index >= 0
        and "/upload/" not in (audio := known["audio_url"])
        and not audio.endswith(f"/{map_index}.wav")
    ):
        raise _Wrong("the transcript was made of another task's audio")
    if not deleted and known["text"] != text.rstrip("\n"):
        raise _Wrong("the text is another transcript's")


def _read(summary: Mapping[str, Any], form: str) -> str:
    return Path(unquote(urlsplit(summary["outputs"][form]).path)).read_text(encoding="utf-8")


def money(cluster: Cluster, connections: Iterable[int]) -> Money:
    owners = {project(number) for number in connections}
    kinds = Counter(
        (entry["method"], entry["path"]) for entry in cluster.control.requests() if entry["project"] in owners
    )
    uploads = cluster.control.uploads()
    return Money(
        accepted={
            transcript["id"]
            for transcript in cluster.control.transcripts()
            if transcript["project"] in owners and transcript["billed"]
        },
        uploads=sum(uploads.get(owner, 0) for owner in owners),
        submissions=kinds["POST", "/v2/transcript"],
        lists=kinds["GET", "/v2/transcript"],
    )


def mismatches(cluster: Cluster) -> dict[str, int]:
    """Run id -> how often Airflow took its own late news for a failure of the task."""
    found: Counter[str] = Counter()
    rows: list[JsonDict] = cluster.query(
        "select run_id from log where event = 'state mismatch' and run_id is not null"
    )
    for row in rows:
        found[row["run_id"]] += 1
    return dict(found)

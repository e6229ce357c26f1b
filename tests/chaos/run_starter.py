# SPDX-License-Identifier: Apache-2.0
"""Starts the runs: writes the case of each, and names the tasks that are to be hit."""

from __future__ import annotations

import json
import os
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from tests.chaos.cluster import Cluster, connection_id
from tests.chaos.kill_controller import Target
from tests.chaos.kill_points import MAPPED_POINT, SLOW, Case, Output
from tests.support.running_airflow import Run

MAPPED_TASKS = 50
_UPLOAD_SECONDS = 90


@dataclass
class StartedRun:
    """
    One run of a DAG.

    :param letter: the point it belongs to.
    :param uploads: how many of its tasks have to upload.
    :param shared: whether another run uses the same public URL in the same project, so that each may adopt the
        other's job.
    """

    letter: str
    mode: str
    run: Run
    connection: int
    output: Output
    tasks: int = 1
    uploads: int = 0
    shared: bool = False
    targets: list[Target] = field(default_factory=list)


class RunStarter:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def case(self, case: Case) -> StartedRun:
        audio = self._audio(case)
        run = self._trigger(case.name, case.dag_id, case.connection, audio, {"-1": case.site})
        shared = case.source == "shared URL"
        target = Target(
            *(f"{case.name}.-1", case.connection, case.site, case.kill, run), together=2 if shared else 1
        )
        return StartedRun(
            *(case.letter, case.mode, run, case.connection, case.output),
            uploads=int(case.source == "upload"),
            shared=shared,
            targets=[target],
        )

    def mapped(self, *, deferrable: bool, hits: int, connection: int) -> StartedRun:
        mode = "deferrable" if deferrable else "blocking"
        name = f"{MAPPED_POINT.letter}-{mode}"
        indices = [3 + 9 * number for number in range(hits)]
        sites = list(islice(cycle(MAPPED_POINT.sites(deferrable)), hits))
        kills = list(islice(cycle(MAPPED_POINT.kills), hits))
        by_index = {str(index): site for index, site in zip(indices, sites, strict=True)}
        run = self._trigger(name, f"chaos_{mode}_mapped", connection, "", by_index)
        targets = [
            Target(f"{name}.{index}", connection, site, kill, run, index)
            for index, site, kill in zip(indices, sites, kills, strict=True)
        ]
        return StartedRun(MAPPED_POINT.letter, mode, run, connection, "files", MAPPED_TASKS, targets=targets)

    def storm(self, size: int, connection: int) -> StartedRun:
        uploads = range(0, size, 5)
        for index in uploads:
            self._recording(f"storm-{index}", seconds=1)
        run = self._trigger(f"storm-{size}", f"chaos_storm_{size}", connection, "", {})
        return StartedRun("storm", "deferrable", run, connection, "files", size, len(uploads))

    def _trigger(self, name: str, dag_id: str, connection: int, audio: str, sites: Mapping[str, str]) -> Run:
        folder = self._cluster.folder
        case = {
            "name": name,
            "audio": audio,
            "connection": connection_id(connection),
            "output": str(folder / "out" / name),
            "sites": dict(sites),
        }
        (folder / "cases" / f"{name}.json").write_text(json.dumps(case), encoding="utf-8")
        return self._cluster.trigger(dag_id, {"case": name})

    def _audio(self, case: Case) -> str:
        # The marker makes the emulator's job take longer.
        slow = SLOW.get(case.site)
        marker = f"emulator=processing:{slow}&" if slow else ""
        match case.source:
            case "upload":
                return str(self._recording(case.name, seconds=_UPLOAD_SECONDS))
            case "shared URL":
                return f"https://example.com/shared/{case.letter}/{case.connection}.wav"
            case "signing store":
                return f"signing://bucket/{case.name}.wav"
            case "signed URL":
                signature = f"X-Amz-Signature={self._cluster.signature}{case.name.encode().hex()}"
                return f"https://example.com/{case.name}.wav?{marker}{signature}"

    def _recording(self, name: str, *, seconds: int) -> Path:
        """Noise that differs from every other file; larger than what fits into the buffers of a socket."""
        path = self._cluster.folder / "audio" / f"{name}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes(os.urandom(16_000) * 2 * seconds)
        return path

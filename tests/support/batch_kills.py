# SPDX-License-Identifier: Apache-2.0
"""
Tasks that are killed at random moments: ``python -m tests.support.batch_kills --items 2000 --kills 10``.

A batch; a batch on a store where a kill leaves any beginning of what was being written; and several processes that want
the same job at once.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.commands.stored_files import stored_files
from airflow_provider_assemblyai.emulator import Emulator, serve
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from tests.support.forked_processes import LONGEST
from tests.support.worker_processes import WorkerProcess

#: Of the items: those that the service cannot use, and those that are uploaded.
BAD, UPLOADED = 20, 10
#: Requests after the moment of a kill: then the worker stops until it is killed, however slow this process is.
_MARGIN = 8
#: A lease of processes that are killed: no other waits long for them.
_QUICK_LEASE = {"lease_ttl": 5.0, "heartbeat_interval": 0.5, "lease_poll_interval": 1.0}


@dataclass
class Outcome:
    """What is left when a batch that was killed has ended."""

    items: int
    bad: int
    kills: int
    seconds: float
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    counters: dict[str, Any]
    outputs: Path
    torn: int

    def check(self) -> None:
        """The manifest adds up, nothing was paid twice, no file is missing."""
        good = self.items - self.bad
        statuses = [line["status"] for line in self.lines]
        assert len(self.lines) == self.items == self.summary["items"]
        assert len({line["source"] for line in self.lines}) == self.items
        assert (statuses.count("completed"), statuses.count("failed")) == (good, self.bad)
        assert (self.summary["completed"], self.summary["failed"]) == (good, self.bad)
        assert self.counters["accepted"] == self.items, "no item was submitted twice"
        assert self.counters["billed"] == good
        for line in self.lines:
            wanted = {"json", "txt"} if line["status"] == "completed" else set()
            assert set(line["outputs"]) == wanted
            for name, uri in line["outputs"].items():
                text = (self.outputs / uri.rpartition("/")[2]).read_text()
                assert text
                assert name != "json" or json.loads(text)["id"] == line["transcript_id"]
        ids = {line["transcript_id"] for line in self.lines}
        assert len(ids) == self.items


def batch(
    emulator: Emulator,
    folder: Path,
    items: int,
    kills: int,
    seed: int,
    *,
    torn_store: bool = False,
    **arguments: Any,
) -> Outcome:
    """
    Run a batch and kill its process, each time after a random number of requests; then let it end.

    :param kills: how often.
    :param seed: of the random moments.
    :param torn_store: whether it writes to a :mod:`tests.support.torn_store`.
    :param arguments: of the operator.
    """
    audios = _audios(folder / "calls", items)
    given = {
        "audios": audios,
        "output_path": "torn://out" if torn_store else str(folder / "out"),
        "poll_interval": 0.2,
        "settle_time": 0.2,
        "on_partial_failure": "succeed",
        "assemblyai_conn_id": "assemblyai_default",
        **({"store": str(folder), **_QUICK_LEASE} if torn_store else {}),
        **arguments,
    }
    torn = 0
    random_moments = random.Random(seed)
    # Each item is submitted and fetched; later there is nothing to kill any more.
    moments = sorted(random_moments.sample(range(10, 2 * items - items // 20), kills))
    began = time.monotonic()
    for moment in moments:
        emulator.hold(skip=max(0, moment - _requests(emulator)) + _MARGIN, times=None)
        assert _run(emulator, given, moment) is None, "the worker was not killed"
        emulator.clear_faults()
        torn += sum(file.problem is not None for file in stored_files(_records(folder)))
    summary = _run(emulator, given, None)
    assert summary is not None
    lines = (folder / "out" / "manifest.jsonl").read_text().splitlines()
    bad = sum("emulator=error" in audio for audio in audios)
    return Outcome(
        items,
        bad,
        kills,
        time.monotonic() - began,
        summary,
        [json.loads(line) for line in lines],
        emulator.counters(),
        folder / "out",
        torn,
    )


def _records(folder: Path) -> ObjectFolder:
    return ObjectFolder(ObjectStoragePath(str(folder / "out")) / ".assemblyai")


def _audios(folder: Path, items: int) -> list[str]:
    folder.mkdir(parents=True)
    audios = []
    for number in range(items):
        if number % BAD == 1:
            audios.append(f"https://example.com/{number}.wav?emulator=error:download,processing:0.3")
        elif number % UPLOADED == 0:
            (folder / f"{number}.wav").write_bytes(b"RIFF" + bytes(40) + str(number).encode())
            audios.append(str(folder / f"{number}.wav"))
        else:
            audios.append(f"https://example.com/{number}.wav?emulator=processing:0.3")
    return audios


def _run(emulator: Emulator, arguments: dict[str, Any], moment: int | None) -> dict[str, Any] | None:
    """
    Return the summary of a worker, or None if it was killed.

    :param moment: number of requests, of all workers so far, at which it is killed; None lets it end.
    """
    pause = threading.Event()
    end = time.monotonic() + LONGEST
    worker = WorkerProcess(emulator, arguments)
    while moment is not None and worker.alive:
        stuck = time.monotonic() > end
        if stuck or _requests(emulator) >= moment:
            worker.kill()
            assert not stuck, f"no end after {LONGEST:g} s"
            return None
        pause.wait(0.002)
    return worker.summary()


def _requests(emulator: Emulator) -> int:
    return sum(emulator.counters()["requests"].values())


def share(emulator: Emulator, folder: Path, processes: int, rounds: int, seed: int) -> str:
    """
    Let several processes want the same job at once, kill half of them at random moments, and return what it cost.

    Each that was killed is tried again, as Airflow does.

    :param rounds: how many jobs, one after the other.
    :param seed: of the random moments.
    """
    dice, pause = random.Random(seed), threading.Event()
    began, killed = time.monotonic(), 0
    for number in range(rounds):
        (folder / f"{number}.wav").write_bytes(b"RIFF" + bytes(40) + str(number).encode())
        audio = (
            str(folder / f"{number}.wav")
            if number % 2
            else f"https://example.com/{number}.wav?emulator=processing:1"
        )
        given = {
            "audio": audio,
            "output_path": str(folder / "out"),
            "reuse": "output",
            "poll_interval": 0.2,
            "settle_time": 0.5,
            "retries": 2,
            **_QUICK_LEASE,
        }
        runs = [{**given, "run_id": f"run {run}", "deferrable": run % 3 == 0} for run in range(processes)]
        workers = [WorkerProcess(emulator, run) for run in runs]
        requests = _requests(emulator)
        for run in dice.sample(range(processes), processes // 2):
            # From the first request on, so that there is something to kill.
            moment = requests + dice.randrange(1, 3 * processes)
            while workers[run].alive and any(one.alive for one in workers) and _requests(emulator) < moment:
                pause.wait(0.002)
            if workers[run].alive:
                workers[run].kill()
                killed += 1
                workers[run] = WorkerProcess(emulator, runs[run])
        ids = {worker.summary()["transcript_id"] for worker in workers}
        assert len(ids) == 1, "all follow one job"
    counters = emulator.counters()
    assert (counters["accepted"], counters["billed"]) == (rounds, rounds), "nothing is paid twice"
    assert not [file for file in stored_files(_records(folder)) if file.problem]
    for number in range(rounds):
        assert json.loads((folder / "out" / f"{number}.json").read_text())["status"] == "completed"
    return (
        f"{processes} processes at once on one output_path with reuse='output', {rounds} inputs, {killed} of them killed: "
        f"{counters['accepted']} jobs accepted, {counters['billed']} billed, all with the same results; "
        f"{time.monotonic() - began:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--deferrable", action="store_true")
    options = parser.parse_args()
    for torn_store in (False, True):
        with serve() as emulator, tempfile.TemporaryDirectory() as folder:
            found = batch(
                emulator,
                Path(folder),
                options.items // 8 if torn_store else options.items,
                options.kills,
                options.seed,
                deferrable=options.deferrable,
                torn_store=torn_store,
            )
            found.check()
        where = f" on a store whose writes are not atomic ({found.torn} cut off)" if torn_store else ""
        print(
            f"{found.items} items{where}, {found.bad} of them bad, killed {found.kills} times: {len(found.lines)} lines in "
            f"the manifest, {found.summary['completed']} completed + {found.summary['failed']} failed, "
            f"{found.counters['accepted']} jobs accepted, {found.counters['billed']} billed, no output missing; "
            f"{found.seconds:.0f} s",
            flush=True,
        )
    with serve() as emulator, tempfile.TemporaryDirectory() as folder:
        print(share(emulator, Path(folder), processes=8, rounds=3, seed=options.seed))


if __name__ == "__main__":
    main()

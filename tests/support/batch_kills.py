# SPDX-License-Identifier: Apache-2.0
"""A batch that is killed at random moments: ``python -m tests.support.batch_kills --items 2000 --kills 10``."""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_assemblyai.emulator import Emulator, serve

WORKER = Path(__file__).parent / "batch_worker.py"
#: Of the items: those that the service cannot use, and those that are uploaded.
BAD, UPLOADED = 20, 10
#: Requests after the moment of a kill: then the worker stops until it is killed, however slow this process is.
_MARGIN = 8
#: Seconds after which a worker has surely got stuck.
_LONGEST = 3600.0


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
            for uri in line["outputs"].values():
                assert Path(uri.removeprefix("file://")).stat().st_size > 0
        ids = {line["transcript_id"] for line in self.lines}
        assert len(ids) == self.items


def batch(emulator: Emulator, folder: Path, items: int, kills: int, seed: int, **arguments: Any) -> Outcome:
    """
    Run a batch and kill its process, each time after a random number of requests; then let it end.

    :param kills: how often.
    :param seed: of the random moments.
    :param arguments: of the operator.
    """
    audios = _audios(folder / "calls", items)
    given = {
        "audios": audios,
        "output_path": str(folder / "out"),
        "poll_interval": 0.2,
        "settle_time": 0.2,
        "on_partial_failure": "succeed",
        "assemblyai_conn_id": "assemblyai_default",
        **arguments,
    }
    random_moments = random.Random(seed)
    # Each item is submitted and fetched; later there is nothing to kill any more.
    moments = sorted(random_moments.sample(range(10, 2 * items - items // 20), kills))
    began = time.monotonic()
    for moment in moments:
        emulator.hold(skip=max(0, moment - _requests(emulator)) + _MARGIN, times=None)
        assert _run(emulator, given, moment) is None, "the worker was not killed"
        emulator.clear_faults()
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
    )


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
    env = {**os.environ, "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": emulator.connection_json}
    pause = threading.Event()
    end = time.monotonic() + _LONGEST
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(arguments)], env=env, stdout=output, stderr=errors
        )
        while worker.poll() is None:
            stuck = time.monotonic() > end
            if stuck or (moment is not None and _requests(emulator) >= moment):
                worker.kill()
                worker.wait()
                assert not stuck, f"no end after {_LONGEST:g} s"
                return None
            pause.wait(0.002 if moment is not None else 0.05)
        output.seek(0)
        errors.seek(0)
        for line in output:
            if line.startswith('{"summary"'):
                summary: dict[str, Any] = json.loads(line)["summary"]
                return summary
        raise RuntimeError(f"The worker ended with {worker.returncode}: {errors.read()[-4000:]}")


def _requests(emulator: Emulator) -> int:
    return sum(emulator.counters()["requests"].values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--deferrable", action="store_true")
    options = parser.parse_args()
    with serve() as emulator, tempfile.TemporaryDirectory() as folder:
        found = batch(
            emulator,
            Path(folder),
            options.items,
            options.kills,
            options.seed,
            deferrable=options.deferrable,
        )
        found.check()
    print(
        f"{found.items} items, {found.bad} of them bad, killed {found.kills} times: {len(found.lines)} lines in the "
        f"manifest, {found.summary['completed']} completed + {found.summary['failed']} failed, "
        f"{found.counters['accepted']} jobs accepted, {found.counters['billed']} billed, no output missing; "
        f"{found.seconds:.0f} s"
    )


if __name__ == "__main__":
    main()

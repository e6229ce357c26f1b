# SPDX-License-Identifier: Apache-2.0
"""
Whole tasks in a real Airflow: many files with one batch task of ours and with the OpenAI provider's operator, mapped
(``batches``), or single files with each mode of our operator and with the official SDK (``files``).

Run in a process of its own: ``waiting_tasks.py HOME '{"part": "batches", "files": [500, 2000], ...}'`` prints one JSON
object.
"""

from __future__ import annotations

import json
import os
import sys
import wave
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from measurement import BENCHMARKS
from slot_usage import SlotUsage, keep_journal

from tests.support.airflow_settings import emulator_command
from tests.support.running_airflow import Airflow
from tests.support.s3 import s3

_LONGEST = 1800.0
#: Seconds that a job of a single file takes, and how long short and long files are.
_JOB_SECONDS = 2
_SHORT, _LONG = 20, 1_200
#: Times that each single file is transcribed.
_TIMES = 3
_ALL = ["auto", "at_once", "blocking", "sdk"]

Result = dict[str, Any]


def run(home: Path, job: Result) -> Result:
    """
    Run all of a part, one after the other.

    :param home: for Airflow.
    :param job: part, files (and what their addresses end with), mapped, concurrency, seconds, certificate (with its
        key), openai.
    """
    return (_run_batches if job["part"] == "batches" else _run_files)(home, job)


def _emulator(job: Result, *options: str) -> tuple[str, ...]:
    slow = {"kind": "delay_response", "seconds": 0.1, "times": None}
    certificate = ("--tls-cert", job["certificate"], "--tls-key", job["certificate"])
    return emulator_command("scripted", "--fault", json.dumps(slow), *certificate, *options)


def _run_batches(home: Path, job: Result) -> Result:
    settings = {
        "BENCH_FILES": json.dumps(job["files"]),
        "BENCH_MAPPED": str(job["mapped"]),
        "BENCH_OUT": str(home / "out"),
        "AIRFLOW_CONN_OPENAI_BENCH": json.dumps(
            {"conn_type": "openai", "password": "bench", "host": f"{job['openai']}/v1"}
        ),
    }
    options = ("--concurrency", str(job["concurrency"]), "--job-seconds", str(job["seconds"]))
    folders = {"bench": BENCHMARKS / "batch_dags"}
    with Airflow(home, dag_folders=folders, settings=settings, emulator=_emulator(job, *options)) as airflow:
        keep_journal(airflow)
        names = ["openai_batch", *(f"batch_{files}" for files, _ in job["files"])]
        _measure(airflow, names[0])  # the first start of all fills caches
        return {name: _measure(airflow, name) for name in names}


def _run_files(home: Path, job: Result) -> Result:
    with ExitStack() as stack:
        aws = {
            "conn_type": "aws",
            "login": "bench",
            "password": "bench",
            "extra": {"endpoint_url": stack.enter_context(s3()), "region_name": "us-east-1"},
        }
        settings = {"AIRFLOW_CONN_AWS_BENCH": json.dumps(aws)}
        os.environ |= settings
        (home / "short").mkdir(parents=True)
        (home / "long").mkdir()
        sources = {
            "local": (f"{home}/short/", _ALL),
            "s3": ("s3://aws_bench@recordings/", _ALL),
            "url": (f"https://example.com/?emulator=processing:{_JOB_SECONDS}&name=", _ALL),
            "long": (f"{home}/long/", ["auto", "at_once"]),
        }
        settings["BENCH_SOURCES"] = json.dumps(sources)
        options = ("--job-seconds", str(_JOB_SECONDS))
        folders = {"bench": BENCHMARKS / "file_dags"}
        airflow = stack.enter_context(
            Airflow(
                home / "airflow", dag_folders=folders, settings=settings, emulator=_emulator(job, *options)
            )
        )
        keep_journal(airflow)
        found: Result = {}
        # The first start of all fills caches.
        for turn in range(_TIMES + 1):
            for source, (_, modes) in sources.items():
                for mode in modes if turn else modes[:1]:
                    name, recording = f"{source}_{mode}", f"{mode}-{turn}"
                    _put_recording(home, source, recording)
                    measured = _measure(airflow, name, {"name": recording})
                    if turn:
                        of = found.setdefault(name, {"slot": [], "wall": []})
                        of["slot"].append(measured["slot"])
                        of["wall"].append(measured["wall"])
        return found


def _put_recording(home: Path, source: str, name: str) -> None:
    """Put a recording where a run that is given its name looks for it."""
    path = home / ("long" if source == "long" else "short") / f"{name}.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(8000 * (_LONG if source == "long" else _SHORT)))
    if source == "s3":
        from airflow.sdk import ObjectStoragePath

        target = ObjectStoragePath("s3://aws_bench@recordings")
        target.fs.makedirs("recordings", exist_ok=True)
        (target / path.name).write_bytes(path.read_bytes())


def _measure(airflow: Airflow, dag_id: str, conf: Result | None = None) -> dict[str, float]:
    started = airflow.trigger(dag_id, conf)
    state = airflow.wait(started, timeout=_LONGEST)
    if state != "success":
        raise SystemExit(f"{dag_id}: {airflow.describe(started)}")
    usage = SlotUsage(airflow, started)
    return {"slot": sum(usage.held.values()), "wall": usage.wall}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), json.loads(sys.argv[2]))), flush=True)
    os._exit(0)

# SPDX-License-Identifier: Apache-2.0
"""Turn a recording into text and a summary with real Airflow tasks, without a key: `make demo [AUDIO=path-or-url]`.

Starts the emulator, which listens with a small English model on this machine, runs the example DAG
`assemblyai_transcript_to_summary` in a throw-away Airflow, and shows what came out. The files stay in build/demo;
the Airflow and the emulator are gone at the end, also after Ctrl-C.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "samples" / "phone-call.wav"
DAG_FILE = ROOT / "example_dags" / "transcript_to_summary.py"
DAG_ID = "assemblyai_transcript_to_summary"

READY_LINE = "assemblyai-emulator ready "
# A cold disk and two busy cores; only a broken installation takes longer.
READY_TIMEOUT = 120.0

_never_set = threading.Event()


class DemoError(Exception):
    """An error whose message is shown instead of a traceback; `log` is the file with the details."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log


def main() -> int:
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    if given and "://" not in given:
        path = Path(given).expanduser().absolute()
        if not path.is_file():
            reason = "is a folder" if path.is_dir() else "does not exist"
            print(f"{given} {reason}: give AUDIO the path or the URL of a recording.", file=sys.stderr)
            return 2
        given = str(path)
    audio = given or str(SAMPLE)
    # Each speaker of the sample has a channel.
    config = {} if given else {"multichannel": True}

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        show(audio, config)
    except DemoError as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        if error.log is not None and error.log.exists():
            lines = error.log.read_text(encoding="utf-8", errors="replace").splitlines()
            where = f"The end of {shown(error.log)}:"
            print("", where, *lines[-15:], sep="\n", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing is left running.", file=sys.stderr)
        return 130
    return 0


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Run every `finally`; a second Ctrl-C must not interrupt that."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def show(audio: str, config: Mapping[str, Any]) -> None:
    began = time.monotonic()
    folder = ROOT / "build" / "demo" / name_of(audio)
    # Only files of this run, or old words would pass for new ones.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "airflow.log"
    key = secrets.token_hex(16)

    with ExitStack() as cleanup:
        home = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="assemblyai-demo-")))
        environment = airflow_environment(home)
        (home / "dags").mkdir()
        shutil.copy(DAG_FILE, home / "dags")

        # The model is loaded while the database is made.
        with step("Starting a local AssemblyAI and a throw-away Airflow"):
            command = ["-m", "airflow_provider_assemblyai.emulator", "--engine", "whisper", "--port", "0"]
            emulator_log = home / "emulator.log"
            emulator = cleanup.enter_context(
                process([*command, "--api-key", key], clean_environment(), emulator_log)
            )
            with process(["-m", "airflow", "db", "migrate"], environment, log) as migration:
                if migration.wait():
                    raise DemoError("Airflow could not make its database.", log)
            url = wait_until_ready(emulator, emulator_log, folder)

        with step(f"Running the DAG {DAG_ID} on {shown(audio)}"):
            connection = {"conn_type": "assemblyai", "password": key, "host": url, "extra": {"region": "us"}}
            environment["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"] = json.dumps(connection)
            conf = json.dumps({"audio": audio, "output_path": str(folder), "config": config})
            with process(
                ["-m", "airflow", "dags", "test", DAG_ID, "--conf", conf], environment, log
            ) as dag_run:
                if dag_run.wait():
                    raise DemoError(reason_in(log), log)
            result, summary = returned(home, "transcribe"), returned(home, "summarize")
            usage = returned(home, "summarize", "usage")
            durations = task_durations(home)

    report(result, summary, time.monotonic() - began, log)
    costs = {"transcribe": result["estimated_cost_usd"], "summarize": usage["estimated_cost_usd"]}
    report_costs(durations, costs)
    report_next()


# Processes


def clean_environment() -> dict[str, str]:
    """Without the user's own Airflow, account, or proxy, which have no part in this."""
    ours = ("AIRFLOW", "ASSEMBLYAI")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }


def airflow_environment(home: Path) -> dict[str, str]:
    return clean_environment() | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "NO_COLOR": "1",
    }


@contextmanager
def process(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run Python for the length of the block; its whole session ends with it."""
    with log.open("ab") as sink:
        started = subprocess.Popen(
            [sys.executable, *arguments],
            env=dict(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            # Ctrl-C in the terminal reaches this process only, which ends the others in the right order.
            start_new_session=True,
        )
    try:
        yield started
    finally:
        end(started)


def end(started: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 10.0)):
        # The whole group, also when its leader has ended: a child may have outlived it.
        with suppress(ProcessLookupError):
            os.killpg(started.pid, number)
        with suppress(subprocess.TimeoutExpired):
            started.wait(seconds)


def wait_until_ready(emulator: subprocess.Popen[bytes], output: Path, folder: Path) -> str:
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        ended = emulator.poll() is not None
        for line in output.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(READY_LINE):
                url: str = json.loads(line.removeprefix(READY_LINE))["us"]
                return url
        if ended or time.monotonic() > deadline:
            kept = Path(shutil.copy(output, folder))
            raise DemoError("the local AssemblyAI did not start.", kept)
        _never_set.wait(0.1)


def returned(home: Path, task_id: str, key: str = "return_value") -> dict[str, Any]:
    """An XCom of a task, from the database of an Airflow that has no server to ask."""
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        row = database.execute(
            "select value from xcom where task_id = ? and key = ?", [task_id, key]
        ).fetchone()
    if row is None:
        raise DemoError(f"the task {task_id} returned nothing.")
    result: dict[str, Any] = json.loads(row[0])
    return result


def task_durations(home: Path) -> dict[str, float | None]:
    """Seconds from the start of each task to its end, in the order in which they ran."""
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        rows = database.execute("select task_id, duration from task_instance order by start_date").fetchall()
    return dict(rows)


def reason_in(log: Path) -> str:
    """The message of the last exception in the log: a sentence for users, as a rule."""
    found = re.findall(r"^[\w.]+(?:Exception|Error): (.+)", log.read_text(encoding="utf-8"), re.MULTILINE)
    return found[-1] if found else "the DAG run did not succeed."


# Output


@contextmanager
def step(title: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{title} ... ", end="", flush=True)
    try:
        yield
    except BaseException as error:
        print("stopped" if isinstance(error, KeyboardInterrupt) else "failed", flush=True)
        raise
    print(f"{time.monotonic() - began:.0f} s", flush=True)


def name_of(audio: str) -> str:
    path = unquote(urlsplit(audio).path) if "://" in audio else audio
    return re.sub(r"[^\w.-]+", "_", Path(path).stem).strip("._") or "audio"


def shown(path_or_url: str | Path) -> str:
    """Short where it is under the current directory; of a URL never the query, which may be a signature."""
    text = str(path_or_url)
    if "://" in text:
        return text.partition("?")[0]
    path = Path(text)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else text


def local_path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path)) if uri.startswith("file:") else Path(uri)


def lines_of(result: Mapping[str, Any]) -> list[str]:
    """The text: a line for each turn if the speakers are known, otherwise one paragraph."""
    outputs = result["outputs"]
    whole = json.loads(local_path(outputs["json"]).read_text(encoding="utf-8")) if "json" in outputs else {}
    turns = [
        (f"Speaker {turn.get('speaker')}: ", str(turn["text"])) for turn in whole.get("utterances") or []
    ]
    text = whole.get("text") or result.get("text") or "(no speech was found)"
    return [
        textwrap.fill(
            spoken, width=90, initial_indent="  " + speaker, subsequent_indent="  " + " " * len(speaker)
        )
        for speaker, spoken in turns or [("", text)]
    ]


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """The checked JSON of the second task, as text."""
    found = json.loads(local_path(summary["output"]).read_text(encoding="utf-8"))
    parts = [("", found["title"]), ("", found["summary"]), *(("- ", item) for item in found["action_items"])]
    return [
        textwrap.fill(
            sentence, width=90, initial_indent="  " + bullet, subsequent_indent="  " + " " * len(bullet)
        )
        for bullet, sentence in parts
        if sentence
    ]


def report(result: Mapping[str, Any], summary: Mapping[str, Any], seconds: float, log: Path) -> None:
    print("\nThe transcript:\n", *lines_of(result), "", sep="\n")
    print("The summary, of sentences that the emulator picks; a model of the service writes its own:\n")
    print(*summary_lines(summary), "", sep="\n")
    for warning in result.get("warnings") or []:
        print(f"Note: {warning}")
    duration = f"{result['audio_duration']:.0f} s of audio" if result.get("audio_duration") else "The audio"
    print(f"{duration} took {seconds:.0f} s, start-up included. The files:")
    for uri in (*result["outputs"].values(), summary["output"]):
        print(f"  {shown(local_path(uri))}")
    print(f"  {shown(log)}  (Airflow's output)")


def report_costs(durations: Mapping[str, float | None], costs: Mapping[str, float | None]) -> None:
    print("\nEach task, and what the service would bill for it (estimated by list prices):")
    for task_id, cost in costs.items():
        seconds = durations.get(task_id)
        took = "" if seconds is None else f"{seconds:5.1f} s"
        print(f"  {task_id:12} {took:>8}  {'not known' if cost is None else f'{cost:.6f} USD'}")
    if None not in costs.values():
        print(f"  {'together':12} {'':8}  {sum(cost or 0.0 for cost in costs.values()):.6f} USD")


def report_next() -> None:
    connection = json.dumps({"conn_type": "assemblyai", "password": "YOUR-KEY", "extra": {"region": "us"}})
    conf = json.dumps({"audio": "path or URL", "output_path": "folder or s3://bucket/prefix"})
    print(
        "\nThe same with the real service, in an Airflow of yours with this package and",
        f"{shown(DAG_FILE)} in its DAGs folder (a key: https://www.assemblyai.com/dashboard):",
        f"  export AIRFLOW_CONN_ASSEMBLYAI_DEFAULT={shlex.quote(connection)}",
        f"  airflow dags test {DAG_ID} --conf {shlex.quote(conf)}",
        sep="\n",
    )


if __name__ == "__main__":
    sys.exit(main())

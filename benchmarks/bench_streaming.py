# SPDX-License-Identifier: Apache-2.0
"""
What a streaming capture costs: processor time beside the official SDK, memory over an hour, lag, and a stop.

RUNS sets the number of rounds (default 3), SECONDS the audio of each (default 60), SPEED how fast the hour passes
(default 30). The two contestants of a round run at the same time, against one emulator over TLS.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import linear_regression, median
from typing import Any

from measurement import (
    count_of,
    emulator,
    print_table,
    print_verdict,
    print_versions,
    program,
    run,
    trust_new_certificate,
)
from streaming_worker import KEY

from tests.support.emulator_control import EmulatorControl

_WORKER = program("streaming_worker")
_PACKAGES = ("airflow-provider-assemblyai", "apache-airflow", "websocket-client", "assemblyai", "websockets")
_CPU_BOUND = 1.2
_SLOPE_BOUND_MIB = 1.0
_LAG_BOUND_MS = 100
_HOUR = 3_600
#: Seconds of the hour in which caches and pools fill.
_WARM = 600
_STOP = 3.0


def main() -> int:
    rounds, seconds, speed = count_of("RUNS", 3), count_of("SECONDS", 60), count_of("SPEED", 30)
    print_versions(_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="bench-streaming-") as directory:
        folder = Path(directory)
        audio = folder / "audio.pcm"
        audio.write_bytes(os.urandom(32_000 * max(seconds, 60)))
        environment = trust_new_certificate(folder)
        environment |= {"AIRFLOW_HOME": str(folder / "airflow"), "TMPDIR": directory}
        certificate = str(folder / "server.pem")
        with emulator(KEY, environment, "--tls-cert", certificate, "--tls-key", certificate) as url:
            connection = {"conn_type": "assemblyai", "password": KEY, "host": url}
            environment["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"] = json.dumps(connection)
            control = EmulatorControl(url, verify=str(folder / "ca.pem"))
            sides = [_side_by_side(audio, url, seconds, environment) for _ in range(rounds)]
            stopped = _stop_and_continue(audio, url, environment, control)
            control.call("POST", "/clock", {"speed": speed})
            hour = _worker("long", audio, url, _HOUR, environment, speed)
    return 0 if _judge(sides, stopped, hour, seconds) else 1


def _worker(
    contestant: str, audio: Path, url: str, seconds: float, environment: Mapping[str, str], speed: float = 1
) -> dict[str, Any]:
    ended = run((*_WORKER, contestant, str(audio), url, str(seconds), str(speed)), environment)
    found: dict[str, Any] = json.loads(ended.output.splitlines()[-1])
    return found


def _side_by_side(
    audio: Path, url: str, seconds: float, environment: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    with ThreadPoolExecutor() as both:
        started = {
            name: both.submit(_worker, name, audio, url, seconds, environment)
            for name in ("ours", "official_sdk")
        }
        return {name: each.result() for name, each in started.items()}


def _stop_and_continue(
    audio: Path, url: str, environment: Mapping[str, str], control: EmulatorControl
) -> list[int | None]:
    """Stop the process in the middle of its session, and return the close codes of the sessions it opened."""
    before = {session["id"] for session in control.sessions()}
    command = (*_WORKER, "ours", str(audio), url, "15", "1")
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) as process:

        def opened() -> list[dict[str, Any]]:
            return [each for each in control.sessions() if each["id"] not in before]

        while not any(session["audio_seconds"] > 3 for session in opened()):
            if process.poll() is not None:
                raise SystemExit("The capture that was to be stopped ended by itself.")
            time.sleep(0.2)
        process.send_signal(signal.SIGSTOP)
        time.sleep(_STOP)
        process.send_signal(signal.SIGCONT)
        process.wait(120)
        return [session["code"] for session in opened()]


def _judge(
    sides: list[dict[str, dict[str, Any]]], stopped: list[int | None], hour: dict[str, Any], seconds: int
) -> bool:
    names = {"ours": "ours: operator, segments, files", "official_sdk": "official SDK: text only"}
    ratios = [each["ours"]["cpu"] / each["official_sdk"]["cpu"] for each in sides]
    lags = {name: median(lag for each in sides for lag in each[name]["lags"]) for name in names}
    print_table(
        (f"{seconds} s of audio over TLS", "CPU s/audio min", "x SDK", "median lag ms"),
        [
            (
                shown,
                f"{median(each[name]['cpu'] / each[name]['seconds'] * 60 for each in sides):.2f}",
                f"{median(ratios):.2f}" if name == "ours" else "1.00",
                f"{lags[name]:.0f}",
            )
            for name, shown in names.items()
        ],
    )
    warm = [(at, mib) for at, mib in hour["memory"] if at >= _WARM]
    slope = linear_regression([at for at, _ in warm], [mib for _, mib in warm]).slope * _HOUR
    print(
        f"one hour in fast time: {hour['turns']} turns, resident {warm[0][1]:.1f} MiB after {_WARM} s, "
        f"{warm[-1][1]:.1f} MiB at the end\n"
    )
    added = lags["ours"] - lags["official_sdk"]
    return all(
        [
            print_verdict(
                median(ratios) <= _CPU_BOUND,
                f"processor: {median(ratios):.2f} x the official SDK's, bound {_CPU_BOUND}",
            ),
            print_verdict(
                slope < _SLOPE_BOUND_MIB, f"memory: {slope:+.2f} MiB an hour, bound {_SLOPE_BOUND_MIB}"
            ),
            print_verdict(
                added < _LAG_BOUND_MS and lags["ours"] < 2 * _LAG_BOUND_MS,
                f"lag: {added:+.0f} ms beside the official SDK at the median, bound {_LAG_BOUND_MS}",
            ),
            print_verdict(
                # The session that warms up ends well, too.
                stopped == [1000, 1000],
                f"stopped for {_STOP:.0f} s: close codes {stopped}, wanted [1000, 1000]",
            ),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

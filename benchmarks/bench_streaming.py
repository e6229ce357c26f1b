# SPDX-License-Identifier: Apache-2.0
"""
What a streaming capture costs: processor time beside the official SDK, memory over an hour, lag, a stop, and an outage.

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
_CPU_BOUND = 1.05
_SLOPE_BOUND_MIB = 1.0
_LAG_BOUND_MS = 100
_HOUR = 3_600
#: Seconds of the hour in which caches and pools fill.
_WARM = 600
_STOP = 3.0
#: How the emulator's limit of what may be ahead of real time is called, and its strict reading.
_LOOK_AHEAD, _STRICT, _AS_SEEN = "look_ahead", "strict", 300.0
#: Seconds after the begin of a recording, and how long no connection can be made from then on.
_OUTAGE_AT, _OUTAGE = 15.0, 20.0
#: The recordings that it meets: what is shown, which contestant it is, its seconds, and how fast it catches up.
_OUTAGES = {
    "early, catch_up_rate=1.25": ("ours", 240, 1.25),
    "just in time, catch_up_rate=2.0": ("ours_at_twice_the_speed", 60, 2.0),
    "late, catch_up_rate=1.25": ("ours", 70, 1.25),
    "early, catch_up_rate=1.0": ("ours_in_real_time", 180, 1.0),
}
_LATE_S = 2.0
#: Seconds that the end of a capture takes in any case: the last turn, the end of the session, files.
_END_S = 3.0


def main() -> int:
    rounds, seconds, speed = count_of("RUNS", 3), count_of("SECONDS", 60), count_of("SPEED", 30)
    print_versions(_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="bench-streaming-") as directory:
        folder = Path(directory)
        audio = folder / "audio.pcm"
        longest = max(seconds, 60, *(each for _, each, _ in _OUTAGES.values()))
        audio.write_bytes(os.urandom(32_000 * longest))
        environment = trust_new_certificate(folder)
        environment |= {"AIRFLOW_HOME": str(folder / "airflow"), "TMPDIR": directory}
        certificate = str(folder / "server.pem")
        with emulator(KEY, environment, "--tls-cert", certificate, "--tls-key", certificate) as url:
            connection = {"conn_type": "assemblyai", "password": KEY, "host": url}
            environment["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"] = json.dumps(connection)
            control = EmulatorControl(url, verify=str(folder / "ca.pem"))
            control.call("POST", "/streaming-limits", {_LOOK_AHEAD: _AS_SEEN})
            sides = [_side_by_side(audio, url, seconds, environment) for _ in range(rounds)]
            stopped = _stop_and_continue(audio, url, environment, control)
            outages = _outages(audio, url, environment, control)
            control.call("POST", "/clock", {"speed": speed})
            hour = _worker("long", audio, url, _HOUR, environment, speed)
    judged = [_judge(sides, stopped, hour, seconds), _judge_outages(outages)]
    return 0 if all(judged) else 1


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
    control.call("POST", "/streaming-limits", {_LOOK_AHEAD: _STRICT})
    before = {session["id"] for session in control.sessions()}
    command = (*_WORKER, "ours_in_real_time", str(audio), url, "15", "1")
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
    control.call("POST", "/streaming-limits", {_LOOK_AHEAD: _AS_SEEN})
    return [session["code"] for session in opened()]


def _outages(
    audio: Path, url: str, environment: Mapping[str, str], control: EmulatorControl
) -> dict[str, dict[str, Any]]:
    """Let one outage meet several recordings at once, and return what came of each."""
    before = {session["id"] for session in control.sessions()}
    with ThreadPoolExecutor() as all_at_once:
        started = {
            shown: all_at_once.submit(_worker, contestant, audio, url, seconds, environment)
            for shown, (contestant, seconds, _) in _OUTAGES.items()
        }

        def opened(audio_seconds: float) -> list[dict[str, Any]]:
            found = [each for each in control.sessions() if each["id"] not in before]
            return [each for each in found if each["audio_seconds"] > audio_seconds]

        while len(opened(_OUTAGE_AT)) < len(_OUTAGES):
            time.sleep(0.1)
        control.add_faults({"kind": "http_status", "status": 503, "path": "/v3/token", "times": None})
        control.call("POST", "/stream-faults", {"kind": "drop"})
        time.sleep(_OUTAGE)
        control.clear_faults()
        back = time.time()
        return {shown: {**each.result(), "back": back} for shown, each in started.items()}


def _outage_of(found: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """
    Return when the service was back, what was missed by then, how late text was at most, and when it was on time again.

    The outage is over when the service is back, not when the first late text comes: how long that takes counts. Missed is
    what is sent after it: the turn that was open when the connection broke, too.
    """
    received, lags = [at / 1000 for at in found["received"]], [lag / 1000 for lag in found["lags"]]
    late = [at for at, lag in zip(received, lags, strict=True) if lag > _LATE_S]
    over = found["back"] - found["started"]
    return over, over - found["sessions"][1] / 1000, max(lags), max(late)


def _judge_outages(outages: Mapping[str, Mapping[str, Any]]) -> bool:
    rows: list[tuple[str, ...]] = []
    verdicts: list[tuple[bool, str]] = []
    for shown, found in outages.items():
        _, seconds, rate = _OUTAGES[shown]
        over, missed, lag, on_time = _outage_of(found)
        left = seconds - over
        rest = max(0.0, missed - max(0.0, left) * (rate - 1)) / rate
        needed = missed / (rate - 1) if rate > 1 else float("inf")
        caught_up = needed <= left
        rows.append(
            (
                f"{seconds} s, {shown}",
                f"{lag:.1f}",
                f"{on_time - over:.0f}" if caught_up else "-",
                f"{found['waited']:.1f}",
                f"{found['cpu'] / found['seconds'] * 60:.2f}",
            )
        )
        verdicts.append(
            (
                found["waited"] <= rest + _END_S and found["gaps"] == 0,
                f"{shown}: {found['waited']:.1f} s longer than the recording, bound {rest:.1f} + {_END_S:.0f}, "
                f"{found['gaps']} gaps",
            )
        )
        if caught_up:
            verdicts.append(
                (
                    on_time - over <= needed + 2 * _LATE_S,
                    f"{shown}: on time again after {on_time - over:.0f} s, bound {needed:.0f} + {2 * _LATE_S:.0f}",
                )
            )
    print()
    print_table(
        (
            f"{_OUTAGE:.0f} s without a connection",
            "longest lag s",
            "on time after s",
            "extra wait s",
            "CPU s/audio min",
        ),
        rows,
    )
    judged = [print_verdict(met, sentence) for met, sentence in verdicts]
    return all(judged)


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

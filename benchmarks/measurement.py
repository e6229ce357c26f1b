# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: processes that are measured from outside, servers, tables, and verdicts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

BENCHMARKS = Path(__file__).parent
# The harness of the tests is the benchmarks' as well.
sys.path.insert(0, str(BENCHMARKS.parent))

_MAXRSS_PER_MIB = 1 << 20 if sys.platform == "darwin" else 1 << 10


@dataclass(frozen=True)
class Run:
    """
    One finished process.

    :param wall: seconds from start to end.
    :param cpu: seconds of processor time, user and system.
    :param peak_mib: largest resident memory.
    :param output: what it printed.
    """

    wall: float
    cpu: float
    peak_mib: float
    output: str


def program(name: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a program of this folder."""
    return (sys.executable, str(BENCHMARKS / f"{name}.py"), *arguments)


def run(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """
    Run a command to its end.

    Its peak memory is at least that of the process that starts it, so a benchmark imports nothing large itself.

    :param command: what to run.
    :param environment: added to that of this process.
    :raises SystemExit: it failed; its output is shown.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(f"This failed with status {process.returncode}: {' '.join(command)}\n{output}", file=sys.stderr)
        raise SystemExit(2)
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / _MAXRSS_PER_MIB, output)


@contextmanager
def server(command: Sequence[str], environment: Mapping[str, str], ready: str) -> Iterator[str]:
    """
    Keep a server running, and yield the line that says that it is ready.

    :param command: what to run.
    :param environment: added to that of this process.
    :param ready: what that line begins with.
    :raises SystemExit: it ended before that.
    """
    with subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            line = next((line for line in process.stdout if line.startswith(ready)), None)
            if line is None:
                print(f"This did not start: {' '.join(command)}", file=sys.stderr)
                raise SystemExit(2)
            yield line.removeprefix(ready).strip()
        finally:
            process.terminate()


@contextmanager
def emulator(key: str, environment: Mapping[str, str], *options: str) -> Iterator[str]:
    """
    Keep an emulator running that recognizes nothing, and yield its URL.

    :param key: the API key that it accepts.
    :param environment: added to that of this process.
    :param options: more arguments.
    """
    from tests.support.airflow_settings import emulator_command

    command = emulator_command("scripted", "--api-key", key, *options)
    with server(command, environment, "assemblyai-emulator ready ") as line:
        yield json.loads(line)["us"]


def trust_new_certificate(folder: Path) -> dict[str, str]:
    """
    Write a certificate for this machine, and return the environment in which it is trusted.

    :param folder: ``server.pem`` there holds certificate and key, ``ca.pem`` what issued it.
    """
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(folder / "ca.pem"))
    return trusted | dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")


def count_of(name: str, default: int) -> int:
    """
    Return a positive whole number from the environment.

    :param name: of the variable.
    :param default: where it is not set.
    :raises SystemExit: it is something else.
    """
    text = os.environ.get(name, "")
    if text and not (text.isdecimal() and int(text) > 0):
        print(f"{name} must be a whole number above 0, not {text!r}.", file=sys.stderr)
        raise SystemExit(2)
    return int(text or default)


def print_versions(packages: Sequence[str]) -> None:
    """
    Print on what was measured: the machine in general words, and versions.

    :param packages: distributions.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(
        f"{date.today():%Y-%m-%d}, {cores} cores, {platform.system()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(", ".join(f"{package} {version(package)}" for package in packages) + "\n")


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """
    Print a table: the first column to the left, numbers to the right.

    :param head: names of the columns.
    :param rows: as many cells each.
    """
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        print("  ".join(cells).rstrip())
    print()


def print_verdict(met: bool, sentence: str) -> bool:
    """
    Print one line for one bound, and return whether it is met.

    :param met: whether it is.
    :param sentence: what was found, and the bound.
    """
    print(f"{'met   ' if met else 'MISSED'}  {sentence}")
    return met

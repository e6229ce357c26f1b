# SPDX-License-Identifier: Apache-2.0
"""Start processes, wait for them, and leave none behind, however this process ends.

Each process gets a session of its own. Airflow's components make process groups of their own for their
children, so a group is not enough to find them all, but none of them leaves the session. One small helper process,
`session_reaper.py`, ends them: it waits for its standard input to close, which the kernel does even after a
SIGKILL, and then ends every session whose id it has read.
"""

from __future__ import annotations

import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from tests.support.session_reaper import GRACE, session_members

T = TypeVar("T")

#: Seconds until a test gives up waiting. Only a failure takes so long, so a busy machine has all the time it needs.
DEADLINE = 600.0

_never_set = threading.Event()


def until(
    probe: Callable[[], T | None], *, what: str, timeout: float = DEADLINE, interval: float = 0.25
) -> T:
    """Probe until the result is neither None nor False; a TimeoutError names what was awaited."""
    deadline = time.monotonic() + timeout
    while True:
        found = probe()
        if found is not None and found is not False:
            return found
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        _never_set.wait(interval)


def free_port() -> int:
    """Return a port for a process that is started next: from below those that the kernel itself gives to others."""
    while True:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 10_000 + secrets.randbelow(22_768)))
            port: int = probe.getsockname()[1]
            return port


class Process:
    """One started command, and the file that holds all it printed."""

    def __init__(self, name: str, popen: subprocess.Popen[bytes], output: Path) -> None:
        self.name = name
        self.output = output
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        return self._popen.poll()

    def read_output(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def tail(self, lines: int = 30) -> str:
        return "\n".join([f"--- {self.name}", *self.read_output().splitlines()[-lines:]])

    def require_running(self) -> None:
        if self.exit_code is not None:
            raise RuntimeError(f"{self.name} ended with exit code {self.exit_code}\n{self.tail()}")

    def finish(self, timeout: float) -> None:
        """Wait for a command that ends by itself; anything but success is an error."""
        try:
            code = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"not within {timeout:g} s: the end of {self.name}\n{self.tail()}") from None
        if code:
            raise RuntimeError(f"{self.name} ended with exit code {code}\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """To this process and every other one of its session: SIGSTOP and SIGKILL must miss none."""
        for pid in session_members({self.pid}):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """As a power cut would: no process of the session can clean up."""

        def gone() -> bool:
            self.signal(signal.SIGKILL)
            self._popen.poll()
            return not session_members({self.pid})

        until(gone, what=f"the end of {self.name}")


class ProcessSet:
    """All processes of one test run; `stop()` ends them, and so does the end of this process."""

    def __init__(self, output_folder: Path, *, grace: float = GRACE) -> None:
        output_folder.mkdir(parents=True, exist_ok=True)
        self._output_folder = output_folder
        self._grace = grace
        self._started: list[Process] = []
        self._reaper = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("session_reaper.py")), str(grace)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def start(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None = None,
        *,
        user: str | None = None,
    ) -> Process:
        """Start a command, as another `user` if one is named; only root can do that."""
        output = self._output_folder / f"{name}.log"
        with output.open("ab") as sink:
            popen = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
            )
        assert self._reaper.stdin is not None
        self._reaper.stdin.write(f"{popen.pid}\n".encode())
        self._reaper.stdin.flush()
        process = Process(name, popen, output)
        self._started.append(process)
        return process

    def survivors(self) -> list[int]:
        for process in self._started:
            process.exit_code  # noqa: B018  reaps it: a zombie is not a survivor
        return session_members({process.pid for process in self._started})

    def stop(self) -> None:
        assert self._reaper.stdin is not None
        self._reaper.stdin.close()
        self._reaper.wait(timeout=2 * self._grace + DEADLINE)
        if left := self.survivors():
            raise RuntimeError(f"still running after the end: process ids {left}")

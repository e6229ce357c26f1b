# SPDX-License-Identifier: Apache-2.0
"""Start processes, wait for them, and leave none behind, however this process ends.

Each process gets a session of its own, because Airflow's components make process groups of their own for
their children, so that a group is not enough to find them all; nobody leaves the session. Ending them is
the work of one small helper process, `keeper.py`: it waits for its standard input to close, which the
kernel does for us even after a SIGKILL, and then ends every session it was told of.
"""

from __future__ import annotations

import os
import pwd
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

_never = threading.Event()


def until(probe: Callable[[], T | None], *, timeout: float, what: str, interval: float = 0.25) -> T:
    """Ask until there is an answer that is neither None nor False; a TimeoutError says what was awaited."""
    deadline = time.monotonic() + timeout
    while True:
        answer = probe()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what}")
        _never.wait(interval)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
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
        """Wait for a command that ends by itself, and insist on success."""
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

    def kill(self, timeout: float = 10) -> None:
        """As a power cut would: no process of the session gets to clean up."""

        def gone() -> bool:
            self.signal(signal.SIGKILL)
            self._popen.poll()
            return not session_members({self.pid})

        until(gone, timeout=timeout, what=f"the death of {self.name}")


class Fleet:
    """Everything started by one test run; `stop()` ends it all, and so does our own death."""

    def __init__(self, output_folder: Path, *, grace: float = GRACE) -> None:
        output_folder.mkdir(parents=True, exist_ok=True)
        self._output_folder = output_folder
        self._grace = grace
        self._started: list[Process] = []
        self._keeper = subprocess.Popen(
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
        assert self._keeper.stdin is not None
        self._keeper.stdin.write(f"{popen.pid}\n".encode())
        self._keeper.stdin.flush()
        process = Process(name, popen, output)
        self._started.append(process)
        return process

    def survivors(self) -> list[int]:
        for process in self._started:
            process.exit_code  # noqa: B018  reaps it: a zombie is not a survivor
        return session_members({process.pid for process in self._started})

    def stop(self) -> None:
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(timeout=2 * self._grace + 30)
        if left := self.survivors():
            raise RuntimeError(f"still running after the end: process ids {left}")

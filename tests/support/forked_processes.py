# SPDX-License-Identifier: Apache-2.0
"""
Processes of their own that begin at once: Airflow is imported in one process, which forks the others.

An import costs seconds of processor time, and some tests start dozens of processes. What they do is real: they have
their own memory and environment, and are killed as any other.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

#: What can run: modules with a function ``main`` that reads `sys.argv`.
WORKERS = ("batch_worker", "lineage_worker", "operator_worker")
#: Seconds after which a worker has surely got stuck.
LONGEST = 1800.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([f"tests.support.{name}" for name in (*WORKERS, "preloaded")])


class ForkedProcess:
    """
    One process, which begins as soon as this is made.

    :param worker: one of `WORKERS`.
    :param argument: its only argument.
    :param env: all its variables.
    """

    def __init__(self, worker: str, argument: str, env: Mapping[str, str]) -> None:
        assert worker in WORKERS
        self._files = [_new_file() for _ in ("output", "errors")]
        self._process = _FORKS.Process(target=_run, args=(worker, argument, dict(env), *self._files))
        self._process.start()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def returncode(self) -> int | None:
        """None as long as it runs; below zero the signal that ended it."""
        return self._process.exitcode

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.kill()
        self._process.join()

    def wait(self) -> int:
        """Wait for its end; the return code."""
        self._process.join(LONGEST)
        if self.alive:
            self.kill()
        assert self.returncode is not None
        return self.returncode

    def output(self) -> str:
        """What it has printed until now."""
        return self._files[0].read_text()

    def errors(self) -> str:
        return self._files[1].read_text()

    def close(self) -> None:
        """End it if it runs, and forget what it printed."""
        self.kill()
        for path in self._files:
            path.unlink(missing_ok=True)


def _new_file() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="forked-")
    os.close(descriptor)
    return Path(name)


def _run(worker: str, argument: str, env: dict[str, str], output: Path, errors: Path) -> None:
    os.environ.clear()
    os.environ.update(env)
    for path, number in ((output, 1), (errors, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = [worker, argument]
    importlib.import_module(f"tests.support.{worker}").main()

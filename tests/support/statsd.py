# SPDX-License-Identifier: Apache-2.0
"""What an Airflow sends to StatsD: all packets, taken from a UDP socket on the loopback."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from typing import Self

#: What the kernel keeps of packets that are not read yet; Airflow sends some hundred a second.
_BUFFER = 8 * 1024 * 1024


@dataclass(frozen=True)
class Packet:
    """
    One measurement, with tags as InfluxDB writes them: ``name,tag=value:1|c``.

    :param name: with Airflow's prefix.
    :param kind: ``c``, ``g`` or ``ms``.
    :param value: as a number.
    :param tags: by name.
    """

    name: str
    kind: str
    value: float
    tags: dict[str, str] = field(hash=False)

    @classmethod
    def parse(cls, line: str) -> Self:
        named, _, measured = line.rpartition(":")
        name, *tags = named.split(",")
        value, kind = measured.split("|")[:2]
        return cls(name, kind, float(value), dict(tag.split("=", 1) for tag in tags))


class StatsdReceiver:
    """A StatsD server that only keeps what it gets."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    @property
    def settings(self) -> dict[str, str]:
        """Of an Airflow that sends here."""
        return {
            "AIRFLOW__METRICS__STATSD_ON": "True",
            "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
            "AIRFLOW__METRICS__STATSD_PORT": str(self.port),
            # Airflow's own way to send tags by the plain StatsD client.
            "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        }

    def packets(self, prefix: str = "") -> list[Packet]:
        """Return all that came so far and whose name begins so."""
        return [Packet.parse(line) for line in list(self._lines) if line.startswith(prefix)]

    def close(self) -> None:
        self._socket.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while packet := self._socket.recv(65_536):
            self._lines += packet.decode().splitlines()

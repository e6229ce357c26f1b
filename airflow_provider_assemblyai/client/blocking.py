# SPDX-License-Identifier: Apache-2.0
"""
Sessions of requests whose exchanges end: requests itself limits only the silence between two bytes.

A :class:`Watchdog` is told of every socket before anything is said on it, and shuts it down when the time is over:
whatever the thread waits for then (a handshake, a proxy, a header, a body, room to send) ends with an error.

This module is imported when something is sent: requests is a tenth of what importing an operator costs, and neither
the DAG processor nor the triggerer sends anything with it.
"""

from __future__ import annotations

import http.client
import math
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import exceptions as urllib3_errors

from airflow_provider_assemblyai.api.regions import is_loopback

#: What an exchange can end with instead of an answer; requests lets some errors of its libraries through.
ERRORS: Final = (
    requests.RequestException,
    urllib3_errors.HTTPError,
    http.client.HTTPException,
    OSError,
    UnicodeError,
)


class Watchdog:
    """
    Ends one exchange when its time is over; use it with ``with``.

    :param seconds: for the whole exchange.
    :ivar expired: the time was over.
    :ivar requested: a connection was made, and the request may have left.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = self.requested = False
        self._started = time.monotonic()
        self._end = self._started + seconds
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._watch, name="assemblyai-watchdog", daemon=True)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(0.0, self._end - time.monotonic())

    def allow(self, seconds: float) -> None:
        """Set the time of the whole exchange anew."""
        self._end = self._started + seconds

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        with self._lock:
            for one in self._sockets:
                one.close()
            self._sockets.clear()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the connections that this thread makes or takes up."""
        token = _WATCHDOG.set(self)
        try:
            yield
        finally:
            _WATCHDOG.reset(token)

    def add(self, connected: Any) -> None:
        """Watch a socket."""
        # A second descriptor of the same connection: the first one may be wrapped, closed and used anew by then.
        with suppress(OSError), self._lock:
            self._sockets.append(socket.socket(fileno=os.dup(connected.fileno())))
            if self.expired:
                self._sockets[-1].shutdown(socket.SHUT_RDWR)

    def _watch(self) -> None:
        while self.left:
            if self._done.wait(min(self.left, threading.TIMEOUT_MAX)):
                return
        with self._lock:
            if self._done.is_set():
                return
            self.expired = True
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


_WATCHDOG: ContextVar[Watchdog | None] = ContextVar("watchdog", default=None)


def time_left() -> float:
    """Return the seconds that are left of the exchange which this thread is in; infinite outside of one."""
    watchdog = _WATCHDOG.get()
    return math.inf if watchdog is None else watchdog.left


class _WatchedConnection:
    """Mixed into the connection classes of urllib3."""

    sock: Any
    timeout: Any
    connect: Any

    def _new_conn(self) -> Any:
        watchdog = _WATCHDOG.get()
        if watchdog is not None and isinstance(self.timeout, int | float):
            # There is no socket to shut down yet.
            self.timeout = max(0.001, min(self.timeout, watchdog.left))
        connected = super()._new_conn()  # type: ignore[misc]
        if watchdog is not None:
            watchdog.add(connected)
        return connected

    def request(self, *args: Any, **kwargs: Any) -> Any:
        watchdog = _WATCHDOG.get()
        if watchdog is not None:
            if self.sock is None:
                self.connect()
            else:
                watchdog.add(self.sock)
            if watchdog.expired:
                # Shut down while it was made, which not every step of making it notices.
                raise TimeoutError("the time is over")
            watchdog.requested = True
        return super().request(*args, **kwargs)  # type: ignore[misc]


def _watch_pools(manager: Any) -> None:
    """Let the pools of a manager make watched connections, whatever kind they are: plain, TLS, SOCKS."""
    pools = {}
    for scheme, pool in manager.pool_classes_by_scheme.items():
        connection = type("WatchedConnection", (_WatchedConnection, pool.ConnectionCls), {})
        pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = pools


class _WatchedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        known = proxy in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not known:
            _watch_pools(manager)
        return manager

    def close(self) -> None:
        """Close every connection now: urllib3 leaves that to the end of the last error that knows the pool."""
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - it cannot be iterated
                manager.pools[key].close()
        super().close()


class Session(requests.Session):
    """A session without redirects, and without a proxy between this machine and itself."""

    def __init__(self) -> None:
        super().__init__()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _WatchedAdapter())

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return none: requests would read the body without a limit, and fail on addresses that it cannot read."""

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        """Take what the environment sets, but no proxy for this machine: the key would go to it in clear."""
        settings: Any = super().merge_environment_settings(url, proxies, stream, verify, cert)
        if is_loopback(urlsplit(str(url)).hostname or ""):
            settings["proxies"] = {}
        return settings


def never_connected(error: BaseException) -> bool:
    """Tell whether the request cannot have left: requests hides that in urllib3's reason."""
    if isinstance(
        error, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.InvalidURL
    ):
        return True
    cause: object = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    kinds = (
        urllib3_errors.NewConnectionError,
        urllib3_errors.ConnectTimeoutError,
        urllib3_errors.ProxyError,
        urllib3_errors.SSLError,
        urllib3_errors.LocationParseError,
    )
    return isinstance(reason, kinds)

# SPDX-License-Identifier: Apache-2.0
"""A TCP connection, encrypted and through a proxy where it has to be, made before a deadline or not at all."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import time
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment

from airflow_provider_assemblyai.api.regions import is_loopback

#: Bytes of all that is read before a connection stands: heads of answers, and the body of a refusal.
_MAX_HEAD: Final = 1 << 16


class HeadSocket:
    """
    A socket while heads are exchanged on it: no read or write goes on after the deadline, or past a size.

    :param inner: connected.
    :param deadline: of ``time.monotonic``.
    """

    def __init__(self, inner: socket.socket, deadline: float) -> None:
        self.inner, self._deadline = inner, deadline
        self._left = _MAX_HEAD

    def gettimeout(self) -> float:
        """Return the seconds that are left."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left

    def recv(self, size: int) -> bytes:
        """Read some bytes; none at the end."""
        self.inner.settimeout(self.gettimeout())
        block = self.inner.recv(max(1, min(size, self._left)))
        self._left -= len(block)
        if self._left < 0:
            raise OSError("the answer is too long")
        return block

    def send(self, data: bytes) -> int:
        """Write some bytes, and return how many."""
        self.inner.settimeout(self.gettimeout())
        return self.inner.send(data)

    def close(self) -> None:
        self.inner.close()


def connect(url: str, deadline: float) -> HeadSocket:
    """
    Connect to the host of an address.

    :param url: ``ws`` or ``wss``.
    :param deadline: of ``time.monotonic``. Only looking up a name may take longer.
    :raises OSError: no connection was made; a ``ValueError`` if the address cannot be one.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "wss"
    port = parts.port or (443 if secure else 80)
    proxy = _proxy_for(host, secure=secure)
    target = (host, port) if proxy is None else (proxy.hostname or "", proxy.port or 80)
    found = HeadSocket(socket.create_connection(target, timeout=deadline - time.monotonic()), deadline)
    try:
        found.inner.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy is not None:
            _tunnel(found, proxy, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        if secure:
            found.inner.settimeout(found.gettimeout())
            found.inner = _tls().wrap_socket(found.inner, server_hostname=host)
    except BaseException:
        found.close()
        raise
    return found


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # The same authorities as for requests, so that a company's own has to be named only once.
    import certifi

    named = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or certifi.where()
    directory = named if Path(named).is_dir() else None
    return ssl.create_default_context(cafile=None if directory else named, capath=directory)


def _proxy_for(host: str, *, secure: bool) -> SplitResult | None:
    """Return the proxy that the environment names for a host. What goes to this machine never leaves it."""
    proxies = getproxies_environment()
    address = proxies.get("https" if secure else "http")
    if not address or is_loopback(host) or _needs_no_proxy(host, proxies.get("no", "")):
        return None
    proxy = urlsplit(address if "://" in address else f"http://{address}")
    if proxy.scheme not in ("http", "https") or not proxy.hostname:
        raise OSError("the proxy that the environment names is no HTTP proxy")
    return proxy


def _needs_no_proxy(host: str, named: str) -> bool:
    """Tell whether NO_PROXY names a host: itself, its domain, or the network of its address."""
    for entry in filter(None, (each.strip().lower().lstrip(".") for each in named.split(","))):
        if entry in ("*", host) or host.endswith(f".{entry}"):
            return True
        with suppress(ValueError):
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def _tunnel(to_proxy: HeadSocket, proxy: SplitResult, target: str) -> None:
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.username:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {b64encode(user.encode()).decode()}")
    request = "\r\n".join([*lines, "", ""]).encode()
    while request:
        request = request[to_proxy.send(request) :]
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := to_proxy.recv(1)):
            raise OSError("the proxy closed the connection")
        head += byte
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise OSError("the proxy refused the connection")

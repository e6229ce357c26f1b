# SPDX-License-Identifier: Apache-2.0
"""
HTTP requests: :class:`Client` (requests) for workers and :class:`AsyncClient` (httpx) for triggers.

Each has one request loop. What both must agree on (what an answer means, what may be sent again, when)
is decided in ``api/call.py``. Here bytes are sent, and the result is a :class:`Reply` or a
:class:`TransportError`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.api.call import Call, Product, Reply
from airflow_provider_assemblyai.api.errors import ApiError, InvalidInput, TransportError
from airflow_provider_assemblyai.api.regions import Hosts
from airflow_provider_assemblyai.api.retry_rules import backoff, may_repeat
from airflow_provider_assemblyai.api.sanitize import sanitize, strip_url

if TYPE_CHECKING:
    # Imported where it is used: requests is a tenth of what importing an operator costs, and neither the
    # DAG processor nor the triggerer sends anything with it.
    import requests

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 10.0
#: While a body is being sent, urllib3 applies the connect timeout to each block.
_UPLOAD_CONNECT_TIMEOUT: Final = 60.0
_BLOCK: Final = 1 << 20
_HEADERS: Final = {"User-Agent": f"airflow-provider-assemblyai/{__version__}"}

#: Seconds during which a failing request is repeated, if it may be.
MAX_RETRY_TIME: Final = 120.0


def check_key(key: object) -> str:
    """
    Return ``key`` if it can be an API key.

    :raises InvalidInput: without repeating the key.
    """
    if not isinstance(key, str) or not key:
        raise InvalidInput("The API key is empty: put it into the connection's password.")
    if any(character.isspace() for character in key):
        raise InvalidInput("The API key holds white space or a line break: paste it again, without any.")
    if not key.isascii() or not key.isprintable():
        raise InvalidInput("The API key holds characters that no key has: paste it again.")
    return key


@dataclass(eq=False, repr=False)
class _BaseClient:
    """
    What both clients share: where to, with which key, for how long.

    :param key: API key.
    :param hosts: where the products are.
    :param max_retry_time: seconds during which a failing request is repeated, if it may be.
    :param jitter: gives a number from 0 to 1, so that many callers do not call again at the same moment.
    """

    key: str
    hosts: Hosts
    _: KW_ONLY
    max_retry_time: float = MAX_RETRY_TIME
    jitter: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        check_key(self.key)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.hosts.speech} region={self.hosts.region}>"

    @property
    def account(self) -> str:
        """Tells two accounts or hosts apart; the key cannot be had from it."""
        return hashlib.sha256(f"{self.key} {self.hosts.speech}".encode()).hexdigest()[:16]

    def _url(self, call: Call[Any]) -> str:
        base = {
            Product.SPEECH: self.hosts.speech,
            Product.GATEWAY: self.hosts.gateway,
            Product.TOKEN: self.hosts.token,
        }[call.product]
        return base + call.path

    def _authorize(self, request: Any) -> Any:
        """Send the raw key. As ``auth`` and not as a header, because a ``.netrc`` file would replace that."""
        request.headers["Authorization"] = self.key
        return request

    def _masked(self, content: bytes) -> bytes:
        # The service may echo what it was sent; the key must not get further than this.
        return content.replace(self.key.encode(), b"***")

    def _transport_error(self, call: Call[Any], error: Exception, *, sent: bool) -> TransportError:
        host = urlsplit(self._url(call)).netloc
        detail = sanitize(str(error), [self.key])
        problem = "no answer from" if sent else "no connection to"
        return TransportError(f"{call.method} {call.path}: {problem} {host} ({detail}).", sent=sent)

    def _retry_policy(self, call: Call[Any]) -> dict[str, Any]:
        """Return the retry arguments of tenacity, which serve both loops."""

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return backoff(state.attempt_number, error, self.jitter())

        def stop(state: RetryCallState) -> bool:
            # The time that the next attempt would need counts as well: a long Retry-After is reported, not slept through.
            elapsed = max(state.seconds_since_start or 0.0, state.idle_for)
            return elapsed + state.upcoming_sleep > self.max_retry_time

        return {
            "retry": retry_if_exception(lambda error: may_repeat(call, error)),
            "wait": wait,
            "stop": stop,
            "reraise": True,
        }


class _SizedBlocks:
    """Blocks of a known total; requests sends anything without a length as chunks."""

    def __init__(self, blocks: Iterable[bytes], size: int) -> None:
        self._blocks = blocks
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)


def _run_before(before: Callable[[], None], content: bytes) -> Iterator[bytes]:
    before()
    yield content


@dataclass(eq=False, repr=False)
class Client(_BaseClient):
    """
    Sends calls and waits for the answer; for workers.

    :param pause: waits some seconds between two attempts.
    """

    pause: Callable[[float], None] = field(default=time.sleep, kw_only=True)

    @cached_property
    def _session(self) -> requests.Session:
        # Made when something is sent: a task that only defers does not pay for the import.
        import requests

        session = requests.Session()
        session.auth = self._authorize
        session.headers.update(_HEADERS)
        return session

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if "_session" in self.__dict__:
            self._session.close()

    def send(self, call: Call[T], *, before: Callable[[], None] | None = None) -> T:
        """
        Send ``call``, again if it may be and failed, and return its value.

        :param call: what to send.
        :param before: run directly before every attempt is sent, once the connection is made; what it raises
            ends the call, and the service has not got it.
        :raises TransportError: no answer; ``sent`` tells whether the request may have arrived.
        :raises ApiError: the service refused; see ``retryable``.
        :raises UnexpectedReply: the answer cannot be read.
        """
        for attempt in Retrying(sleep=self.pause, **self._retry_policy(call)):
            with attempt:
                return call.result(self._exchange(call, before))
        raise AssertionError("unreachable: the loop returns or raises")

    def pages(self, call: Call[T]) -> Iterator[T]:
        """Yield the value of ``call`` and of all that follow it."""
        following: Call[T] | None = call
        while following is not None:
            value = self.send(following)
            yield value
            following = following.follow(value) if following.follow else None

    def _exchange(self, call: Call[Any], before: Callable[[], None] | None = None) -> Reply:
        from requests import RequestException

        headers: dict[str, str] = {}
        data: Iterable[bytes] | None = None
        if before is not None:
            # A body that is asked for late: the connection is made and the headers are out, so nothing that
            # takes time is left between `before` and the request.
            headers["Content-Type"] = "application/json"
            content = json.dumps(call.json).encode()
            data = _SizedBlocks(_run_before(before, content), len(content))
        if call.body is not None:
            headers["Content-Type"] = "application/octet-stream"
            size = call.body.size
            blocks = iter(call.body.open())
            data = blocks if size is None else _SizedBlocks(blocks, size)
        connect = _CONNECT_TIMEOUT if call.body is None else _UPLOAD_CONNECT_TIMEOUT
        try:
            answer = self._session.request(
                call.method,
                self._url(call),
                params=call.params,
                json=call.json if data is None else None,
                data=data,
                headers=headers,
                timeout=(connect, call.read_timeout),
                allow_redirects=False,
            )
        except RequestException as error:
            raise self._transport_error(call, error, sent=not _never_connected(error)) from None
        received = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status_code, received, self._masked(answer.content))


def _never_connected(error: requests.RequestException) -> bool:
    """Tell whether the request cannot have left: requests hides that in urllib3's reason."""
    from requests import exceptions
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, SSLError

    if isinstance(error, exceptions.ConnectTimeout | exceptions.SSLError):
        return True
    cause: object = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError | ProxyError | SSLError)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # Loading the CA bundle takes 30 ms and more; every client of this process shares one.
    return httpx.create_ssl_context()


@lru_cache(maxsize=1)
def _parser() -> ThreadPoolExecutor:
    # A pool of our own: the event loop has few threads, and other triggers keep them busy with calls that block.
    return ThreadPoolExecutor(1, "assemblyai-parser")


@dataclass(eq=False, repr=False)
class AsyncClient(_BaseClient):
    """
    Sends calls without blocking the event loop; for triggers.

    Use it as ``async with``.

    :param pause: waits some seconds between two attempts.
    """

    pause: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep, kw_only=True)

    async def __aenter__(self) -> AsyncClient:
        context = await asyncio.to_thread(_tls)
        self._http = httpx.AsyncClient(
            auth=self._authorize,
            headers=_HEADERS,
            verify=context,
            follow_redirects=False,
            # Longer than the usual time between two polls: each new connection is a handshake on the event loop.
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=45.0),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """Send ``call`` as :meth:`Client.send` does."""
        async for attempt in AsyncRetrying(sleep=self.pause, **self._retry_policy(call)):
            with attempt:
                reply = await self._exchange(call)
                if len(reply.content) > 64 * 1024:
                    # Parsing megabytes would stall every other trigger of this process.
                    return await asyncio.get_running_loop().run_in_executor(_parser(), call.result, reply)
                return call.result(reply)
        raise AssertionError("unreachable: the loop returns or raises")

    async def pages(self, call: Call[T]) -> AsyncIterator[T]:
        """Yield the value of ``call`` and of all that follow it."""
        following: Call[T] | None = call
        while following is not None:
            value = await self.send(following)
            yield value
            following = following.follow(value) if following.follow else None

    async def _exchange(self, call: Call[Any]) -> Reply:
        headers: dict[str, str] = {}
        content = None
        if call.body is not None:
            headers["Content-Type"] = "application/octet-stream"
            content = _blocks(call)
            if call.body.size is not None:
                headers["Content-Length"] = str(call.body.size)
        connect = _CONNECT_TIMEOUT if content is None else _UPLOAD_CONNECT_TIMEOUT
        try:
            # As a stream: what httpx reads itself stays in memory until the garbage collector runs, because
            # an answer and its stream refer to each other.
            async with self._http.stream(
                call.method,
                self._url(call),
                params=call.params,
                json=call.json,
                content=content,
                headers=headers,
                timeout=httpx.Timeout(call.read_timeout, connect=connect),
            ) as answer:
                body = b"".join([block async for block in answer.aiter_bytes()])
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise self._transport_error(call, error, sent=False) from None
        except httpx.HTTPError as error:
            raise self._transport_error(call, error, sent=True) from None
        received = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status_code, received, self._masked(body))


async def _blocks(call: Call[Any]) -> AsyncIterator[bytes]:
    assert call.body is not None
    blocks = iter(call.body.open())
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block


def download(url: str, *, deadline: float = 600.0) -> Iterator[bytes]:
    """
    Fetch a URL without the API key, in blocks.

    :param url: a link that the service handed out, or audio that the service could not reach itself.
    :param deadline: seconds for the whole transfer.
    :raises TransportError: the transfer broke or took too long; a retry helps.
    :raises ApiError: the host answered with an HTTP error.
    """
    import requests

    shown = strip_url(url)
    end = time.monotonic() + deadline
    try:
        with requests.get(url, headers=_HEADERS, stream=True, timeout=(_CONNECT_TIMEOUT, 60.0)) as answer:
            if answer.status_code != 200:
                raise ApiError(f"GET {shown}: HTTP {answer.status_code}.", status=answer.status_code)
            for block in answer.iter_content(_BLOCK):
                if time.monotonic() > end:
                    raise TransportError(f"GET {shown}: not finished in {deadline:.0f} s.", sent=True)
                yield block
    except requests.RequestException as error:
        raise TransportError(f"GET {shown}: {sanitize(str(error))}.", sent=True) from None

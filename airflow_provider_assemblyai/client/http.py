# SPDX-License-Identifier: Apache-2.0
"""
HTTP requests: :class:`Client` (requests) for workers and :class:`AsyncClient` (httpx) for triggers.

Each has one request loop. What both must agree on (what an answer means, what may be sent again, when)
is decided in ``api/call.py``. Here bytes are sent, and the result is a :class:`Reply` or a
:class:`TransportError`. Every exchange has an end: connecting, the request and the answer share one time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, lru_cache
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import httpx
from tenacity import AsyncRetrying, RetryCallState, Retrying, retry_if_exception

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.api.call import Call, Product, Reply
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    InvalidInput,
    TransportError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.regions import Hosts, check_data_stays, is_loopback
from airflow_provider_assemblyai.api.retry_rules import backoff, may_repeat
from airflow_provider_assemblyai.api.sanitize import sanitize, strip_url
from airflow_provider_assemblyai.api.validation import shown
from airflow_provider_assemblyai.client.body import ACCEPT_ENCODING, BrokenBody, Decoder, ReceivedBody
from airflow_provider_assemblyai.client.reasons import plain_reason

if TYPE_CHECKING:
    import requests

    from airflow_provider_assemblyai.client.blocking import Session

T = TypeVar("T")

log = logging.getLogger(__name__)

_CONNECT_TIMEOUT: Final = 10.0
#: While a body is being sent, urllib3 applies the connect timeout to each block.
_UPLOAD_CONNECT_TIMEOUT: Final = 60.0
_BLOCK: Final = 1 << 20
_PIECE: Final = 64 * 1024
_HEADERS: Final = {
    "User-Agent": f"airflow-provider-assemblyai/{__version__}",
    "Accept-Encoding": ACCEPT_ENCODING,
}
#: Redirects that are followed where no key is sent.
_MAX_REDIRECTS: Final = 10

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
    :param deadline: when requests and their repeats end; seconds since the epoch.
    :param min_timeout: seconds that each call is given even if the deadline is over: what is paid for is fetched.
    :param jitter: gives a number from 0 to 1, so that many callers do not call again at the same moment.
    :param conn_id: the Airflow connection that the key is of, for messages.
    """

    key: str
    hosts: Hosts
    _: KW_ONLY
    max_retry_time: float = MAX_RETRY_TIME
    deadline: float = inf
    min_timeout: float = 0.0
    jitter: Callable[[], float] = random.random
    conn_id: str | None = None

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
            Product.SHORT_AUDIO: self.hosts.short_audio,
        }[call.product]
        return base + call.path

    def _check_data_stays(self, call: Call[Any]) -> None:
        """Raise if a call takes data out of the region that the connection keeps it in; reading takes none."""
        if call.method == "POST" or call.product is Product.TOKEN:
            check_data_stays(self.hosts, call.json or {})

    def _authorize(self, request: Any) -> Any:
        """Send the raw key. As ``auth`` and not as a header, because a ``.netrc`` file would replace that."""
        request.headers["Authorization"] = self.key
        return request

    def _transport_error(self, call: Call[Any], error: Exception, *, sent: bool) -> TransportError:
        detail = sanitize(plain_reason(error), [self.key])
        problem = "no answer from" if sent else "no connection to"
        said = f"{call.method} {call.path}: {problem} {self._host(call)} ({detail})."
        return TransportError(said if sent else said + self._where_to_look, sent=sent)

    @property
    def _where_to_look(self) -> str:
        known = "" if self.conn_id is None else f", and connection {shown(self.conn_id)}"
        return f" Check the network{known}."

    def _too_late(self, call: Call[Any], seconds: float, *, sent: bool) -> TransportError:
        return TransportError(
            f"{call.method} {call.path}: the answer of {self._host(call)} was not finished in {seconds:.0f} s.",
            sent=sent,
        )

    def _host(self, call: Call[Any]) -> str:
        return urlsplit(self._url(call)).netloc

    def _end(self, deadline: float | None) -> float:
        """Return when a call that begins now ends, repeats included."""
        return max(self.deadline if deadline is None else deadline, time.time() + self.min_timeout)

    def _time_left(self, call: Call[Any], end: float) -> float:
        left = end - time.time()
        if left <= 0:
            raise TransportError(
                f"{call.method} {call.path}: not sent, because the time for it is over.", sent=False
            )
        return left

    def _allowed_time(self, call: Call[Any], left: float, received: int = 0) -> float:
        """Return the seconds that an exchange may take: what the call says, at most what is left."""
        if call.until_deadline and left < inf:
            return left
        return min(left, call.allowed_time(received))

    def _reply(self, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> Reply:
        # The service may echo what it was sent; the key must not get further than this.
        received = {name.lower(): value.replace(self.key, "***") for name, value in headers}
        return Reply(status, received, content.replace(self.key.encode(), b"***"), time.time())

    def _retry_policy(self, call: Call[Any], end: float) -> dict[str, Any]:
        """Return the retry arguments of tenacity, which serve both loops."""

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return backoff(state.attempt_number, error, self.jitter())

        def stop(state: RetryCallState) -> bool:
            # The time that the next attempt would need counts as well: a long Retry-After is reported, not slept through.
            elapsed = max(state.seconds_since_start or 0.0, state.idle_for)
            return (
                elapsed + state.upcoming_sleep > self.max_retry_time
                or time.time() + state.upcoming_sleep >= end
            )

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            said = str(error).removesuffix(self._where_to_look)
            log.info("%s It is sent again in %.0f s.", said, state.upcoming_sleep)

        return {
            "retry": retry_if_exception(lambda error: may_repeat(call, error)),
            "wait": wait,
            "stop": stop,
            "before_sleep": tell,
            "reraise": True,
        }

    def _result(self, call: Call[T], reply: Reply) -> T:
        """
        Return the value of a reply.

        :raises AuthenticationError: it names the connection whose key was refused.
        """
        try:
            return call.result(reply)
        except AuthenticationError as error:
            if self.conn_id is not None:
                error.args = (f"{error} Check the API key in connection {shown(self.conn_id)}.",)
            raise


class _SizedBlocks:
    """Blocks of a known total; requests sends anything without a length as chunks."""

    def __init__(self, blocks: Iterable[bytes], size: int) -> None:
        self._blocks = blocks
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._blocks)


def _run_before(before: Callable[[], None], blocks: Iterable[bytes]) -> Iterator[bytes]:
    before()
    yield from blocks


@dataclass(eq=False, repr=False)
class Client(_BaseClient):
    """
    Sends calls and waits for the answer; for workers.

    :param pause: waits some seconds between two attempts.
    """

    pause: Callable[[float], None] = field(default=time.sleep, kw_only=True)

    @cached_property
    def _session(self) -> Session:
        # Made when something is sent: a task that only defers does not pay for the import.
        from airflow_provider_assemblyai.client.blocking import Session

        session = Session()
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

    def send(
        self, call: Call[T], *, before: Callable[[], None] | None = None, deadline: float | None = None
    ) -> T:
        """
        Send ``call``, again if it may be and failed, and return its value.

        :param call: what to send.
        :param before: run directly before every attempt is sent, once the connection is made; what it raises
            ends the call, and the service has not got it.
        :param deadline: of this call, if not the client's; seconds since the epoch.
        :raises InvalidInput: it would take data out of the region that the connection keeps it in.
        :raises TransportError: no answer; ``sent`` tells whether the request may have arrived.
        :raises ApiError: the service refused; see ``retryable``.
        :raises UnexpectedReply: the answer cannot be read.
        """
        self._check_data_stays(call)
        end = self._end(deadline)
        for attempt in Retrying(sleep=self.pause, **self._retry_policy(call, end)):
            with attempt:
                return self._result(call, self._exchange(call, end, before))
        raise AssertionError("unreachable: the loop returns or raises")

    def pages(self, call: Call[T]) -> Iterator[T]:
        """Yield the value of ``call`` and of all that follow it."""
        seen: set[tuple[tuple[str, str], ...]] = set()
        following: Call[T] | None = call
        while following is not None:
            value = self.send(following)
            yield value
            following = following.next_page(value, seen)

    def _exchange(self, call: Call[Any], end: float, before: Callable[[], None] | None = None) -> Reply:
        from airflow_provider_assemblyai.client.blocking import ERRORS, Watchdog, never_connected

        headers = dict(call.headers)
        data: Iterable[bytes] | None = None
        size: int | None = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            data, size = iter(call.body.open()), call.body.size
        elif before is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(call.json).encode()
            data, size = (content,), len(content)
        if data is not None:
            # With `before`, a body is asked for late: the connection is made and the headers are out, so nothing
            # that takes time is left between it and the request.
            data = data if before is None else _run_before(before, data)
            data = data if size is None else _SizedBlocks(data, size)
        connect = _CONNECT_TIMEOUT if call.body is None else _UPLOAD_CONNECT_TIMEOUT
        left = self._time_left(call, end)
        seconds = self._allowed_time(call, left)
        with Watchdog(seconds) as watchdog:
            try:
                with watchdog.watching():
                    answer = self._session.request(
                        call.method,
                        self._url(call),
                        params=call.params,
                        json=call.json if data is None else None,
                        data=data,
                        headers=headers,
                        timeout=(connect, call.read_timeout),
                        allow_redirects=False,
                        stream=True,
                    )
                with closing(answer):
                    body = ReceivedBody(answer.headers.get("Content-Encoding", ""), call.max_bytes)
                    for block in answer.raw.stream(_PIECE, decode_content=False):
                        body.add(block)
                        watchdog.allow(seconds := self._allowed_time(call, left, body.received))
                    received = body.content()
            except UnexpectedReply as error:
                raise UnexpectedReply(f"{call.method} {call.path}: {error}") from None
            except (*ERRORS, BrokenBody) as error:
                if isinstance(error, AssemblyAIError):
                    raise
                if not watchdog.expired:
                    sent = watchdog.requested and not never_connected(error)
                    raise self._transport_error(call, error, sent=sent) from None
            if watchdog.expired:
                # Also if there was no error: the end of a body that came without its length looks like this.
                raise self._too_late(call, seconds, sent=watchdog.requested)
        return self._reply(answer.status_code, answer.headers.items(), received)


def without_proxy(*urls: str) -> dict[str, None]:
    """
    Return the ``mounts`` of an httpx client for which this machine takes no proxy: that would get the key in clear.

    :param urls: that the client is used for.
    """
    parts = [urlsplit(url) for url in urls]
    return {f"all://{one.netloc}": None for one in parts if is_loopback(one.hostname or "")}


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
            mounts=without_proxy(
                self.hosts.speech, self.hosts.gateway, self.hosts.token, self.hosts.short_audio
            ),
            event_hooks={"response": [_forget_redirect]},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T], *, deadline: float | None = None) -> T:
        """Send ``call`` as :meth:`Client.send` does."""
        self._check_data_stays(call)
        end = self._end(deadline)
        async for attempt in AsyncRetrying(sleep=self.pause, **self._retry_policy(call, end)):
            with attempt:
                reply = await self._exchange(call, end)
                if len(reply.content) > 64 * 1024:
                    # Parsing megabytes would stall every other trigger of this process.
                    return await asyncio.get_running_loop().run_in_executor(
                        _parser(), self._result, call, reply
                    )
                return self._result(call, reply)
        raise AssertionError("unreachable: the loop returns or raises")

    async def pages(self, call: Call[T]) -> AsyncIterator[T]:
        """Yield the value of ``call`` and of all that follow it."""
        seen: set[tuple[tuple[str, str], ...]] = set()
        following: Call[T] | None = call
        while following is not None:
            value = await self.send(following)
            yield value
            following = following.next_page(value, seen)

    async def _exchange(self, call: Call[Any], end: float) -> Reply:
        headers = dict(call.headers)
        content = None
        if call.body is not None:
            headers["Content-Type"] = call.content_type
            content = _blocks(call)
            if call.body.size is not None:
                headers["Content-Length"] = str(call.body.size)
        connect = _CONNECT_TIMEOUT if content is None else _UPLOAD_CONNECT_TIMEOUT
        left = self._time_left(call, end)
        seconds = self._allowed_time(call, left)
        # For connecting and for the handshake each. They end before the whole does: a handshake that is cancelled
        # leaves its connection open until the garbage collector runs.
        connect = min(connect, seconds / 2)
        requested = False

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            nonlocal requested
            if event.endswith("send_request_headers.started"):
                # What a proxy is asked first is not the request itself.
                requested = requested or info["request"].method != b"CONNECT"

        started = asyncio.get_running_loop().time()
        try:
            # As a stream: what httpx reads itself stays in memory until the garbage collector runs, because
            # an answer and its stream refer to each other.
            async with (
                asyncio.timeout_at(started + seconds) as limit,
                self._http.stream(
                    call.method,
                    self._url(call),
                    params=call.params,
                    json=call.json,
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(call.read_timeout, connect=connect),
                    extensions={"trace": trace},
                ) as answer,
            ):
                body = ReceivedBody(answer.headers.get("content-encoding", ""), call.max_bytes)
                async for block in answer.aiter_raw():
                    body.add(block)
                    limit.reschedule(started + (seconds := self._allowed_time(call, left, body.received)))
                received = body.content()
        except UnexpectedReply as error:
            raise UnexpectedReply(f"{call.method} {call.path}: {error}") from None
        except _NOT_SENT as error:
            raise self._transport_error(call, error, sent=False) from None
        except _NO_ANSWER as error:
            if isinstance(error, AssemblyAIError):
                raise
            if isinstance(error, TimeoutError) and limit.expired():
                raise self._too_late(call, seconds, sent=requested) from None
            raise self._transport_error(call, error, sent=requested) from None
        return self._reply(answer.status_code, answer.headers.items(), received)


_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
#: What else an exchange can end with; httpx lets some errors of its libraries through.
_NO_ANSWER: Final = (
    *(httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, BrokenBody, OSError, ValueError),
)


async def _forget_redirect(answer: httpx.Response) -> None:
    # It is not followed, and httpx fails on addresses that it cannot read.
    answer.headers.pop("location", None)


async def _blocks(call: Call[Any]) -> AsyncIterator[bytes]:
    assert call.body is not None
    blocks = iter(call.body.open())
    while (block := await asyncio.to_thread(next, blocks, None)) is not None:
        yield block


def download(url: str, *, deadline: float = 600.0) -> Iterator[bytes]:
    """
    Fetch a URL without the API key, in blocks.

    :param url: a link that the service handed out, or audio that the service could not reach itself.
    :param deadline: seconds for the whole transfer. What is read to be sent has no more than the request that sends it.
    :raises TransportError: the transfer broke or took too long; a retry helps.
    :raises ApiError: the host answered with an HTTP error.
    """
    from airflow_provider_assemblyai.client.blocking import ERRORS, Session, Watchdog, time_left

    deadline = min(deadline, time_left())
    shown = strip_url(url)
    with Session() as session, Watchdog(deadline) as watchdog:
        try:
            with watchdog.watching():
                answer = _follow_redirects(session, url)
            with closing(answer):
                if answer.status_code != 200:
                    raise ApiError(f"GET {shown}: HTTP {answer.status_code}.", status=answer.status_code)
                decoder = Decoder(answer.headers.get("Content-Encoding", ""))
                for block in answer.raw.stream(_BLOCK, decode_content=False):
                    if watchdog.expired:
                        break
                    yield from decoder.decode(block)
                yield decoder.finish()
        except (*ERRORS, BrokenBody) as error:
            if isinstance(error, AssemblyAIError):
                raise
            if not watchdog.expired:
                raise TransportError(f"GET {shown}: {sanitize(str(error))}.", sent=True) from None
        if watchdog.expired:
            raise TransportError(f"GET {shown}: not finished in {deadline:.0f} s.", sent=True)


def _follow_redirects(session: Session, url: str) -> requests.Response:
    for _ in range(_MAX_REDIRECTS):
        answer = session.get(url, headers=_HEADERS, stream=True, timeout=(_CONNECT_TIMEOUT, 60.0))
        target = answer.headers.get("Location")
        if answer.status_code not in (301, 302, 303, 307, 308) or not target:
            return answer
        answer.close()
        try:
            url = urljoin(url, target)
        except ValueError:
            raise OSError("a redirect to an address that cannot be read") from None
    raise OSError("too many redirects")

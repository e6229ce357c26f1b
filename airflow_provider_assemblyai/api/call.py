# SPDX-License-Identifier: Apache-2.0
"""
A request and its reply as values, and what an answer means.

``client/http.py`` has one loop for requests and one for httpx. What an answer means (:meth:`Call.result`) is
decided here for both; what may be sent again, and when, in :mod:`airflow_provider_assemblyai.api.retry_rules`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final, Generic, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    NotFoundError,
    RateLimit,
    RateLimitError,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize

T = TypeVar("T")

#: Bytes that an answer may have, decoded; see :attr:`Call.max_bytes`.
MAX_BYTES: Final = 4 * 1024 * 1024
#: Seconds for a whole exchange, and between two pieces of an answer, if a call says nothing else.
_TIMEOUT: Final = 30.0
#: Bytes a second that the answer of a call with a raised limit comes with at least, once the time is over.
_LEAST_RATE: Final = 100_000
#: The same for a paid call, where the client has no deadline of its own.
PAID_TIMEOUT: Final = 600.0
#: Levels of lists and objects in an answer; no answer of the service has ten.
_MAX_DEPTH: Final = 100
#: What the parser makes of lists and objects.
_NESTED: Final = frozenset((dict, list))
#: Seconds since the epoch that make sense: the year 33658.
MAX_MOMENT: Final = 1e12
#: Of a limit that headers state: no window allows a million requests.
_MAX_LIMIT: Final = 1_000_000
#: Seconds that a header may name as such; more is a moment, or nonsense.
_MAX_SECONDS: Final = 86_400.0
#: Seconds to wait that are told from more: thirty years.
_LONGEST_WAIT: Final = 1e9

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_ERROR_CODE: Final = re.compile(r"[a-z][a-z0-9_]{1,59}")
_RATE_TEXT = re.compile(r"\brate\b|too many requests|limit exceeded|throttl", re.IGNORECASE)
_UNKNOWN_ID_TEXT = re.compile(r"transcript lookup error|transcript id not found", re.IGNORECASE)


class Product(Enum):
    """Which of the region's hosts serves a call."""

    SPEECH = "speech"
    SHORT_AUDIO = "short_audio"
    GATEWAY = "gateway"
    TOKEN = "token"


class Body(Protocol):
    """
    Bytes to upload; opened anew for every attempt, because each must start from byte 0.

    ``size`` is the number of bytes, or None if unknown (the body is then sent chunked).
    """

    @property
    def size(self) -> int | None: ...

    def open(self) -> Iterable[bytes]: ...


def finite(value: object, low: float, high: float) -> float | None:
    """Return ``value`` if it is a number from ``low`` to ``high``, else None: for NaN, text, a Boolean, anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return float(value)


def moment(value: object) -> float | None:
    """Return ``value`` if it can be seconds since the epoch, else None: of what another process has stored."""
    return finite(value, 0, MAX_MOMENT)


def parse_json(content: bytes | str) -> Any:
    """
    Return what a text of the service holds, without numbers that JSON does not have: NaN and the infinite are None.

    :raises UnexpectedReply: it is not JSON, or nested as nothing of the service is.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        value = json.loads(text, parse_constant=lambda _: None, parse_float=_parse_float)
    except (ValueError, RecursionError):
        raise UnexpectedReply("The answer is not JSON.") from None
    # By exact types, and without a call for each value: a triggerer with 10,000 waits reads ten pages of 200 rows a second.
    level = [value] if type(value) in _NESTED else []
    for _ in range(_MAX_DEPTH + 1):
        if not level:
            return _without_lone_surrogates(value) if _SURROGATE_ESCAPE.search(text) else value
        parts = (one.values() if type(one) is dict else one for one in level)
        level = [part for some in parts for part in some if type(part) in _NESTED]
    raise UnexpectedReply("The answer is JSON that is nested too deeply.")


def _parse_float(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _without_lone_surrogates(value: Any) -> Any:
    """Return ``value`` with texts that can be encoded: half of a pair cannot be written to any file."""
    if isinstance(value, str):
        return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_without_lone_surrogates(k): _without_lone_surrogates(v) for k, v in value.items()}
    return [_without_lone_surrogates(part) for part in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Reply:
    """
    What came back.

    :param status: HTTP status code.
    :param headers: header values by lower-case name.
    :param content: the body, undecoded.
    :param received_at: seconds since the epoch, by our clock; 0 if that is not known.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes
    received_at: float = 0.0

    @property
    def request_id(self) -> str | None:
        names = ("x-request-id", "request-id", "x-amzn-requestid", "x-amz-cf-id")
        return next((sanitize(self.headers[name]) for name in names if name in self.headers), None)

    @property
    def retry_after(self) -> float | None:
        """Seconds the service asked us to wait; the header holds a number or a date. None if it holds nonsense."""
        value = self.headers.get("retry-after", "").strip()
        try:
            seconds = float(value)
        except ValueError:
            # Both in the service's own time: our clock may be wrong.
            until, now = _date(value), _date(self.headers.get("date", ""))
            return max(0.0, until - now) if until is not None and now is not None else None
        return min(max(0.0, seconds), _LONGEST_WAIT) if math.isfinite(seconds) else None

    @property
    def rate_limit(self) -> RateLimit:
        """The limit of these requests, as far as the headers state it."""
        return RateLimit(
            limit=self._count("x-ratelimit-limit", 1),
            remaining=self._count("x-ratelimit-remaining", -_MAX_LIMIT),
            reset=self._reset(),
            retry_after=self.retry_after,
            model=sanitize(self.headers.get("x-ratelimit-model", "")) or None,
        )

    def _reset(self) -> float | None:
        """Return the seconds until the window begins anew: some services state the moment, in seconds or thousandths."""
        value = self._number("x-ratelimit-reset", -math.inf, math.inf)
        if value is None or value <= _MAX_SECONDS:
            return None if value is None else max(0.0, value)
        left = (value / unit - self.received_at for unit in (1.0, 1000.0))
        return next((max(0.0, one) for one in left if abs(one) <= _MAX_SECONDS), None)

    def _count(self, name: str, low: int) -> int | None:
        value = self._number(name, low, _MAX_LIMIT)
        return int(value) if value is not None and value.is_integer() else None

    def _number(self, name: str, low: float, high: float) -> float | None:
        try:
            value = float(self.headers.get(name, ""))
        except ValueError:
            return None
        return finite(value, low, high) if math.isfinite(value) else None

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> dict[str, Any]:
        """
        Return the body as an object.

        :raises UnexpectedReply: if it is anything else.
        """
        try:
            value = parse_json(self.content)
        except UnexpectedReply as error:
            kind = sanitize(self.headers.get("content-type", "no content type"))
            raise UnexpectedReply(
                f"{str(error).rstrip('.')} ({kind}, {len(self.content)} bytes{_named(self.request_id)})."
            ) from None
        if not isinstance(value, dict):
            raise UnexpectedReply(f"The answer is JSON but not an object{_named(self.request_id)}.")
        return value

    def error_text(self) -> str:
        """Return the service's own error text in one clean line; empty if there is none that can be read."""
        body = self._error_body()
        if body is None:
            return "" if self.text.lstrip().startswith("<") else sanitize(self.text)
        names = ("error", "message", "detail", "title")
        texts = [body[name] for name in names if isinstance(body.get(name), str)][:1]
        metadata = body.get("metadata")
        more = metadata.get("errors") if isinstance(metadata, dict) else None
        texts += [text for text in more if isinstance(text, str)] if isinstance(more, list) else []
        distinct = list(dict.fromkeys(texts))
        return sanitize(": ".join([*(text.rstrip(".: ") for text in distinct[:-1]), *distinct[-1:]]))

    @property
    def error_id(self) -> str | None:
        """The service's id of a refused request: from its body, else from a header."""
        found = (self._error_body() or {}).get("request_id")
        return sanitize(found) if isinstance(found, str) and found else self.request_id

    @property
    def error_code(self) -> str | None:
        """
        What is wrong in one word, such as ``audio_too_large``; None if the body does not name it.

        It is the title of a problem (RFC 9457), or a field of its own. A body that is about another status, or says no
        more than a proxy would, names nothing.
        """
        body = self._error_body() or {}
        code, title = body.get("error_code"), body.get("title")
        if code is None and isinstance(title, str) and isinstance(body.get("detail"), str):
            code = (
                re.sub(r"[\s_-]+", "_", title.strip()).lower() if body.get("status") == self.status else None
            )
        return code if isinstance(code, str) and _ERROR_CODE.fullmatch(code) else None

    def _error_body(self) -> dict[str, Any] | None:
        """Return the fields of an error, None without JSON; one of the gateway's envelopes has them one level down."""
        try:
            body = parse_json(self.content)
        except UnexpectedReply:
            return None
        if not isinstance(body, dict):
            return {}
        inner = body.get("error")
        return {**body, "error": None, **inner} if isinstance(inner, dict) else body


def string_in(name: str) -> Callable[[Reply], str]:
    """Return a reader of a reply that holds one string."""

    def read(reply: Reply) -> str:
        value = reply.json().get(name)
        if not isinstance(value, str) or not value:
            raise UnexpectedReply(f"the answer holds no {name}.")
        return value

    return read


def url_in(name: str) -> Callable[[Reply], str]:
    """Return a reader of a reply that holds one address."""
    read_string = string_in(name)

    def read(reply: Reply) -> str:
        value = read_string(reply)
        if not is_web_url(value):
            raise UnexpectedReply(f"the {name} in the answer is no http(s) address.")
        return value

    return read


def is_web_url(value: str) -> bool:
    """Tell whether ``value`` is an ``http(s)`` URL that can be requested."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and value.isascii() and value.isprintable() and " " not in value


def _date(value: str) -> float | None:
    """Return seconds since the epoch; a date without a zone is GMT, as every date in HTTP."""
    try:
        found = parsedate_to_datetime(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _named(request_id: str | None) -> str:
    return f", request id {request_id}" if request_id else ""


@dataclass(frozen=True)
class Billing:
    """
    What keeps a request that costs money from being paid for twice.

    :param recorded: what is durable before it is sent.
    :param lost_answer: what is done if it may have been accepted and the answer is lost: ``look_up`` finds the job, or
        submits if it is surely not there; ``report`` ends in an error, after which only what the user chose sends it
        again; ``go_on`` begins anew where the answers ended, and pays for the rest.
    :param limited_by: arguments of the operators that limit how often it is sent.
    """

    recorded: str
    lost_answer: Literal["look_up", "report", "go_on"]
    limited_by: tuple[str, ...]


@dataclass(frozen=True)
class Call(Generic[T]):
    """
    One request to the service, as data.

    :param product: which host it goes to.
    :param method: HTTP method.
    :param path: path below the host.
    :param read: turns a good reply into the value of this call.
    :param query: query parameters; None values are left out.
    :param json: a body to send as JSON.
    :param body: bytes to upload instead.
    :param content_type: of these bytes.
    :param headers: of the request, beside those that all have.
    :param repeatable: False for a paid request: it is sent again only if it surely was not accepted.
    :param billing: of a paid request.
    :param follow: makes the next call out of this one's value, for calls that come in pages.
    :param timeout: seconds for the whole exchange, if not the usual.
    :param until_deadline: the exchange may take all the time that the client has: its answer is paid for, and would
        be lost.
    :param max_bytes: what the answer may have, decoded; a longer one is not read to its end.
    :param retry_rate_limits: False leaves a rate limit answer to a caller that can wait without a worker slot.
    :param hint: returns a sentence of advice for an error, or an empty string.
    :param if_unknown: a sentence of advice for the answer that what the path names is not known.
    """

    product: Product
    method: str
    path: str
    read: Callable[[Reply], T]
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    body: Body | None = None
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    billing: Billing | None = None
    follow: Callable[[T], Call[T] | None] | None = None
    timeout: float | None = None
    until_deadline: bool = False
    max_bytes: int = MAX_BYTES
    retry_rate_limits: bool = True
    hint: Callable[[Reply], str] | None = None
    if_unknown: str = ""

    def observed(self, observe: Callable[[Reply], None]) -> Call[T]:
        """
        Return the same call for a caller that wants to know more of a good reply than its value.

        :param observe: called with the reply before it is read.
        """

        def read(reply: Reply) -> T:
            observe(reply)
            return self.read(reply)

        return replace(self, read=read)

    @property
    def params(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.query.items() if value is not None}

    @property
    def read_timeout(self) -> float:
        """Seconds between two pieces of the answer: 30, for a paid call 600, for an upload one more for each 500 kB."""
        if self.timeout is not None:
            return self.timeout
        if self.body is None:
            return PAID_TIMEOUT if self.until_deadline else _TIMEOUT
        return 60.0 + (2_200_000_000 if self.body.size is None else self.body.size) / 500_000

    @property
    def total_timeout(self) -> float:
        """Seconds for the whole exchange: connecting, the request, and the answer to its end."""
        return PAID_TIMEOUT if self.until_deadline else self.read_timeout

    def allowed_time(self, received: int) -> float:
        """
        Return the seconds that the exchange may take by now.

        A long transcript over a slow line needs more than the usual, and gets it as long as bytes come.

        :param received: bytes of the answer so far.
        """
        return self.total_timeout + (received / _LEAST_RATE if self.max_bytes > MAX_BYTES else 0.0)

    def result(self, reply: Reply) -> T:
        """
        Return the value of this call.

        :raises ApiError: or one of its subclasses, for an HTTP error.
        :raises UnexpectedReply: if the answer cannot be read.
        """
        try:
            if 200 <= reply.status < 300 and reply.status != 202:
                return self.read(reply)
            error = self._error(reply)
        except UnexpectedReply as unread:
            raise UnexpectedReply(f"{self.method} {self.path}: {unread}") from None
        except AssemblyAIError:
            raise
        except Exception as fault:
            # Not its text, which may quote the answer.
            kind = type(fault).__name__
            raise UnexpectedReply(f"{self.method} {self.path}: the answer cannot be read ({kind}).") from None
        raise error

    def next_page(self, value: T, seen: set[tuple[tuple[str, str], ...]]) -> Call[T] | None:
        """
        Return the call for the page that follows, or None.

        :param value: of this call.
        :param seen: what the pages so far were requested with; this one is added.
        :raises UnexpectedReply: the pages go round in a circle.
        """
        seen.add(tuple(self.params.items()))
        following = self.follow(value) if self.follow is not None else None
        if following is not None and tuple(following.params.items()) in seen:
            raise UnexpectedReply(
                f"{self.method} {self.path}: the pages of the list lead back to each other."
            )
        return following

    def _error(self, reply: Reply) -> AssemblyAIError:
        text = reply.error_text()
        what = f"{self.method} {self.path}: HTTP {reply.status}"
        request_id, limit = reply.error_id, reply.rate_limit
        facts: dict[str, Any] = {
            "status": reply.status,
            "request_id": request_id,
            "retry_after": reply.retry_after,
            "code": reply.error_code,
        }
        hint = self.hint(reply) if self.hint is not None else ""
        tail = f"{f': {text}' if text else ''}{f' (request id {request_id})' if request_id else ''}."
        tail += f" {hint}" if hint else ""
        if reply.status == 401:
            return AuthenticationError(f"{what}{'' if hint else ', the API key was refused'}{tail}", **facts)
        if reply.status == 404 or (reply.status == 400 and _UNKNOWN_ID_TEXT.search(text)):
            return NotFoundError(f"{what}, not known here{tail} {self.if_unknown}".rstrip(), **facts)
        if reply.status == 429 or (reply.status == 403 and _RATE_TEXT.search(text)):
            if self.product is Product.GATEWAY:
                facts["retry_after"] = limit.wait
            return RateLimitError(f"{what}, too many requests{tail}", **facts, limit=limit)
        if 300 <= reply.status < 400:
            # Following it could carry the key to another host.
            return ApiError(f"{what}, a redirect, which is not followed: check the host{tail}", **facts)
        if reply.status == 202:
            return ApiError(f"{what}, not ready yet{tail}", **facts)
        return ApiError(f"{what}{tail}", **facts)

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
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Generic, Literal, Protocol, TypeVar

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

_RATE_TEXT = re.compile(r"\brate\b|too many requests|limit exceeded|throttl", re.IGNORECASE)
_UNKNOWN_ID_TEXT = re.compile(r"transcript lookup error|transcript id not found", re.IGNORECASE)


class Product(Enum):
    """Which of the region's hosts serves a call."""

    SPEECH = "speech"
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


@dataclass(frozen=True)
class Reply:
    """
    What came back.

    :param status: HTTP status code.
    :param headers: header values by lower-case name.
    :param content: the body, undecoded.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def request_id(self) -> str | None:
        names = ("x-request-id", "request-id", "x-amzn-requestid", "x-amz-cf-id")
        return next((sanitize(self.headers[name]) for name in names if name in self.headers), None)

    @property
    def retry_after(self) -> float | None:
        """Seconds the service asked us to wait; the header holds a number or a date."""
        value = self.headers.get("retry-after", "").strip()
        if not value:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            until = _date(value)
            now = _date(self.headers.get("date", ""))
            # Both in the service's own time: our clock may be wrong.
            return max(0.0, (until - now).total_seconds()) if until and now else None

    @property
    def rate_limit(self) -> RateLimit:
        """The limit of these requests, as far as the headers state it."""
        limit, remaining = self._number("x-ratelimit-limit"), self._number("x-ratelimit-remaining")
        reset = self._number("x-ratelimit-reset")
        return RateLimit(
            limit=None if limit is None else int(limit),
            remaining=None if remaining is None else int(remaining),
            reset=None if reset is None else max(0.0, reset),
            retry_after=self.retry_after,
            model=sanitize(self.headers.get("x-ratelimit-model", "")) or None,
        )

    def _number(self, name: str) -> float | None:
        try:
            value = float(self.headers.get(name, ""))
        except ValueError:
            return None
        return value if math.isfinite(value) else None

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", errors="replace")

    def json(self) -> dict[str, Any]:
        """
        Return the body as an object.

        :raises UnexpectedReply: if it is anything else.
        """
        try:
            value = json.loads(self.content)
        except ValueError:
            raise UnexpectedReply(
                f"The answer is not JSON ({self.headers.get('content-type', 'no content type')}, "
                f"{len(self.content)} bytes{_named(self.request_id)})."
            ) from None
        if not isinstance(value, dict):
            raise UnexpectedReply(f"The answer is JSON but not an object{_named(self.request_id)}.")
        return value

    def error_text(self) -> str:
        """Return the service's own error text in one clean line; empty if there is none that can be read."""
        body = self._error_body()
        if body is None:
            return "" if self.text.lstrip().startswith("<") else sanitize(self.text)
        texts = [body[name] for name in ("error", "message", "detail") if isinstance(body.get(name), str)][:1]
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

    def _error_body(self) -> dict[str, Any] | None:
        """Return the fields of an error, None without JSON; one of the gateway's envelopes has them one level down."""
        try:
            body = json.loads(self.content)
        except ValueError:
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


def _date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value)
    except ValueError:
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
    :param repeatable: False for a paid request: it is sent again only if it surely was not accepted.
    :param billing: of a paid request.
    :param follow: makes the next call out of this one's value, for calls that come in pages.
    :param timeout: seconds to wait for the answer, if not the usual.
    :param retry_rate_limits: False leaves a rate limit answer to a caller that can wait without a worker slot.
    :param hint: returns a sentence of advice for an error text, or an empty string.
    """

    product: Product
    method: str
    path: str
    read: Callable[[Reply], T]
    query: Mapping[str, str | int | None] = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    body: Body | None = None
    repeatable: bool = True
    billing: Billing | None = None
    follow: Callable[[T], Call[T] | None] | None = None
    timeout: float | None = None
    retry_rate_limits: bool = True
    hint: Callable[[str], str] | None = None

    @property
    def params(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.query.items() if value is not None}

    @property
    def read_timeout(self) -> float:
        """Seconds to wait for the answer: 30, and for an upload one more for each 500 kB."""
        if self.timeout is not None:
            return self.timeout
        if self.body is None:
            return 30.0
        return 60.0 + (2_200_000_000 if self.body.size is None else self.body.size) / 500_000

    def result(self, reply: Reply) -> T:
        """
        Return the value of this call.

        :raises ApiError: or one of its subclasses, for an HTTP error.
        :raises UnexpectedReply: if the answer cannot be read.
        """
        if 200 <= reply.status < 300 and reply.status != 202:
            try:
                return self.read(reply)
            except UnexpectedReply as error:
                raise UnexpectedReply(f"{self.method} {self.path}: {error}") from None
        raise self._error(reply)

    def _error(self, reply: Reply) -> AssemblyAIError:
        text = reply.error_text()
        what = f"{self.method} {self.path}: HTTP {reply.status}"
        request_id, limit = reply.error_id, reply.rate_limit
        facts: dict[str, Any] = {
            "status": reply.status,
            "request_id": request_id,
            "retry_after": reply.retry_after,
        }
        hint = self.hint(text) if self.hint is not None else ""
        tail = f"{f': {text}' if text else ''}{f' (request id {request_id})' if request_id else ''}."
        tail += f" {hint}" if hint else ""
        if reply.status == 401:
            return AuthenticationError(f"{what}{'' if hint else ', the API key was refused'}{tail}", **facts)
        if reply.status == 404 or (reply.status == 400 and _UNKNOWN_ID_TEXT.search(text)):
            return NotFoundError(f"{what}, not known here{tail}", **facts)
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

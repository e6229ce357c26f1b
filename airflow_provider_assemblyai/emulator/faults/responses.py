# SPDX-License-Identifier: Apache-2.0
"""A request that a fault on the wire meets, and the response to it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from starlette.types import Send

JSON, HTML, TEXT = (
    ("content-type", media_type)
    for media_type in ("application/json", "text/html; charset=utf-8", "text/plain; charset=utf-8")
)
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>nginx</body></html>\n"


class ConnectionBroken(Exception):
    """The connection has to be broken instead of a response."""


@dataclass(slots=True)
class HttpResponse:
    """A response that is not on the wire yet."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    async def send(self, send: Send) -> None:
        """Put it on the wire with its true length."""
        headers = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        headers.append(("content-length", str(len(self.body))))
        await send(
            {
                "type": "http.response.start",
                "status": self.status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            }
        )
        await send({"type": "http.response.body", "body": self.body})


@dataclass(frozen=True, slots=True)
class FaultedRequest:
    """A request that a fault meets.

    :param response: of the service, when the request took effect before the fault.
    :param api_key: the caller's ``Authorization`` value.
    :param now: time of the emulator.
    :param hold: stops the request, and returns what to do at its release.
    """

    response: HttpResponse | None
    api_key: str
    now: float
    hold: Callable[[], Awaitable[str]]


def error_body(text: str) -> bytes:
    """The JSON of an error."""
    return json.dumps({"error": text}).encode()


def html_page(text: str) -> bytes:
    """A page as web servers in front of a service send it."""
    return _PAGE.format(text).encode()

# SPDX-License-Identifier: Apache-2.0
"""Answers that a healthy service would not give."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Send

from airflow_provider_assemblyai.emulator.core.clock import http_date
from airflow_provider_assemblyai.emulator.core.errors import SERVER_ERROR, TOO_MANY_REQUESTS
from airflow_provider_assemblyai.emulator.faults.rules import Rule

_JSON = ("content-type", "application/json")
_HTML = ("content-type", "text/html; charset=utf-8")
_TEXT = ("content-type", "text/plain; charset=utf-8")
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>nginx</body></html>\n"


@dataclass(slots=True)
class HttpResponse:
    """An answer that is not on the wire yet."""

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


def faulty_response(rule: Rule, healthy: HttpResponse | None, *, key: str, now: float) -> HttpResponse:
    """The answer that a fault gives.

    :param rule: one of the kinds ``rate_limit``, ``http_status``, ``truncate_response``, ``corrupt_response``, ``echo_key``.
    :param healthy: the answer to the request, if it took effect.
    :param key: the caller's ``Authorization`` value.
    :param now: time of the emulator.
    """
    options = rule.options
    if rule.kind == "rate_limit":
        status = int(options.get("status", 429))
        text = options.get(
            "message", "Rate limit exceeded, too many requests" if status == 403 else TOO_MANY_REQUESTS
        )
        headers = [_JSON]
        wait = options.get("retry_after", 1)
        if wait == "date":
            headers.append(("retry-after", http_date(now + 2)))
        elif wait is not None:
            headers.append(("retry-after", str(wait)))
        return HttpResponse(status, headers, _error(text))
    if rule.kind == "echo_key":
        return HttpResponse(int(options.get("status", 400)), [_JSON], _error(f"Invalid API token: {key}"))
    if rule.kind == "http_status":
        return _status(options)
    assert healthy is not None
    if rule.kind == "truncate_response":
        return HttpResponse(200, healthy.headers, healthy.body[: len(healthy.body) // 2])
    return _garbage(str(options.get("variant", "html")), healthy)


def _status(options: Any) -> HttpResponse:
    status = int(options.get("status", 500))
    text = str(options.get("message", SERVER_ERROR if status == 500 else f"Error {status}"))
    # The real service has no body at all when its front end cannot reach it.
    form = options.get("body", "empty" if status in {503, 504} else "json")
    extra = [(str(name), str(value)) for name, value in (options.get("headers") or {}).items()]
    if form == "empty":
        return HttpResponse(status, extra)
    if form == "html":
        return HttpResponse(status, [_HTML, *extra], _PAGE.format(f"{status} {text}").encode())
    if form == "text":
        return HttpResponse(status, [_TEXT, *extra], text.encode())
    return HttpResponse(status, [_JSON, *extra], _error(text))


def _garbage(variant: str, healthy: HttpResponse) -> HttpResponse:
    if variant == "html":
        return HttpResponse(200, [_HTML], _PAGE.format("Welcome").encode())
    if variant == "text":
        return HttpResponse(200, [_JSON], b"OK, but this is not JSON")
    try:
        body = json.loads(healthy.body)
    except ValueError:
        return healthy
    if isinstance(body, dict):
        if variant == "no_id":
            body = {name: value for name, value in body.items() if name not in {"id", "upload_url"}}
        elif variant == "status":
            body["status"] = "pondering"
    return HttpResponse(200, [_JSON], json.dumps(body).encode())


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()

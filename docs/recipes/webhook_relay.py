# SPDX-License-Identifier: Apache-2.0
"""
Relays AssemblyAI's webhook to Airflow: a finished transcript becomes an event of an asset, and DAGs run on it.

AssemblyAI signs nothing, sends a notice up to ten times, gives up at a 4xx, and waits ten seconds for an answer. So:

- the secret header is compared in constant time, and a body has a size that it cannot exceed;
- what a notice says is not believed: the service is asked;
- a transcript is told once, as far as this process remembers; a DAG must not mind if it is told twice;
- trouble of this relay, of the service or of Airflow is a 503, never a 4xx: the notice comes again.

Settings are environment variables::

    WEBHOOK_SECRET          what you give as webhook_auth_header_value
    ASSEMBLYAI_API_KEY      to ask the service
    ASSEMBLYAI_URL          https://api.assemblyai.com, or https://api.eu.assemblyai.com
    AIRFLOW_URL             for example https://airflow.example.com
    AIRFLOW_USER, AIRFLOW_PASSWORD    a user that may create asset events
    ASSET_NAME              assemblyai_transcripts

Run it behind TLS: ``uvicorn webhook_relay:app --port 8080``
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import re
from collections import OrderedDict
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger("webhook_relay")

#: The header that you name as webhook_auth_header_name.
SECRET_HEADER = "X-Webhook-Secret"
#: Bytes of a notice: it holds an id and a status.
MAX_BODY = 16 * 1024
#: Transcripts that are remembered as told.
MAX_REMEMBERED = 100_000
#: Seconds for everything that is asked meanwhile: the service waits for ten.
TIMEOUT = 8.0

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")


class Relay:
    """Asks the service, and tells Airflow."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        self._told: OrderedDict[str, None] = OrderedDict()
        self._relaying: dict[str, asyncio.Task[str | None]] = {}
        self._token: str | None = None
        self._asset_id: int | None = None

    async def notice(self, request: Request) -> Response:
        """Answer one notice of the service."""
        secret = self._settings["WEBHOOK_SECRET"].encode()
        if not hmac.compare_digest(request.headers.get(SECRET_HEADER, "").encode(), secret):
            return JSONResponse({"detail": "The secret is missing or wrong."}, 401)
        body = await _read(request)
        if body is None:
            return JSONResponse({"detail": "The body is too large."}, 413)
        transcript_id = _transcript_id(body)
        if transcript_id is None:
            # The notice of a redacted recording has no id, and a 4xx would look like a fault of yours.
            return JSONResponse({"detail": "This is about no transcript."})
        if transcript_id in self._told:
            return JSONResponse({"detail": "This is known already."})
        # Two notices of one transcript at the same moment are one.
        relaying = self._relaying.get(transcript_id)
        if relaying is None:
            relaying = self._relaying[transcript_id] = asyncio.create_task(self._relay(transcript_id))
            relaying.add_done_callback(lambda _: self._relaying.pop(transcript_id, None))
        problem = await asyncio.shield(relaying)
        return JSONResponse({"detail": problem or "Relayed."}, 503 if problem else 200)

    async def _relay(self, transcript_id: str) -> str | None:
        """Tell Airflow of a transcript that has ended; return what stands in the way."""
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await self._ask(transcript_id)
                if status not in ("completed", "error"):
                    # The notice came before the service knows it itself, or is none of the service's.
                    return f"The transcript is {status}."
                await self._tell(transcript_id, status)
        except (httpx.HTTPError, TimeoutError, ValueError, LookupError) as error:
            log.warning("Transcript %s could not be relayed: %s", transcript_id, type(error).__name__)
            return "It cannot be relayed now."
        self._told[transcript_id] = None
        while len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        return None

    async def _ask(self, transcript_id: str) -> str:
        """Return the status that the service itself gives."""
        key = self._settings["ASSEMBLYAI_API_KEY"]
        url = f"{self._settings['ASSEMBLYAI_URL']}/v2/transcript/{transcript_id}"
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            answer = await client.get(url, headers={"Authorization": key})
        if answer.status_code in (400, 404):
            return "unknown"
        answer.raise_for_status()
        return str(answer.json()["status"])

    async def _tell(self, transcript_id: str, status: str) -> None:
        """Create an asset event that names the transcript."""
        region = "eu" if ".eu." in self._settings["ASSEMBLYAI_URL"] else "us"
        extra = {"transcript_id": transcript_id, "status": status, "region": region}
        async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False) as client:
            if self._asset_id is None:
                self._asset_id = await self._find_asset(client)
            body = {"asset_id": self._asset_id, "extra": extra}
            await self._airflow(client, "POST", "/api/v2/assets/events", json=body)

    async def _find_asset(self, client: httpx.AsyncClient) -> int:
        name = self._settings["ASSET_NAME"]
        found = await self._airflow(client, "GET", "/api/v2/assets", params={"name_pattern": name})
        ids = [int(one["id"]) for one in found["assets"] if one["name"] == name]
        if not ids:
            raise LookupError(f"no DAG of this Airflow uses the asset {name}")
        return ids[0]

    async def _airflow(self, client: httpx.AsyncClient, method: str, path: str, **given: Any) -> Any:
        """Call Airflow's API, with a new token if the old one is over."""
        base = self._settings["AIRFLOW_URL"]
        for attempt in (0, 1):
            if self._token is None:
                login = {
                    "username": self._settings["AIRFLOW_USER"],
                    "password": self._settings["AIRFLOW_PASSWORD"],
                }
                token = await client.post(f"{base}/auth/token", json=login)
                token.raise_for_status()
                self._token = str(token.json()["access_token"])
            headers = {"Authorization": f"Bearer {self._token}"}
            answer = await client.request(method, f"{base}{path}", headers=headers, **given)
            if answer.status_code != 401 or attempt:
                answer.raise_for_status()
                return answer.json()
            self._token = None
        raise LookupError("no answer")


async def _read(request: Request) -> bytes | None:
    """Return the body, None if it is too large: not more than that is read."""
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > MAX_BODY:
            return None
    return body


def _transcript_id(body: bytes) -> str | None:
    try:
        notice = json.loads(body)
    except ValueError:
        return None
    found = notice.get("transcript_id") if isinstance(notice, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def make_app(settings: dict[str, str]) -> Starlette:
    """
    Return the application.

    :param settings: see the top of this file.
    """
    return Starlette(routes=[Route("/", Relay(settings).notice, methods=["POST"])])


_NAMES = (
    *("WEBHOOK_SECRET", "ASSEMBLYAI_API_KEY", "ASSEMBLYAI_URL"),
    *("AIRFLOW_URL", "AIRFLOW_USER", "AIRFLOW_PASSWORD", "ASSET_NAME"),
)


def __getattr__(name: str) -> Any:
    """Make ``app`` when uvicorn asks for it: a test makes its own."""
    if name != "app":
        raise AttributeError(name)
    return make_app({name: os.environ[name] for name in _NAMES})

# SPDX-License-Identifier: Apache-2.0
"""
Relays AssemblyAI's webhook to Airflow: a transcript that has ended becomes an event of an asset, and DAGs run on it.

AssemblyAI signs nothing, may send a notice twice, gives up at a 4xx, and waits ten seconds for an answer. So:

- the secret header is compared in constant time before anything is read, and a body has a size and a time;
- what a notice says is not believed: the service is asked;
- a transcript is told once, as far as this process remembers; a DAG must not mind if it is told twice;
- trouble of this relay, of the service or of Airflow is a 503, never a 4xx: the notice comes again.

Settings are environment variables::

    WEBHOOK_SECRET       what you give as webhook_auth_header_value
    ASSEMBLYAI_API_KEY   to ask the service
    ASSEMBLYAI_REGION    us (default) or eu
    ASSEMBLYAI_URL       only for a proxy in front of the service
    AIRFLOW_URL          for example https://airflow.example.com
    AIRFLOW_USER         may read assets and create asset events
    AIRFLOW_PASSWORD
    ASSET_NAME           assemblyai_transcripts (default)

It needs httpx, starlette and uvicorn. Run it behind TLS, as one process: ``uvicorn webhook_relay:app --port 8080``
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

log = logging.getLogger("webhook_relay")

#: The header that you name as webhook_auth_header_name.
SECRET_HEADER = "X-Webhook-Secret"
#: Bytes of a notice: it holds an id and a status.
MAX_BODY = 16 * 1024
#: Seconds for a notice to arrive, and for everything that is asked then: the service waits for ten.
READ_TIMEOUT, RELAY_TIMEOUT = 2.0, 6.0
#: Transcripts that are remembered as told.
MAX_REMEMBERED = 100_000

_REGIONS = {"us": "https://api.assemblyai.com", "eu": "https://api.eu.assemblyai.com"}
_DEFAULTS = {"ASSEMBLYAI_REGION": "us", "ASSEMBLYAI_URL": "", "ASSET_NAME": "assemblyai_transcripts"}
_NEEDED = ("WEBHOOK_SECRET", "ASSEMBLYAI_API_KEY", "AIRFLOW_URL", "AIRFLOW_USER", "AIRFLOW_PASSWORD")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{7,63}")


class Trouble(Exception):
    """A transcript cannot be relayed now; the sentence may be logged."""


class Relay:
    """
    Asks the service, and tells Airflow.

    :param settings: see the top of this file.
    """

    def __init__(self, settings: Mapping[str, str]) -> None:
        given = {**_DEFAULTS, **{name: text.strip() for name, text in settings.items() if text.strip()}}
        if missing := [name for name in _NEEDED if name not in given]:
            # An empty secret would be that of a request without the header.
            raise SystemExit(f"Set these environment variables: {', '.join(missing)}")
        if given["ASSEMBLYAI_REGION"] not in _REGIONS:
            raise SystemExit(f"ASSEMBLYAI_REGION must be one of: {', '.join(_REGIONS)}")
        self._region = given["ASSEMBLYAI_REGION"]
        self._service = (given["ASSEMBLYAI_URL"] or _REGIONS[self._region]).rstrip("/")
        self._airflow_url = given["AIRFLOW_URL"].rstrip("/")
        self._secret = given["WEBHOOK_SECRET"].encode()
        self._key = given["ASSEMBLYAI_API_KEY"]
        self._login = {"username": given["AIRFLOW_USER"], "password": given["AIRFLOW_PASSWORD"]}
        self._asset = given["ASSET_NAME"]
        self._asset_id: int | None = None
        self._token: str | None = None
        self._logging_in = asyncio.Lock()
        self._told: OrderedDict[str, None] = OrderedDict()
        self._relaying: dict[str, asyncio.Task[bool]] = {}
        self._http: httpx.AsyncClient

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Keep connections open as long as the application runs."""
        async with httpx.AsyncClient(timeout=RELAY_TIMEOUT) as self._http:
            yield

    async def notice(self, request: Request) -> Response:
        """Answer one notice of the service."""
        name = SECRET_HEADER.lower().encode()
        secrets = [value for header, value in request.headers.raw if header == name]
        if len(secrets) != 1 or not hmac.compare_digest(secrets[0], self._secret):
            return JSONResponse({"detail": "The secret is missing or wrong."}, 401)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                body = await _read(request)
        except (TimeoutError, ClientDisconnect):
            return JSONResponse({"detail": "The notice did not arrive in time."}, 503)
        if body is None:
            return JSONResponse({"detail": "The notice is too large."}, 413, {"Connection": "close"})
        transcript_id = _transcript_id(body)
        if transcript_id is None:
            # The notice of a redacted recording has no id, and a 4xx would look like a fault of yours.
            return JSONResponse({"detail": "This is about no transcript."})
        if await self._relay_once(transcript_id):
            return JSONResponse({"detail": "Airflow knows it."})
        return JSONResponse({"detail": "It cannot be relayed now."}, 503)

    async def _relay_once(self, transcript_id: str) -> bool:
        """Return whether Airflow has been told; two notices at the same moment are one."""
        if transcript_id in self._told:
            return True
        relaying = self._relaying.get(transcript_id)
        if relaying is None:
            relaying = self._relaying[transcript_id] = asyncio.create_task(self._relay(transcript_id))
            relaying.add_done_callback(lambda _: self._relaying.pop(transcript_id, None))
        # A sender that hangs up does not stop what others wait for.
        return await asyncio.shield(relaying)

    async def _relay(self, transcript_id: str) -> bool:
        try:
            async with asyncio.timeout(RELAY_TIMEOUT):
                status = await self._ask(transcript_id)
                await self._tell({"transcript_id": transcript_id, "status": status, "region": self._region})
        except Trouble as trouble:
            log.warning("Transcript %s is not relayed yet: %s", transcript_id, trouble)
            return False
        except Exception as error:  # of whatever kind: its text might hold what no log should
            log.warning("Transcript %s is not relayed yet (%s).", transcript_id, type(error).__name__)
            return False
        self._told[transcript_id] = None
        while len(self._told) > MAX_REMEMBERED:
            self._told.popitem(last=False)
        log.info("Transcript %s is relayed: %s.", transcript_id, status)
        return True

    async def _ask(self, transcript_id: str) -> str:
        """Return how the service itself says that a transcript has ended."""
        url = f"{self._service}/v2/transcript/{transcript_id}"
        answer = await self._http.get(url, headers={"Authorization": self._key})
        if answer.status_code != 200:
            raise Trouble(f"the service answers with {answer.status_code}")
        # It may hold every word of a long recording.
        status = (await asyncio.to_thread(answer.json)).get("status")
        if status not in ("completed", "error"):
            raise Trouble("the service says that it has not ended")
        return str(status)

    async def _tell(self, extra: dict[str, str]) -> None:
        """Create an event of the asset."""
        if self._asset_id is None:
            self._asset_id = await self._find_asset()
        answer = await self._airflow(
            "POST", "/assets/events", json={"asset_id": self._asset_id, "extra": extra}
        )
        if not answer.is_success:
            # It may have got another id.
            self._asset_id = None
            raise Trouble(f"Airflow answers with {answer.status_code}")

    async def _find_asset(self) -> int:
        answer = await self._airflow("GET", "/assets", params={"name_pattern": self._asset, "limit": 100})
        if not answer.is_success:
            raise Trouble(f"Airflow answers with {answer.status_code}")
        ids = [one["id"] for one in answer.json()["assets"] if one["name"] == self._asset]
        if not ids:
            raise Trouble(f"no active DAG of this Airflow has the asset {self._asset}")
        return int(ids[0])

    async def _airflow(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Call Airflow's public API, with a new token if the old one has expired."""
        token = await self._log_in()
        answer = await self._with_token(token, method, path, given)
        if answer.status_code == 401:
            if self._token == token:
                self._token = None
            answer = await self._with_token(await self._log_in(), method, path, given)
        return answer

    async def _log_in(self) -> str:
        async with self._logging_in:  # one after the other: the first token is for all
            if self._token is None:
                answer = await self._http.post(f"{self._airflow_url}/auth/token", json=self._login)
                if not answer.is_success:
                    raise Trouble(f"Airflow answers the login with {answer.status_code}")
                self._token = str(answer.json()["access_token"])
            return self._token

    async def _with_token(self, token: str, method: str, path: str, given: dict[str, Any]) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return await self._http.request(method, f"{self._airflow_url}/api/v2{path}", headers=headers, **given)


async def _read(request: Request) -> bytes | None:
    """Return the body, None if it is too large: not more than that is read."""
    stated = request.headers.get("Content-Length", "")
    if stated.isdecimal() and (len(stated) > 9 or int(stated) > MAX_BODY):
        return None
    body = b""
    async for block in request.stream():
        body += block
        if len(body) > MAX_BODY:
            return None
    return body


def _transcript_id(body: bytes) -> str | None:
    try:
        notice = json.loads(body)
    except (ValueError, RecursionError):
        return None
    found = notice.get("transcript_id") if isinstance(notice, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def make_app(settings: Mapping[str, str]) -> Starlette:
    """
    Return the application.

    :param settings: see the top of this file.
    """
    relay = Relay(settings)
    return Starlette(routes=[Route("/", relay.notice, methods=["POST"])], lifespan=relay.running)


def __getattr__(name: str) -> Any:
    """Make ``app`` when uvicorn asks for it: a test makes its own."""
    if name != "app":
        raise AttributeError(name)
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return make_app({name: os.environ.get(name, "") for name in (*_NEEDED, *_DEFAULTS)})

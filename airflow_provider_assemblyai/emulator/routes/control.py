# SPDX-License-Identifier: Apache-2.0
"""Routes below ``/_emulator``: what a test asks of the emulator itself. They need no key.

==========================  ==========================================================================
``GET /_emulator``          region, engine, version
``GET …/counters``          requests by kind, uploads, accepted, billed, seconds, deleted; by project too
``GET …/requests``          the latest requests: method, path, raw_path, status, project, at
``GET …/transcripts``       id, project, status, audio_url, created, billed, deleted
``GET …/faults``            the fault rules with their hits; ``POST`` adds a rule or a list of them,
                            ``DELETE`` clears them
``GET …/held``              stopped requests; ``?wait=SECONDS&count=N`` waits for them
``POST …/release``          ``{"id": 3, "then": "reset"}`` lets them go; both keys are optional
``POST …/clock``            ``{"advance": 3600}`` skips time, ``{"speed": 20}`` lets it run faster
``GET …/sessions``          streaming sessions: id, project, state, code, times, audio, turns, money;
                            ``GET …/sessions/{id}/audio`` is what it received, where that is recorded
``POST …/stream-faults``    ``{"kind": "drop"}`` meets the open ones, or the one with ``session_id``, see
                            :mod:`~airflow_provider_assemblyai.emulator.faults.stream_faults`
``POST …/streaming-limits``  ``{"most_sessions": 5}`` changes the limits of streaming, see ``StreamingLimits`` in
                            :mod:`~airflow_provider_assemblyai.emulator.streaming.manager`
``POST …/transcript-text``  ``{"text": "…"}`` is what jobs say from now on, whatever is to be heard
``GET …/gateway``           how the LLM Gateway behaves; ``POST {"limit": 5}`` changes it, see
                            :mod:`~airflow_provider_assemblyai.emulator.llm_gateway.settings`
``POST …/llm-answers``      ``{"answers": ["…"]}`` is what models answer from now on, the last one for
                            ever; none for their own answers
``POST …/seed``             ``{"count": 1000}`` submits jobs for the first project
``POST …/reset``            back to the beginning
==========================  ==========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_assemblyai import __version__
from airflow_provider_assemblyai.emulator.core.errors import ApiError
from airflow_provider_assemblyai.emulator.core.json_body import decode
from airflow_provider_assemblyai.emulator.faults.held_requests import CONTINUE, HeldRequests
from airflow_provider_assemblyai.emulator.faults.rules import FaultError
from airflow_provider_assemblyai.emulator.faults.stream_faults import make_stream_fault
from airflow_provider_assemblyai.emulator.routes.middleware import CONTROL
from airflow_provider_assemblyai.emulator.routes.transcripts import Handler
from airflow_provider_assemblyai.emulator.service import Service

_LONGEST_WAIT = 60.0


def routes(service: Service, held: HeldRequests) -> list[Route]:
    """The routes of a region.

    :param service: its state.
    :param held: its stopped requests.
    """
    control = Control(service, held)
    table: Mapping[str, tuple[Handler, str]] = {
        "": (control.health, "GET"),
        "/counters": (control.counters, "GET"),
        "/requests": (control.requests, "GET"),
        "/transcripts": (control.transcripts, "GET"),
        "/held": (control.held, "GET"),
        "/release": (control.release, "POST"),
        "/reset": (control.reset, "POST"),
        "/clock": (control.clock, "POST"),
        "/transcript-text": (control.script, "POST"),
        "/llm-answers": (control.answers, "POST"),
        "/seed": (control.seed, "POST"),
        "/streaming-limits": (control.streaming, "POST"),
        "/stream-faults": (control.stream_faults, "POST"),
        "/sessions": (control.sessions, "GET"),
        "/sessions/{id}/audio": (control.session_audio, "GET"),
    }
    made = [Route(f"{CONTROL}{path}", handler, methods=[method]) for path, (handler, method) in table.items()]
    return [
        *made,
        Route(f"{CONTROL}/faults", control.faults, methods=["GET", "POST", "DELETE"]),
        Route(f"{CONTROL}/gateway", control.gateway, methods=["GET", "POST"]),
    ]


class Control:
    """The handlers.

    :param service: the region's state.
    :param held: its stopped requests.
    """

    def __init__(self, service: Service, held: HeldRequests) -> None:
        self._service = service
        self._held = held

    async def health(self, request: Request) -> Response:
        """Who is there."""
        return JSONResponse(
            {
                "region": self._service.settings.region,
                "engine": self._service.engine.name,
                "version": __version__,
            }
        )

    async def counters(self, request: Request) -> Response:
        """Requests by kind, and money."""
        return JSONResponse(self._service.counts())

    async def requests(self, request: Request) -> Response:
        """The latest requests, oldest first."""
        return JSONResponse(list(self._service.counters.log))

    async def transcripts(self, request: Request) -> Response:
        """All transcripts, without their words."""
        return JSONResponse(self._service.transcripts())

    async def faults(self, request: Request) -> Response:
        """List, add (one rule or a list of them) or clear the fault rules."""
        if request.method == "DELETE":
            self._service.faults.clear()
        elif request.method == "POST":
            rules = await _body(request)
            try:
                self._service.add_faults(rules if isinstance(rules, list) else [rules])
            except (FaultError, AttributeError) as error:
                raise ApiError(400, str(error)) from None
        return JSONResponse(self._service.faults.shown())

    async def held(self, request: Request) -> Response:
        """The stopped requests; ``?wait=SECONDS`` waits for ``count`` (default 1) of them."""
        query = request.query_params
        if "wait" in query:
            wait = min(_number(query["wait"]), _LONGEST_WAIT)
            await self._held.wait_for(int(_number(query.get("count", "1"))), wait)
        return JSONResponse(self._held.shown())

    async def release(self, request: Request) -> Response:
        """Let stopped requests go: ``{"id": 3, "then": "reset"}``, both optional."""
        body = await _object(request)
        number = body.get("id")
        try:
            count = self._held.release(None if number is None else [number], body.get("then", CONTINUE))
        except ValueError as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({"released": count})

    async def reset(self, request: Request) -> Response:
        """Back to the beginning."""
        self._held.release()
        self._service.reset()
        return JSONResponse({})

    async def clock(self, request: Request) -> Response:
        """Skip time: ``{"advance": 3600}``; or let it run: ``{"speed": 20}``."""
        body = await _object(request)
        try:
            if "speed" in body:
                self._service.clock.run_at(float(body["speed"]))
            now = self._service.advance(float(body.get("advance", 0)))
        except (TypeError, ValueError) as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({"now": now})

    async def script(self, request: Request) -> Response:
        """What jobs say from now on: ``{"text": "..."}``, null for what the engine says."""
        text = (await _object(request)).get("text")
        if text is not None and not isinstance(text, str):
            raise ApiError(400, "text must be a String")
        self._service.script = text
        return JSONResponse({})

    async def gateway(self, request: Request) -> Response:
        """How the LLM Gateway behaves; what is posted changes it."""
        gateway = self._service.gateway
        if request.method == "POST":
            try:
                gateway.manner = gateway.manner.changed(**await _object(request))
            except ValueError as error:
                raise ApiError(400, str(error)) from None
        return JSONResponse(gateway.manner.shown())

    async def answers(self, request: Request) -> Response:
        """What models answer from now on: ``{"answers": ["..."]}``, none for their own answers."""
        answers = (await _object(request)).get("answers") or []
        try:
            self._service.gateway.script(answers if isinstance(answers, list) else [answers])
        except ValueError as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({})

    async def sessions(self, request: Request) -> Response:
        """All streaming sessions."""
        return JSONResponse(self._service.streaming.ledger.shown())

    async def stream_faults(self, request: Request) -> Response:
        """Let something happen to open sessions: ``{"kind": "drop", "session_id": "..."}``."""
        body = await _object(request)
        try:
            act = make_stream_fault(str(body.get("kind")), body)
        except (TypeError, ValueError) as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({"sessions": self._service.streaming.order(act, body.get("session_id"))})

    async def session_audio(self, request: Request) -> Response:
        """What a session received."""
        try:
            audio = self._service.streaming.ledger.audio(request.path_params["id"])
        except KeyError:
            raise ApiError(404, "no audio is recorded of such a session") from None
        return Response(audio, media_type="application/octet-stream")

    async def streaming(self, request: Request) -> Response:
        """Change the limits of streaming sessions until the next reset."""
        try:
            self._service.streaming.change_rules(**await _object(request))
        except ValueError as error:
            raise ApiError(400, str(error)) from None
        return JSONResponse({})

    async def seed(self, request: Request) -> Response:
        """Submit many jobs at once for the first project: ``{"count": 1000}``."""
        count = (await _object(request)).get("count")
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise ApiError(400, "count must be an Integer")
        self._service.seed(count)
        return JSONResponse({"seeded": count})


async def _body(request: Request) -> Any:
    return decode(await request.body() or b"{}")


async def _object(request: Request) -> dict[str, Any]:
    body = await _body(request)
    if not isinstance(body, dict):
        raise ApiError(400, "Request body must be a JSON object")
    return body


def _number(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        raise ApiError(400, f"not a number: {text}") from None

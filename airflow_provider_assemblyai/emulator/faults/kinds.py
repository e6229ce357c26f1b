# SPDX-License-Identifier: Apache-2.0
"""All fault kinds. Each is one class: its name, what it does (docstring), its options, and for those on the wire ``respond``.

The base class of a kind is when it takes effect. Faults that are not on the wire take effect where the transcript, the
model or the session is. The checks of rules, ``--help`` and the table in ``docs/testing/faults.md`` come from here.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self, TypeVar

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.clock import http_date
from airflow_provider_assemblyai.emulator.core.errors import (
    CLIP_ERRORS,
    CLIP_FORMS,
    JOB_ERRORS,
    PROBLEM,
    SERVER_ERROR,
    TOO_MANY_REQUESTS,
)
from airflow_provider_assemblyai.emulator.core.llm_errors import REFUSALS
from airflow_provider_assemblyai.emulator.core.options import REQUIRED, Option, OptionError, OptionSet
from airflow_provider_assemblyai.emulator.faults.held_requests import RESET

FaultKind = TypeVar("FaultKind", bound="Fault")
_SERVICE_TEXT = types.or_null(types.TEXT, "for the service's own")


_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>nginx</body></html>\n"


class ConnectionBroken(Exception):
    """The connection has to be broken instead of a response."""


@dataclass(frozen=True, slots=True)
class FaultedRequest:
    """A request that a fault meets.

    :param response: of the service, when the request took effect before the fault.
    :param api_key: the caller's ``Authorization`` value.
    :param now: time of the emulator.
    :param hold: stops the request, and returns what to do at its release.
    """

    response: Response | None
    api_key: str
    now: float
    hold: Callable[[], Awaitable[str]]


class Fault(OptionSet):
    """A fault of some kind, with the values of its options.

    :cvar when: whether the request takes effect ``before`` or ``after`` it; an option in kinds with a types.choice.
    :cvar times: how often a rule of this kind meets something, when the rule does not give it.
    """

    when: Option | str = "before"
    times: int | None = 1

    @classmethod
    def kind(cls) -> str:
        """The name of the kind, as in rules."""
        return re.sub("(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower()

    @classmethod
    def signature(cls) -> str:
        """The kind with its options and their defaults."""
        return f"{cls.kind()}({', '.join(map(str, cls.declared().values()))})"

    @classmethod
    def summary(cls) -> str:
        """What it does, in one line."""
        return " ".join((inspect.getdoc(cls) or "").split()).removesuffix(".")


class WireFault(Fault):
    """Requests (at most one of these meets a request)"""

    async def respond(self, request: FaultedRequest) -> Response | None:
        """The response; ``None`` lets a request that took no effect yet go on to the service.

        :param request: that it meets.
        :raises ConnectionBroken: when there is no response.
        """
        raise NotImplementedError


class RateLimit(WireFault):
    """429, or with `status` 403 the service's other form. `retry_after` is seconds, "date", or null for no header."""

    status = Option(types.HTTP_STATUS, 429)
    retry_after = Option(types.RETRY_AFTER, 1)
    message = Option(_SERVICE_TEXT)

    async def respond(self, request: FaultedRequest) -> Response:
        usual = "Rate limit exceeded, too many requests" if self.status == 403 else TOO_MANY_REQUESTS
        headers = {}
        if self.retry_after is not None:
            is_date = self.retry_after == "date"
            headers["retry-after"] = http_date(request.now + 2) if is_date else str(self.retry_after)
        return JSONResponse({"error": self.message or usual}, self.status, headers)


class HttpStatus(WireFault):
    """Any `status`, `when` is before or after the request took effect. `body` is json, empty, html, text, or null for
    the service's own.
    """

    status = Option(types.HTTP_STATUS, 500)
    when = Option(types.WHEN, "before")
    body = Option(types.or_null(types.choice("json", "empty", "html", "text"), "for the service's own"))
    message = Option(_SERVICE_TEXT)
    headers = Option(types.HEADERS, {})

    async def respond(self, request: FaultedRequest) -> Response:
        text = self.message or (SERVER_ERROR if self.status == 500 else f"Error {self.status}")
        # The real service has no body at all when its front end cannot reach it.
        form = self.body or ("empty" if self.status in {503, 504} else "json")
        if form == "json":
            return JSONResponse({"error": text}, self.status, self.headers)
        if form == "html":
            return HTMLResponse(_PAGE.format(f"{self.status} {text}"), self.status, self.headers)
        if form == "text":
            return PlainTextResponse(text, self.status, self.headers)
        return Response(None, self.status, self.headers)


class DelayResponse(WireFault):
    """The response comes `seconds` late, in real time; `when` is before or after the request took effect."""

    seconds = Option(types.SECONDS, 1)
    when = Option(types.WHEN, "after")

    async def respond(self, request: FaultedRequest) -> Response | None:
        await asyncio.sleep(self.seconds)
        return request.response


class ResetConnection(WireFault):
    """The connection breaks before the request took effect."""

    async def respond(self, request: FaultedRequest) -> Response:
        raise ConnectionBroken


class DropResponse(WireFault):
    """The request takes effect, then the connection breaks without a response."""

    when = "after"

    async def respond(self, request: FaultedRequest) -> Response:
        raise ConnectionBroken


class TruncateResponse(WireFault):
    """200 whose JSON stops half way."""

    when = "after"

    async def respond(self, request: FaultedRequest) -> Response:
        assert request.response is not None
        body = bytes(request.response.body)
        return Response(body[: len(body) // 2], media_type=request.response.headers.get("content-type"))


class CorruptResponse(WireFault):
    """200 with a wrong body: the `variant` is html, text, no_id or status (one that is not known)."""

    when = "after"
    variant = Option(types.choice("html", "text", "no_id", "status"), "html")

    async def respond(self, request: FaultedRequest) -> Response:
        assert request.response is not None
        if self.variant == "html":
            return HTMLResponse(_PAGE.format("Welcome"))
        if self.variant == "text":
            return Response("OK, but this is not JSON", media_type="application/json")
        try:
            body = json.loads(bytes(request.response.body))
        except ValueError:
            return request.response
        if isinstance(body, dict):
            if self.variant == "no_id":
                body = {name: value for name, value in body.items() if name not in {"id", "upload_url"}}
            else:
                body["status"] = "pondering"
        return JSONResponse(body)


class EchoKey(WireFault):
    """An error that quotes the caller's key."""

    status = Option(types.HTTP_STATUS, 400)

    async def respond(self, request: FaultedRequest) -> Response:
        return JSONResponse({"error": f"Invalid API token: {request.api_key}"}, self.status)


class Hold(WireFault):
    """The request stops until it is released; `when` is before or after it took effect."""

    when = Option(types.WHEN, "before")

    async def respond(self, request: FaultedRequest) -> Response | None:
        if await request.hold() == RESET:
            raise ConnectionBroken
        return request.response


class ClockFault(Fault):
    """The clock that requests see"""


class ClockSkew(ClockFault):
    """The Date header and the creation time are `seconds` off; for ever unless `times` is given."""

    times = None
    seconds = Option(types.NUMBER, 0)


class SubmitFault(Fault):
    """Submitted transcripts"""


class FailJob(SubmitFault):
    """The transcript ends in an `error`: download, download_unable, access, html, short, threshold, language,
    no_speech, transcoding or server.
    """

    error = Option(types.choice(*JOB_ERRORS), "server")


class HoldJob(SubmitFault):
    """The transcript stays in processing until held requests are released, all of them."""


class ListLag(SubmitFault):
    """The transcript appears in the list `seconds` late."""

    seconds = Option(types.SECONDS, 0)


class DuplicateWebhook(SubmitFault):
    """The webhooks of the transcript are delivered twice."""


class GatewayFault(Fault):
    """LLM Gateway and Speech Understanding"""


class _OfModel(OptionSet):
    model = Option(types.or_null(types.TEXT, "for any model"))


class RefuseCall(GatewayFault, _OfModel):
    """The call is refused with an `error`: access, model_access, overload, server or transcript. `status` null is the
    usual one of that error.
    """

    error = Option(types.choice(*REFUSALS), "server")
    status = Option(types.or_null(types.HTTP_STATUS, "for the usual one"))


class ModelError(GatewayFault, _OfModel):
    """The model fails with `status`. The gateway asks it once more, then the fallbacks, and each time counts."""

    status = Option(types.HTTP_STATUS, 503)


class LlmStatus(GatewayFault, _OfModel):
    """200 without an answer, and llm_status_code is `status`."""

    status = Option(types.HTTP_STATUS, 503)


class SplitChoices(GatewayFault, _OfModel):
    """The content of the answer comes in several `choices`."""

    choices = Option(types.integer(1), 2)


class TruncateStream(GatewayFault, _OfModel):
    """A streamed answer ends after so many `chunks`, without [DONE]."""

    chunks = Option(types.integer(0), 2)


class UnderstandingError(GatewayFault):
    """Speech Understanding answers for `feature` with `status` and `message` instead of a result; with `status` null
    not at all.
    """

    feature = Option(types.TEXT, REQUIRED)
    status = Option(types.or_null(types.TEXT, "for no answer"), "error")
    message = Option(types.TEXT, "internal error")


class ClipFault(Fault):
    """Sync speech to text"""


class RefuseClip(ClipFault):
    """The clip is not transcribed, for an `error`: bad_request, bad_audio, audio_too_short, unauthorized,
    audio_too_large, unsupported_media_type, too_many_requests, inference_error, capacity_exceeded, service_unavailable
    or inference_timeout. `retry_after` of those for now is seconds, "date", or null for no header. `form` is problem,
    code or detail.
    """

    error = Option(types.choice(*CLIP_ERRORS), "capacity_exceeded")
    retry_after = Option(types.RETRY_AFTER, 1)
    form = Option(types.choice(*CLIP_FORMS), PROBLEM)


class HandshakeFault(Fault):
    """Handshakes of streaming sessions"""


class StreamRefuse(HandshakeFault):
    """It is answered with `status`; null breaks the connection. With a `code` it succeeds, and the session is closed
    with that and `error`.
    """

    status = Option(types.or_null(types.HTTP_STATUS, "to break the connection"), 503)
    code = Option(types.or_null(types.CLOSE_CODE, "for a handshake that fails"))
    error = Option(_SERVICE_TEXT)


class StreamDelayHandshake(HandshakeFault):
    """It is answered `seconds` late."""

    seconds = Option(types.SECONDS, 0)


class SessionFault(Fault):
    """Open streaming sessions (`after` so many seconds of audio; a pair of numbers to draw from)"""

    after = Option(types.MOMENT, 0)

    def drawn(self, chance: random.Random) -> Self:
        """The same fault with one moment, where it has a pair to draw from.

        :param chance: draws it.
        """
        if isinstance(self.after, list | tuple):
            return self.changed(after=chance.uniform(*self.after))
        return self


class StreamDrop(SessionFault):
    """The connection breaks without a close frame (1006)."""


class StreamClose(SessionFault):
    """An Error frame with `error`, and a close with `code`."""

    code = Option(types.CLOSE_CODE, 3005)
    error = Option(_SERVICE_TEXT)


class StreamStall(SessionFault):
    """Nothing is read for `seconds`."""

    seconds = Option(types.SECONDS, 1)


class StreamWarn(SessionFault):
    """A Warning message with `code` and `error`."""

    code = Option(types.WHOLE_NUMBER, 3005)
    error = Option(_SERVICE_TEXT)


class StreamReviseSpeakers(SessionFault):
    """A SpeakerRevision of all turns so far."""


class StreamIgnoreTerminate(SessionFault):
    """A Terminate is never answered."""


class StreamMute(SessionFault):
    """Audio and pings are taken as before, but no message is sent any more, and a Terminate is never answered."""


class StreamStateAudio(SessionFault):
    """The Termination states `seconds` of audio, whatever was sent."""

    seconds = Option(types.SECONDS, 0)


#: By when they take effect, in the order of the reference.
EFFECTS: list[type[Fault]] = Fault.__subclasses__()
KINDS: Mapping[str, type[Fault]] = {
    kind.kind(): kind for effect in EFFECTS for kind in effect.__subclasses__()
}
#: Faults that can meet an open session, by the names without their prefix.
SESSION_KINDS: Mapping[str, type[SessionFault]] = {
    kind.kind().removeprefix("stream_"): kind for kind in SessionFault.__subclasses__()
}


def find_kind(name: object, known: Mapping[str, type[FaultKind]]) -> type[FaultKind]:
    """A kind by its name.

    :param name: as in a rule.
    :param known: where to look.
    :raises OptionError: when it is not known.
    """
    if not isinstance(name, str) or name not in known:
        raise OptionError(f"unknown kind of fault {name!r}; known: {', '.join(known)}")
    return known[name]

# SPDX-License-Identifier: Apache-2.0
"""What a browser may do with the answers of the page, also with those that are errors."""

from __future__ import annotations

import re
from typing import Any, Final

from airflow.providers.common.compat.sdk import conf
from starlette.datastructures import MutableHeaders

from airflow_provider_assemblyai.plugins.transcript_roots import SECTION

#: Only files of this host, nothing inline, and no frame but Airflow's own.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)
#: A host, with or without a port: nothing that could be another part of the policy.
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?")


def media_hosts() -> list[str]:
    """Return the hosts from which the page may play a recording, as a browser spells them."""
    named = conf.get(SECTION, "media_hosts", fallback="") or ""
    hosts = [one.removesuffix(":443") for one in re.split(r"[\s,]+", named.lower())]
    return [one for one in hosts if _HOST.fullmatch(one)]


class Policed:
    """
    Adds the headers to every answer of an application, wherever in it the answer is made.

    :param app: the ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_policed(message: Any) -> None:
            if message["type"] == "http.response.start":
                _police(MutableHeaders(scope=message))
            await send(message)

        await self.app(scope, receive, send_policed)


def _police(headers: MutableHeaders) -> None:
    media = "".join(f" https://{host}" for host in media_hosts())
    headers["Content-Security-Policy"] = _POLICY + (f"; media-src{media}" if media else "")
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    # Transcripts stay in no cache, and neither does a refusal.
    headers.setdefault("Cache-Control", "no-store")

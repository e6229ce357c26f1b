# SPDX-License-Identifier: Apache-2.0
"""Webhooks: a client hears that a job or a streaming session has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from airflow_provider_assemblyai.emulator.core.background import Background
from airflow_provider_assemblyai.emulator.core.clock import Clock
from airflow_provider_assemblyai.emulator.core.media import is_loopback
from airflow_provider_assemblyai.emulator.transcripts.store import Record

_ATTEMPTS = 10
_PAUSE = 10.0
_TIMEOUT = 10.0


class Webhooks:
    """Delivers webhooks as the service does: ten tries, ten seconds apart, and a 4xx ends it.

    :param clock: the pause between tries passes in the emulator's time.
    :param scale: makes pause and timeout shorter or longer.
    """

    def __init__(self, clock: Clock, scale: float = 1.0) -> None:
        self._clock = clock
        self._scale = scale
        self._background = Background()
        self.attempts = 0

    def send(self, record: Record, body: Mapping[str, Any]) -> None:
        """Deliver a message for a job, if it has a webhook.

        :param record: the transcript; its last status code is kept there.
        :param body: what to send.
        """
        if record.fields.get("webhook_url") and not record.deleted:
            headers = {}
            if record.webhook_secret is not None:
                headers[record.fields["webhook_auth_header_name"]] = record.webhook_secret
            for _ in range(2 if record.duplicate_webhook else 1):
                self._background.start(
                    self._deliver(record.fields["webhook_url"], dict(body), headers, record)
                )

    def post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Deliver a message that belongs to no transcript.

        :param url: where to.
        :param body: what to send.
        :param headers: the header by which the receiver knows the sender.
        """
        self._background.start(self._deliver(url, dict(body), headers))

    async def close(self) -> None:
        """Cancel what is not delivered yet."""
        await self._background.close()

    def reset(self) -> None:
        """Cancel what is not delivered yet, and count from zero."""
        self._background.cancel()
        self.attempts = 0

    async def _deliver(
        self, url: str, body: Mapping[str, Any], headers: Mapping[str, str], record: Record | None = None
    ) -> None:
        async with httpx.AsyncClient(
            timeout=_TIMEOUT * self._scale, trust_env=not is_loopback(url)
        ) as client:
            for attempt in range(_ATTEMPTS):
                if attempt:
                    await self._clock.sleep(_PAUSE * self._scale)
                self.attempts += 1
                try:
                    # The whole answer counts against the ten seconds, not each read of it.
                    async with asyncio.timeout(_TIMEOUT * self._scale):
                        response = await client.post(url, json=body, headers=headers)
                except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError):
                    continue
                if record is not None:
                    record.webhook_status_code = response.status_code
                if response.is_success or response.is_client_error:
                    return

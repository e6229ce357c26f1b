# SPDX-License-Identifier: Apache-2.0
"""The in-stream ``llm_gateway``: its answer to a turn is that of a chat."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from airflow_provider_assemblyai.emulator.core.llm_errors import GatewayError
from airflow_provider_assemblyai.emulator.llm_gateway.gateway import Gateway

_TURN = re.compile(r"\{\{\s*turn\s*\}\}")


async def answer_turn(
    gateway: Gateway, project: str, config: Mapping[str, Any], transcript: str
) -> dict[str, Any]:
    """The gateway's answer to a turn, or the body of its refusal; its limits and faults are those of any call.

    :param gateway: of the same region.
    :param project: of the session.
    :param config: ``model``, ``messages`` and ``max_tokens`` as given when the session was opened.
    :param transcript: replaces ``{{turn}}`` in the messages, or else is added as the last message.
    """
    messages = [
        {**message, "content": _TURN.sub(lambda _: transcript, str(message.get("content", "")))}
        for message in config.get("messages", [])
    ]
    if messages == config.get("messages", []):
        messages.append({"role": "user", "content": transcript})
    request_id = str(uuid.uuid4())
    try:
        body = {**config, "messages": messages, "stream": False}
        reply = await gateway.chat(project, body, request_id)
    except GatewayError as error:
        return error.body(gateway.settings.envelope, request_id)
    return reply.body or {}

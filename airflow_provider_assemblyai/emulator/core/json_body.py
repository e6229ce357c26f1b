# SPDX-License-Identifier: Apache-2.0
"""Reading the JSON that clients send."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import ApiError


def decode(raw: bytes) -> Any:
    """A request body.

    Python reads more than JSON allows: NaN, and halves of characters that cannot be sent back. Both
    would break the answer that echoes them.

    :param raw: the bytes.
    :raises ApiError: 400 when they are not JSON.
    """
    try:
        body = json.loads(raw, parse_constant=_refuse)
        if b"\\u" in raw:
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ApiError(400, "Request body must be valid JSON") from None
    return body


def _refuse(name: str) -> None:
    raise ValueError(name)

# SPDX-License-Identifier: Apache-2.0
"""What the in-stream ``llm_gateway`` answers to a turn."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any


async def answer(config: Mapping[str, Any], transcript: str) -> dict[str, Any]:
    """A chat answer in the gateway's shape. It is extractive: the beginning of what was said.

    :param config: ``model``, ``messages`` and ``max_tokens`` as the session was opened with.
    :param transcript: the turn.
    """
    words = transcript.split()
    most = config.get("max_tokens")
    cut = isinstance(most, int) and 0 < most < len(words)
    said = words[:most] if cut else words
    return {
        "request_id": str(uuid.uuid4()),
        "created": int(time.time()),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": " ".join(said)},
                "finish_reason": "length" if cut else "stop",
            }
        ],
        "usage": {
            "input_tokens": len(words),
            "output_tokens": len(said),
            "prompt_tokens": len(words),
            "completion_tokens": len(said),
            "total_tokens": len(words) + len(said),
        },
        "request": {"model": config.get("model"), "max_tokens": most},
    }

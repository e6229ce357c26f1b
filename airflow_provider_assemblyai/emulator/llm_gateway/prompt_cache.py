# SPDX-License-Identifier: Apache-2.0
"""Prompt caching: the beginnings of prompts that a model has read lately cost less when they come again.

Models of Claude keep what ``cache_control`` marks; those of OpenAI and Google keep every prompt, the former by
``prompt_cache_key``. A beginning is whole messages, of 1,024 tokens and more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_provider_assemblyai.emulator.llm_gateway.request import (
    ChatRequest,
    cache_controls,
    message_tokens,
    text_of,
)

MIN_TOKENS = 1024
_MAX_ENTRIES = 10_000
_LIFETIMES = {"5m": 300.0, "1h": 3600.0}
_USUAL_LIFETIME, _LONG_LIFETIME = 600.0, 86_400.0
_CLAUDE, _AUTOMATIC = "anthropic", ("openai", "google")


class CachedTokens(NamedTuple):
    """Tokens of a prompt that were there already, and that were kept now, by their lifetime."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0


class _Beginning(NamedTuple):
    digest: str
    tokens: int
    control: dict[str, Any] | None


@dataclass(slots=True)
class PromptCache:
    """What the models of a region have read lately."""

    _expiries: dict[str, float] = field(default_factory=dict)

    def use(self, project: str, request: ChatRequest, prompt_tokens: int, now: float) -> CachedTokens:
        """Read and keep a prompt.

        :param project: prompts are not shared between projects.
        :param prompt_tokens: of the whole prompt.
        :param now: the emulator's time.
        """
        creator = request.model.creator
        if prompt_tokens < MIN_TOKENS or creator not in (_CLAUDE, *_AUTOMATIC):
            return CachedTokens()
        beginnings = [one for one in _beginnings(project, request) if one.tokens >= MIN_TOKENS]
        read = max((one.tokens for one in beginnings if self._expiries.get(one.digest, 0) > now), default=0)
        written = {"5m": 0, "1h": 0}
        for one in beginnings:
            if creator == _CLAUDE:
                if one.control is None:
                    continue
                lifetime = str(one.control.get("ttl") or "5m")
                written[lifetime] += max(0, one.tokens - max(read, sum(written.values())))
                self._expiries[one.digest] = now + _LIFETIMES[lifetime]
            else:
                kept_long = request.fields.get("prompt_cache_retention") == "24h"
                self._expiries[one.digest] = now + (_LONG_LIFETIME if kept_long else _USUAL_LIFETIME)
        self._forget(now)
        return CachedTokens(read, written["5m"], written["1h"])

    def reset(self) -> None:
        """Forget everything."""
        self._expiries.clear()

    def _forget(self, now: float) -> None:
        if len(self._expiries) > _MAX_ENTRIES:
            alive = sorted((end, digest) for digest, end in self._expiries.items() if end > now)
            self._expiries = {digest: end for end, digest in alive[-_MAX_ENTRIES // 2 :]}


def _beginnings(project: str, request: ChatRequest) -> Iterator[_Beginning]:
    """The beginnings of a prompt, each one message longer than the one before."""
    key = request.fields.get("prompt_cache_key", "")
    head = json.dumps([project, request.model.id, key, request.tools], default=str)
    digest, tokens = hashlib.sha256(head.encode()), 0
    for number, message in enumerate(request.messages):
        digest.update(json.dumps([message.get("role"), text_of(message)]).encode())
        tokens += message_tokens(message)
        controls = cache_controls(message)
        if not controls and number == len(request.messages) - 1:
            controls = [request.fields.get("cache_control")]
        yield _Beginning(digest.hexdigest(), tokens, controls[-1] if controls else None)

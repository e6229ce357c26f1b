# SPDX-License-Identifier: Apache-2.0
"""Counters of the gateway's calls, and what the calls would have cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from airflow_provider_assemblyai.emulator.llm_gateway.models import Model


@dataclass(slots=True)
class CallCounts:
    """Calls of one kind.

    :param accepted: a model answered, so it is paid for; whether the client got the answer is another matter.
    :param refused: turned away with 429.
    :param failed: turned away, or given up, for any other reason.
    """

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "cost": round(self.cost, 9)}


@dataclass(slots=True)
class UsageCounter:
    """All calls since the last reset."""

    models: dict[str, CallCounts] = field(default_factory=dict)
    understanding: CallCounts = field(default_factory=CallCounts)

    def of(self, model: str) -> CallCounts:
        """The calls of a model."""
        return self.models.setdefault(model, CallCounts())

    def answered(
        self, model: Model, input_tokens: int, output_tokens: int, region: str, cached_tokens: int = 0
    ) -> None:
        """A model has answered.

        :param region: whose price counts; ``global`` for the one without the regional increase.
        :param cached_tokens: how many of the input tokens it had read before.
        """
        calls = self.of(model.id)
        calls.accepted += 1
        calls.input_tokens += input_tokens
        calls.output_tokens += output_tokens
        calls.cost += model.cost(input_tokens, output_tokens, region, cached_tokens)

    def to_dict(self) -> dict[str, Any]:
        """All counts as the control endpoint gives them."""
        names = [count.name for count in fields(CallCounts)]
        total = {name: sum(getattr(calls, name) for calls in self.models.values()) for name in names}
        return {
            **CallCounts(**total).to_dict(),
            "models": {name: calls.to_dict() for name, calls in sorted(self.models.items())},
            "understanding": self.understanding.to_dict(),
        }

    def reset(self) -> None:
        """Count from zero."""
        self.models.clear()
        self.understanding = CallCounts()

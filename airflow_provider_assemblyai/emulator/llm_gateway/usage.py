# SPDX-License-Identifier: Apache-2.0
"""What the gateway's calls were, and what they would have cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_assemblyai.emulator.llm_gateway.models import Model


@dataclass(slots=True)
class CallCounts:
    """Calls of one kind.

    :param accepted: a model answered, so it is paid for; whether anybody got the answer is another matter.
    :param refused: turned away with 429.
    :param failed: turned away, or given up, for any other reason.
    """

    accepted: int = 0
    refused: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    def add(self, other: CallCounts) -> None:
        """Add another count to this one."""
        self.accepted += other.accepted
        self.refused += other.refused
        self.failed += other.failed
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cost += other.cost

    def shown(self) -> dict[str, Any]:
        return {**asdict(self), "cost": round(self.cost, 9)}


@dataclass(slots=True)
class UsageCounter:
    """All calls since the last reset."""

    models: dict[str, CallCounts] = field(default_factory=dict)
    understanding: CallCounts = field(default_factory=CallCounts)

    def of(self, model: str) -> CallCounts:
        """The calls of a model."""
        return self.models.setdefault(model, CallCounts())

    def answered(self, model: Model, tokens_in: int, tokens_out: int, region: str) -> None:
        """A model has answered."""
        calls = self.of(model.id)
        calls.accepted += 1
        calls.input_tokens += tokens_in
        calls.output_tokens += tokens_out
        calls.cost += model.cost(tokens_in, tokens_out, region)

    def shown(self) -> dict[str, Any]:
        """All counts as the control endpoint gives them."""
        total = CallCounts()
        for calls in self.models.values():
            total.add(calls)
        return {
            **total.shown(),
            "models": {name: calls.shown() for name, calls in sorted(self.models.items())},
            "understanding": self.understanding.shown(),
        }

    def reset(self) -> None:
        """Count from zero."""
        self.models.clear()
        self.understanding = CallCounts()

# SPDX-License-Identifier: Apache-2.0
"""What a run has spent on its jobs, and the caps on it. No Airflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.prices.estimates import Rate, explain_unknown
from airflow_provider_assemblyai.batch.manifest import ItemError


@dataclass
class Spent:
    """
    What was submitted, as far as it is known.

    :param minutes: of audio.
    :param cost_usd: estimated.
    """

    minutes: float = 0.0
    cost_usd: float = 0.0

    def add(self, minutes: float, cost_usd: float) -> None:
        """Add to it."""
        self.minutes += minutes
        self.cost_usd += cost_usd


@dataclass(frozen=True)
class Caps:
    """
    What a run may spend, the earlier tries of it included.

    :param max_audio_minutes: of audio, or None.
    :param max_cost_usd: estimated, or None.
    """

    max_audio_minutes: float | None = None
    max_cost_usd: float | None = None

    @property
    def any(self) -> bool:
        return self.max_audio_minutes is not None or self.max_cost_usd is not None

    def is_exceeded(self, spent: Spent) -> bool:
        """Return whether a run has spent more than a cap in dollars."""
        return self.max_cost_usd is not None and _excess(spent.cost_usd, self.max_cost_usd) > 0

    def check(self, spent: Spent, missing: Spent) -> None:
        """
        Return if what is missing may be submitted.

        :param spent: by this run.
        :param missing: what is known of the items that are not done.
        :raises InvalidInput: it is surely more than a cap allows.
        """
        minutes, cost = self.max_audio_minutes, self.max_cost_usd
        problem = None
        if minutes is not None and missing.minutes and _excess(spent.minutes + missing.minutes, minutes) > 0:
            problem = (
                f"max_audio_minutes={minutes:g}: the list holds at least {missing.minutes:.1f} minutes that are not done "
                f"yet, and this run has submitted {spent.minutes:.1f}."
            )
        elif cost is not None and missing.cost_usd and _excess(spent.cost_usd + missing.cost_usd, cost) > 0:
            problem = (
                f"max_cost_usd={cost:g}: what is not done yet costs at least an estimated {missing.cost_usd:.4f} USD, and "
                f"this run has spent an estimated {spent.cost_usd:.4f} USD: "
                f"{spent.cost_usd + missing.cost_usd - cost:.4f} USD too much."
            )
        if problem is not None:
            raise InvalidInput(f"{problem} Nothing more was submitted; raise the limit or shorten the list.")

    def check_rate(self, rate: Rate) -> None:
        """
        Return if the cost of a request can be told, or need not be.

        :raises InvalidInput: a cap in dollars is set, and a price is not known.
        """
        if (problem := self._price_problem(rate)) is not None:
            raise InvalidInput(problem)

    def _price_problem(self, rate: Rate) -> str | None:
        if self.max_cost_usd is None or not rate.unknown:
            return None
        return f"max_cost_usd={self.max_cost_usd:g} cannot be kept. {explain_unknown(rate.unknown)}"

    def refuse(self, spent: Spent, known: Spent, rate: Rate) -> ItemError | None:
        """
        Return why an item is not submitted, or None while there is room.

        :param spent: by this run, with what is being submitted.
        :param known: what the item costs, as far as that is known.
        :param rate: of the item's request.
        """
        minutes, cost = self.max_audio_minutes, self.max_cost_usd
        if minutes is not None and _is_full(spent.minutes, known.minutes, minutes):
            reason = f"max_audio_minutes={minutes:g} leaves no room for this item: {spent.minutes:.1f} minutes are submitted."
            return ItemError("AudioMinutesCap", reason, permanent=False)
        if cost is not None and _is_full(spent.cost_usd, known.cost_usd, cost):
            reason = f"max_cost_usd={cost:g} leaves no room for this item: this run has spent an estimated {spent.cost_usd:.4f} USD."
            return ItemError("CostCap", reason, permanent=False)
        problem = self._price_problem(rate)
        return None if problem is None else ItemError("PriceUnknown", problem, permanent=False)

    def explain_cost(self, spent: Spent) -> str:
        """Return the sentence that says how far a cap in dollars was reached; empty if there is none."""
        if self.max_cost_usd is None:
            return ""
        text = f"max_cost_usd={self.max_cost_usd:g}: this run has spent an estimated {spent.cost_usd:.4f} USD"
        if self.is_exceeded(spent):
            excess = spent.cost_usd - self.max_cost_usd
            text += f", {excess:.4f} USD more than the cap, by jobs that were in flight"
        return f"{text}."


def _excess(amount: float, cap: float) -> float:
    """Return by how much a cap is exceeded; sums of cents are not exact."""
    return round(amount - cap, 6)


def _is_full(spent: float, known: float, cap: float) -> bool:
    """Return whether a cap leaves no room for an item: whose cost is not known may begin while there is any."""
    return _excess(spent + known, cap) > 0 or (not known and _excess(spent, cap) >= 0)


def spent_in(entry: Mapping[str, Any], rate: Rate) -> Spent:
    """
    Return what the run of an entry of the ledger has spent on its item.

    :param entry: the item's last one.
    :param rate: for entries of versions that recorded no cost.
    """
    spent = earlier_in(entry)
    result, state = entry.get("result"), entry.get("job_state") or {}
    if result is not None:
        minutes, cost = float(result["minutes"]), result.get("estimated_cost_usd")
        failed = str(result["error_class"]).startswith("TranscriptFailed")
    else:
        minutes = float((state.get("duration") or 0.0) / 60) if state.get("transcript_id") else 0.0
        cost, failed = entry.get("cost_usd"), False
    if cost is None:
        cost = 0.0 if failed else (rate.model + rate.add_ons) * minutes / 60
    spent.add(minutes, cost if result is not None or state.get("transcript_id") else 0.0)
    return spent


def earlier_in(entry: Mapping[str, Any]) -> Spent:
    """Return what the run of an entry had spent on its item before the item's present job."""
    return Spent(entry.get("earlier_minutes", 0.0), entry.get("earlier_cost_usd", 0.0))

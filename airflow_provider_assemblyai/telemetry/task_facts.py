# SPDX-License-Identifier: Apache-2.0
"""The numbers and names of a task's result that its lineage tells: a list of them, so that no text can be among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from airflow_provider_assemblyai.api.sanitize import escape

#: Short names.
NAMES: Final = ("status", "region", "model", "ended_by", "finish_reason")
NUMBERS: Final = (
    *("audio_duration", "minutes", "submitted_minutes", "failed_minutes", "reused_minutes"),
    *("input_tokens", "output_tokens", "cached_tokens", "total_tokens", "attempts", "waited_seconds"),
    *("items", "completed", "failed", "not_submitted", "reused", "repeated"),
    *("captured_seconds", "billed_session_seconds", "sessions", "turns", "reconnects", "gaps"),
    "estimated_cost_usd",
)
#: Name -> number.
COUNTS: Final = ("errors",)
FIELDS: Final = (*NAMES, *NUMBERS, *COUNTS)

_MAX_NAME: Final = 200
_MAX_COUNTS: Final = 50


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what is told of a result: fields of :data:`FIELDS`, each of its kind.

    :param result: what a task returns, and what it pushed beside it.
    """
    told = {"model": result.get("speech_model_used"), **result, **_mapping(result.get("usage"))}
    if minutes := _mapping(result.get("minutes")):
        told |= {f"{kind}_minutes": number for kind, number in minutes.items()}
        told["minutes"] = minutes.get("billed")
    for name, listed in (("sessions", "session_ids"), ("gaps", "gaps")):
        if isinstance(items := result.get(listed), list):
            told[name] = len(items)
    facts: dict[str, Any] = {name: told[name] for name in NUMBERS if _is_number(told.get(name))}
    facts |= {name: escape(told[name]) for name in NAMES if _is_name(told.get(name))}
    for name in COUNTS:
        pairs = list(_mapping(told.get(name)).items())[:_MAX_COUNTS]
        if counts := {escape(key): number for key, number in pairs if _is_name(key) and _is_number(number)}:
            facts[name] = counts
    return facts


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME

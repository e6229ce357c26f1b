# SPDX-License-Identifier: Apache-2.0
"""Settings of the gateway's behaviour that a test can choose; most of it is not documented anywhere.

====================== ===============================================================================
``limit``              calls per model and 60 seconds, default 30; ``null`` for no limit, and then no
                       headers
``limits``             other limits by model: ``{"gpt-5": 2}``
``understanding_limit``  the same for Speech Understanding, default 30
``window``             ``fixed`` (default) or ``sliding``
``headers``            which answers carry ``X-RateLimit-*``: ``all`` (default), ``refused`` or ``none``
``retry_after``        whether a 429 has a ``Retry-After`` header, too; default true
``envelope``           of errors: ``current`` (default), ``auth`` or ``march``
``access``             false: this account may not use the gateway at all
``no_access``          list of models that this account may not use
``usage``              names of the token counts: ``both`` (default), ``input`` or ``prompt``
``tool_calls``         where they are: in the ``message`` (default) or on the ``choice``
``arguments``          of tool calls: a ``string`` (default) or an ``object``
``openai_fields``      adds ``id``, ``object``, ``created`` and ``model``, which the service's description
                       of its answers does not have and some OpenAI clients insist on; default false
``seconds``            how long a model thinks, in the emulator's time; default 0
====================== ===============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from airflow_provider_assemblyai.emulator.core.llm_errors import CURRENT, ENVELOPES
from airflow_provider_assemblyai.emulator.llm_gateway.rate_limits import FIXED, WINDOW_KINDS

DEFAULT_LIMIT = 30
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "window": WINDOW_KINDS,
    "headers": ("all", "refused", "none"),
    "envelope": ENVELOPES,
    "usage": ("both", "input", "prompt"),
    "tool_calls": ("message", "choice"),
    "arguments": ("string", "object"),
}
_BOOLEANS = ("retry_after", "access", "openai_fields")
_LIMITS = ("limit", "understanding_limit")


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings described at the top of this module."""

    limit: int | None = DEFAULT_LIMIT
    limits: Mapping[str, int] = field(default_factory=dict)
    understanding_limit: int | None = DEFAULT_LIMIT
    window: str = FIXED
    headers: str = "all"
    retry_after: bool = True
    envelope: str = CURRENT
    access: bool = True
    no_access: tuple[str, ...] = ()
    usage: str = "both"
    tool_calls: str = "message"
    arguments: str = "string"
    openai_fields: bool = False
    seconds: float = 0.0

    def limit_of(self, model: str) -> int | None:
        """The limit of a model, ``None`` without one."""
        return self.limits.get(model, self.limit)

    def changed(self, **changes: Any) -> GatewaySettings:
        """The same settings with changes.

        :param changes: new values by name.
        :raises ValueError: for a name or a value that is not understood.
        """
        if unknown := set(changes) - {known.name for known in fields(self)}:
            raise ValueError(f"not understood: {', '.join(sorted(unknown))}")
        for name, value in changes.items():
            _check(name, value)
        if "no_access" in changes:
            changes["no_access"] = tuple(changes["no_access"])
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings, as the control endpoint gives them."""
        return {**asdict(self), "no_access": list(self.no_access)}


def _check(name: str, value: Any) -> None:
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"{name} must be one of: {', '.join(_CHOICES[name])}")
    if name in _BOOLEANS and not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    if name in _LIMITS and value is not None and not _is_limit(value):
        raise ValueError(f"{name} must be a positive number, or null for no limit")
    if name == "limits" and not (isinstance(value, dict) and all(map(_is_limit, value.values()))):
        raise ValueError("limits must be positive numbers by model")
    if name == "no_access" and not (
        isinstance(value, list | tuple) and all(isinstance(m, str) for m in value)
    ):
        raise ValueError("no_access must be a list of models")
    if name == "seconds" and (isinstance(value, bool) or not isinstance(value, int | float) or value < 0):
        raise ValueError("seconds must be a number, not negative")


def _is_limit(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0

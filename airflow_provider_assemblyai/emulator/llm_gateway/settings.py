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

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.llm_errors import CURRENT, ENVELOPES
from airflow_provider_assemblyai.emulator.core.settings import changed, setting
from airflow_provider_assemblyai.emulator.llm_gateway.rate_limits import FIXED, WINDOW_KINDS

DEFAULT_LIMIT = 30
_LIMIT = types.or_null(types.integer(1), "for no limit")
_LIMITS = types.OptionType(
    "an object of limits by model",
    lambda value: isinstance(value, dict) and all(map(types.integer(1).accepts, value.values())),
)
_MODELS = types.OptionType(
    "a list of models",
    lambda value: isinstance(value, list | tuple) and all(map(types.TEXT.accepts, value)),
)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The settings described at the top of this module."""

    limit: int | None = setting(_LIMIT, DEFAULT_LIMIT)
    limits: Mapping[str, int] = setting(_LIMITS, {})
    understanding_limit: int | None = setting(_LIMIT, DEFAULT_LIMIT)
    window: str = setting(types.choice(*WINDOW_KINDS), FIXED)
    headers: str = setting(types.choice("all", "refused", "none"), "all")
    retry_after: bool = setting(types.BOOLEAN, True)
    envelope: str = setting(types.choice(*ENVELOPES), CURRENT)
    access: bool = setting(types.BOOLEAN, True)
    no_access: Sequence[str] = setting(_MODELS, ())
    usage: str = setting(types.choice("both", "input", "prompt"), "both")
    tool_calls: str = setting(types.choice("message", "choice"), "message")
    arguments: str = setting(types.choice("string", "object"), "string")
    openai_fields: bool = setting(types.BOOLEAN, False)
    seconds: float = setting(types.SECONDS, 0.0)

    def limit_of(self, model: str) -> int | None:
        """The limit of a model, ``None`` without one."""
        return self.limits.get(model, self.limit)

    def changed(self, **changes: Any) -> GatewaySettings:
        """The same settings with changes; see :func:`~airflow_provider_assemblyai.emulator.core.settings.changed`."""
        return changed(self, changes)

    def to_dict(self) -> dict[str, Any]:
        """All settings, as the control endpoint gives them."""
        return {**asdict(self), "no_access": list(self.no_access)}

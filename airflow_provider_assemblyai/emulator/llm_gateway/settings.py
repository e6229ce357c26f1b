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

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.llm_errors import CURRENT, ENVELOPES
from airflow_provider_assemblyai.emulator.core.options import Option, OptionSet
from airflow_provider_assemblyai.emulator.llm_gateway.rate_limits import FIXED, WINDOW_KINDS

_LIMIT = types.integer(1)
_LIMIT_OR_NONE = types.or_null(_LIMIT, "for no limit")
_LIMITS = types.OptionType(
    "an object of positive integers by model",
    lambda value: isinstance(value, dict) and all(map(_LIMIT.accepts, value.values())),
)


class GatewaySettings(OptionSet):
    """The settings described at the top of this module."""

    limit = Option(_LIMIT_OR_NONE, 30)
    limits = Option(_LIMITS, {})
    understanding_limit = Option(_LIMIT_OR_NONE, 30)
    window = Option(types.choice(*WINDOW_KINDS), FIXED)
    headers = Option(types.choice("all", "refused", "none"), "all")
    retry_after = Option(types.BOOLEAN, True)
    envelope = Option(types.choice(*ENVELOPES), CURRENT)
    access = Option(types.BOOLEAN, True)
    no_access = Option(types.TEXTS, [])
    usage = Option(types.choice("both", "input", "prompt"), "both")
    tool_calls = Option(types.choice("message", "choice"), "message")
    arguments = Option(types.choice("string", "object"), "string")
    openai_fields = Option(types.BOOLEAN, False)
    seconds = Option(types.SECONDS, 0.0)

    def limit_of(self, model: str) -> int | None:
        """The limit of a model, ``None`` without one."""
        limit: int | None = self.limits.get(model, self.limit)
        return limit

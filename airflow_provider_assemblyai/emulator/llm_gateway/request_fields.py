# SPDX-License-Identifier: Apache-2.0
"""The fields of a chat: what each may be, which models know it, and what the emulator does with it.

What depends on other fields, or has texts of its own, is checked in :mod:`.request`. A field that is not listed is
echoed, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.llm_errors import unsupported
from airflow_provider_assemblyai.emulator.llm_gateway.models import Model

EFFORTS = ("low", "medium", "high")
JSON_REPAIR = "json-repair"

_ANY = types.OptionType("anything", lambda value: True)
_FEW_TOKENS = types.integer(1)
_CHOICE_WORDS = 'none, auto, or {"type": "function", "function": {"name": ...}} of one of the tools'


def _is_reasoning(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("effort") in (None, *EFFORTS)
        and (value.get("max_tokens") is None or _FEW_TOKENS.accepts(value["max_tokens"]))
    )


def _are_steps(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(step, dict) and step.get("type") == JSON_REPAIR for step in value
    )


def _is_cache_control(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("type") == "ephemeral"
        and value.get("ttl") in (None, "5m", "1h")
    )


def _is_positive(value: Any) -> bool:
    return types.SECONDS.accepts(value) and bool(value > 0)


CACHE_CONTROL = types.OptionType('{"type": "ephemeral"}, perhaps with a "ttl" of 5m or 1h', _is_cache_control)


@dataclass(frozen=True, slots=True)
class Field:
    """A field.

    :param effect: what the emulator does with it, as the reference has it.
    :param type: what it may be, as far as that does not depend on other fields.
    """

    effect: str
    type: types.OptionType = _ANY


CHECKED = "checked and echoed only"

#: By name, in the order of the reference, which has the same words.
FIELDS: Mapping[str, Field] = {
    "model": Field("answers, if the region has it"),
    "messages": Field("what is asked"),
    "prompt": Field("the same as one message of the user"),
    "max_tokens": Field("cuts the answer off"),
    "temperature": Field(CHECKED),
    "stream": Field("the answer comes as events; models of OpenAI and Qwen only"),
    "tools": Field("each is called once, in their order"),
    "tool_choice": Field("`none` calls no tool, a named one is called; nothing else than `auto` is taken"),
    "response_format": Field("the answer is JSON of that schema"),
    "fallbacks": Field("are asked in turn when a model fails"),
    "fallback_config": Field("`depth` of them; `retry` asks a model once more"),
    "transcript_id": Field("its text takes the place of `{{ transcript }}`"),
    "post_processing_steps": Field(
        "`json-repair` repairs text and tool arguments; what cannot be repaired is a 500",
        types.OptionType(f'a list of {{"type": "{JSON_REPAIR}"}}', _are_steps),
    ),
    "reasoning": Field(
        "reasoning tokens in `usage`, by `effort` and at most `max_tokens`; not for all models",
        types.OptionType(
            "an object with an effort of low, medium or high, or max_tokens of 1 or more", _is_reasoning
        ),
    ),
    "model_region": Field("`global`: the price without the regional increase"),
    "zero_data_retention": Field(CHECKED, types.BOOLEAN),
    "fail_fast": Field("a failing model is not asked once more", types.BOOLEAN),
    "max_timeout": Field(
        "seconds (the unit is a guess) after which a slower model (`seconds` of the settings) has failed",
        types.OptionType("a number above 0", _is_positive),
    ),
    "cache_control": Field(
        "models of Claude, here or in a message: cached tokens in `usage` when the same beginning comes again",
        CACHE_CONTROL,
    ),
    "prompt_cache_key": Field(
        "models of OpenAI: only calls with the same key share cached tokens", types.TEXT
    ),
    "prompt_cache_retention": Field("models of OpenAI: `24h` keeps them longer", types.TEXT),
}


def problems_of(fields: Mapping[str, Any], model: Model) -> list[str]:
    """What is wrong with single fields.

    :param fields: of the request, without those that are null.
    :param model: that it is for.
    """
    problems = []
    for name, field in FIELDS.items():
        if name not in fields:
            continue
        if not model.knows(name):
            problems.append(unsupported(model.id, name))
        elif not field.type.accepts(fields[name]):
            problems.append(f"{name} must be {field.type.words}")
    return problems


def tool_choice_problem(choice: Any, tools: Any) -> str | None:
    """What is wrong with a ``tool_choice``.

    :param choice: the field.
    :param tools: the field of that name; well formed or not.
    """
    if choice in ("none", "auto"):
        return None
    function = (
        choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    )
    name = function.get("name") if isinstance(function, dict) else None
    names = [
        tool["function"].get("name")
        for tool in (tools if isinstance(tools, list) else ())
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    ]
    return None if name is not None and name in names else f"tool_choice must be {_CHOICE_WORDS}"

# SPDX-License-Identifier: Apache-2.0
"""The models: a plausible list with true names; prices and limits are only near the real ones.

``GET /v1/models`` of the service lists about 45 models and changes often. This one has the families,
one model that will be retired, and one whose lists are ``null``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

REGIONAL_INCREASE = 10.0
_REGIONAL_FACTOR = 1 + REGIONAL_INCREASE / 100
RETIRES_AFTER = 30 * 86_400.0
_EVERYWHERE = ("global", "us", "eu")
_NOT_EU = ("global", "us")
_CREATORS = {
    "anthropic": ("Anthropic", "aws-bedrock", "AWS Bedrock"),
    "openai": ("OpenAI", "openai", "OpenAI"),
    "google": ("Google", "google-vertex", "Google Vertex AI"),
    "qwen": ("Qwen", "assemblyai", "AssemblyAI"),
}
_ANTHROPIC_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
# Prices of cached tokens, as multiples of the prompt's.
_CACHE_FACTORS = {
    "anthropic": {"input_cache_read": 0.1, "input_cache_write": 1.25, "input_cache_write_1h": 2.0},
    "openai": {"input_cache_read": 0.1},
    "google": {"input_cache_read": 0.25},
}
_CREATOR_OF = {"cache_control": "anthropic", "prompt_cache_key": "openai", "prompt_cache_retention": "openai"}
_COMMON = ("max_tokens", "temperature")


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    :param prompt_price: dollars for a million tokens of the prompt.
    :param completion_price: the same for the completion.
    :param context: tokens that prompt and completion may have together.
    :param structured_output: whether it knows ``response_format``.
    :param tools: whether it knows ``tools``.
    :param reasoning: whether it knows ``reasoning``.
    :param retires: it is gone 30 days after the emulator was started.
    :param null_lists: its lists are ``null``, as an empty list of a Go server is.
    """

    id: str
    prompt_price: float
    completion_price: float
    creator: str
    context: int
    max_completion_tokens: int
    structured_output: bool = True
    tools: bool = True
    reasoning: bool = True
    regions: tuple[str, ...] = _EVERYWHERE
    retires: bool = False
    null_lists: bool = False

    @property
    def streams(self) -> bool:
        """Whether it answers in parts."""
        return self.creator in {"openai", "qwen"}

    def finish_reason(self, reason: str) -> str:
        """The provider's word for the end of an answer.

        :param reason: ``stop``, ``length`` or ``tool_calls``.
        """
        return _ANTHROPIC_REASONS[reason] if self.creator == "anthropic" else reason

    def knows(self, field: str) -> bool:
        """Whether it takes a field of a request that not all models take."""
        if field == "reasoning":
            return self.reasoning
        return _CREATOR_OF.get(field, self.creator) == self.creator

    def cost(self, input_tokens: int, output_tokens: int, region: str, cached_tokens: int = 0) -> float:
        """Dollars for a call at the region's price; ``global`` has none of its own."""
        read_factor = _CACHE_FACTORS.get(self.creator, {}).get("input_cache_read", 1.0)
        paid_tokens = input_tokens - cached_tokens * (1 - read_factor)
        price = (paid_tokens * self.prompt_price + output_tokens * self.completion_price) / 1e6
        return price * _REGIONAL_FACTOR if region != "global" and region in self.regions else price

    def to_dict(self, retirement: float) -> dict[str, Any]:
        """The model as the list shows it.

        :param retirement: when retiring models are gone.
        """
        name, provider, provider_name = _CREATORS[self.creator]
        optional = {"tools": self.tools, "tool_choice": self.tools, "response_format": self.structured_output}
        optional |= {name: self.knows(name) for name in ("reasoning", *_CREATOR_OF)}
        parameters = [*_COMMON, *(name for name, known in optional.items() if known)]
        home = {"id": provider, "name": provider_name}
        return {
            "id": self.id,
            "name": self.id.replace("-", " ").title(),
            "description": f"{name}'s model {self.id}",
            "creator": self.creator,
            "default_parameters": {
                "temperature": None if self.null_lists else 1.0,
                "top_p": None,
                "frequency_penalty": None,
            },
            "supported_parameters": None if self.null_lists else parameters,
            "top_provider": {
                "is_moderated": False,
                "context_length": self.context,
                "max_completion_tokens": self.max_completion_tokens,
            },
            "context_length": self.context,
            "pricing": self._pricing(),
            "retirement_date": int(retirement) if self.retires else 0,
            "available_regions": None if self.null_lists else list(self.regions),
            "providers": None if self.null_lists else [home],
            "default_provider": home,
        }

    def _pricing(self) -> dict[str, Any]:
        prices = {"prompt": self.prompt_price, "completions": self.completion_price}
        for name, factor in _CACHE_FACTORS.get(self.creator, {}).items():
            prices[name] = round(self.prompt_price * factor, 4)
        regional = {key: round(value * _REGIONAL_FACTOR, 4) for key, value in prices.items()}
        by_region: dict[str, Any] = {region: regional for region in ("us", "eu") if region in self.regions}
        return {"global": prices, "regional_increase_percent": REGIONAL_INCREASE, **by_region}


_claude = partial(Model, creator="anthropic", context=200_000, max_completion_tokens=64_000)
_gpt = partial(Model, creator="openai", context=400_000, max_completion_tokens=128_000, regions=_NOT_EU)
_gemini = partial(Model, creator="google", context=1_048_576, max_completion_tokens=65_536)
_qwen = partial(Model, creator="qwen", context=131_072, max_completion_tokens=32_768, reasoning=False)

MODELS = (
    _claude("claude-opus-4-7", 5.0, 25.0),
    _claude("claude-opus-4-6", 5.0, 25.0),
    _claude("claude-opus-4-5-20251101", 5.0, 25.0),
    _claude("claude-sonnet-5", 3.0, 15.0, structured_output=False),
    _claude("claude-sonnet-4-6", 3.0, 15.0),
    _claude("claude-sonnet-4-5-20250929", 3.0, 15.0),
    _claude("claude-haiku-4-5-20251001", 1.0, 5.0),
    _gpt("gpt-5.6-luna", 1.75, 14.0),
    _gpt("gpt-5.6-terra", 2.5, 20.0),
    _gpt("gpt-5.5", 1.75, 14.0),
    _gpt("gpt-5.2", 1.75, 14.0),
    _gpt("gpt-5.1", 1.25, 10.0),
    _gpt("gpt-5", 1.25, 10.0),
    _gpt("gpt-5-mini", 0.25, 2.0),
    _gpt("gpt-5-nano", 0.05, 0.4),
    _gpt("gpt-4.1", 2.0, 8.0, reasoning=False, retires=True),
    _gpt("gpt-oss-120b", 0.15, 0.6, structured_output=False),
    _gpt("gpt-oss-20b", 0.07, 0.3, structured_output=False, tools=False),
    _gemini("gemini-3.6-flash", 0.5, 3.0),
    _gemini("gemini-3.5-flash", 0.5, 3.0),
    _gemini("gemini-3.5-flash-lite", 0.1, 0.4),
    _gemini("gemini-3-pro-preview", 2.0, 12.0),
    _gemini("gemini-2.5-pro", 1.25, 10.0),
    _gemini("gemini-2.5-flash", 0.3, 2.5),
    _gemini("gemini-2.5-flash-lite", 0.1, 0.4),
    _qwen("qwen3-next-80b-a3b", 0.15, 1.2),
    _qwen("qwen3-32B", 0.15, 0.6),
    Model(
        "qwen3.5-4b-32k-fast", 0.02, 0.1, "qwen", 32_768, 8_192, tools=False, reasoning=False, null_lists=True
    ),
)


class ModelList:
    """The models of a region.

    :param region: ``us`` or ``eu``; the EU has no models of OpenAI.
    :param started: when the emulator was started.
    """

    def __init__(self, region: str, started: float) -> None:
        self._retirement = started + RETIRES_AFTER
        self._models = {model.id: model for model in MODELS if region in model.regions}

    def find(self, name: object, now: float) -> Model | None:
        """A model, ``None`` when it is not offered here or no longer.

        :param now: the emulator's time.
        """
        model = self._models.get(name) if isinstance(name, str) else None
        return None if model is None or self._retired(model, now) else model

    def to_dict(self, now: float) -> dict[str, Any]:
        """The answer of ``GET /v1/models``."""
        available = [model for model in self._models.values() if not self._retired(model, now)]
        return {"data": [model.to_dict(self._retirement) for model in available]}

    def _retired(self, model: Model, now: float) -> bool:
        return model.retires and now >= self._retirement

# SPDX-License-Identifier: Apache-2.0
"""The models: a plausible list with true names; prices and limits are only near the real ones.

``GET /v1/models`` of the service lists about 45 models and changes often. This one has the families,
one model that will be retired, and one whose lists are ``null``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

REGIONAL_INCREASE = 10.0
RETIRES_AFTER = 30 * 86_400.0
_EVERYWHERE = ("global", "us", "eu")
_NOT_EU = ("global", "us")
_CREATORS = {
    "anthropic": ("Anthropic", "aws-bedrock", "AWS Bedrock"),
    "openai": ("OpenAI", "openai", "OpenAI"),
    "google": ("Google", "google-vertex", "Google Vertex AI"),
    "qwen": ("Qwen", "assemblyai", "AssemblyAI"),
}
_TOOLS = ("tools", "tool_choice")
_SCHEMA = ("response_format",)
_COMMON = ("max_tokens", "temperature")


@dataclass(frozen=True, slots=True)
class Model:
    """A model.

    :param prompt: dollars for a million tokens.
    :param completion: the same for what it says.
    :param structured: whether it knows ``response_format``.
    :param tools: whether it knows ``tools``.
    :param retiring: it is gone 30 days after the emulator was started.
    :param bare: its lists are ``null``, as an empty list of a Go server is.
    """

    id: str
    creator: str
    context: int
    longest: int
    prompt: float
    completion: float
    structured: bool = True
    tools: bool = True
    regions: tuple[str, ...] = _EVERYWHERE
    retiring: bool = False
    bare: bool = False

    @property
    def streams(self) -> bool:
        """Whether it answers in parts."""
        return self.creator in {"openai", "qwen"}

    def stop_reason(self, kind: str) -> str:
        """The provider's word for the end of an answer.

        :param kind: ``stop``, ``length`` or ``tool_calls``.
        """
        if self.creator == "anthropic":
            return {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[kind]
        return kind

    def cost(self, tokens_in: int, tokens_out: int, region: str) -> float:
        """Dollars for a call at the region's price."""
        price = (tokens_in * self.prompt + tokens_out * self.completion) / 1e6
        return price * (1 + REGIONAL_INCREASE / 100) if region in self.regions else price

    def shown(self, retirement: float) -> dict[str, Any]:
        """The model as the list shows it.

        :param retirement: when retiring models are gone.
        """
        name, provider, provider_name = _CREATORS[self.creator]
        parameters = [*_COMMON, *(_TOOLS if self.tools else ()), *(_SCHEMA if self.structured else ())]
        prices = {"prompt": self.prompt, "completions": self.completion}
        if self.creator == "anthropic":
            prices["input_cache_read"] = round(self.prompt / 10, 4)
            prices["input_cache_write"] = round(self.prompt * 1.25, 4)
            prices["input_cache_write_1h"] = round(self.prompt * 2, 4)
        factor = 1 + REGIONAL_INCREASE / 100
        regional = {key: round(value * factor, 4) for key, value in prices.items()}
        pricing: dict[str, Any] = {"global": prices, "regional_increase_percent": REGIONAL_INCREASE}
        pricing.update({region: regional for region in ("us", "eu") if region in self.regions})
        home = {"id": provider, "name": provider_name}
        return {
            "id": self.id,
            "name": self.id.replace("-", " ").title(),
            "description": f"{name}'s model {self.id}",
            "creator": self.creator,
            "default_parameters": {
                "temperature": None if self.bare else 1.0,
                "top_p": None,
                "frequency_penalty": None,
            },
            "supported_parameters": None if self.bare else parameters,
            "top_provider": {
                "is_moderated": False,
                "context_length": self.context,
                "max_completion_tokens": self.longest,
            },
            "context_length": self.context,
            "pricing": pricing,
            "retirement_date": int(retirement) if self.retiring else 0,
            "available_regions": None if self.bare else list(self.regions),
            "providers": None if self.bare else [home],
            "default_provider": home,
        }


def _claude(name: str, prompt: float, completion: float, **more: Any) -> Model:
    return Model(name, "anthropic", 200_000, 64_000, prompt, completion, **more)


def _gpt(name: str, prompt: float, completion: float, **more: Any) -> Model:
    return Model(name, "openai", 400_000, 128_000, prompt, completion, regions=_NOT_EU, **more)


def _gemini(name: str, prompt: float, completion: float, **more: Any) -> Model:
    return Model(name, "google", 1_048_576, 65_536, prompt, completion, **more)


MODELS = (
    _claude("claude-opus-4-7", 5.0, 25.0),
    _claude("claude-opus-4-6", 5.0, 25.0),
    _claude("claude-opus-4-5-20251101", 5.0, 25.0),
    _claude("claude-sonnet-5", 3.0, 15.0, structured=False),
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
    _gpt("gpt-4.1", 2.0, 8.0, retiring=True),
    _gpt("gpt-oss-120b", 0.15, 0.6, structured=False),
    _gpt("gpt-oss-20b", 0.07, 0.3, structured=False, tools=False),
    _gemini("gemini-3.6-flash", 0.5, 3.0),
    _gemini("gemini-3.5-flash", 0.5, 3.0),
    _gemini("gemini-3.5-flash-lite", 0.1, 0.4),
    _gemini("gemini-3-pro-preview", 2.0, 12.0),
    _gemini("gemini-2.5-pro", 1.25, 10.0),
    _gemini("gemini-2.5-flash", 0.3, 2.5),
    _gemini("gemini-2.5-flash-lite", 0.1, 0.4),
    Model("qwen3-next-80b-a3b", "qwen", 131_072, 32_768, 0.15, 1.2),
    Model("qwen3-32B", "qwen", 131_072, 32_768, 0.15, 0.6),
    Model("qwen3.5-4b-32k-fast", "qwen", 32_768, 8_192, 0.02, 0.1, tools=False, bare=True),
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

    def shown(self, now: float) -> dict[str, Any]:
        """The answer of ``GET /v1/models``."""
        offered = [model for model in self._models.values() if not self._retired(model, now)]
        return {"data": [model.shown(self._retirement) for model in offered]}

    def _retired(self, model: Model, now: float) -> bool:
        return model.retiring and now >= self._retirement

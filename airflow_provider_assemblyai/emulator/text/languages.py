# SPDX-License-Identifier: Apache-2.0
"""Languages, the models that know them, and the features that do not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ENGLISH = "en_us"
NEWEST_MODEL = "universal-3-5-pro"
WIDEST_MODEL = "universal-2"
MODELS = (NEWEST_MODEL, "universal-3-pro", WIDEST_MODEL)
DEFAULT_MODELS = (NEWEST_MODEL, WIDEST_MODEL)
#: Names the deprecated singular field still takes; they lead to the default models.
OLD_MODELS = ("best", "universal", "slam-1")

_ENGLISH_CODES = ("en", "en_au", "en_uk", "en_us")
_ALL_CODES = (
    "en en_au en_uk en_us es fr de it pt nl af sq am ar hy as az ba eu be bn bs br bg my ca zh hr cs da et fo "
    "fi gl ka el gu ht ha haw he hi hu is id ja jw kn kk km ko lo la lv ln lt lb mk mg ms ml mt mi mr mn ne no "
    "nn oc pa ps fa pl ro ru sa sr sn sd si sk sl so su sw sv tl tg ta tt te th bo tr tk uk ur uz vi cy yi yo "
    "de_ch"
)
_NEWEST_CODES = "es de de_ch fr pt it tr nl sv no da fi hi vi ar he ja zh"
CODES = frozenset(_ALL_CODES.split())
_BY_MODEL = {
    NEWEST_MODEL: frozenset((*_ENGLISH_CODES, *_NEWEST_CODES.split())),
    "universal-3-pro": frozenset((*_ENGLISH_CODES, "es", "pt", "fr", "de", "it")),
    WIDEST_MODEL: CODES,
}
_MEDICAL = frozenset((*_ENGLISH_CODES, "es", "de", "fr"))

# The service publishes these limits as a table per language. The emulator knows two groups only:
# features for English, and speakers for the languages of the newest model.
_ENGLISH_FEATURES = (
    "auto_chapters",
    "auto_highlights",
    "content_safety",
    "iab_categories",
    "sentiment_analysis",
    "summarization",
)


def is_english(code: str) -> bool:
    """Whether a language code means some kind of English."""
    return code in _ENGLISH_CODES


def base_language(code: str) -> str:
    """A language code without its country: ``en`` of ``en_uk``."""
    return code.partition("_")[0]


def model_used(models: Iterable[str] | None, code: str) -> str:
    """The model that runs: the first of the list that knows the language.

    :param models: the request's ``speech_models``; ``None`` for the service's default.
    :param code: language of the speech.
    """
    names = list(models or DEFAULT_MODELS)
    return next((name for name in names if code in _BY_MODEL.get(name, CODES)), names[-1])


def unsupported_features(fields: Mapping[str, Any], code: str) -> list[str]:
    """Features of a request that do not exist in a language.

    :param fields: the validated request.
    :param code: language of the speech.
    """
    missing = [] if is_english(code) else [name for name in _ENGLISH_FEATURES if fields.get(name)]
    if fields.get("speaker_labels") and code not in _BY_MODEL[NEWEST_MODEL]:
        missing.append("speaker_labels")
    return missing


def domain_warning(fields: Mapping[str, Any], code: str) -> str | None:
    """Why the medical model was left out, if it was.

    :param fields: the validated request.
    :param code: language of the speech.
    """
    domain = fields.get("domain")
    if domain == "medical-v1" and code not in _MEDICAL:
        return f"The domain {domain} is not available in this language: {code}. It was skipped."
    return None

# SPDX-License-Identifier: Apache-2.0
"""List prices: what is in the list, what is not, and what a thing costs by them."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.prices.estimates import PriceList, check_prices
from airflow_provider_assemblyai.api.prices.list_prices import PRICES
from airflow_provider_assemblyai.api.regions import REGIONS
from airflow_provider_assemblyai.api.streaming import StreamingConfig
from airflow_provider_assemblyai.api.transcripts import TranscriptConfig
from airflow_provider_assemblyai.api.understanding import FEATURES

HOUR = 3600.0
#: A value of each parameter whose value decides.
VALUES: dict[str, Any] = {
    "domain": "medical-v1",
    "speech_understanding": {"request": {"translation": {"target_languages": ["es"]}}},
}
#: Parameters of a session that the vendor publishes no price for.
NOT_PUBLISHED = {"agent_context", "filter_profanity", "llm_gateway", "customer_support_audio_capture"}


def asked(name: str) -> dict[str, Any]:
    return {name: VALUES.get(name, True)}


def completed(**fields: Any) -> dict[str, Any]:
    return {"status": "completed", "audio_duration": 3600, "speech_model_used": "universal-3-5-pro", **fields}


def test_every_region_has_a_list() -> None:
    assert set(PRICES) == set(REGIONS)


@pytest.mark.parametrize(
    "name", sorted(set(TranscriptConfig.__annotations__) - {"speech_models", "speech_model"})
)
def test_every_parameter_is_free_or_has_a_price(name: str) -> None:
    assert PriceList().request_rate(asked(name)).unknown == ()


@pytest.mark.parametrize("name", sorted(set(StreamingConfig.__annotations__) - {"speech_model"}))
def test_every_parameter_of_a_session_is_free_or_has_a_price_or_is_known_to_have_none(name: str) -> None:
    cost = PriceList().session_cost(asked(name), HOUR)
    assert (cost is None) == (name in NOT_PUBLISHED)


def test_every_feature_of_speech_understanding_has_a_price_or_is_known_to_have_none() -> None:
    found = {name: PriceList().understanding_cost({name: {}}, HOUR) for name in FEATURES}
    assert found == {
        "translation": 0.06,
        "speaker_identification": 0.02,
        "custom_formatting": 0.03,
        "summarization": None,
        "action_items": None,
    }


@pytest.mark.parametrize(
    ("transcript", "usd"),
    [
        (completed(), 0.21),
        (completed(speech_model_used="universal-2"), 0.15),
        (completed(audio_duration=1800), 0.105),
        (completed(audio_duration=0), 0.0),
        (completed(multichannel=True, audio_channels=3), 0.63),
        (completed(multichannel=True), 0.42),
        (completed(audio_channels=2), 0.21),
        (completed(speaker_labels=True), 0.23),
        (completed(multichannel=True, audio_channels=2, speaker_labels=True), 0.44),
        (
            completed(speaker_labels=True, speaker_options={"long_file_diarization_method": "experimental"}),
            0.275,
        ),
        (completed(keyterms_prompt=["parcel"]), 0.26),
        (completed(keyterms_prompt=["parcel"], speech_model_used="universal-2"), 0.15),
        (completed(keyterms_prompt=[], redact_pii=False, prompt=""), 0.21),
        (completed(domain="medical-v1", metadata={"domain_used": "medical-v1"}), 0.36),
        (completed(domain="medical-v1", metadata={"domain_used": None, "warning": "skipped"}), 0.21),
        (completed(redact_pii=True, redact_pii_audio=True), 0.34),
        (
            completed(speech_understanding={"request": {"translation": {}, "custom_formatting": {}}}),
            0.30,
        ),
    ],
)
def test_what_a_transcript_costs(transcript: dict[str, Any], usd: float) -> None:
    assert PriceList().transcript_cost(transcript) == usd


@pytest.mark.parametrize(
    "transcript",
    [
        completed(speech_model_used="universal-9"),
        completed(speech_model_used=["universal-2"], speech_models=["universal-9"]),
        completed(domain="legal-v1"),
        completed(speech_understanding={"request": {"summarization": {}}}),
        completed(audio_duration=None),
        completed(audio_duration="long"),
        completed(audio_duration=float("inf")),
        completed(audio_duration=-5),
    ],
)
def test_what_is_not_known_is_never_free(transcript: dict[str, Any]) -> None:
    assert PriceList().transcript_cost(transcript) is None


@pytest.mark.parametrize(
    "odd",
    [{"speaker_options": 5}, {"metadata": "x"}, {"audio_channels": "many"}, {"speech_understanding": [1]}],
)
def test_odd_values_of_the_service_raise_nothing(odd: dict[str, Any]) -> None:
    PriceList().transcript_cost(completed(multichannel=True, speaker_labels=True, **odd))


def test_what_the_transcript_does_not_repeat_is_taken_from_the_request() -> None:
    found = completed(prompt=None, redact_pii=False)
    assert PriceList().transcript_cost(found, {"prompt": "A call.", "redact_pii": True}) == 0.26
    assert PriceList().transcript_cost(completed(), {"new_feature": True}) is None
    assert PriceList().transcript_cost(completed(audio_duration=None), {}, 60.0) == 0.0035


def test_a_request_costs_what_the_dearest_of_its_models_does() -> None:
    assert PriceList().request_cost({}, HOUR) == 0.21
    assert PriceList().request_cost({"speech_models": ["universal-2"]}, HOUR) == 0.15
    assert PriceList().request_cost({"speech_models": ["universal-2", "universal-3-5-pro"]}, HOUR) == 0.21
    assert PriceList().request_cost({"multichannel": True}, HOUR) == 0.42
    assert PriceList().request_cost({}, None) is None
    rate = PriceList().request_rate({"speech_models": ["universal-2", "universal-9"], "new": 1})
    assert rate.unknown == ("new", "universal-9")


def test_what_a_session_and_a_clip_cost() -> None:
    assert PriceList().session_cost({}, HOUR) == 0.45
    assert PriceList().session_cost({"speaker_labels": True, "prompt": "A call."}, HOUR) == 0.62
    assert PriceList().session_cost({"noise_suppression_model": "near-field"}, HOUR) == 0.55
    english = {"speech_model": "universal-streaming-english", "keyterms_prompt": ["parcel"]}
    assert PriceList().session_cost(english, HOUR) == 0.19
    assert PriceList().session_cost(english, HOUR, "universal-streaming-multilingual") == 0.15
    assert PriceList().session_cost({"speech_model": "universal-9"}, HOUR) is None
    assert PriceList().clip_cost({"keyterms_prompt": ["parcel"], "timestamps": True}, 120.0) == 0.01
    assert PriceList().clip_cost({"new_feature": True}, 120.0) is None


def test_a_connection_overrides_and_adds_prices() -> None:
    own = PriceList("eu", check_prices('{"universal-2": 0.1, "new": 0, "universal-2/redact_pii": 0.5}'))
    assert own.request_cost({"speech_models": ["universal-2"], "new": True}, HOUR) == 0.1
    assert own.request_cost({"speech_models": ["universal-2"], "redact_pii": True}, HOUR) == 0.6
    assert own.request_cost({"redact_pii": True}, HOUR) == 0.6, "the dearest of both models"
    assert own.request_cost({"speech_models": ["universal-3-5-pro"], "redact_pii": True}, HOUR) == 0.29


@pytest.mark.parametrize("nothing", [None, "", {}, "{}"])
def test_no_prices(nothing: Any) -> None:
    assert check_prices(nothing) == {}


@pytest.mark.parametrize(
    "wrong",
    [5, [], "[]", "{", {"a": "1"}, {"a": True}, {"a": -1}, {"a": None}, {"a": float("nan")}, {"a": {}}],
)
def test_prices_that_cannot_be(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="prices"):
        check_prices(wrong)

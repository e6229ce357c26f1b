# SPDX-License-Identifier: Apache-2.0
"""Checks of single arguments: a value of the right kind, or one clear sentence, whatever is given."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_assemblyai.api import validation
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import check_region, named_region
from airflow_provider_assemblyai.api.transcripts import check_config, check_id
from airflow_provider_assemblyai.api.validation import (
    check_bool,
    check_bool_or,
    check_json,
    check_seconds,
    is_of_type,
    shown,
)
from airflow_provider_assemblyai.jobs.results import (
    FORMATS,
    check_caption_length,
    check_formats,
    resolve_transcript,
)
from tests.support.odd_values import PRIVATE, multiplied, nested, odd_values, refusal

CHECKS: dict[str, Callable[[Any], object]] = {
    "bool": lambda value: check_bool("x", value),
    "bool or None": lambda value: check_bool_or("x", value, None),
    "bool or word": lambda value: check_bool_or("x", value, "output"),
    "seconds": lambda value: check_seconds("x", value),
    "seconds or zero": lambda value: check_seconds("x", value, zero=True),
    "count": lambda value: validation.check_count("x", value, 1, 10),
    "number": lambda value: validation.check_number("x", value, 0, 2),
    "text": lambda value: validation.check_text("x", value),
    "choice": lambda value: validation.check_choice("x", value, ("a", True, 1, None)),
    "nesting": lambda value: validation.check_nesting("x", value),
    "JSON": lambda value: check_json("x", value),
    "JSON text": lambda value: validation.parse_json_text("x", value),
    "config": check_config,
    "formats": lambda value: check_formats(value, FORMATS),
    "captions": check_caption_length,
    "id": check_id,
    "transcript": resolve_transcript,
    "region": check_region,
    "named region": named_region,
}


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_any_value_passes_or_is_refused_in_a_short_sentence(check: Callable[[Any], object]) -> None:
    for value in odd_values():
        sentence = refusal(check, value) or ""
        assert len(sentence) < 300
        assert "\n" not in sentence
        assert PRIVATE not in sentence
        assert sentence.encode().decode() == sentence


def test_what_passes_as_json_is_json() -> None:
    passed = 0
    for value in odd_values():
        if refusal(CHECKS["JSON"], value) is not None:
            continue
        assert json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) == (
            list(value) if isinstance(value, tuple) else value
        )
        passed += 1
    assert passed > 20
    check_json("x", multiplied(15))
    for wrong in (nested(101), multiplied(40), {"a": [{1: "b"}]}, [math.nan], {"a": "\udfff"}, [2**63]):
        with pytest.raises(InvalidInput, match="x "):
            check_json("x", wrong)


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "tRuE"])
def test_texts_of_booleans(text: str) -> None:
    assert check_bool("x", text) is True
    assert check_bool("x", text.replace("t", "f").replace("T", "F").lower().replace("frue", "false")) is False
    assert check_bool_or("x", text, None) is True


@pytest.mark.parametrize(
    "value", ["yes", "no", "on", "off", "1", "0", "", "true ", "falsee", 0, 1, None, [], 1.0]
)
def test_what_is_no_boolean(value: object) -> None:
    with pytest.raises(InvalidInput, match="x must be True or False"):
        check_bool("x", value)


def test_other_words_beside_booleans() -> None:
    assert check_bool_or("x", None, None) is None
    assert check_bool_or("x", "output", "output") == "output"
    for wrong in ("Output", "auto", 0):
        with pytest.raises(InvalidInput, match="x must be True, False or 'output'"):
            check_bool_or("x", wrong, "output")


def test_durations_fit_into_the_dates_that_airflow_makes_of_them() -> None:
    assert check_seconds("x", validation.MAX_SECONDS) == validation.MAX_SECONDS
    assert check_seconds("x", timedelta(days=3650)) == validation.MAX_SECONDS
    assert check_seconds("x", 0, zero=True) == 0
    for wrong in (
        validation.MAX_SECONDS + 1,
        timedelta.max,
        1e30,
        10**400,
        5e-324,
        timedelta(microseconds=1),
    ):
        with pytest.raises(InvalidInput, match="x must be a positive number of seconds"):
            check_seconds("x", wrong)


def test_what_is_shown_of_a_value() -> None:
    assert shown("https://example.com/a?token=SECRET") == "'https://example.com/a'"
    assert shown(10**5000) == "a huge integer"
    assert shown([PRIVATE]) == "list"
    assert len(shown("a" * 100_000)) < 100
    assert shown(None) == "None"


@pytest.mark.parametrize("value", [1e13, -1e13, 1_800_000_000, 0])
def test_a_number_that_arithmetic_can_use(value: float) -> None:
    assert is_of_type(value, float)
    timedelta(seconds=value)
    round(value * 1000)


@pytest.mark.parametrize("value", [1e14, -1e308, 10**400, math.nan, math.inf, True, "1"])
def test_a_number_that_is_none(value: object) -> None:
    assert not is_of_type(value, float)
    with pytest.raises(InvalidInput, match="speech_threshold must be a number"):
        check_config({"speech_threshold": value})


@pytest.mark.parametrize("value", [2**63, -(10**400), 1.0, False, "1"])
def test_a_whole_number_that_is_none(value: object) -> None:
    assert not is_of_type(value, int)
    with pytest.raises(InvalidInput, match="speakers_expected must be an integer"):
        check_config({"speakers_expected": value})

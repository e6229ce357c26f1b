# SPDX-License-Identifier: Apache-2.0
"""
Speech Understanding of a transcript that exists: one function for each endpoint.

The service does not write results back to the transcript: the answer is all there is of them.
https://www.assemblyai.com/docs/speech-understanding/translation
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api.call import Billing, Call, Product, Reply
from airflow_provider_assemblyai.api.errors import InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.llm_gateway import ANSWER_TIMEOUT
from airflow_provider_assemblyai.api.llm_gateway import hint as gateway_hint
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.transcripts import check_id
from airflow_provider_assemblyai.api.validation import check_fields, check_json, check_object, shown

#: Of a call, by what it finds.
BILLING: Final = Billing(
    recorded="that it is about to be made, with on_lost_answer='fail'",
    lost_answer="report",
    limited_by=("retries",),
)

#: The first is what the service answers; the second stands in some of its examples.
_SUCCESS: Final = ("success", "completed")


class Translation(TypedDict, total=False):
    """The text in other languages."""

    target_languages: list[str]
    formal: bool
    match_original_utterance: bool
    force_translation: bool
    effort: str


class SpeakerIdentification(TypedDict, total=False):
    """Names or roles in the place of the speakers' letters; needs a transcript with ``speaker_labels``."""

    speaker_type: str
    known_values: list[str]
    speakers: list[dict[str, Any]]
    effort: str


class CustomFormatting(TypedDict, total=False):
    """Dates, telephone numbers and e-mail addresses in a form of one's own."""

    date: str
    phone_number: str
    email: str
    format_utterances: bool
    effort: str


class Summarization(TypedDict, total=False):
    """A summary in parts, each with the time it is about."""

    summary_type: str
    headline_length: int
    approximate_chapters: int
    effort: str


class ActionItems(TypedDict, total=False):
    """Tasks that were agreed on, each with its words and their time."""

    include_decisions: bool
    effort: str


#: The parameters of each feature. Others pass through unchecked: the service may know them.
FEATURES: Final[Mapping[str, type]] = {
    "translation": Translation,
    "speaker_identification": SpeakerIdentification,
    "custom_formatting": CustomFormatting,
    "summarization": Summarization,
    "action_items": ActionItems,
}


@dataclass(frozen=True)
class UnderstandingResponse:
    """
    An answer of the service.

    :param response: feature -> its result, as it came.
    :param body: the whole answer.
    :param failed: feature without a result -> reason, which holds no text of the recording.
    :param request_id: the service's id of this call.
    """

    response: dict[str, Any]
    body: dict[str, Any]
    failed: dict[str, str]
    request_id: str | None


def understand(
    transcript_id: str, features: Mapping[str, Any], *, timeout: float = ANSWER_TIMEOUT
) -> Call[UnderstandingResponse]:
    """
    Run features on a transcript. It is billed and has no idempotency key: never repeat it blindly.

    :param transcript_id: of a completed transcript.
    :param features: the parameters by feature: the ``request`` object of the service.
    :param timeout: seconds for the whole call.
    """
    return Call(
        Product.GATEWAY,
        "POST",
        "/v1/understanding",
        read=lambda reply: _read_response(reply, list(features)),
        json={"transcript_id": check_id(transcript_id), "speech_understanding": {"request": features}},
        repeatable=False,
        billing=BILLING,
        timeout=timeout,
        retry_rate_limits=False,
        hint=hint,
    )


def validate(features: Mapping[str, Any], transcript_id: str | None = None) -> Call[None]:
    """
    Let the service check a request without running or billing it; a fault comes as an error.

    :param features: as for :func:`understand`.
    :param transcript_id: to check also whether that transcript has what the features need.
    """
    body: dict[str, Any] = {"speech_understanding": {"request": features}}
    if transcript_id is not None:
        body["transcript_id"] = check_id(transcript_id)
    return Call(
        Product.GATEWAY, "POST", "/v1/understanding/validate", read=lambda reply: None, json=body, hint=hint
    )


def check_features(features: object) -> dict[str, Any]:
    """
    Return a copy of ``features`` after refusing what the service is certain to refuse.

    :param features: a dict, or JSON text of one.
    :raises InvalidInput: if there is none, or a known parameter has a wrong type.
    """
    given = check_object("features", features)
    chosen = {name: options for name, options in given.items() if options is not None}
    if not chosen:
        raise InvalidInput(f"features must name at least one feature: {', '.join(FEATURES)}.")
    for name, options in chosen.items():
        if not isinstance(name, str):
            raise InvalidInput(f"features: the name {shown(name)} is not a string.")
        if not isinstance(options, Mapping):
            raise InvalidInput(f"features: {name} must be a dict, not {type(options).__name__}.")
        if name in FEATURES:
            check_fields(f"features: {name}", options, FEATURES[name])
    check_json("features", chosen)
    return chosen


_HINTS: Final = [
    (
        r"speaker_labels",
        "Transcribe with speaker_labels (or multichannel): these features need to know the speakers apart.",
    ),
    (r"is not a known feature", f"The features are {', '.join(FEATURES)}."),
]


def hint(reply: Reply) -> str:
    """
    Return what to do about an error, in one sentence; empty if that is not known.

    :param reply: with the service's own words.
    """
    message = reply.error_text()
    hints = (advice for pattern, advice in _HINTS if re.search(pattern, message, re.IGNORECASE))
    return next(hints, gateway_hint(reply))


def _read_response(reply: Reply, features: Sequence[str]) -> UnderstandingResponse:
    body = reply.json()
    results = body.get("speech_understanding")
    response = results.get("response") if isinstance(results, dict) else None
    if not isinstance(response, dict):
        raise UnexpectedReply("the answer holds no speech_understanding.response.")
    request_id = body.get("request_id")
    failed = {name: problem for name in features if (problem := _problem(response.get(name))) is not None}
    if "translation" in features and not _has_translation(body):
        failed.setdefault("translation", "there is no text of it in the answer")
    return UnderstandingResponse(
        response=response,
        body=body,
        failed=failed,
        request_id=sanitize(request_id) if isinstance(request_id, str) else reply.request_id,
    )


def _has_translation(body: Mapping[str, Any]) -> bool:
    """Return whether there is any translated text: it stands beside the result of the feature, or in utterances."""
    utterances = body.get("utterances")
    holders = [body, *(utterances if isinstance(utterances, list) else ())]
    texts = [holder.get("translated_texts") for holder in holders if isinstance(holder, dict)]
    return any(isinstance(text, str) for found in texts if isinstance(found, dict) for text in found.values())


def _problem(result: object) -> str | None:
    if not isinstance(result, dict):
        return "it is not in the answer"
    status = result.get("status")
    # A result without a status is one.
    if status is None or str(status).lower() in _SUCCESS:
        return None
    reason = next((result[name] for name in ("error", "message") if isinstance(result.get(name), str)), "")
    return f"status {sanitize(str(status))}{f', {sanitize(reason)}' if reason else ''}"

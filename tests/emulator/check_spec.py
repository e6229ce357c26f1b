# SPDX-License-Identifier: Apache-2.0
"""Check the emulator's answers against a published description of the service (an OpenAPI file).

    python tests/emulator/check_spec.py path/to/openapi.yml [--examples N]

Needs schemathesis (the extra ``spec``). It starts the emulator itself, sends well-formed and malformed
requests to every operation, and holds every answer against the description: status, content type,
headers and body. Not a pytest module.

The description may be older than the service. What newer official sources have changed is written down
in ``NEWER`` and added to the description before the check; nothing else is forgiven.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import schemathesis
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from airflow_provider_assemblyai.emulator import Emulator, serve

KEY = "spec-key"
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ANY: dict[str, Any] = {}
#: Properties that newer sources add to objects of the description, and why.
NEWER = {
    ("SentencesResponse", "speech_model_used"): "the official Python client reads it",
    ("ParagraphsResponse", "speech_model_used"): "the official Python client reads it",
    ("Transcript", "metadata"): "warnings of a skipped domain are reported there",
    ("Transcript", "speaker_options"): "every field of the request is echoed, and this one was not yet",
    ("Transcript", "language_detection_results"): "the official Python client reads it",
    ("Transcript", "domain"): "every field of the request is echoed, and this one is newer",
}
REDACTED_AUDIO = "/v2/transcript/{transcript_id}/redacted-audio"


def relaxed(spec: dict[str, Any]) -> dict[str, Any]:
    """The description as it is meant.

    ``allOf`` over closed parts allows no property at all when it is read strictly: the parts are opened.
    """
    schemas = spec["components"]["schemas"]
    for schema in schemas.values():
        if "allOf" in schema:
            schema.pop("additionalProperties", None)
            for part in schema["allOf"]:
                target = schemas[part["$ref"].rsplit("/", 1)[-1]] if "$ref" in part else part
                target.pop("additionalProperties", None)
    for name, field in NEWER:
        schemas[name]["properties"][field] = ANY
    # The official client takes 202 for "not ready yet"; the description has 200 and errors only.
    spec["paths"][REDACTED_AUDIO]["get"]["responses"]["202"] = {
        "description": "not ready yet",
        "content": {"application/json": {"schema": ANY}},
    }
    # Callbacks describe the caller's own endpoint, not the service.
    for item in spec["paths"].values():
        for operation in item.values():
            operation.pop("callbacks", None)
    return spec


def seed(emulator: Emulator) -> list[str]:
    """Ids of transcripts in every state, and of one that does not exist."""
    import requests

    headers = {"Authorization": KEY}
    address = f"{emulator.url}/v2/transcript"
    everything = {
        "speaker_labels": True,
        "auto_highlights": True,
        "sentiment_analysis": True,
        "entity_detection": True,
        "iab_categories": True,
        "content_safety": True,
        "auto_chapters": True,
        "summarization": True,
        "language_detection": True,
        "language_detection_options": {"code_switching": True},
        "speaker_options": {"max_speakers_expected": 3},
        "redact_pii": True,
        "redact_pii_audio": True,
        "domain": "medical-v1",
    }
    bodies: list[dict[str, Any]] = [
        {},
        {"multichannel": True},
        everything,
        {"options": "error:server"},
        {"options": "processing:9999999"},
        {"options": "processing:9999999", "redact_pii": True, "redact_pii_audio": True},
        {"options": "off:unavailable"},
        {"delete": True},
    ]
    ids = ["f5d2f3b6-0000-4000-8000-000000000000"]
    # Something for every feature to find.
    emulator.set_transcript(
        "My name is Martha Jennings. He drinks wine, and she has a gun. Write to jo@example.com."
    )
    for number, body in enumerate(bodies):
        options, delete = body.pop("options", ""), body.pop("delete", False)
        body["audio_url"] = f"https://example.com/{number}.wav" + (f"?emulator={options}" if options else "")
        ids.append(requests.post(address, json=body, headers=headers, timeout=60).json()["id"])
        if delete:
            requests.delete(f"{address}/{ids[-1]}", headers=headers, timeout=60)
    emulator.set_transcript(None)
    return ids


@st.composite
def cases(draw: st.DrawFn, operation: Any, mode: GenerationMode, ids: list[str]) -> Any:
    """Requests of an operation, most of them with an id that exists and an address that can be read."""
    case = draw(operation.as_strategy(generation_mode=mode))
    if "transcript_id" in (case.path_parameters or {}):
        case.path_parameters["transcript_id"] = draw(st.sampled_from(ids))
    for name in ("before_id", "after_id"):
        if name in (case.query or {}) and draw(st.booleans()):
            case.query[name] = draw(st.sampled_from(ids))
    body = case.body
    if isinstance(body, dict):
        # Webhooks really go out, so they must not go to a made-up host.
        if isinstance(body.get("webhook_url"), str):
            body["webhook_url"] = "http://127.0.0.1:9/hook"
        if mode.is_positive:
            body["audio_url"] = "https://example.com/call.wav"
            body["speech_models"] = draw(
                st.sampled_from([["universal-3-5-pro", "universal-2"], ["universal-2"]])
            )
            _harmless(body)
    case.headers["Authorization"] = KEY
    return case


def _harmless(body: dict[str, Any]) -> None:
    """Replace what the description calls a string and the service wants to understand."""
    for name in ("speech_model", "language_code", "language_codes", "language_detection_options", "prompt"):
        body.pop(name, None)
    body.pop("speaker_options", None)
    for name in ("audio_start_from", "audio_end_at", "speakers_expected", "speech_threshold"):
        body.pop(name, None)
    for rule in body.get("custom_spelling") or []:
        rule["to"] = "word"
        rule["from"] = rule["from"] or ["ward"]
    if "redact_pii_audio" in body:
        body["redact_pii"] = True
    body["punctuate"] = body["format_text"] = True


def operations(schema: Any) -> Iterator[Any]:
    for result in schema.get_all_operations():
        yield result.ok()


def check(
    operation: Any, mode: GenerationMode, ids: list[str], url: str, examples: int
) -> tuple[Counter[int], str]:
    """Send requests to one operation.

    :return: how often each status came, and what was wrong with the first bad answer.
    """
    seen: Counter[int] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=cases(operation, mode, ids))
    def run(case: Any) -> None:
        response = case.call(base_url=url)
        seen[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    try:
        run()
    except (FailureGroup, AssertionError) as failure:
        return seen, str(failure)
    except BaseExceptionGroup as failures:
        return seen, "\n".join(str(failure) for failure in failures.exceptions)
    return seen, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", type=Path, help="the OpenAPI file")
    parser.add_argument("--examples", type=int, default=60, help="requests per operation and mode")
    options = parser.parse_args()
    load_all_checks()
    spec = relaxed(yaml.safe_load(options.spec.read_text()))
    schema = schemathesis.openapi.from_dict(spec)
    failed = 0
    with serve(api_keys=(KEY,)) as emulator:
        for operation in operations(schema):
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                emulator.reset()
                ids = seed(emulator)
                seen, problem = check(operation, mode, ids, emulator.url, options.examples)
                statuses = ", ".join(f"{status}: {count}" for status, count in sorted(seen.items()))
                print(f"{'FAIL' if problem else 'ok':4}  {operation.label:58} {mode.value:9} {statuses}")
                if problem:
                    failed += 1
                    print(problem)
    print("\nAdded to the description, because newer official sources have it:")
    for (name, field), reason in NEWER.items():
        print(f"  {name}.{field}: {reason}")
    print(f"  202 of {REDACTED_AUDIO}: the official Python client waits on it")
    print(f"\n{'failed: ' + str(failed) if failed else 'No answer contradicts the description.'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

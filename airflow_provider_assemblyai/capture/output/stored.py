# SPDX-License-Identifier: Apache-2.0
"""The result of a capture whose transcript has gone from the service: what its files hold, and nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from airflow_provider_assemblyai.api.call import parse_json
from airflow_provider_assemblyai.api.errors import InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.sanitize import storable
from airflow_provider_assemblyai.capture.output.merge import CaptureSummary
from airflow_provider_assemblyai.jobs.results import MAX_XCOM_TEXT
from airflow_provider_assemblyai.storage.atomic_files import open_path, read_file, store_errors


def stored_result(summary: Mapping[str, Any], formats: Sequence[str], *, push_text: bool) -> CaptureSummary:
    """
    Return the summary of a published capture, with the text that its files hold if it is to be pushed.

    :param summary: as it was recorded, without the text.
    :param formats: what the task is to write.
    :param push_text: whether to read the text back.
    :raises InvalidInput: a part of what the task is to deliver was not stored, is gone, or is damaged.
    :raises StorageError: the store could not be asked; a retry helps.
    """
    try:
        outputs = {str(name): str(uri) for name, uri in summary["outputs"].items()}
        if lacking := [name for name in formats if name not in outputs]:
            raise InvalidInput(f"The result was stored without {', '.join(lacking)}.")
        for uri in outputs.values():
            path = open_path(uri, "output_path")
            with store_errors("output_path", uri):
                if not path.exists():
                    raise InvalidInput(f"{uri} is gone.")
        text = _stored_text(outputs, summary)
    except (KeyError, TypeError, AttributeError):
        raise InvalidInput("What was stored of it is damaged.") from None
    if push_text and text is None:
        raise InvalidInput("Its text was not stored: neither json nor txt is in formats.")
    pushed = storable(text) if push_text else None
    if pushed is not None and len(pushed.encode()) > MAX_XCOM_TEXT:
        pushed = None
    return cast(CaptureSummary, {**summary, "text": pushed, "estimated_cost_usd": 0.0})


def _stored_text(outputs: Mapping[str, str], summary: Mapping[str, Any]) -> str | None:
    """Return the text that the files hold, or None if they hold none; what should hold it must be whole."""
    text: str | None = None
    if "json" in outputs:
        try:
            whole = parse_json(read_file(open_path(outputs["json"], "output_path")) or "")
        except (UnexpectedReply, ValueError):
            whole = None
        if not isinstance(whole, dict) or whole.get("id") != summary["transcript_id"]:
            raise InvalidInput(f"{outputs['json']} is damaged, or of another transcript.")
        text = str(whole.get("text") or "")
    if "txt" in outputs:
        content = (read_file(open_path(outputs["txt"], "output_path")) or "").removesuffix("\n")
        if summary["words"] and not content:
            raise InvalidInput(f"{outputs['txt']} is empty.")
        text = content if text is None else text
    return text

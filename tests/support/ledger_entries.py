# SPDX-License-Identifier: Apache-2.0
"""Entries as a batch writes them to its ledger."""

from __future__ import annotations

from typing import Any

KEY, OTHER_KEY = "0" * 31 + "1", "0" * 31 + "2"


def open_entry(key: str = KEY, content_version: str | None = None) -> dict[str, Any]:
    """Return the entry of an item whose job goes on."""
    return {
        "key": key,
        "index": 0,
        "content_version": content_version,
        "source": f"file:///{key}.wav",
        "name": key,
        "run": "ours",
        "job_state": {},
    }


def result_entry(
    key: str = KEY,
    status: str = "completed",
    run: str = "ours",
    permanent: bool = False,
    failed_minutes: float = 0.0,
) -> dict[str, Any]:
    """Return the entry of an item that has ended."""
    completed = status == "completed"
    return {
        "key": key,
        "content_version": None,
        "run": run,
        "job_state": None,
        "result": {
            "source": f"file:///{key}.wav",
            "transcript_id": None,
            "status": status,
            "error_class": None if completed else "InvalidInput",
            "error": None,
            "audio_duration": 60,
            "minutes": 1.0,
            "region": "us",
            "outputs": {"json": "file:///out/a.json"} if completed else {},
        },
        "permanent": permanent,
        "failed_minutes": failed_minutes,
    }

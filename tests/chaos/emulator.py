# SPDX-License-Identifier: Apache-2.0
"""The emulator as the harness sees it: one project a case, so that each sees its own money."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import requests

JsonDict = dict[str, Any]

SUBMIT = "/v2/transcript"


def command(port: int, keys: Sequence[str]) -> tuple[str, ...]:
    accepted = (part for key in keys for part in ("--api-key", key))
    return (
        *(sys.executable, "-m", "airflow_provider_assemblyai.emulator", "--engine", "scripted"),
        *("--port", str(port), "--job-seconds", "2", *accepted),
    )


def project(number: int) -> str:
    """The name that the emulator gives to the project of the key with this number, from 0."""
    return f"project-{number + 1}"


class Control:
    """Calls of `/_emulator`, and of the API itself as the owner of a key."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.trust_env = False

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, f"{self._url}{path}", timeout=60, **options)
        answer.raise_for_status()
        return answer.json()

    def add_faults(self, *rules: JsonDict) -> None:
        self._ask("POST", "/_emulator/faults", json=list(rules))

    def faults(self) -> list[JsonDict]:
        found: list[JsonDict] = self._ask("GET", "/_emulator/faults")
        return found

    def clear_faults(self) -> None:
        self._ask("DELETE", "/_emulator/faults")

    def held(self) -> list[JsonDict]:
        found: list[JsonDict] = self._ask("GET", "/_emulator/held")
        return found

    def release(self, number: int, then: str) -> None:
        self._ask("POST", "/_emulator/release", json={"id": number, "then": then})

    def transcripts(self) -> list[JsonDict]:
        found: list[JsonDict] = self._ask("GET", "/_emulator/transcripts")
        return found

    def requests(self) -> list[JsonDict]:
        found: list[JsonDict] = self._ask("GET", "/_emulator/requests")
        return found

    def uploads(self) -> dict[str, int]:
        """Project -> files that arrived whole."""
        counted = self._ask("GET", "/_emulator/counters")["projects"]
        return {name: count["uploads"] for name, count in counted.items()}

    def transcript(self, transcript_id: str, key: str) -> JsonDict:
        found: JsonDict = self._ask("GET", f"{SUBMIT}/{transcript_id}", headers={"Authorization": key})
        return found

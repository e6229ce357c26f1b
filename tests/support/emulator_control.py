# SPDX-License-Identifier: Apache-2.0
"""An emulator in another process, over HTTP: its control routes, and the API as the owner of a key."""

from __future__ import annotations

from typing import Any

import requests

JsonDict = dict[str, Any]

#: Seconds until a request counts as lost. An answer may take long on a busy machine.
TIMEOUT = 300.0


class EmulatorControl:
    """
    Calls of the control routes.

    :param url: the emulator's address.
    :param verify: the certificates to trust, as `requests` takes them.
    """

    def __init__(self, url: str, *, verify: bool | str = True) -> None:
        self._url = url
        self._http = requests.Session()
        self._http.trust_env = False  # a proxy of this machine has no business on the loopback
        self._http.verify = verify

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call a control route, such as `/counters`."""
        return self._send(method, f"/_emulator{path}", json=body)

    def api(self, key: str, method: str, path: str, body: object = None) -> JsonDict:
        """Call the API itself, such as `/v2/transcript`."""
        answer: JsonDict = self._send(method, path, json=body, headers={"Authorization": key})
        return answer

    def _send(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, f"{self._url}{path}", timeout=TIMEOUT, **options)
        answer.raise_for_status()
        return answer.json()

    def counters(self) -> JsonDict:
        found: JsonDict = self.call("GET", "/counters")
        return found

    def model_counters(self, model: str) -> JsonDict:
        """What the LLM Gateway counted for one model: `accepted`, `refused`."""
        found: JsonDict = self.counters()["gateway"]["models"].get(model, {"accepted": 0, "refused": 0})
        return found

    def _list(self, path: str) -> list[JsonDict]:
        found: list[JsonDict] = self.call("GET", path)
        return found

    def requests(self) -> list[JsonDict]:
        return self._list("/requests")

    def transcripts(self) -> list[JsonDict]:
        return self._list("/transcripts")

    def sessions(self) -> list[JsonDict]:
        return self._list("/sessions")

    def faults(self) -> list[JsonDict]:
        return self._list("/faults")

    def add_faults(self, *rules: JsonDict) -> None:
        self.call("POST", "/faults", list(rules))

    def clear_faults(self) -> None:
        self.call("DELETE", "/faults")

    def held(self) -> list[JsonDict]:
        return self._list("/held")

    def release(self, number: int, then: str) -> None:
        self.call("POST", "/release", {"id": number, "then": then})

# SPDX-License-Identifier: Apache-2.0
"""The steps of a script: what a client is used for. It runs in the client's environment, with nothing of this project."""

from __future__ import annotations

import json
import os
import traceback
import urllib.request
from collections.abc import Callable
from typing import Any

URL = os.environ["EMULATOR_URL"]
WEBSOCKET_URL = URL.replace("http", "ws", 1)
KEY = os.environ["EMULATOR_KEY"]
AUDIO_FILE = os.environ["AUDIO_FILE"]
AUDIO_URL = "https://example.com/call.wav"
#: What transcripts say, of a file or of a stream.
TEXT = "The snow came early. The shovel was gone."
CHAT = "/v1/chat/completions"
#: A model of the LLM Gateway that streams, and knows tools and structured output.
MODEL = "gpt-5"
#: The models of the emulator quote what they are asked about.
MEETING = "The budget meeting decides how the budget is spent. Please send the revised budget by Friday."

#: A step does something and checks it. What it returns is a remark for the table.
Step = Callable[[], "str | None"]
_steps: list[tuple[str, Step]] = []


def step(name: str) -> Callable[[Step], Step]:
    """Declare a step.

    :param name: what is tried, for the table.
    """

    def declare(function: Step) -> Step:
        _steps.append((name, function))
        return function

    return declare


def emulator(path: str, body: Any = None) -> Any:
    """Ask the emulator itself.

    :param path: below ``/_emulator``.
    :param body: what is sent, which makes it a POST.
    """
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(
        urllib.request.Request(f"{URL}/_emulator{path}", data), timeout=60
    ) as response:
        return json.load(response)


def refuse_once() -> None:
    """Let the next chat meet a 429, which asks for a second of patience."""
    emulator("/faults", {"kind": "rate_limit", "path": CHAT})


def statuses(path: str = CHAT) -> list[int]:
    """How the requests of this step were answered.

    :param path: of the requests.
    """
    return [request["status"] for request in emulator("/requests") if request["path"] == path]


def refused(call: Callable[[], object], error: type[Exception]) -> Exception:
    """Return the error that a call ends in.

    :param call: what is called.
    :param error: which class it must be of.
    """
    try:
        found = call()
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}: {found!r}")


def run() -> None:
    """Take all steps, and print a line for each."""
    for name, function in _steps:
        emulator("/reset", {})
        emulator("/transcript-text", {"text": TEXT})
        result: dict[str, Any] = {"name": name, "remark": None, "failure": None}
        try:
            result["remark"] = function()
        except Exception:
            result["failure"] = traceback.format_exc()
        print(f"\nSTEP {json.dumps(result)}", flush=True)
    print("END", flush=True)
    # Some clients leave threads behind that do not end.
    os._exit(0)

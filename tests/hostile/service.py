# SPDX-License-Identifier: Apache-2.0
"""A service of which one kind of request is answered by an attack, and all others as they should be."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.hostile import stream_server
from tests.hostile.server import ID, TRANSCRIPT, Attack, Exchange, HostileServer
from tests.hostile.stream_server import TOKEN, Client, Gone, in_session
from tests.support.emulator_api import wav

#: Ids of the jobs that are submitted, and of one that another task waits for.
IDS: Final = (ID, "3b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69")
OTHERS_ID: Final = "9b5e1e6c-4a0a-4d7e-9d5b-0d2f3c4b5a69"
TEXT: Final = str(TRANSCRIPT["text"])
#: What costs money.
PAID: Final = {"submit", "chat", "understanding", "transcribe"}


@dataclass(frozen=True)
class Target:
    """
    The requests that are attacked.

    :param routes: what is asked for, by the names of :func:`route_of`.
    :param after: only when this was asked for before.
    :param skip: so many of them are answered well first.
    :param broken: other routes, and what happens there.
    :param running: how often a job that is read is still running.
    """

    routes: frozenset[str]
    after: str = ""
    skip: int = 0
    broken: Mapping[str, Attack] = field(default_factory=dict)
    running: int = 0


def at(*routes: str, **more: Any) -> Target:
    """Return a target."""
    return Target(frozenset(routes), **more)


def route_of(exchange: Exchange) -> str:
    """Return what is asked for in one word."""
    parts = exchange.path.partition("?")[0].strip("/").split("/")
    match exchange.method, parts:
        case "POST", ["v2", "transcript"]:
            return "submit"
        case "GET", ["v2", "transcript"]:
            return "list"
        case "DELETE", ["v2", "transcript", _]:
            return "delete"
        case "GET", ["v2", "transcript", one]:
            return "other" if one == OTHERS_ID else "read"
        case "POST", ["v1", "chat", "completions"]:
            return "chat"
        case "GET", ["v3", "ws"]:
            return "session"
    return parts[-1]


def through_socket(attack: stream_server.Attack) -> Attack:
    """Make an attack on a session one on the request that opens it."""

    def attacks(exchange: Exchange) -> None:
        client = Client(exchange.connection)
        client.head = exchange.head + b"\r\n\r\n"
        with suppress(Gone):
            attack(client)
        raise ConnectionResetError

    return attacks


def _listens(client: Client) -> None:
    client.read_until("Terminate")
    client.message("Termination", audio_duration_seconds=client.audio // 32_000, session_duration_seconds=1)
    client.read_until()


class Service:
    """
    Two servers: that of the product, and one that has files.

    :param target: what is attacked.
    :param attack: how.
    :param elsewhere: URL of a server that there is no reason to call.
    :ivar seen: the routes that were asked for, in their order.
    :param on_attack: called at the first attack.
    :ivar attacked: those that were attacked.
    :ivar calm: set it, and there are no more attacks.
    """

    def __init__(
        self, target: Target, attack: Attack, elsewhere: str, on_attack: Callable[[], None] = lambda: None
    ) -> None:
        self._target, self._attack, self._on_attack = target, attack, on_attack
        self.seen: list[str] = []
        self.attacked: list[str] = []
        self.calm = threading.Event()
        self._jobs: dict[str, str] = {}
        self._under_attack = 0
        self._changed = threading.Condition()
        self.api = HostileServer(self._answer, elsewhere)
        self.files = HostileServer(self._answer, elsewhere)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.api.close()
        self.files.close()

    def paid(self) -> int:
        """Return how often the service was asked for what costs money."""
        return sum(route in PAID for route in self.seen)

    def wait_until_left(self, seconds: float) -> bool:
        """Wait until the other side has ended every connection that an attack keeps."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_attack, seconds)

    def _answer(self, exchange: Exchange) -> None:
        route, target = route_of(exchange), self._target
        if route == "submit":
            # Accepted, whatever the answer looks like.
            with self._changed:
                url = json.loads(exchange.body)["audio_url"]
                self._jobs.setdefault(url, IDS[len(self._jobs) % len(IDS)])
        hit = route in target.routes and (not target.after or target.after in self.seen)
        hit = hit and not self.calm.is_set() and sum(one in target.routes for one in self.seen) >= target.skip
        self.seen.append(route)
        if not hit:
            target.broken.get(route, self._answer_well)(exchange)
            return
        self.attacked.append(route)
        self._on_attack()
        with self._changed:
            self._under_attack += 1
        try:
            self._attack(exchange)
        finally:
            with self._changed:
                self._under_attack -= 1
                self._changed.notify_all()

    def _answer_well(self, exchange: Exchange) -> None:
        asked = exchange.path.partition("?")[0].split("/")
        match route_of(exchange):
            case "submit":
                url = json.loads(exchange.body)["audio_url"]
                exchange.json(self._transcript(self._jobs[url], "queued"))
            case "list":
                rows = [self._row(one, url) for url, one in reversed(self._jobs.items())]
                rows += [self._row(ID, str(TRANSCRIPT["audio_url"]))] * bool(self._target.running)
                rows.append(self._row(OTHERS_ID, "https://example.com/other.wav"))
                exchange.json({"page_details": {"prev_url": None}, "transcripts": rows})
            case "read" | "other":
                running = self.seen.count("read") <= self._target.running and asked[-1] != OTHERS_ID
                exchange.json(self._transcript(asked[-1], "processing" if running else "completed"))
            case "delete":
                exchange.json(self._transcript(asked[-1], "completed"))
            case "upload":
                exchange.json({"upload_url": f"{self.api.url}/uploaded/{self.seen.count('upload')}"})
            case "sentences" | "paragraphs" as what:
                exchange.json({"id": asked[-2], what: [{"text": TEXT}]})
            case "srt":
                exchange.answer(f"1\n00:00:00,000 --> 00:00:07,000\n{TEXT}\n".encode())
            case "vtt":
                exchange.answer(f"WEBVTT\n\n00:00.000 --> 00:07.000\n{TEXT}\n".encode())
            case "redacted-audio":
                exchange.json({"redacted_audio_url": f"{self.files.url}/redacted.mp3"})
            case "redacted.mp3" | "source.wav":
                exchange.answer(wav(1))
            case "chat":
                message = {"role": "assistant", "content": "An answer."}
                exchange.json({"choices": [{"message": message, "finish_reason": "stop"}]})
            case "transcribe":
                words = [{"text": word, "start": 0, "end": 100, "confidence": 0.9} for word in TEXT.split()]
                exchange.json({"text": TEXT, "words": words, "confidence": 0.9, "audio_duration_ms": 1000})
            case "models":
                exchange.json({"data": []})
            case "understanding":
                exchange.json(
                    {"speech_understanding": {"response": {"summarization": {"status": "success"}}}}
                )
            case "token":
                exchange.json({"token": TOKEN, "expires_in_seconds": 60})
            case "session":
                through_socket(in_session(_listens))(exchange)
            case other:
                raise AssertionError(f"it is not known what {other} is")

    def _transcript(self, transcript_id: str, status: str) -> dict[str, Any]:
        url = next((url for url, one in self._jobs.items() if one == transcript_id), TRANSCRIPT["audio_url"])
        text = TEXT if status == "completed" else None
        return {**TRANSCRIPT, "id": transcript_id, "status": status, "text": text, "audio_url": url}

    @staticmethod
    def _row(transcript_id: str, url: str) -> dict[str, Any]:
        created = datetime.fromtimestamp(time.time() - 60, UTC).isoformat()
        return {"id": transcript_id, "status": "completed", "created": created, "audio_url": url}

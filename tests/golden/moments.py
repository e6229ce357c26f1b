# SPDX-License-Identifier: Apache-2.0
"""
Moments of tasks, as an older commit left them: what was stored, deferred and written, in files of this folder.

A moment is a folder with a ``moment.json`` and, below ``out``, what lay at the output path. What is different on
every machine and day is kept as ``{name}``: the folder of a test, the emulator's address, an address that it gave
out, and moments as ``"{now+12.5}"``. A record that holds such a thing has ``{checksum}`` in the place of its checksum.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
#: The commit that wrote each set.
COMMITS = {"v1": "95cc5de", "v2": "b8e5695"}
#: Seconds from now: a number that is nearer is a moment.
_NEAR = 2 * 86_400
_NUMBER = re.compile(r'(?<![\w."-])\d{10}(?:\.\d+)?(?![\w."-])')
_NO_CHECKSUM = "{checksum}"
#: Of a record in JSON text.
_CHECKSUM = re.compile(r'(?<="checksum": ")[0-9a-f]{64}(?=")')
_MOMENT = re.compile(r'"\{now([+-][\d.]+)\}"')

#: The recording of moments that upload one.
RECORDING = b"RIFF" + bytes(40) + b"monday"


def prompt() -> str:
    """What the function of a ``@task.llm_gateway`` returns."""
    return "The quick brown fox is here."


class Placeholders:
    """
    Puts names in the place of what changes, and back.

    :param folder: of the test.
    :param host: of the emulator.
    :param now: seconds since the epoch.
    :param upload: the address of the uploaded recording, if there is one.
    """

    def __init__(self, folder: Path, host: str, now: float, upload: str | None = None) -> None:
        self._now = now
        self._values = {"{folder}": str(folder), "{host}": host}
        if upload is not None:
            hashed = hashlib.sha256(upload.encode()).hexdigest()
            # Before the host, which is a part of it.
            self._values = {"{upload}": upload, "{hash of upload}": hashed, **self._values}

    def put_in(self, text: str) -> str:
        """Return what is kept."""
        for name, value in self._values.items():
            text = text.replace(value, name)
        return _NUMBER.sub(self._moment, text)

    def _moment(self, found: re.Match[str]) -> str:
        seconds = float(found.group()) - self._now
        return f'"{{now{seconds:+.3f}}}"' if abs(seconds) < _NEAR else found.group()

    def fill(self, text: str) -> str:
        """Return what lay there."""
        for name, value in self._values.items():
            text = text.replace(name, value)
        return _MOMENT.sub(lambda found: f"{self._now + float(found.group(1)):.6f}", text)


@dataclass
class Moment:
    """
    A moment in the life of a task.

    :param content: ``operator`` and ``arguments``, ``jobs`` at the service, ``store`` as the values of the state
        store, ``deferral`` with ``trigger``, ``method``, ``kwargs`` and ``event``.
    """

    content: Mapping[str, Any]

    @property
    def jobs(self) -> list[dict[str, Any]]:
        return list(self.content["jobs"])

    @property
    def store(self) -> dict[str, Any]:
        return dict(self.content["store"])

    @property
    def deferral(self) -> dict[str, Any]:
        return dict(self.content["deferral"])


def names(prefix: str = "") -> list[str]:
    """The moments that are kept, such as ``v1/transcribe-stored``."""
    found = (path.parent for path in HERE.glob("v*/*/moment.json"))
    return sorted(
        name
        for folder in found
        if folder.name.startswith(prefix)
        for name in [f"{folder.parent.name}/{folder.name}"]
    )


def text_of(name: str) -> str:
    return (HERE / name / "moment.json").read_text()


def restore(name: str, folder: Path, host: str, *, age: float = 0.0, upload: str | None = None) -> Moment:
    """
    Put everything in its place.

    :param name: of the moment.
    :param folder: of the test.
    :param host: of the emulator.
    :param age: seconds that have passed since.
    :param upload: the address of the recording, where it was uploaded.
    """
    placeholders = Placeholders(folder, host, time.time() - age, upload)
    kept = HERE / name
    for path in sorted((kept / "out").rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(kept)
            target.parent.mkdir(parents=True, exist_ok=True)
            filled = placeholders.fill(path.read_text())
            if _NO_CHECKSUM in filled:
                filled = json.dumps(_with_checksums(json.loads(filled)))
            target.write_text(filled)
    return Moment(_with_checksums(json.loads(placeholders.fill(text_of(name)))))


def _with_checksums(value: Any) -> Any:
    """Return what was kept, with the checksums of all records in it."""
    if not isinstance(value, dict):
        return value
    filled = {key: _with_checksums(part) for key, part in value.items()}
    if filled.get("checksum") != _NO_CHECKSUM:
        return filled
    del filled["checksum"]
    text = json.dumps(_whole_numbers(filled), sort_keys=True, separators=(",", ":"))
    return {**filled, "checksum": hashlib.sha256(text.encode()).hexdigest()}


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole_numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def keep(name: str, content: Mapping[str, Any], folder: Path, placeholders: Placeholders) -> None:
    """
    Write a moment into this folder.

    :param name: such as ``v1/transcribe-stored``.
    :param content: see :class:`Moment`.
    :param folder: of the run that was stopped; its ``out`` is kept.
    :param placeholders: of that run.
    """
    kept = HERE / name
    kept.mkdir(parents=True)
    store = {key: _without_checksum(record, placeholders) for key, record in content["store"].items()}
    text = placeholders.put_in(json.dumps({**content, "store": store}, indent=1, sort_keys=True))
    (kept / "moment.json").write_text(f"{text}\n")
    for path in sorted((folder / "out").rglob("*")):
        if path.is_file() and not path.name.endswith(".partial"):
            target = kept / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            before = path.read_text()
            after = placeholders.put_in(before)
            target.write_text(after if after == before else _CHECKSUM.sub(_NO_CHECKSUM, after))


def _without_checksum(record: Any, placeholders: Placeholders) -> Any:
    text = json.dumps(record)
    return record if placeholders.put_in(text) == text else json.loads(_CHECKSUM.sub(_NO_CHECKSUM, text))

# SPDX-License-Identifier: Apache-2.0
"""Wishes that ride in the audio address, for callers in another process.

``https://example.com/a.wav?emulator=error:server*2,processing:30`` asks for a server fault on the
first two submissions of that address, and for jobs that take 30 seconds. Known words:

=================== ==================================================================================
``error:CLASS``     the job ends in that class of error; ``*N`` limits it to the first N submissions
``processing:N``    the job takes N seconds (``30`` or ``30s``) or N reads (``3polls``)
``duration:N``      the audio lasts N seconds (scripted engine only)
``lag:N``           the transcript shows up in the list N seconds late
``redacted:N``      the redacted audio is ready N seconds after the transcript
``warning:TEXT``    the transcript carries that warning in its metadata
``off:unavailable`` features nobody asked for answer with an "unavailable" object instead of null
=================== ==================================================================================
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from airflow_provider_assemblyai.emulator.core.errors import JOB_ERROR_CLASSES, ApiError


@dataclass(frozen=True, slots=True)
class UrlOptions:
    error: str | None = None
    error_times: int | None = None
    processing_seconds: float | None = None
    processing_polls: int | None = None
    duration: float | None = None
    lag: float = 0.0
    redacted: float = 0.0
    warning: str | None = None
    unavailable_objects: bool = False


NONE = UrlOptions()


def read_url_options(audio_url: str) -> UrlOptions:
    """The wishes in an address.

    :param audio_url: any address; one without an ``emulator`` parameter has no wishes.
    :raises ApiError: 400 for a word that is not known, so that a typing error cannot pass a test.
    """
    if "emulator=" not in audio_url:
        return NONE
    values: dict[str, object] = {}
    for text in parse_qs(urlsplit(audio_url).query).get("emulator", []):
        for wish in filter(None, text.split(",")):
            name, _, value = wish.partition(":")
            try:
                values.update(_one(name.strip(), value.strip()))
            except ValueError:
                raise ApiError(400, f"emulator marker not understood: {wish}") from None
    return UrlOptions(**values)  # type: ignore[arg-type]


def _one(name: str, value: str) -> dict[str, object]:
    if name == "error":
        kind, _, times = value.partition("*")
        if kind not in JOB_ERROR_CLASSES:
            raise ValueError(kind)
        return {"error": kind, "error_times": int(times) if times else None}
    if name == "processing":
        for suffix in ("polls", "poll", "p"):
            if value.endswith(suffix):
                return {"processing_polls": int(value.removesuffix(suffix))}
        return {"processing_seconds": float(value.removesuffix("s"))}
    if name in {"duration", "lag", "redacted"}:
        seconds = float(value.removesuffix("s"))
        if not 0 <= seconds < 1e6:
            raise ValueError(value)
        return {name: seconds}
    if name == "warning" and value:
        return {"warning": value}
    if name == "off" and value == "unavailable":
        return {"unavailable_objects": True}
    raise ValueError(name)


def host_of(url: str) -> str:
    """The host of an address in lower case, empty when there is none."""
    with contextlib.suppress(ValueError):
        return urlsplit(url).hostname or ""
    return ""

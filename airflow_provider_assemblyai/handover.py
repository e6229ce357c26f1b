# SPDX-License-Identifier: Apache-2.0
"""How one recording gets to the service, what identifies it, and how long it is."""

from __future__ import annotations

import wave
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal

from airflow_provider_assemblyai import storage
from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import public_url
from airflow_provider_assemblyai.storage import Audio, AudioBody, Transfer

#: A shortfall of the transcribed audio below both of these is rounding.
_SHORTFALL_SECONDS = 2.0
_SHORTFALL_SHARE = 0.05


class AudioSource:
    """
    The audio of one job; looked for at first use, because after a deferral it may be gone and not needed.

    :param audio: the user's argument.
    :param transfer: the user's argument.
    :param expiry: seconds that a signed URL works.
    :param send: sends a call.
    :param mask: registers a secret with Airflow's log masker.
    :param say: logs a sentence.
    """

    def __init__(
        self,
        audio: object,
        transfer: Transfer,
        expiry: float,
        *,
        send: Callable[[Any], Any],
        mask: Callable[[str], None],
        say: Callable[..., None],
    ) -> None:
        self._audio = audio
        self._transfer: Transfer = transfer
        self._expiry = expiry
        self._send = send
        self._mask = mask
        self._say = say

    @cached_property
    def located(self) -> Audio:
        return storage.locate(self._audio)

    @cached_property
    def way(self) -> Literal["url", "presign", "upload"]:
        return storage.plan(self.located, self._transfer)

    def address(self) -> str:
        """Return the address to submit: signed anew for ``presign``, after uploading for ``upload``."""
        if self.way == "url":
            assert self.located.url is not None
            return self.located.url
        if self.way == "presign":
            url = storage.presign(self.located, self._expiry)
            self._mask(url)
            return url
        body = AudioBody(self.located)
        uploaded: str = self._send(transcripts.upload(body))
        self._say("Uploaded %s: %d bytes, SHA-256 %s.", self.located.shown, body.sent_bytes, body.sha256)
        return uploaded

    def identity(self) -> str:
        """Return what stays the same while the audio does, whatever address it has."""
        audio = self.located
        if audio.url is not None:
            return f"url:{public_url(audio.url)}"
        assert audio.path is not None
        version = storage.version_of(audio)
        if version is not None:
            return f"store:{audio.shown}:{version}"
        body = AudioBody(audio)
        for _ in body.open():
            pass
        return f"bytes:{body.sent_bytes}:{body.sha256}"

    def duration(self, config: Mapping[str, Any]) -> float | None:
        """
        Return the seconds of audio that were asked for, where that can be known.

        :param config: its ``audio_start_from`` and ``audio_end_at`` cut the audio.
        """
        whole = _seconds(self.located)
        if whole is None:
            return None
        end = config.get("audio_end_at")
        end = whole if end is None else min(whole, end / 1000)
        return float(max(0.0, end - (config.get("audio_start_from") or 0) / 1000))


def _seconds(audio: Audio) -> float | None:
    if audio.path is None or audio.path.protocol not in ("", "file", "local"):
        return None
    try:
        with wave.open(audio.path.path, "rb") as sound:
            return sound.getnframes() / sound.getframerate()
    except (wave.Error, EOFError, OSError, ZeroDivisionError):
        pass
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(audio.path.path) as container:
            return None if container.duration is None else container.duration / 1_000_000
    except (av.FFmpegError, OSError, ValueError):
        return None


def shortfall(expected: float | None, transcribed: float | None) -> str | None:
    """
    Return a warning if much less was transcribed than was sent.

    :param expected: seconds, if known.
    :param transcribed: seconds, according to the service.
    """
    if expected is None or transcribed is None:
        return None
    missing = expected - transcribed
    if missing <= _SHORTFALL_SECONDS or missing <= expected * _SHORTFALL_SHARE:
        return None
    return f"Only {transcribed:.0f} of {expected:.0f} seconds of audio were transcribed: the file may be damaged."

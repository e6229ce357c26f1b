# SPDX-License-Identifier: Apache-2.0
"""The service's own Python client of sync speech to text must not notice that it talks to the emulator."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import assemblyai as aai
import pytest
from assemblyai.async_client import AsyncClient
from assemblyai.sync.v1 import (
    AsyncSyncTranscriber,
    SyncTranscriber,
    SyncTranscriptError,
    SyncTranscriptionConfig,
)

from airflow_provider_assemblyai.emulator import Emulator
from tests.support.emulator_api import wav

# The client uses an older interface of its own data library.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:assemblyai")

SPOKEN = "The quick brown fox."
PCM = bytes(2 * 16_000)
PCM_CONFIG = SyncTranscriptionConfig(sample_rate=16_000, channels=1, timestamps=True)


@pytest.fixture
def settings(emulator: Emulator) -> aai.Settings:
    emulator.set_transcript(SPOKEN)
    return aai.Settings(api_key=emulator.api_key, sync_base_url=emulator.url)


@pytest.fixture
def transcriber(settings: aai.Settings) -> Iterator[SyncTranscriber]:
    with SyncTranscriber(client=aai.Client(settings=settings)) as transcriber:
        yield transcriber


def pieces() -> Iterator[bytes]:
    for start in range(0, len(PCM), 3200):
        yield PCM[start : start + 3200]


async def pieces_later() -> AsyncIterator[bytes]:
    for piece in pieces():
        await asyncio.sleep(0)
        yield piece


def timed(words: Any) -> list[str]:
    assert all(word.start < word.end for word in words)
    return [word.text for word in words]


@pytest.mark.parametrize("given", ["path", "bytes", "file", "pcm"])
def test_a_whole_clip(transcriber: SyncTranscriber, emulator: Emulator, tmp_path: Path, given: str) -> None:
    (path := tmp_path / 'the "first".wav').write_bytes(wav(1, 16_000))
    config = SyncTranscriptionConfig(timestamps=True, prompt="Foxes.", keyterms_prompt=["fox", " "])
    if given == "pcm":
        (path := tmp_path / "a.pcm").write_bytes(PCM)
        config = PCM_CONFIG
    data: Any = {"bytes": path.read_bytes(), "file": io.BytesIO(path.read_bytes())}.get(given, str(path))
    found = transcriber.transcribe(data, config)
    assert found.text == SPOKEN
    assert timed(found.words) == SPOKEN.split()
    assert 0 < found.confidence <= 1
    assert found.audio_duration_ms == 1000
    assert found.session_id
    assert found.request_time_ms is not None
    assert emulator.counters()["clips"] == 1


def test_a_clip_without_options(transcriber: SyncTranscriber) -> None:
    found = transcriber.transcribe(wav(1, 16_000))
    assert found.text == SPOKEN
    assert {word.start for word in found.words} == {None}


def test_options_that_the_client_makes_smaller(transcriber: SyncTranscriber) -> None:
    config = SyncTranscriptionConfig(
        conversation_context=[" Hello. ", "", *("Where is it?" for _ in range(600))],
        keyterms_prompt=[" fox ", ""] * 100,
        language_codes=["en", "es"],
    )
    assert transcriber.transcribe(wav(1, 16_000), config).text == SPOKEN
    one_turn = SyncTranscriptionConfig(conversation_context="Where is it?", prompt="Foxes.")
    assert transcriber.transcribe(wav(1, 16_000), one_turn).text == SPOKEN


def test_many_at_the_same_time(transcriber: SyncTranscriber, emulator: Emulator) -> None:
    futures = [transcriber.transcribe_async(wav(1, 16_000)) for _ in range(5)]
    assert {future.result().text for future in futures} == {SPOKEN}
    assert emulator.counters()["clips"] == 5


def test_live(transcriber: SyncTranscriber, emulator: Emulator) -> None:
    assert transcriber.transcribe_live(pieces(), PCM_CONFIG).audio_duration_ms == 1000
    assert timed(transcriber.transcribe_live(io.BytesIO(PCM), PCM_CONFIG).words) == SPOKEN.split()
    odd_pieces: Any = (b"", bytearray(PCM[:100]), memoryview(PCM[100:]), b"")
    assert transcriber.transcribe_live(iter(odd_pieces), PCM_CONFIG).audio_duration_ms == 1000
    with transcriber.open_live(PCM_CONFIG) as session:
        for piece in pieces():
            session.write(piece)
    assert session.result().text == SPOKEN
    assert emulator.counters()["clips"] == 4


def test_a_live_clip_that_is_given_up(transcriber: SyncTranscriber, emulator: Emulator) -> None:
    session = transcriber.open_live(PCM_CONFIG)
    session.write(PCM[:3200])
    session.abort()
    with pytest.raises(RuntimeError, match="aborted"):
        session.result()
    assert transcriber.transcribe(wav(1, 16_000)).text == SPOKEN
    assert emulator.counters()["clips"] == 1, "half a clip is none"


def test_asynchronous(settings: aai.Settings, emulator: Emulator) -> None:
    async def run() -> None:
        client = AsyncClient(settings=settings)
        async with AsyncSyncTranscriber(client=client) as transcriber:
            assert await transcriber.warm()
            found = await asyncio.gather(
                transcriber.transcribe(wav(1, 16_000)),
                transcriber.transcribe(PCM, PCM_CONFIG),
                transcriber.transcribe_live(pieces_later(), PCM_CONFIG),
                transcriber.transcribe_live(pieces(), PCM_CONFIG),
            )
            assert {one.text for one in found} == {SPOKEN}
            async with transcriber.open_live(PCM_CONFIG) as session:
                for piece in pieces():
                    session.write(piece)
            assert (await session.result()).text == SPOKEN
            emulator.fault("refuse_clip", error="too_many_requests", retry_after=4)
            with pytest.raises(SyncTranscriptError) as caught:
                await transcriber.transcribe(wav(1, 16_000))
            assert (caught.value.status_code, caught.value.retry_after) == (429, 4)
        await client.aclose()

    asyncio.run(run())
    assert emulator.counters()["clips"] == 5


def test_warm(transcriber: SyncTranscriber, emulator: Emulator) -> None:
    assert transcriber.warm()
    assert emulator.requests[-1]["path"] == "/v1/warm"
    settings = aai.Settings(api_key="any", sync_base_url="http://127.0.0.1:9")
    assert not SyncTranscriber(client=aai.Client(settings=settings)).warm()


@pytest.mark.parametrize("form", ["problem", "code", "detail"])
@pytest.mark.parametrize(
    ("error", "status"), [("capacity_exceeded", 503), ("inference_timeout", 504), ("bad_audio", 400)]
)
def test_errors(transcriber: SyncTranscriber, emulator: Emulator, error: str, status: int, form: str) -> None:
    emulator.fault("refuse_clip", error=error, form=form, retry_after=2)
    with pytest.raises(SyncTranscriptError) as caught:
        transcriber.transcribe(wav(1, 16_000))
    found = caught.value
    assert found.status_code == status
    assert found.error_code == (None if form == "detail" else error)
    assert found.retry_after == (2 if status == 503 else None)
    assert str(found)


@pytest.mark.parametrize(
    ("audio", "config", "code"),
    [
        (wav(0.05, 16_000), None, "audio_too_short"),
        (wav(121, 8000), None, "audio_too_large"),
        (wav(1, 11_025), None, "unsupported_media_type"),
        (b"ID3 and no WAV" + bytes(5000), None, "unsupported_media_type"),
        (PCM[:-1], PCM_CONFIG, "bad_audio"),
    ],
)
def test_audio_that_is_refused(
    transcriber: SyncTranscriber, emulator: Emulator, audio: bytes, config: Any, code: str
) -> None:
    with pytest.raises(SyncTranscriptError) as caught:
        transcriber.transcribe(audio, config)
    assert caught.value.error_code == code
    assert emulator.counters()["clips"] == 0


def test_a_wrong_key(emulator: Emulator) -> None:
    settings = aai.Settings(api_key="wrong", sync_base_url=emulator.url)
    with pytest.raises(SyncTranscriptError) as caught:
        SyncTranscriber(client=aai.Client(settings=settings)).transcribe(wav(1, 16_000))
    assert (caught.value.status_code, caught.value.error_code) == (401, "unauthorized")

# SPDX-License-Identifier: Apache-2.0
"""The service's own Python SDK, with and without asyncio: transcripts, streaming, LLM Gateway."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import assemblyai as aai
from assemblyai.streaming import v3
from steps import (
    AUDIO_FILE,
    AUDIO_URL,
    KEY,
    MEETING,
    MODEL,
    TEXT,
    URL,
    emulator,
    refuse_once,
    refused,
    run,
    statuses,
    step,
)

HOST = URL.removeprefix("https://")
FRAME = bytes(3200)  # 100 ms at 16 kHz
QUESTION: Any = [{"role": "user", "content": MEETING}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "note",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}
FORM: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]},
    },
}


def settings(key: str = KEY) -> aai.Settings:
    return aai.Settings(
        api_key=key, base_url=URL, sync_base_url=URL, llm_gateway_base_url=URL, polling_interval=0.05
    )


client = aai.Client(settings=settings())
transcriber = aai.Transcriber(client=client)


@step("a file")
def a_file() -> None:
    transcript = transcriber.transcribe(AUDIO_FILE)
    assert transcript.status == aai.TranscriptStatus.completed, transcript.error
    assert transcript.text == TEXT
    assert transcript.audio_duration == 12


@step("a URL, words, utterances, subtitles")
def a_url() -> None:
    transcript = transcriber.transcribe(AUDIO_URL, aai.TranscriptionConfig(speaker_labels=True))
    assert " ".join(word.text for word in transcript.words or []) == TEXT
    assert {turn.speaker for turn in transcript.utterances or []} <= {"A", "B"}
    assert transcript.utterances
    assert transcript.export_subtitles_srt().startswith("1\n00:00:00,000 --> ")
    assert transcript.export_subtitles_vtt(chars_per_caption=20).startswith("WEBVTT")
    assert " ".join(sentence.text for sentence in transcript.get_sentences()) == TEXT
    assert transcript.get_paragraphs()
    assert transcript.word_search(["snow"])[0].count == 1


@step("async")
def transcribe_async() -> None:
    async def transcribe() -> Any:
        async with aai.AsyncClient(settings=settings()) as other:
            return await aai.AsyncTranscriber(client=other).transcribe(AUDIO_FILE)

    assert asyncio.run(transcribe()).text == TEXT


@step("a short clip, whole and live")
def short_clip() -> None:
    config = aai.SyncTranscriptionConfig(timestamps=True)
    with aai.SyncTranscriber(client=client) as short:
        assert short.warm()
        clip = short.transcribe(AUDIO_FILE, config)
        assert " ".join(word.text for word in clip.words) == clip.text == TEXT
        assert clip.audio_duration_ms == 12_000
        with Path(AUDIO_FILE).open("rb") as audio:
            assert short.transcribe_live(iter(lambda: audio.read(32_000), b""), config).text == TEXT
    with aai.SyncTranscriber(client=aai.Client(settings=settings("wrong"))) as other:
        error = refused(lambda: other.transcribe(AUDIO_FILE), aai.SyncTranscriptError)
    assert isinstance(error, aai.SyncTranscriptError)
    assert error.status_code == 401


@step("many at once, and their list")
def many() -> None:
    group = transcriber.transcribe_group([f"https://example.com/{number}.wav" for number in range(4)])
    assert {transcript.text for transcript in group.transcripts} == {TEXT}
    page = transcriber.list_transcripts(aai.ListTranscriptParameters(limit=3))
    assert len(page.transcripts) == 3


@step("redacted audio")
def redacted_audio() -> None:
    config = aai.TranscriptionConfig().set_redact_pii(
        policies=[aai.PIIRedactionPolicy.person_name], redact_audio=True
    )
    assert transcriber.transcribe(AUDIO_URL, config).get_redacted_audio_url().startswith("http")


@step("Speech Understanding")
def understanding() -> None:
    wanted: Any = {"request": {"translation": {"target_languages": ["fr"]}}}
    transcript = transcriber.transcribe(AUDIO_URL, aai.TranscriptionConfig(speech_understanding=wanted))
    body: Any = transcript.json_response
    assert body["translated_texts"]["fr"]


@step("a failed transcript")
def failed() -> None:
    transcript = transcriber.transcribe(f"{AUDIO_URL}?emulator=error:download")
    assert transcript.status == aai.TranscriptStatus.error
    assert (transcript.error or "").startswith("Download error")


@step("a refused key")
def refused_key() -> None:
    other = aai.Transcriber(client=aai.Client(settings=settings("wrong")))
    refused(lambda: other.submit(AUDIO_URL), aai.TranscriptError)


def options(**changes: Any) -> v3.RealTimeTranscriberOptions:
    given = {"api_key": KEY, "api_host": HOST, "connect_timeout": 60, "terminate_timeout": 60}
    return v3.RealTimeTranscriberOptions(**{**given, **changes})


def stream(options: v3.RealTimeTranscriberOptions, model: str, frames: int, **wanted: Any) -> list[Any]:
    """Stream silence, which the emulator hears as the text, and return all events."""
    events: list[Any] = []
    began = threading.Event()
    socket = v3.RealTimeTranscriber(options)
    for event in v3.RealTimeEvents:
        socket.on(event, lambda _, message: events.append(message))
    for event in (v3.RealTimeEvents.Begin, v3.RealTimeEvents.Error):
        socket.on(event, lambda *_: began.set())
    socket.connect(v3.RealTimeParameters(sample_rate=16_000, speech_model=v3.SpeechModel(model), **wanted))
    assert began.wait(60)
    socket.stream([FRAME] * frames)
    socket.disconnect(terminate=True)
    return events


def text_of(events: list[Any]) -> str:
    ended = {event.turn_order: event.transcript for event in events if getattr(event, "end_of_turn", False)}
    return " ".join(ended.values())


@step("streaming")
def streaming() -> None:
    emulator("/clock", {"speed": 20})
    for model in ("universal-streaming-english", "u3-rt-pro", "universal-3-5-pro"):
        wanted = {"format_turns": True} if model.startswith("universal-streaming") else {}
        events = stream(options(), model, 36, **wanted)
        assert text_of(events) == TEXT, model
        assert events[-1].audio_duration_seconds == 4
    assert {session["state"] for session in emulator("/sessions")} == {"terminated"}


@step("streaming, async")
def streaming_async() -> None:
    async def capture() -> list[Any]:
        events: list[Any] = []
        began = asyncio.Event()
        socket = v3.AsyncRealTimeTranscriber(options())
        for event in v3.RealTimeEvents:
            socket.on(event, lambda _, message: events.append(message))
        socket.on(v3.RealTimeEvents.Begin, lambda *_: began.set())
        await socket.connect(v3.RealTimeParameters(sample_rate=16_000, speech_model=v3.SpeechModel.u3_rt_pro))
        await asyncio.wait_for(began.wait(), 60)
        await socket.stream([FRAME] * 36)
        await socket.disconnect(terminate=True)
        return events

    emulator("/clock", {"speed": 20})
    assert text_of(asyncio.run(capture())) == TEXT


@step("streaming with a token")
def streaming_token() -> None:
    emulator("/clock", {"speed": 20})
    token = v3.RealTimeTranscriber(options()).create_temporary_token(expires_in_seconds=60)
    assert text_of(stream(options(api_key=None, token=token), "u3-rt-pro", 36)) == TEXT


@step("streaming with a refused key")
def streaming_refused_key() -> None:
    errors = stream(options(api_key="wrong"), "u3-rt-pro", 0)
    assert [error.code for error in errors if isinstance(error, v3.RealTimeError)] == [1008]


gateway = aai.LLMGateway(client=client)


@step("chat, structured output, tools")
def chat() -> None:
    done = gateway.chat.completions.create(model=MODEL, messages=QUESTION)
    assert done.choices[0].message.content in MEETING
    done = gateway.chat.completions.create(model=MODEL, messages=QUESTION, response_format=FORM)
    assert json.loads(done.choices[0].message.content or "{}")["title"] in MEETING
    done = gateway.chat.completions.create(model=MODEL, messages=QUESTION, tools=[TOOL])
    assert [call.function.name for call in done.choices[0].message.tool_calls or []] == ["note"]


@step("streamed answer")
def streamed_answer() -> None:
    whole = gateway.chat.completions.create(model=MODEL, messages=QUESTION)
    chunks = gateway.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content


@step("a 429")
def too_many() -> str:
    refuse_once()
    error = refused(
        lambda: gateway.chat.completions.create(model=MODEL, messages=QUESTION), aai.LLMGatewayError
    )
    assert isinstance(error, aai.LLMGatewayError)
    assert error.status_code == 429
    assert statuses() == [429]
    return "an error, the SDK does not retry"


if __name__ == "__main__":
    run()

# SPDX-License-Identifier: Apache-2.0
"""LlamaIndex's reader, which uses the service's Python SDK."""

from __future__ import annotations

import assemblyai
from llama_index.readers.assemblyai import AssemblyAIAudioTranscriptReader, TranscriptFormat
from steps import AUDIO_FILE, AUDIO_URL, KEY, TEXT, refused, run, step


def load(path: str, kind: TranscriptFormat = TranscriptFormat.TEXT, key: str = KEY) -> list[str]:
    reader = AssemblyAIAudioTranscriptReader(path, transcript_format=kind, api_key=key)
    return [document.text for document in reader.load_data()]


@step("a file")
def a_file() -> None:
    assert load(AUDIO_FILE) == [TEXT]


@step("a URL, sentences, paragraphs, subtitles")
def a_url() -> None:
    assert load(AUDIO_URL) == [TEXT]
    assert " ".join(load(AUDIO_URL, TranscriptFormat.SENTENCES)) == TEXT
    assert " ".join(load(AUDIO_URL, TranscriptFormat.PARAGRAPHS)) == TEXT
    assert load(AUDIO_URL, TranscriptFormat.SUBTITLES_SRT)[0].startswith("1\n")
    assert load(AUDIO_URL, TranscriptFormat.SUBTITLES_VTT)[0].startswith("WEBVTT")


@step("words and utterances")
def utterances() -> None:
    config = assemblyai.TranscriptionConfig(speaker_labels=True)
    (document,) = AssemblyAIAudioTranscriptReader(AUDIO_URL, config=config, api_key=KEY).load_data()
    assert document.metadata["utterances"]
    assert " ".join(word["text"] for word in document.metadata["words"]) == TEXT


@step("a failed transcript")
def failed() -> None:
    error = refused(lambda: load(f"{AUDIO_URL}?emulator=error:download"), ValueError)
    assert "Download error" in str(error)


@step("a refused key")
def refused_key() -> None:
    refused(lambda: load(AUDIO_URL, key="wrong"), assemblyai.TranscriptError)


if __name__ == "__main__":
    run()

# SPDX-License-Identifier: Apache-2.0
"""Haystack's transcriber, which uses the service's Python SDK, alone and in a pipeline."""

from __future__ import annotations

from typing import Any

from assemblyai_haystack.transcriber import AssemblyAITranscriber
from haystack import Pipeline
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from steps import AUDIO_FILE, AUDIO_URL, KEY, TEXT, refused, run, step


def transcribe(path: str, key: str = KEY, **options: bool) -> dict[str, Any]:
    return dict(AssemblyAITranscriber(api_key=key).run(file_path=path, **options))


@step("a file")
def a_file() -> None:
    (document,) = transcribe(AUDIO_FILE)["transcription"]
    assert document.content == TEXT


@step("a URL in a pipeline")
def pipeline() -> None:
    store = InMemoryDocumentStore()
    indexing = Pipeline()
    indexing.add_component("transcriber", AssemblyAITranscriber(api_key=KEY))
    indexing.add_component("writer", DocumentWriter(store))
    indexing.connect("transcriber.transcription", "writer.documents")
    indexing.run({"transcriber": {"file_path": AUDIO_URL}})
    assert [document.content for document in store.filter_documents()] == [TEXT]


@step("utterances")
def utterances() -> None:
    found = transcribe(AUDIO_URL, speaker_labels=True)["speaker_labels"]
    assert " ".join(document.content for document in found) == TEXT
    assert {document.meta["speaker"] for document in found} <= {"A", "B"}


@step("summary")
def summary() -> None:
    (document,) = transcribe(AUDIO_URL, summarization=True)["summarization"]
    assert document.content


@step("a failed transcript")
def failed() -> None:
    error = refused(lambda: transcribe(f"{AUDIO_URL}?emulator=error:download"), ValueError)
    assert "Download error" in str(error)


@step("a refused key")
def refused_key() -> None:
    refused(lambda: transcribe(AUDIO_URL, key="wrong"), Exception)


if __name__ == "__main__":
    run()

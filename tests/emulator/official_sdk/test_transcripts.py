# SPDX-License-Identifier: Apache-2.0
"""The service's own Python client must not notice that it talks to the emulator."""

from __future__ import annotations

from pathlib import Path

import assemblyai as aai
import httpx
import pytest
from assemblyai.prerecorded.v2.api import delete_transcript, get_transcript

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.emulator.text.pii_patterns import NEWER_POLICIES, POLICIES
from tests.support.emulator_api import wav

# The client uses an older interface of its own data library.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:assemblyai")


ROOT = Path(__file__).parents[3]


@pytest.fixture
def client(emulator: Emulator) -> aai.Client:
    settings = aai.Settings(api_key=emulator.api_key, base_url=emulator.url, polling_interval=0.01)
    return aai.Client(settings=settings)


@pytest.fixture
def transcriber(client: aai.Client) -> aai.Transcriber:
    return aai.Transcriber(client=client)


def test_upload_transcribe_and_export(
    transcriber: aai.Transcriber, emulator: Emulator, tmp_path: Path
) -> None:
    sound = tmp_path / "call.wav"
    sound.write_bytes(wav(12))
    config = aai.TranscriptionConfig(speaker_labels=True, auto_highlights=True, sentiment_analysis=True)
    transcript = transcriber.transcribe(str(sound), config)
    assert transcript.status == aai.TranscriptStatus.completed
    assert transcript.text
    assert transcript.audio_duration == 12
    assert transcript.utterances
    assert transcript.words
    assert transcript.auto_highlights
    assert {turn.speaker for turn in transcript.utterances} == {"A", "B"}
    assert transcript.words[0].start == 0
    assert transcript.auto_highlights.status == aai.StatusResult.success
    assert transcript.sentiment_analysis
    assert transcript.iab_categories is None
    assert transcript.export_subtitles_srt().startswith("1\n00:00:00,000 --> ")
    assert transcript.export_subtitles_vtt(chars_per_caption=20).startswith("WEBVTT")
    assert " ".join(item.text for item in transcript.get_sentences()) == transcript.text
    assert " ".join(item.text for item in transcript.get_paragraphs()) == transcript.text
    first = transcript.words[0].text
    assert any(match.count for match in transcript.word_search([first]))
    assert emulator.counters()["uploads"] == 1


def test_list_and_pages(transcriber: aai.Transcriber) -> None:
    ids = [transcriber.submit(f"https://example.com/{number}.wav").id for number in range(5)]
    page = transcriber.list_transcripts(aai.ListTranscriptParameters(limit=3))
    assert [item.id for item in page.transcripts] == ids[:1:-1]
    rest = transcriber.list_transcripts(
        aai.ListTranscriptParameters(before_id=page.page_details.before_id_of_prev_url, limit=3)
    )
    assert [item.id for item in rest.transcripts] == ids[1::-1]


def test_a_failed_job_and_a_refused_one(transcriber: aai.Transcriber) -> None:
    failed = transcriber.transcribe("https://example.com/a.wav?emulator=error:download_unable")
    assert failed.status == aai.TranscriptStatus.error
    assert failed.error
    assert failed.error.startswith("Download error, unable to download")
    with pytest.raises(aai.TranscriptError, match="speech_models"):
        transcriber.transcribe("https://example.com/a.wav", aai.TranscriptionConfig(speech_models=["none"]))


def test_a_wrong_key(emulator: Emulator) -> None:
    client = aai.Client(settings=aai.Settings(api_key="wrong", base_url=emulator.url))
    with pytest.raises(aai.TranscriptError, match="API token missing/invalid"):
        aai.Transcriber(client=client).submit("https://example.com/a.wav")


def test_waiting_by_id_and_deleting(transcriber: aai.Transcriber, emulator: Emulator) -> None:
    transcript_id = transcriber.submit("https://example.com/a.wav?emulator=processing:3polls").id
    assert transcript_id
    with httpx.Client(base_url=emulator.url, headers={"Authorization": emulator.api_key}) as http:
        done = get_transcript(http, transcript_id)
        assert done.status == aai.TranscriptStatus.processing
        while get_transcript(http, transcript_id).status != aai.TranscriptStatus.completed:
            pass
        scrubbed = delete_transcript(http, transcript_id)
    assert scrubbed.text == "Deleted by user."
    assert scrubbed.audio_url == "http://deleted_by_user"


def test_redacted_audio(transcriber: aai.Transcriber, tmp_path: Path) -> None:
    config = aai.TranscriptionConfig().set_redact_pii(
        policies=[aai.PIIRedactionPolicy.person_name], redact_audio=True
    )
    transcript = transcriber.transcribe("https://example.com/a.wav", config)
    target = tmp_path / "redacted.mp3"
    transcript.save_redacted_audio(str(target))
    assert target.read_bytes()[:3] == b"ID3"


def test_the_page_names_the_policies_that_find_nothing() -> None:
    known = [policy.value for policy in aai.PIIRedactionPolicy]
    lacking = sorted(set(known) - POLICIES.keys() - NEWER_POLICIES.keys())
    words = (
        ", ".join(f"`{name}`" for name in lacking[:-1])
        + f" and `{lacking[-1]}` are accepted and find nothing"
    )
    assert words in (ROOT / "docs/testing/emulator.md").read_text()

# SPDX-License-Identifier: Apache-2.0
"""Real recognition of files: a recording goes in, its words come out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import av
import pytest
import requests

from airflow_provider_assemblyai.emulator import Emulator, serve
from tests.support.emulator_api import Api, wav
from tests.support.streams import eventually

SAMPLES = Path(__file__).parents[3] / "samples"
CALL = SAMPLES / "phone-call.wav"


@pytest.fixture(scope="module")
def listening() -> Iterator[Emulator]:
    with serve(engine="whisper", allow_files=[SAMPLES], api_keys=("k",)) as emulator:
        yield emulator


@pytest.fixture
def client(listening: Emulator) -> Iterator[Api]:
    listening.reset()
    with requests.Session() as session:
        yield Api(listening.url, "k", session)


@pytest.fixture(scope="module")
def website(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    root = tmp_path_factory.mktemp("website")
    (root / "page.html").write_text("<!DOCTYPE html><html><body>Sign in</body></html>")
    (root / "notes.txt").write_text("Not a recording.\n")
    (root / "noise.bin").write_bytes(bytes(range(256)) * 40)
    (root / "short.wav").write_bytes(wav(0.1))
    (root / "silence.wav").write_bytes(wav(3))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def finish(api: Api, transcript_id: str) -> dict[str, Any]:
    """The transcript when its job has ended."""
    eventually(lambda: api.read(transcript_id)["status"] in {"completed", "error"}, seconds=300)
    return api.read(transcript_id)


def spoken(side: str | None = None) -> list[str]:
    lines = (SAMPLES / "phone-call.txt").read_text().splitlines()
    return plain(
        " ".join(
            text for speaker, _, text in (line.partition(": ") for line in lines) if side in (None, speaker)
        )
    )


def plain(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def share_of_right_words(expected: list[str], found: list[str]) -> float:
    """One minus the word error rate."""
    row = list(range(len(found) + 1))
    for at, word in enumerate(expected, start=1):
        diagonal, row[0] = row[0], at
        for column, other in enumerate(found, start=1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other)),
            )
    return 1 - row[-1] / len(expected)


def test_a_call_is_recognised_channel_by_channel(client: Api, listening: Emulator) -> None:
    done = finish(client, client.submit(client.upload(CALL.read_bytes()), multichannel=True))
    assert done["audio_channels"] == 2
    assert share_of_right_words(spoken(), plain(done["text"])) >= 0.9
    sides = {}
    for channel in ("1", "2"):
        words = [word for word in done["words"] if word["channel"] == channel]
        assert {word["speaker"] for word in words} == {channel}
        starts = [word["start"] for word in words]
        assert starts == sorted(starts)
        sides[channel] = plain(" ".join(word["text"] for word in words))
    order = [line.partition(": ")[0] for line in (SAMPLES / "phone-call.txt").read_text().splitlines()]
    for channel, speaker in zip(("1", "2"), dict.fromkeys(order), strict=True):
        assert share_of_right_words(spoken(speaker), sides[channel]) >= 0.9
    assert [turn["channel"] for turn in done["utterances"]] == ["1", "2"] * (len(order) // 2)
    assert listening.counters()["billed_seconds"] == pytest.approx(2 * done["audio_duration"], abs=1)


def test_a_set_transcript_replaces_the_recognition(client: Api, listening: Emulator) -> None:
    audio = client.upload(CALL.read_bytes())
    listening.set_transcript("These words are not in the recording.")
    scripted = client.submit(audio)
    listening.set_transcript(None)
    assert finish(client, scripted)["text"] == "These words are not in the recording."
    assert share_of_right_words(spoken(), plain(finish(client, client.submit(audio))["text"])) >= 0.9


def test_other_formats_and_a_cut(client: Api, tmp_path: Path) -> None:
    for suffix, codec in (("mp3", "libmp3lame"), ("opus", "libopus"), ("m4a", "aac"), ("flac", "flac")):
        path = tmp_path / f"call.{suffix}"
        encode(CALL, path, codec, seconds=10)
        done = finish(client, client.submit(client.upload(path.read_bytes()), speaker_labels=True))
        expected = spoken()[: len(plain(done["text"]))]
        assert share_of_right_words(expected, plain(done["text"])) >= 0.9, suffix
        assert {word["speaker"] for word in done["words"]} == {"A"}
        assert "tells no speakers apart" in done["metadata"]["warnings"][0]["message"]
    two_speakers = f"{CALL.as_uri()}?emulator=speakers:2"
    cut = finish(
        client, client.submit(two_speakers, audio_start_from=5000, audio_end_at=9500, speaker_labels=True)
    )
    assert all(4900 <= word["start"] <= word["end"] <= 9600 for word in cut["words"])
    assert 5 <= len(cut["words"]) < 25
    assert cut["audio_duration"] > 20
    by_turns = [turn["speaker"] for turn in cut["utterances"]]
    assert by_turns == ["A", "B", "A", "B", "A", "B"][: len(by_turns)]
    assert "B" in by_turns
    assert "by turns" in cut["metadata"]["warnings"][0]["message"]


def encode(source: Path, target: Path, codec: str, seconds: float) -> None:
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        track = reader.streams.audio[0]
        output = writer.add_stream(codec, rate=track.rate)
        assert isinstance(output, av.AudioStream)
        for frame in reader.decode(track):
            if frame.time is None or frame.time > seconds:
                break
            writer.mux(output.encode(frame))
        writer.mux(output.encode(None))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("page.html", "File does not appear to contain audio. File type is text/html ("),
        ("notes.txt", "File does not appear to contain audio. File type is text/plain ("),
        ("noise.bin", "File does not appear to contain audio. File type is application/octet-stream ("),
        ("short.wav", "Audio duration is too short."),
        ("gone.wav", "Download error to {0}, 404 Client Error: File not found for url: {0}"),
    ],
)
def test_files_that_cannot_be_recognised(client: Api, website: str, name: str, text: str) -> None:
    url = f"{website}/{name}"
    failed = finish(client, client.submit(url))
    assert failed["status"] == "error"
    assert failed["error"].startswith(text.format(url))


def test_unreachable_and_forbidden_files(client: Api) -> None:
    url = "http://127.0.0.1:9/call.wav"
    assert finish(client, client.submit(url))["error"].startswith(
        f"Download error, unable to download {url}. "
    )
    for path in ("/etc/hostname", f"{SAMPLES}/../pyproject.toml"):
        url = f"file://{path}"
        assert (
            finish(client, client.submit(url))["error"] == f"Download error, unable to access file at {url}"
        )


def test_silence_and_the_wrong_language(client: Api, website: str) -> None:
    silence = f"{website}/silence.wav"
    done = finish(client, client.submit(silence))
    assert (done["status"], done["text"], done["words"]) == ("completed", "", [])
    assert finish(client, client.submit(silence, speech_threshold=0.5))["error"] == (
        "Audio speech threshold 0.0000 is below the requested speech threshold value 0.5"
    )
    detected = finish(client, client.submit(silence, language_detection=True))["error"]
    assert detected == "language_detection cannot be performed on files with no spoken audio."
    assert "English only" in finish(client, client.submit(silence, language_code="de"))["error"]


def test_redacted_audio_is_a_copy_of_the_call(client: Api) -> None:
    transcript_id = client.submit(
        CALL.as_uri(), redact_pii=True, redact_pii_audio=True, redact_static_entities={"X": ["cup"]}
    )
    assert "cup" not in plain(finish(client, transcript_id)["text"])
    path = f"/v2/transcript/{transcript_id}/redacted-audio"
    eventually(lambda: client.get(path).status_code != 202)
    answer = client.get(path)
    copy = client.get(answer.json()["redacted_audio_url"]).content
    done = finish(client, client.submit(client.upload(copy)))
    assert "parcel" in plain(done["text"])
    assert "cup" not in plain(done["text"])

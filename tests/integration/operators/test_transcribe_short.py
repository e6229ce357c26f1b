# SPDX-License-Identifier: Apache-2.0
"""Clips: one request from audio to text and files, paid for once; what is no clip is refused before anything is sent."""

from __future__ import annotations

import json
import logging
import math
import random
import struct
import sys
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    ObjectStoragePath,
    TaskDeferred,
)

from airflow_provider_assemblyai.api.errors import GatewayTimeout, ResponseLost
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.jobs.clips import MAX_READ, read_clip
from airflow_provider_assemblyai.jobs.results import Format, Summary
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_short import FORMATS, TranscribeShortOperator
from airflow_provider_assemblyai.operators.transcripts import (
    TranscriptDeleteOperator,
    TranscriptExportOperator,
)
from airflow_provider_assemblyai.operators.understand import UnderstandOperator
from airflow_provider_assemblyai.sensors.transcript import TranscriptSensor
from tests.hostile.server import hostile
from tests.integration.conftest import SPOKEN, Sent, TaskInstance
from tests.support.emulator_api import wav
from tests.support.odd_values import NotTrueOrFalse

PATH = "/v1/transcribe"


@pytest.fixture
def clip(tmp_path: Path) -> str:
    (path := tmp_path / "order.wav").write_bytes(wav(3, 16_000))
    return str(path)


def operator(audio: Any, **kwargs: Any) -> TranscribeShortOperator:
    return TranscribeShortOperator(**{"task_id": "a_task", "audio": audio, **kwargs})


def calls(emulator: Emulator) -> int:
    return sum(request["path"] == PATH for request in emulator.requests)


def billed(emulator: Emulator) -> int:
    return int(emulator.counters()["clips"])


def refused(emulator: Emulator, context: Any, match: str, audio: Any, **kwargs: Any) -> None:
    with pytest.raises((AirflowFailException, ValueError), match=match):
        operator(audio, **kwargs).execute(context)
    assert emulator.requests == [], "nothing is sent"


# --- results ---------------------------------------------------------------------------------------------


def test_from_a_clip_to_its_text(emulator: Emulator, context: Any, clip: str) -> None:
    found = operator(clip, config={"language_codes": ["en"]}).execute(context)
    assert set(found) == set(Summary.__annotations__)
    assert found == {
        "transcript_id": None,
        "status": "completed",
        "region": "us",
        "text": SPOKEN,
        "audio_duration": 3.0,
        "language_code": "en",
        "confidence": found["confidence"],
        "speech_model_used": "universal-3-5-pro",
        "warnings": [],
        "outputs": {},
        "estimated_cost_usd": 0.00025,
    }
    assert 0 < found["confidence"] <= 1
    pushed = context["ti"].xcoms
    assert set(pushed) == {"session_id", "attempts", "waited_seconds", "_link_TaskPageLink"}
    assert pushed["attempts"] == calls(emulator) == billed(emulator) == 1
    assert [request["path"] for request in emulator.requests] == [PATH], "one request, no polling"


def test_files_are_those_of_a_transcript(
    emulator: Emulator, context: Any, other_context: Any, clip: str, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {"formats": list(FORMATS), "chars_per_caption": 20}
    short = operator(clip, output_path=str(tmp_path / "short"), **arguments).execute(context)
    long = TranscribeOperator(
        task_id="a_task",
        audio=clip,
        output_path=str(tmp_path / "long"),
        poll_interval=0.05,
        **arguments,
    ).execute(other_context)
    assert short["text"] is None
    names = {name: Path(uri).name for name, uri in short["outputs"].items()}
    assert names == {name: Path(uri).name for name, uri in long["outputs"].items()}

    def read(folder: str, name: str) -> str:
        return (tmp_path / folder / names[name]).read_text()

    assert read("short", "txt") == read("long", "txt") == f"{SPOKEN}\n"
    for name in ("srt", "vtt"):
        assert read("short", name).count(" --> ") == read("long", name).count(" --> ") == 3
    whole, other = json.loads(read("short", "json")), json.loads(read("long", "json"))
    for key in ("status", "text", "audio_duration", "audio_url"):
        assert type(whole[key]) is type(other[key]) or key == "audio_duration"
    assert (whole["id"], whole["text"]) == (None, SPOKEN)
    assert {"text", "start", "end", "confidence"} <= set(whole["words"][0])
    made, exported = json.loads(read("short", "sentences")), json.loads(read("long", "sentences"))
    assert set(made) <= set(exported)
    assert [set(one) - {"speaker", "channel"} for one in exported["sentences"]] == [
        set(one) for one in made["sentences"]
    ]
    assert " ".join(one["text"] for one in made["sentences"]) == SPOKEN
    made, exported = json.loads(read("short", "paragraphs")), json.loads(read("long", "paragraphs"))
    assert set(made) <= set(exported)
    assert [set(one) for one in made["paragraphs"]] == [set(one) for one in exported["paragraphs"]]
    assert [one["text"] for one in made["paragraphs"]] == [one["text"] for one in exported["paragraphs"]]


def test_paragraphs(emulator: Emulator, context: Any, clip: str, tmp_path: Path) -> None:
    emulator.set_transcript(" ".join(f"Number {number}." for number in range(12)))
    found = operator(clip, output_path=str(tmp_path / "out"), formats=["paragraphs"]).execute(context)
    content = json.loads((tmp_path / "out" / "order.paragraphs.json").read_text())
    assert found["outputs"] == {"paragraphs": (tmp_path / "out" / "order.paragraphs.json").as_uri()}
    assert [len(one["words"]) for one in content["paragraphs"]] == [8, 8, 8]
    assert content["paragraphs"][1]["text"].startswith("Number 4. Number 5.")


def test_another_recording_keeps_its_files(emulator: Emulator, old_context: Any, tmp_path: Path) -> None:
    found = []
    for folder, seconds in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        (path := tmp_path / folder / "order.wav").write_bytes(wav(seconds, 8000))
        found.append(operator(str(path), output_path=str(tmp_path / "out")).execute(old_context))
    names = [Path(one["outputs"]["txt"]).name for one in found]
    assert names[0] == "order.txt"
    assert names[1].startswith("order-")
    TranscribeOperator(task_id="a_task", audio=str(path), output_path=str(tmp_path / "out")).execute(
        old_context
    )
    assert json.loads((tmp_path / "out" / names[1].replace("txt", "json")).read_text())["id"], "one recording"
    named = operator(str(path), source_id="call 7", output_path=str(tmp_path / "out")).execute(old_context)
    assert Path(named["outputs"]["txt"]).name == "call_7.txt"


def test_mapped_tasks_have_files_of_their_own(emulator: Emulator, clip: str, tmp_path: Path) -> None:
    context: Any = {"ti": TaskInstance(map_index=3)}
    found = operator(clip, output_path=str(tmp_path / "out"), push_text=True).execute(context)
    assert Path(found["outputs"]["json"]).name == "order-3.json"
    assert found["text"] == SPOKEN


def test_times_are_asked_for_where_a_format_needs_them(
    emulator: Emulator, context: Any, clip: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    operator(clip, output_path=out).execute(context)
    assert "start" not in json.loads((tmp_path / "out" / "order.json").read_text())["words"][0]
    context["ti"].max_tries += 1
    operator(clip, output_path=out, config={"timestamps": True}).execute(context)
    assert "start" in json.loads((tmp_path / "out" / "order.json").read_text())["words"][0]
    emulator.reset()
    wrong = {"timestamps": False}
    refused(emulator, context, "srt needs the times", clip, output_path=out, formats=["srt"], config=wrong)
    for name in sorted(set(get_args(Format)) - set(FORMATS)):
        refused(
            emulator, context, f"no {name} of short clips.*Transcribe", clip, output_path=out, formats=[name]
        )


def test_metrics(emulator: Emulator, context: Any, clip: str, sent: list[Sent]) -> None:
    operator(clip).execute(context)
    assert [(one.name, one.value) for one in sent] == [
        ("assemblyai.jobs.completed", 1),
        ("assemblyai.audio_minutes.billed", 3 / 60),
        ("assemblyai.audio_minutes.submitted", 3 / 60),
        ("assemblyai.estimated_cost_usd", 0.00025),
    ]
    tags = {"dag_id": "a_dag", "task_id": "a_task", "region": "us", "model": clips.MODEL}
    assert all(one.tags == tags for one in sent)


def test_nothing_of_it_is_logged(
    emulator: Emulator, context: Any, clip: str, caplog: Any, capfd: Any
) -> None:
    with caplog.at_level(logging.DEBUG):
        operator(clip).execute(context)
    said = caplog.text + "".join(capfd.readouterr())
    assert "fox" not in said
    assert emulator.api_key not in said
    assert f"Session {context['ti'].xcoms['session_id']}" in said


def test_an_id_that_is_needed(emulator: Emulator, context: Any, clip: str, tmp_path: Path) -> None:
    found = operator(clip).execute(context)
    before = len(emulator.requests)
    makers: list[Callable[[Any], Any]] = [
        lambda given: TranscriptSensor(task_id="t", transcript_id=given),
        lambda given: TranscriptExportOperator(task_id="t", transcript_id=given, output_path=str(tmp_path)),
        lambda given: TranscriptDeleteOperator(task_id="t", transcript_id=given),
        lambda given: UnderstandOperator(task_id="t", transcript_id=given, features={"action_items": {}}),
        lambda given: LLMGatewayOperator(
            task_id="t", transcript_id=given, model="gpt-5", prompt="Sum it up."
        ),
    ]
    for make in makers:
        for given in (found, "None", {"transcript_id": None}):
            with pytest.raises(AirflowFailException, match="TranscribeShortOperator has none"):
                make(given).execute(context)
    asks = LLMGatewayOperator(task_id="t", transcript_id="{{ none }}", model="gpt-5", prompt="Sum it up.")
    asks.transcript_id = None  # as a template gives it natively
    with pytest.raises(AirflowFailException, match="TranscribeShortOperator has none"):
        asks.execute(context)
    marker = "Sum it up: {{ transcript }}"
    with pytest.raises(AirflowFailException, match="TranscribeShortOperator has none"):
        LLMGatewayOperator(task_id="t", model="gpt-5", prompt=marker).execute(context)
    assert len(emulator.requests) == before


# --- audio -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", clips.SAMPLE_RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_goes_as_it_is(
    emulator: Emulator, context: Any, tmp_path: Path, monkeypatch: Any, rate: int, channels: int
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (path := tmp_path / "a.wav").write_bytes(wav(0.5, rate, channels))
    assert operator(str(path)).execute(context)["audio_duration"] == 0.5


def test_raw_pcm(emulator: Emulator, context: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (path := tmp_path / "a.pcm").write_bytes(bytes(2 * 2 * 8000))
    config = {"sample_rate": 8000, "channels": 2}
    assert operator(str(path), config=config).execute(context)["audio_duration"] == 1
    emulator.reset()
    refused(emulator, context, "raw PCM: name its sample_rate", str(path))
    refused(emulator, context, "belong together", str(path), config={"channels": 2})
    path.write_bytes(bytes(2 * 2 * 8000 + 1))
    refused(emulator, context, "no whole samples", str(path), config=config)


def test_a_wav_is_no_raw_pcm_whatever_config_says(emulator: Emulator, context: Any, clip: str) -> None:
    config = {"sample_rate": 48_000, "channels": 2}
    assert operator(clip, config=config).execute(context)["audio_duration"] == 3


@pytest.mark.parametrize("kind", ["mp3", "24 bits", "11025 Hz"])
def test_other_audio_is_converted(
    emulator: Emulator, context: Any, tmp_path: Path, monkeypatch: Any, kind: str
) -> None:
    path = tmp_path / "a.audio"
    if kind == "11025 Hz":
        path.write_bytes(wav(2, 11_025))
    else:
        encode(path, *{"mp3": ("mp3", "mp3"), "24 bits": ("wav", "pcm_s24le")}[kind])
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "av", None)
        refused(emulator, context, r"install airflow-provider-assemblyai\[media\]", str(path))
    found = operator(str(path)).execute(context)
    assert abs(found["audio_duration"] - 2) < 0.1


ENCODED = {
    "ID3": ("mp3", "mp3", {}),
    "no ID3": ("mp3", "mp3", {"id3v2_version": "0", "write_xing": "0"}),
    "layer 2": ("mp2", "mp2", {}),
    "ADTS": ("adts", "aac", {}),
    "AIFF": ("aiff", "pcm_s16be", {}),
    "AU": ("au", "pcm_s16be", {}),
    "CAF": ("caf", "pcm_s16le", {}),
    "MPEG-TS": ("mpegts", "mp2", {}),
    "M2TS": ("mpegts", "mp2", {"mpegts_m2ts_mode": "1"}),
    "Ogg": ("ogg", "libopus", {}),
    "FLAC": ("flac", "flac", {}),
    "MP4": ("mp4", "aac", {}),
    "WebM": ("webm", "libopus", {}),
    "ASF": ("asf", "wmav2", {}),
    "Wave64": ("w64", "pcm_s16le", {}),
    "RF64 of 24 bits": ("wav", "pcm_s24le", {"rf64": "always"}),
}


@pytest.mark.parametrize("name", ["a", "a.pcm", "a.bin", "a.mp3"])
@pytest.mark.parametrize("kind", ENCODED)
def test_encoded_audio_is_never_sent_as_raw_pcm(
    emulator: Emulator, context: Any, tmp_path: Path, monkeypatch: Any, kind: str, name: str
) -> None:
    """It would be paid for as noise of another length."""
    encode(path := tmp_path / name, *ENCODED[kind])
    config = {"sample_rate": 16_000, "channels": 1}
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "av", None)
        refused(emulator, context, r"\(.*\) is neither raw PCM nor WAV.*\[media\]", str(path), config=config)
    found = operator(str(path), config=config).execute(context)
    assert abs(found["audio_duration"] - 2) < 0.15


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xf3\x40\xc4" + bytes(20),  # the beginning of a frame, and no second one
        b"ID3\4" + bytes(9000),
        b"<!doctype html><html><body>Not found</body></html>",
        b"\x47" + bytes(9000),
        b"\x1a\x45\xdf\xa3" + bytes(9000),
    ],
)
def test_what_is_neither_raw_pcm_nor_convertible_is_refused(
    emulator: Emulator, context: Any, tmp_path: Path, content: bytes
) -> None:
    (path := tmp_path / "a.mp3").write_bytes(content)
    config = {"sample_rate": 16_000, "channels": 1}
    refused(emulator, context, r"cannot be decoded", str(path), config=config)


def test_noise_and_silence_are_raw_pcm(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    config = {"sample_rate": 16_000, "channels": 1}
    draw = random.Random(1)
    # Small samples around zero are the ones whose bytes look most like the beginning of a frame.
    quiet = array("h", (draw.randrange(-300, 300) for _ in range(16_000))).tobytes()
    tone = array("h", (round(9000 * math.sin(math.tau * n / 94)) + 71 for n in range(16_000))).tobytes()
    for samples in (
        bytes(32_000),
        b"\xff" * 32_000,
        b"\x47\xf0" * 16_000,
        draw.randbytes(32_000),
        quiet,
        tone,
    ):
        for name in ("a", "a.pcm", "a.bin"):
            (path := tmp_path / name).write_bytes(samples)
            assert operator(str(path), config=config).execute(context)["audio_duration"] == 1
    (path := tmp_path / "a.wav").write_bytes(quiet)
    emulator.reset()
    refused(emulator, context, r"If it is raw PCM.*\.pcm", str(path), config=config)


def wav_of_a_stream(
    size: int, kind: bytes = b"RIFF", *, stated: int | None = None, tail: bytes = b""
) -> bytes:
    """Two seconds of 16,000 Hz, with the size that a program writes that cannot go back to the header."""
    header = bytearray(wav(2, 16_000)[:44])
    header[:8] = kind + struct.pack("<I", 0xFFFF_FFFF)
    header[40:44] = struct.pack("<I", size)
    long_size = b"" if stated is None else struct.pack("<4sIQQQI", b"ds64", 28, 0, stated, 0, 0)
    return bytes(header[:12]) + long_size + bytes(header[12:]) + bytes(64_000) + tail


@pytest.mark.parametrize(
    "content",
    [
        wav_of_a_stream(0),
        wav_of_a_stream(0xFFFF_FFFF),
        wav_of_a_stream(0xFFFF_FFFF, tail=b"\0"),
        wav_of_a_stream(0x7FFF_FFFF),
        wav_of_a_stream(0xFFFF_FFFF, b"RF64", stated=64_000, tail=b"LIST" + bytes(4000)),
        wav_of_a_stream(0xFFFF_FFFF, b"RF64", stated=0),
        wav_of_a_stream(0xFFFF_FFFF, b"BW64", stated=64_000),
        wav_of_a_stream(64_000, tail=bytes(41_000_000)),
    ],
    ids=["0", "-1", "-1 and half a sample", "2 GB", "RF64", "RF64 of a stream", "BW64", "long tail"],
)
def test_a_wav_is_as_long_as_its_samples(
    emulator: Emulator, context: Any, tmp_path: Path, monkeypatch: Any, content: bytes
) -> None:
    """The service is sent a header that it reads as we do."""
    monkeypatch.setitem(sys.modules, "av", None)
    (path := tmp_path / "a.wav").write_bytes(content)
    assert operator(str(path)).execute(context)["audio_duration"] == 2
    assert emulator.counters()["clip_seconds"] == 2
    assert read_clip(str(path), {}, 10).content == wav(2, 16_000)


@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_a_wav_of_a_stream_that_is_converted(
    emulator: Emulator, context: Any, tmp_path: Path, size: int
) -> None:
    encode(path := tmp_path / "a.wav", "wav", "pcm_s24le", {})
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = struct.pack("<I", size)
    path.write_bytes(content)
    assert operator(str(path)).execute(context)["audio_duration"] == pytest.approx(2, abs=0.01)


def test_a_file_that_is_large_before_it_is_converted(
    emulator: Emulator, context: Any, tmp_path: Path
) -> None:
    (path := tmp_path / "a.wav").write_bytes(wav(110, 96_000, 2))
    assert path.stat().st_size > clips.MAX_BYTES
    assert operator(str(path)).execute(context)["audio_duration"] == pytest.approx(110, abs=0.01)
    assert len(read_clip(str(path), {}, 10).content) < 4_000_000


def test_what_goes_as_it_is_is_never_too_large() -> None:
    assert 2 * clips.MAX_CHANNELS * max(clips.SAMPLE_RATES) * clips.LONGEST_MS // 1000 < clips.MAX_BYTES


def encode(path: Path, container: str, codec: str, options: dict[str, str] | None = None) -> None:
    """Write two seconds of sound, 44,100 Hz (of Opus 48,000) and stereo."""
    import av

    rate = 48_000 if codec == "libopus" else 44_100
    with av.open(str(path), "w", format=container, options=options or {}) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 64_000
        frame = av.AudioFrame(format="s16", layout="stereo", samples=rate * 2)
        frame.sample_rate = rate
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        resampler = av.AudioResampler(stream.format.name, "stereo", rate)
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        while (piece := fifo.read(1152, True)) is not None:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))


def test_other_files_are_not_read_for_it(emulator: Emulator, context: Any, clip: str, tmp_path: Path) -> None:
    """A playlist names what it wants to be read: a file of this machine, an address inside of its network."""
    for number, content in enumerate(
        (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{clip}\n#EXT-X-ENDLIST\n",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{emulator.url}/a.wav\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {clip}\n",
        )
    ):
        (path := tmp_path / f"{number}.m3u8").write_text(content)
        refused(emulator, context, "cannot be decoded", str(path))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        # The numbers do not contradict each other.
        (wav(0.0799, 16_000), "79.8 ms of sound, and a clip has at least 80"),
        (wav(120.0004, 48_000), "120.001 s of sound, and a clip has at most 120"),
        (wav(0.079, 16_000), "79 ms of sound, and a clip has at least 80"),
        (wav(120.5, 8000), "120.5 s of sound, and a clip has at most 120. Use TranscribeOperator"),
        (wav(125, 11_025), "more than 120 s of sound.*Use TranscribeOperator"),
        (b"no sound at all", "cannot be decoded"),
        (wav(1)[:30], "RIFF.*cannot be decoded"),
    ],
)
def test_what_is_no_clip(
    emulator: Emulator, context: Any, tmp_path: Path, content: bytes, problem: str
) -> None:
    (path := tmp_path / "a.wav").write_bytes(content)
    refused(emulator, context, problem, str(path))
    refused(emulator, context, "does not exist", str(tmp_path / "b.wav"))


def test_no_more_is_read_than_a_worker_holds(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    with (path := tmp_path / "a.wav").open("wb") as file:
        file.truncate(MAX_READ + 1)
    refused(emulator, context, "more than 200 MB.*Use TranscribeOperator", str(path))


def test_from_an_object_store_and_from_a_url(
    emulator: Emulator, context: Any, moto: str, new_bucket: Callable[[str], ObjectStoragePath]
) -> None:
    path = new_bucket("clips") / "order.wav"
    path.write_bytes(wav(1, 8000))
    assert operator(path).execute(context)["text"] == SPOKEN
    assert operator(str(path), task_id="b_task").execute(context)["text"] == SPOKEN
    signed = path.sign(expiration=60)
    found = operator(signed, output_path=str(path.parent / "out")).execute(context)
    assert found["outputs"]["json"].endswith("/out/order.json")
    written = json.loads((path.parent / "out" / "order.json").read_text())
    assert "Signature" not in json.dumps(written)


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            {"redact_pii": True},
            "redact_pii': the service does not redact short clips.*Use TranscribeOperator",
        ),
        # First of all, and wherever it stands.
        ({"speaker_labels": True, "redact_pii_sub": "hash"}, "redact_pii_sub': the service does not redact"),
        ({"speaker_labels": True}, "speaker_labels' is no setting of short clips.*Use TranscribeOperator"),
        ({"language_code": "en"}, "is no setting of short clips.*language_codes"),
        ({1: 2}, "is no setting"),
        ({"prompt": 1}, "prompt must be a string"),
        ({"prompt": "x" * 6001}, "prompt has 6001 characters"),
        ({"keyterms_prompt": "fox"}, "keyterms_prompt must be a list"),
        ({"keyterms_prompt": [1]}, "keyterms_prompt must be a list of strings"),
        ({"keyterms_prompt": ["a"] * 101}, "101 terms"),
        ({"keyterms_prompt": ["x" * 8001]}, "8001 characters"),
        ({"conversation_context": [{}]}, "conversation_context must be a list of strings"),
        ({"sample_rate": 11_025, "channels": 1}, "sample_rate=11025"),
        ({"sample_rate": 8000, "channels": 3}, "channels must be"),
        ({"timestamps": "yes"}, "timestamps must be a Boolean"),
        ("[]", "config must be a dict"),
    ],
)
def test_settings_that_cannot_work(
    emulator: Emulator, context: Any, clip: str, config: Any, problem: str
) -> None:
    refused(emulator, context, problem, clip, config=config)


def test_settings_that_are_sent(emulator: Emulator, context: Any, clip: str) -> None:
    config = {
        "prompt": "Orders of a bicycle workshop.",
        "keyterms_prompt": ["fox", " "],
        "conversation_context": "What would you like?",
        "language_codes": None,
        "timestamps": False,
    }
    assert operator(clip, config=json.dumps(config)).execute(context)["text"] == SPOKEN


def test_arguments_that_go_nowhere(clip: str) -> None:
    no_truth: Any = {"formats": NotTrueOrFalse()}
    for wrong in ({"formats": ["json"]}, no_truth, {"chars_per_caption": 20}, {"push_text": False}):
        with pytest.raises(ValueError, match="needs an output_path"):
            operator(clip, **wrong)


# --- capacity --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        {"error": "too_many_requests"},
        {"error": "too_many_requests", "retry_after": None, "form": "detail"},
        {"error": "capacity_exceeded"},
        {"error": "service_unavailable", "form": "code"},
        {"kind": "rate_limit"},
    ],
)
def test_capacity_is_waited_for(
    emulator: Emulator, context: Any, run: Any, clip: str, deferrable: bool, fault: dict[str, Any]
) -> None:
    emulator.fault(**{"kind": "refuse_clip", "path": PATH, **fault})
    task = operator(clip, deferrable=deferrable, on_lost_answer="fail")
    assert run(task, context)["text"] == SPOKEN
    assert context["ti"].xcoms["attempts"] == calls(emulator) == 2
    # Where the service names no time, the rate limiter decides.
    assert context["ti"].xcoms["waited_seconds"] >= (0.9 if fault.get("retry_after", 1) else 0.1)
    assert billed(emulator) == 1


def test_a_deferral_holds_nothing_of_the_clip(emulator: Emulator, context: Any, clip: str) -> None:
    emulator.fault("refuse_clip", retry_after=30)
    with pytest.raises(TaskDeferred) as deferred:
        operator(clip, deferrable=True).execute(context)
    path, arguments = deferred.value.trigger.serialize()
    assert arguments["model"] == clips.MODEL
    assert len(json.dumps([path, arguments, deferred.value.kwargs])) < 2000


def test_the_time_to_wait_is_bounded(emulator: Emulator, context: Any, clip: str) -> None:
    emulator.fault("refuse_clip", retry_after=40, times=None)
    with pytest.raises(GatewayTimeout, match=r"max_wait=30 s.*HTTP 503.*at capacity"):
        operator(clip, max_wait=30).execute(context)
    assert calls(emulator) == 1


@pytest.mark.parametrize("lost", ["retry", "fail"])
@pytest.mark.parametrize("form", ["problem", "code"])
@pytest.mark.parametrize("error", ["inference_error", "inference_timeout"])
def test_what_the_service_has_failed_at_is_asked_for_once_more(
    emulator: Emulator, context: Any, clip: str, error: str, form: str, lost: Any
) -> None:
    emulator.fault("refuse_clip", error=error, form=form)
    assert operator(clip, on_lost_answer=lost).execute(context)["text"] == SPOKEN
    assert calls(emulator) == 2
    assert billed(emulator) == 1


@pytest.mark.parametrize("lost", ["retry", "fail"])
def test_only_once(emulator: Emulator, context: Any, clip: str, lost: Any) -> None:
    emulator.fault("refuse_clip", error="inference_error", times=None)
    with pytest.raises(
        ResponseLost if lost == "retry" else AirflowFailException, match=r"may be billed.*500"
    ):
        operator(clip, on_lost_answer=lost).execute(context)
    assert calls(emulator) == 2
    emulator.clear_faults()
    if lost == "retry":
        assert operator(clip).execute(context)["text"] == SPOKEN
    else:
        with pytest.raises(AirflowFailException, match="an earlier try"):
            operator(clip, on_lost_answer=lost).execute(context)


def test_also_after_a_deferral(emulator: Emulator, context: Any, run: Any, clip: str) -> None:
    emulator.fault("refuse_clip", error="inference_error")
    emulator.fault("refuse_clip", error="capacity_exceeded")
    emulator.fault("refuse_clip", error="inference_error")
    with pytest.raises(ResponseLost):
        run(operator(clip, deferrable=True), context)
    assert calls(emulator) == 3


# --- lost answers ----------------------------------------------------------------------------------------

LOST = pytest.mark.parametrize(
    "fault",
    [
        {"kind": "drop_response"},
        {"kind": "truncate_response"},
        {"kind": "corrupt_response", "variant": "html"},
        {"kind": "http_status", "status": 500, "when": "after"},
        {"kind": "http_status", "status": 502, "body": "html", "when": "after"},
        # A proxy says these words as well.
        {"kind": "http_status", "status": 503, "when": "after"},
        {
            "kind": "http_status",
            "status": 503,
            "body": "json",
            "message": "Service Unavailable",
            "when": "after",
        },
        {"kind": "http_status", "status": 504, "when": "after"},
        {"kind": "refuse_clip", "error": "capacity_exceeded", "form": "detail"},
        {"kind": "refuse_clip", "error": "inference_error", "form": "detail"},
    ],
)


@LOST
def test_a_lost_answer_is_not_paid_for_again_on_a_guess(
    emulator: Emulator, context: Any, clip: str, deferrable: bool, fault: dict[str, Any]
) -> None:
    emulator.fault(**fault, path=PATH)
    with pytest.raises(ResponseLost, match=r"may be billed.*pay twice") as caught:
        operator(clip, deferrable=deferrable).execute(context)
    assert caught.value.retryable
    assert calls(emulator) == 1
    assert "fox" not in str(caught.value)
    assert operator(clip).execute(context)["text"] == SPOKEN, "the user leaves that to the retries"


@LOST
@pytest.mark.parametrize("place", ["store", "file"])
def test_nor_by_a_retry_if_that_is_forbidden(
    emulator: Emulator,
    context: Any,
    old_context: Any,
    clip: str,
    tmp_path: Path,
    place: str,
    fault: dict[str, Any],
) -> None:
    each = context if place == "store" else old_context
    out = None if place == "store" else str(tmp_path / "out")
    emulator.fault(**fault, path=PATH)
    with pytest.raises(AirflowFailException, match="on_lost_answer='fail'"):
        operator(clip, on_lost_answer="fail", output_path=out).execute(each)
    with pytest.raises(AirflowFailException, match="an earlier try of this task ended"):
        operator(clip, on_lost_answer="fail", output_path=out).execute(each)
    assert calls(emulator) == 1
    each["ti"].max_tries += 1
    assert operator(clip, on_lost_answer="fail", output_path=out).execute(each), "the task was cleared"


@pytest.mark.parametrize("place", ["store", "file"])
def test_an_answer_is_kept_before_it_is_delivered(
    emulator: Emulator, context: Any, old_context: Any, clip: str, tmp_path: Path, place: str
) -> None:
    each = context if place == "store" else old_context
    out = tmp_path / "out"
    (out / "order.txt").mkdir(parents=True)
    with pytest.raises(AirflowFailException, match=r"order\.txt"):
        operator(clip, output_path=str(out)).execute(each)
    (out / "order.txt").rmdir()
    assert operator(clip, output_path=str(out), push_text=True).execute(each)["text"] == SPOKEN
    assert billed(emulator) == 1
    for path in filter(Path.is_file, out.rglob(".assemblyai/**/*")):
        assert "fox" not in path.read_text(), "what was kept goes when the files are written"


@pytest.mark.parametrize("formats", [["json", "srt"], ["txt"], ["srt"]])
def test_a_retry_after_the_files_were_written(
    emulator: Emulator, context: Any, clip: str, tmp_path: Path, formats: Any
) -> None:
    arguments: dict[str, Any] = {"output_path": str(tmp_path / "out"), "formats": formats}
    first = operator(clip, **arguments).execute(context)
    pushed = dict(context["ti"].xcoms)
    context["ti"].xcoms.clear()
    assert operator(clip, **arguments).execute(context) == first
    assert context["ti"].xcoms == pushed
    again = operator(clip, push_text=True, **arguments).execute(context)
    if formats == ["srt"]:
        assert (again["text"], again["warnings"]) == (None, ["The text is only in the files."])
    else:
        assert again == {**first, "text": SPOKEN}
    assert billed(emulator) == 1
    Path(clip).write_bytes(wav(2, 16_000))
    operator(clip, **arguments).execute(context)
    assert billed(emulator) == 2, "it is another recording"


def test_another_key_since_the_process_has_read_it(
    emulator: Emulator, context: Any, clip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = json.dumps({**json.loads(emulator.connection_json), "password": "old"})
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", wrong)
    task = operator(clip)
    emulator.hold(path=PATH)
    found: list[Any] = []
    worker = threading.Thread(target=lambda: found.append(task.execute(context)))
    worker.start()
    emulator.wait_for_held(timeout=60)
    monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", emulator.connection_json)
    emulator.release()
    worker.join()
    assert found[0]["text"] == SPOKEN
    assert billed(emulator) == 1


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("bad_request", "Check the settings"),
        ("bad_audio", "Check that the file is whole"),
        ("audio_too_large", "Use TranscribeOperator"),
        ("unsupported_media_type", "Clips are WAV"),
    ],
)
@pytest.mark.parametrize("form", ["problem", "code", "detail"])
def test_a_refusal_fails_at_once(
    emulator: Emulator, context: Any, clip: str, error: str, advice: str, form: str
) -> None:
    emulator.fault("refuse_clip", error=error, form=form)
    advice = "Check the settings" if (error, form) == ("bad_audio", "detail") else advice
    with pytest.raises(AirflowFailException, match=advice):
        operator(clip, on_lost_answer="fail").execute(context)
    assert operator(clip, on_lost_answer="fail").execute(context)["text"] == SPOKEN, "nothing was done"


def test_words_without_times(
    context: Any, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the service owes is said, after the rest is written."""
    answers: list[Any] = [{"text": "The fox.", "words": [{"text": "The"}, {"text": "fox.", "start": 5}]}]
    with hostile(lambda exchange: exchange.json(answers.pop())) as server:
        connection = {"conn_type": "assemblyai", "password": "a-key", "host": server.url}
        monkeypatch.setenv("AIRFLOW_CONN_ASSEMBLYAI_DEFAULT", json.dumps(connection))
        arguments: dict[str, Any] = {"output_path": str(tmp_path / "out"), "formats": ["srt", "txt"]}
        for _ in range(2):
            with pytest.raises(AirflowFailException, match=r"without times, so srt.*holds the answer"):
                operator(clip, **arguments).execute(context)
    assert (tmp_path / "out" / "order.txt").read_text() == "The fox.\n"
    assert server.connections == 1

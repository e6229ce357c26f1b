# SPDX-License-Identifier: Apache-2.0
"""An item that cannot be is one line of the manifest, whatever it holds, and costs the others nothing."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator


class Rude:
    """Raises whatever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __fspath__ = __repr__


class RudeDict(dict[str, Any]):
    """A dict that cannot be read."""

    def get(self, *_: Any) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")


class RudePath(os.PathLike[str]):
    """A path that is none."""

    def __fspath__(self) -> str:
        raise RuntimeError("no")


BAD_ITEMS: list[Any] = [
    "/tmp/\udce9.wav",
    "https://[bad",
    "https://example.com:99999/a.wav",
    "https://example.com/\ud800.wav",
    "https://example.com/a\n.wav",
    "/tmp/a\0.wav",
    "/tmp/" + "n" * 100_000,
    "/tmp/" + "n" * 300,
    "s3://",
    "s3://[bad/a.wav",
    "a b://c/d.wav",
    "file://relative.wav",
    " https://example.com/b.wav",
    "",
    None,
    17,
    float("nan"),
    True,
    b"https://example.com/b.wav",
    [["https://example.com/b.wav"]],
    [],
    {},
    {"audio": None},
    {"audio": ["https://example.com/b.wav"]},
    {"audio": {"audio": "https://example.com/b.wav"}},
    {5: "https://example.com/b.wav", None: 1, "audio": "https://example.com/c.wav"},
    {("a", 1): 2},
    {"audio": "https://example.com/c.wav", "config": 5},
    {"audio": "https://example.com/c.wav", "config": 0},
    {"audio": "https://example.com/c.wav", "config": ["speaker_labels"]},
    {"audio": "https://example.com/c.wav", "config": {"x": {1, 2}}},
    {"audio": "https://example.com/c.wav", "config": {5: 1}},
    Rude(),
    RudePath(),
    {"audio": Rude()},
    {"audio": RudePath()},
]


def make_operator(audios: Any, out: Path, **kwargs: Any) -> TranscribeBatchOperator:
    return TranscribeBatchOperator(
        task_id="a_task",
        audios=audios,
        output_path=str(out),
        on_partial_failure="succeed",
        poll_interval=0.05,
        settle_time=0.05,
        **kwargs,
    )


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_in_a_list(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, deferrable: bool
) -> None:
    audios = [*BAD_ITEMS, RudeDict(audio="https://example.com/c.wav"), "https://example.com/a.wav"]
    summary = run(make_operator(audios, out, deferrable=deferrable), context)
    assert (summary["items"], summary["completed"], summary["failed"]) == (len(audios), 1, len(audios) - 1)
    assert summary["errors"] == {"InvalidInput": len(audios) - 1}
    assert len(manifest(out)) == len(audios)
    assert all(line["source"].isprintable() and line["source"] for line in manifest(out))
    again = run(make_operator(audios, out, deferrable=deferrable), context)
    assert (again["items"], again["completed"], again["failed"]) == (len(audios), 1, len(audios) - 1)
    assert (emulator.counters()["accepted"], emulator.counters()["uploads"]) == (1, 0)


def test_redacted_audio_that_the_service_would_not_make(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path, deferrable: bool
) -> None:
    redaction = {"redact_pii": True, "redact_pii_policies": ["date"], "redact_pii_audio": True}
    audios: list[Any] = [
        {"audio": "https://example.com/a.wav", "config": redaction},
        "https://example.com/b.wav",
    ]
    operator = make_operator(audios, out, formats=["redacted_audio"], deferrable=deferrable)
    summary = run(operator, context)
    assert (summary["completed"], summary["errors"]) == (1, {"InvalidInput": 1})
    assert emulator.counters()["accepted"] == 1
    (failed,) = [line for line in manifest(out) if line["status"] == "failed"]
    assert "needs redact_pii_audio" in failed["error"]


def test_in_a_list_whose_other_jobs_are_waited_for(
    emulator: Emulator, context: Any, run: Callable[..., Any], out: Path
) -> None:
    """After a deferral another process makes the same items of the same list."""
    audios = [f"https://example.com/{number}.wav?emulator=processing:0.2" for number in range(4)]
    audios[1:1] = BAD_ITEMS
    summary = run(make_operator(audios, out, deferrable=True, max_in_flight=2), context)
    assert (summary["completed"], summary["failed"]) == (4, len(BAD_ITEMS))


@pytest.mark.parametrize("glob", ["", "/*.wav", "/**"])
def test_in_a_folder(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path, glob: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    names = [b"a.wav", b"a\nb.wav", b"tab\t.wav", b"cr\r.wav", b"escape\x1b.wav", b"latin-\xe9.wav"]
    for name in names:
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(b"sound")
    summary = run(make_operator(f"{folder}{glob}", out), context)
    assert (summary["items"], summary["completed"], summary["failed"]) == (6, 1, 5)
    assert summary["errors"] == {"InvalidInput": 5}
    failed = [line for line in manifest(out) if line["status"] == "failed"]
    assert sorted(line["source"].rpartition("/")[2] for line in failed) == [
        "a\\nb.wav",
        "cr\\r.wav",
        "escape\\x1b.wav",
        "latin-\\udce9.wav",
        "tab\\t.wav",
    ]
    assert run(make_operator(f"{folder}{glob}", out), context)["failed"] == 5
    assert emulator.counters()["uploads"] == 1, "what can be read is not sent again"


@pytest.mark.parametrize("audios", [["in/a.wav", "in/b.wav"], "in", "in/*.wav"])
def test_relative_paths_are_made_absolute_once(
    emulator: Emulator,
    context: Any,
    run: Callable[..., Any],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    audios: Any,
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    assert run(make_operator(audios, out), context)["completed"] == 2
    assert sorted(line["source"] for line in manifest(out)) == [
        f"file://{tmp_path}/in/{name}.wav" for name in "ab"
    ]
    assert f"below {tmp_path}" in caplog.text


def test_a_pipe_in_a_list(
    emulator: Emulator, context: Any, run: Callable[..., Any], tmp_path: Path, out: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    summary = run(make_operator([str(tmp_path / "pipe.wav"), "https://example.com/a.wav"], out), context)
    assert (summary["completed"], summary["failed"]) == (1, 1)
    assert "a pipe, a socket or a device" in next(line for line in manifest(out) if line["error"])["error"]

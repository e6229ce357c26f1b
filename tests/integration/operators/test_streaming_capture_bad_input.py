# SPDX-License-Identifier: Apache-2.0
"""A capture refuses what cannot work in a clear sentence, before anything is sent."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.emulator import Emulator
from tests.support.captures import operator

SOURCES: list[Any] = [
    *(
        "",
        "  ",
        "nul\0.wav",
        "half \ud83d.wav",
        "a" * 100_000,
        "a/" * 50_000,
        "no\nsuch.wav",
        "no such.wav\n",
        "\tno.wav",
    ),
    *(
        "http://[bad",
        "http://",
        "https:///a.mp3",
        "http://host:port/",
        "http://host:99999/",
        "http://ho\nst/a.mp3",
    ),
    *(
        "rtsp://host/\0",
        "http://host/" + "a" * 100_000,
        "http://host/\ud83d",
        "s3://bucket/a.wav",
        "x\ny://host/a",
    ),
    *("file://", "file:///no/such.wav", "/dev/zero", "/dev/null", "/"),
    *(None, 5, b"a.wav", ["a.wav"], {}),
]


@pytest.fixture(autouse=True)
def nothing_is_sent(emulator: Emulator) -> Iterator[None]:
    yield
    assert emulator.requests == []
    assert emulator.sessions() == []


def refused(context: Any, **arguments: Any) -> str:
    with pytest.raises((AirflowFailException, InvalidInput)) as failed:
        operator(**arguments).execute(context)
    said = str(failed.value)
    assert len(said) < 1_000
    assert said.isprintable()
    return said


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: ascii(source)[:30])
def test_a_source_that_cannot_be(context: Any, out: Path, source: Any) -> None:
    assert "source" in refused(context, source=source, out=out)
    assert not out.exists()


def test_things_in_the_file_system_that_are_no_source(context: Any, out: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "a.socket"))
        (tmp_path / "a.loop").symlink_to(tmp_path / "a.loop")
        for name in ("", "a.socket", "a.loop", "nothing", "nothing/a.wav"):
            assert "source: " in refused(context, source=str(tmp_path / name), out=out)


def test_no_name_is_taken_for_another(context: Any, out: Path, tape: Path) -> None:
    for end, problem in (("\n", "control character"), (" ", "cannot be read"), ("\t", "control character")):
        assert problem in refused(context, source=f"{tape}{end}", out=out)


@pytest.mark.parametrize(
    "path", ["/tmp/nul\0/out", "/tmp/half \ud83d", "/tmp/" + "a/" * 50_000, "/tmp/" + "a" * 100_000]
)
def test_an_output_path_that_cannot_be(context: Any, tape: Path, path: str) -> None:
    assert "output_path" in refused(context, source=str(tape), out=path)


@pytest.mark.parametrize(
    "duration",
    [
        *(
            0,
            -1,
            1e30,
            float("nan"),
            float("inf"),
            10**400,
            True,
            None,
            b"5",
            [],
            timedelta.max,
            timedelta(0),
        ),
        *("", "soon", "1e30", "nan", "inf", "-1", "0", "9" * 5_000),
    ],
    ids=lambda duration: str(duration)[:20],
)
def test_a_duration_that_cannot_be(context: Any, tape: Path, out: Path, duration: Any) -> None:
    assert "duration must be" in refused(context, source=str(tape), out=out, duration=duration)


@pytest.mark.parametrize(
    "config", [{"prompt": "\ud83d"}, {"vad_threshold": float("nan")}, {"x": b"y"}, {5: 6}, "{", 5]
)
def test_a_config_that_cannot_be_sent(context: Any, tape: Path, out: Path, config: Any) -> None:
    assert "config" in refused(context, source=str(tape), out=out, config=config)

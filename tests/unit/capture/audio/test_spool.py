# SPDX-License-Identifier: Apache-2.0
"""Recorded audio is read again as it was, in memory or on disk."""

from __future__ import annotations

import os
import random
import threading
from math import inf
from pathlib import Path

import pytest

from airflow_provider_assemblyai.capture.audio.spool import Spool

BYTES_PER_MS = 32
MINUTES_3 = 180_000


@pytest.mark.parametrize("seed", range(4))
def test_any_part_is_read_as_it_was_recorded(seed: int) -> None:
    chance = random.Random(seed)
    with Spool(BYTES_PER_MS) as spool:
        known: dict[int, bytes] = {}
        at = 0
        while at < MINUTES_3:
            if chance.random() < 0.002:
                at += chance.randrange(1, 5_000)
            length = chance.choice([20, 100, 100, 100, 700])
            audio = chance.randbytes(length * BYTES_PER_MS)
            spool.append(at, audio)
            known.update(
                (at + each, audio[each * BYTES_PER_MS : (each + 1) * BYTES_PER_MS]) for each in range(length)
            )
            at += length
            asked, most = chance.randrange(at + 200), chance.choice([1, 100, 5_000])
            start, got = spool.read(asked, most)
            if not got:
                assert asked >= at
                continue
            assert start == min(each for each in known if each >= asked) if asked not in known else asked
            count = len(got) // BYTES_PER_MS
            assert got == b"".join(known[start + each] for each in range(count))
            assert count == most or start + count not in known
        assert sum(end - begin for begin, end in spool.spans(0)) == len(known)


def test_what_no_reader_needs_takes_no_file() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    with Spool(BYTES_PER_MS) as spool:
        spool.release_before("segments", 0)
        for minute in range(10):
            for second in range(60):
                spool.append((minute * 60 + second) * 1000, bytes(1000 * BYTES_PER_MS))
            spool.release_before("segments", minute * 60_000)
        assert descriptors() - before <= 3
    assert descriptors() == before


def test_a_disk_that_writes_only_half_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite

    def half(descriptor: int, audio: bytes, at: int) -> int:
        return whole(descriptor, audio[: len(audio) // 2], at)

    monkeypatch.setattr(os, "pwrite", half)
    audio = random.Random(1).randbytes(30_000 * BYTES_PER_MS)
    with Spool(BYTES_PER_MS) as spool:
        for at in range(0, 30_000, 100):
            spool.append(at, audio[at * BYTES_PER_MS : (at + 100) * BYTES_PER_MS])
        assert spool.read(0, 30_000) == (0, audio)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_before_its_time_is_there_when_that_has_come(seed: int) -> None:
    chance, clock = random.Random(seed), _Clock()
    with Spool(BYTES_PER_MS, clock) as spool:
        frames: list[tuple[int, int]] = []
        at = known = chance.randrange(3) * 60_000
        clock.now = float(at)
        while at < known + MINUTES_3:
            if chance.random() < 0.02:
                at = max(at, int(clock.now)) + chance.randrange(1, 5_000)
            while at - clock.now < 1_000:
                length = chance.choice([100, 100, 500, 1_100])
                spool.append(at, chance.randbytes(length * BYTES_PER_MS))
                frames += [(each, each + 100) for each in range(at, at + length, 100)]
                at += length
            clock.now += chance.choice([0.5, 20.0, 100.0, 333.3])
            there = [frame for frame in frames if frame[1] <= clock.now]
            later = [frame for frame in frames if frame[1] > clock.now]
            assert spool.end == (there[-1][1] if there else 0)
            assert spool.next_at == (later[0][1] if later else inf)
            assert sum(end - start for start, end in spool.spans(0)) == 100 * len(there)
            asked = chance.randrange(known, at)
            start, audio = spool.read(asked, 100_000)
            assert start + len(audio) // BYTES_PER_MS <= max(asked, spool.end)
            assert bool(audio) == spool.has_audio_after(asked) == (spool.end > asked)
        end, spans = spool.end, spool.spans(0)
        spool.close()
        clock.now += 100_000
        spool.append(at, bytes(100 * BYTES_PER_MS))
        assert (spool.end, spool.spans(0), spool.next_at) == (end, spans, inf)


def test_gaps_are_counted_where_something_was_missed() -> None:
    with Spool(BYTES_PER_MS) as spool:
        for at in (0, 100, 400, 500, 900):
            spool.append(at, bytes(100 * BYTES_PER_MS))
        assert spool.gaps == 2


def test_what_is_written_late_is_there_at_once() -> None:
    clock = _Clock()
    clock.now = 1_000.0
    with Spool(BYTES_PER_MS, clock) as spool:
        spool.append(700, bytes(130 * BYTES_PER_MS))
        assert (spool.end, spool.next_at) == (830, inf)
        spool.append(830, bytes(230 * BYTES_PER_MS))
        assert (spool.end, spool.next_at) == (1_000, 1_060)
        clock.now = 1_060.0
        assert (spool.end, spool.next_at) == (1_060, inf)


def test_a_disk_that_does_not_answer_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck, answers = threading.Event(), threading.Event()

    def hang(descriptor: int, audio: bytes, at: int) -> int:
        stuck.set()
        answers.wait()
        return len(audio)

    monkeypatch.setattr(os, "pwrite", hang)
    with Spool(BYTES_PER_MS) as spool:
        writer = threading.Thread(target=spool.append, args=(0, bytes(5_000 * BYTES_PER_MS)))
        closer = threading.Thread(target=spool.close)
        writer.start()
        assert stuck.wait(60)
        closer.start()
        closer.join(60)
        closed = not closer.is_alive()
        answers.set()
        writer.join()
        closer.join()
    assert closed

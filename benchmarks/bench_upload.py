# SPDX-License-Identifier: Apache-2.0
"""
Memory and speed of uploads, from a local file and from an object store.

Peak memory is that of a process which uploads the large file, less that of one which uploads 1 MiB.
RUNS sets the number of rounds (default 5), SIZE_MIB the large file (default 1024), LINE_GBIT the speed of
the line on which the speed bound is judged (default 10). TMPDIR needs room for two large files.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from measurement import count_of, emulator, print_table, print_verdict, print_versions, program, run, server
from upload_worker import KEY

_MEMORY_BOUND_MIB = 32
_SPEED_BOUND = 0.9
_MIB = 1 << 20
_PACKAGES = ("airflow-provider-assemblyai", "apache-airflow", "requests", "s3fs", "assemblyai")


@dataclass(frozen=True)
class Contestant:
    """
    One row of the table.

    :param shown: what it is.
    :param worker: its name in ``upload_worker.py``.
    :param to: the server it sends to.
    :param stored: whether it reads from the object store.
    """

    shown: str
    worker: str
    to: str
    stored: bool = False


@dataclass(frozen=True)
class Result:
    """
    One upload of the large file.

    :param mib_per_second: its speed.
    :param above_mib: memory above the upload of the small file.
    :param peak_mib: memory in all.
    """

    mib_per_second: float
    above_mib: float
    peak_mib: float


@dataclass(frozen=True)
class Setting:
    """
    What uploads need.

    :param small: 1 MiB.
    :param large: the large file.
    :param sha256: of the large file.
    :param urls: the address of each server.
    :param environment: for workers.
    """

    small: Path
    large: Path
    sha256: str
    urls: Mapping[str, str]
    environment: Mapping[str, str]


_REFERENCE = Contestant("requests.post(data=open())", "post", "line")
_OURS = Contestant("ours, SHA-256 included", "ours", "line")
_FREE = Contestant("ours, SHA-256 included", "ours", "free")
_STORED = Contestant("ours, from S3", "ours", "free", stored=True)
_HASH = Contestant("only SHA-256, nothing sent", "hash_only", "free")
_CONTESTANTS = (
    _REFERENCE,
    _OURS,
    Contestant("SHA-256 first, then requests.post", "hash_then_post", "line"),
    Contestant("official SDK", "official_sdk", "line"),
    Contestant("requests.post(data=open())", "post", "free"),
    _FREE,
    Contestant("SHA-256 first, then requests.post", "hash_then_post", "free"),
    Contestant("official SDK", "official_sdk", "free"),
    _HASH,
    _STORED,
    Contestant("requests.post(data=...open()), from S3", "post_from_store", "free", stored=True),
)
#: Once each, for information: the emulator keeps what it is sent.
_TO_EMULATOR = (
    Contestant("requests.post(data=open())", "post", "emulator"),
    Contestant("ours, SHA-256 included", "ours", "emulator"),
    Contestant("official SDK", "official_sdk", "emulator"),
)


def main() -> int:
    rounds, mib, gbit = count_of("RUNS", 5), count_of("SIZE_MIB", 1024), count_of("LINE_GBIT", 10)
    print_versions(_PACKAGES)
    with tempfile.TemporaryDirectory(prefix="bench-upload-") as directory, ExitStack() as running:
        setting = _prepare(Path(directory), mib, gbit, running)
        found: dict[Contestant, list[Result]] = {one: [] for one in _CONTESTANTS}
        order = list(_CONTESTANTS)
        for _ in range(rounds):
            random.shuffle(order)
            for one in order:
                found[one].append(_upload(one, setting))
        for one in _TO_EMULATOR:
            found[one] = [_upload_to_emulator(one, setting)]
    lines = {"line": f"{gbit} Gbit/s", "free": "no limit", "emulator": "emulator"}
    print_table(
        (f"upload of {mib} MiB", "to", "MiB/s", "x requests.post", "peak MiB", "above 1 MiB"),
        [
            (
                one.shown,
                "-" if one.worker == "hash_only" else lines[one.to],
                f"{median(each.mib_per_second for each in results):.0f}",
                "-" if one.to == "emulator" else f"{median(_ratios(found, one)):.2f}",
                f"{max(each.peak_mib for each in results):.0f}",
                f"{max(each.above_mib for each in results):.1f}",
            )
            for one, results in found.items()
        ],
    )
    print(
        f"{rounds} rounds: median speed, median of the ratios within a round, largest memory. Once to the "
        "emulator, which writes to disk.\n"
    )
    return 0 if _judge(found, gbit) else 1


def _judge(found: dict[Contestant, list[Result]], gbit: int) -> bool:
    verdicts = []
    for one, source in ((_FREE, "a local file"), (_STORED, "an object store")):
        above = max(each.above_mib for each in found[one])
        sentence = f"memory from {source}: {above:.1f} MiB above a 1 MiB upload, bound {_MEMORY_BOUND_MIB}"
        verdicts.append(print_verdict(above < _MEMORY_BOUND_MIB, sentence))
    ratio = median(_ratios(found, _OURS))
    verdicts.append(
        print_verdict(
            ratio >= _SPEED_BOUND,
            f"speed over {gbit} Gbit/s: {ratio:.2f} x requests.post(data=open()), bound {_SPEED_BOUND}",
        )
    )
    free = median(_ratios(found, _FREE))
    print(
        f"no bound: speed without a limit: {free:.2f} x, only SHA-256: {median(_ratios(found, _HASH)):.2f} x"
    )
    return all(verdicts)


def _ratios(found: dict[Contestant, list[Result]], one: Contestant) -> list[float]:
    """Return the speed of a contestant against plain requests to the same server, round by round."""
    reference = next(other for other in found if other.worker == "post" and other.to == one.to)
    pairs = zip(found[one], found[reference], strict=True)
    return [mine.mib_per_second / its.mib_per_second for mine, its in pairs]


def _prepare(directory: Path, mib: int, gbit: int, running: ExitStack) -> Setting:
    """Write the audio and start the servers."""
    small, large = directory / "small.wav", directory / "large.wav"
    small.write_bytes(os.urandom(_MIB))
    digest = hashlib.sha256()
    with large.open("wb") as file:
        # Written now and so in the disk cache: a slow disk would hide what the contestants cost.
        for _ in range(mib):
            block = os.urandom(_MIB)
            digest.update(block)
            file.write(block)

    def start(*arguments: str) -> str:
        return running.enter_context(server(program("upload_servers", *arguments), {}, "ready "))

    urls = {"line": start("sink", str(gbit * 1e9 / 8)), "free": start("sink", "0")}
    store = {
        "conn_type": "aws",
        "login": "bench",
        "password": "bench-secret",
        "extra": {"endpoint_url": start("store", str(small), str(large)), "region_name": "us-east-1"},
    }
    environment = {
        "AIRFLOW_HOME": str(directory / "airflow"),
        "AIRFLOW_CONN_AWS_BENCH": json.dumps(store),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "TMPDIR": str(directory),
    }
    return Setting(small, large, digest.hexdigest(), urls, environment)


def _upload(one: Contestant, setting: Setting) -> Result:
    """Upload the small and the large file, each in a process of its own."""
    url = setting.urls[one.to]
    connection = {"conn_type": "assemblyai", "password": KEY, "host": url}
    environment = {**setting.environment, "AIRFLOW_CONN_ASSEMBLYAI_DEFAULT": json.dumps(connection)}

    def upload(path: Path) -> tuple[float, float]:
        addresses = [
            f"s3://aws_bench@bench/{each.name}" if one.stored else str(each) for each in (setting.small, path)
        ]
        ended = run(program("upload_worker", one.worker, *addresses, url), environment)
        answer = json.loads(ended.output.splitlines()[-1])
        size = path.stat().st_size
        if one.to != "emulator" and answer["upload_url"].rpartition("/")[2] != str(size):
            raise SystemExit(f"{one.shown}: not all of {size} bytes arrived: {answer['upload_url']}")
        if path == setting.large and answer["sha256"] not in (None, setting.sha256):
            raise SystemExit(f"{one.shown}: the SHA-256 is wrong.")
        return size / _MIB / answer["seconds"], ended.peak_mib

    _, small_peak = upload(setting.small)
    speed, large_peak = upload(setting.large)
    return Result(speed, large_peak - small_peak, large_peak)


def _upload_to_emulator(one: Contestant, setting: Setting) -> Result:
    """Upload to an emulator that is started for it, because it keeps the files until it ends."""
    with emulator(KEY, setting.environment) as url:
        urls = {"emulator": url}
        return _upload(one, Setting(setting.small, setting.large, setting.sha256, urls, setting.environment))


if __name__ == "__main__":
    sys.exit(main())

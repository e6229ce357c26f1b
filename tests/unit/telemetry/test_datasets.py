# SPDX-License-Identifier: Apache-2.0
"""What a dataset is called, and that an event names few of many."""

from __future__ import annotations

import random

import pytest
from openlineage.client.naming import dataset as naming

from airflow_provider_assemblyai.telemetry.datasets import DatasetCounter, dataset_of, transcript_address

NAMES = {
    "/calls/a.wav": ("file", "/calls/a.wav"),
    "/calls/": ("file", "/calls"),
    "/": ("file", "/"),
    "file:///calls/a #1?.wav": ("file", "/calls/a #1?.wav"),
    "local:///calls/a.wav": ("file", "/calls/a.wav"),
    "s3://calls/2026/a.wav": ("s3://calls", "2026/a.wav"),
    "s3://my_conn@calls/2026/a #1.wav": ("s3://calls", "2026/a #1.wav"),
    "s3a://calls/a.wav": ("s3://calls", "a.wav"),
    "S3://Calls/a.wav": ("s3://Calls", "a.wav"),
    "s3://calls/a.wav?versionId=3": ("s3://calls", "a.wav"),
    "s3://calls": ("s3://calls", "/"),
    "s3://calls/2026/": ("s3://calls", "2026"),
    "gs://calls/a.wav": ("gs://calls", "a.wav"),
    "gcs://my_conn@calls/a.wav": ("gs://calls", "a.wav"),
    "abfs://my_conn@container/a.wav": ("abfs://container", "a.wav"),
    "abfss://box@store.dfs.core.windows.net/a.wav": ("abfss://box@store.dfs.core.windows.net", "a.wav"),
    "https://Example.com/calls/a.mp3": ("https://example.com", "calls/a.mp3"),
    "https://example.com:8443/a.mp3#t=5": ("https://example.com:8443", "a.mp3"),
    "http://example.com": ("http://example.com", "/"),
    "rtmp://example.com/live/": ("rtmp://example.com", "live"),
}


@pytest.mark.parametrize("address", NAMES)
def test_names(address: str) -> None:
    found = dataset_of(address)
    assert found == NAMES[address]
    assert found is not None
    assert dataset_of(found.address) == found, "a name leads to itself"


def test_names_are_those_of_openlineage() -> None:
    """As the client itself makes them, where it can."""
    for address, made in {
        "s3://conn@calls/2026/a.wav": naming.S3("calls", "2026/a.wav"),
        "gs://calls/2026/a.wav": naming.GCS("calls", "2026/a.wav"),
        "/calls/a.wav": naming.LocalFileSystem("/calls/a.wav"),
    }.items():
        assert dataset_of(address) == (made.get_namespace(), made.get_name())


@pytest.mark.parametrize(
    "address",
    [
        *(
            "",
            "calls/a.wav",
            "item 3",
            "file://calls/a.wav",
            "s3://",
            "s3:///a.wav",
            "https://",
            "https://[bad/a",
        ),
        # What is no port may be a part of a password.
        *("https://example.com:99999/a.wav", "https://me:pass/word@example.com/a.wav"),
    ],
)
def test_what_is_no_address_has_no_name(address: str) -> None:
    assert dataset_of(address) is None


@pytest.mark.parametrize(
    "opens",
    [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=SECRET&X-Amz-Signature=SECRET",
        "sv=2024-11-04&sig=SECRET",
        "token=SECRET",
        "key=SECRET",
    ],
)
@pytest.mark.parametrize("place", ["https://me:SECRET@example.com/a.wav", "s3://SECRET@calls/a.wav"])
def test_nothing_that_opens_an_address_is_in_a_name(place: str, opens: str) -> None:
    assert "SECRET" not in str(dataset_of(f"{place}?{opens}#{opens}"))


def test_a_transcript_has_a_name() -> None:
    assert dataset_of(transcript_address("abc")) == ("assemblyai", "transcript/abc")


def counted(addresses: list[str], most: int = 50) -> dict[str, int | None]:
    counter = DatasetCounter(most)
    for address in addresses:
        counter.add(address)
    return {name.address: count for name, count in counter.counted()}


def test_few_are_named() -> None:
    assert counted(["s3://calls/a.wav", "/b.wav", "nothing", "/b.wav"]) == {
        "s3://calls/a.wav": None,
        "file:///b.wav": None,
    }


def test_of_many_the_folders_are_named_as_far_down_as_possible() -> None:
    days = [f"s3://calls/2026/{day:02}/{number}.wav" for day in range(40) for number in range(10)]
    assert counted(days) == {f"s3://calls/2026/{day:02}": 10 for day in range(40)}
    assert counted(days, most=39) == {"s3://calls/2026": 400}
    assert counted([*days, "/here/a.wav"]) == {
        **{f"s3://calls/2026/{day:02}": 10 for day in range(40)},
        "file:///here/a.wav": 1,
    }
    assert counted([f"/{number}.wav" for number in range(60)]) == {"file:///": 60}


def test_the_order_does_not_matter() -> None:
    addresses = [f"/{a}/{b}/{c}.wav" for a in range(3) for b in range(9) for c in range(9)] + ["/x.wav"] * 5
    wanted = counted(addresses)
    assert len(wanted) == 28
    assert sum(count or 0 for count in wanted.values()) == len(addresses)
    for _ in range(5):
        random.shuffle(addresses)
        assert counted(addresses) == wanted


def test_of_more_hosts_than_may_be_named_the_first_are() -> None:
    hosts = [f"https://{number}.example.com/a.mp3" for number in range(200)]
    assert counted(hosts, most=3) == {f"https://{number}.example.com/": 1 for number in range(3)}


def test_what_is_held_does_not_grow() -> None:
    counter = DatasetCounter()
    for number in range(20_000):
        counter.add(f"s3://calls/{number % 500}/{number}.wav")
        assert len(counter.counted()) <= 50
    assert counter.counted() == [(("s3://calls", "/"), 20_000)]

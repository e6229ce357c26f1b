# SPDX-License-Identifier: Apache-2.0
"""What the submissions of a batch ask the service together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.errors import ApiError
from airflow_provider_assemblyai.batch.shared_client import SharedClient
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook


@pytest.fixture
def client(emulator: Emulator) -> Iterator[SharedClient]:
    with closing(SharedClient(AssemblyAIHook, threads=1)) as client:
        yield client


def listings(emulator: Emulator) -> int:
    return sum(
        (request["method"], request["path"]) == ("GET", "/v2/transcript") for request in emulator.requests
    )


def test_submissions_share_an_anchor(emulator: Emulator, client: SharedClient) -> None:
    submitted = client.send(transcripts.submit("https://example.com/a.wav", {}))
    (row,) = client.send(transcripts.list_page(limit=1))["transcripts"]
    before = listings(emulator)
    assert [client.newest() for _ in range(3)] == [(submitted["id"], row["created"])] * 3
    assert listings(emulator) == before + 1


def test_look_ups_at_the_same_time_share_a_listing(emulator: Emulator, client: SharedClient) -> None:
    ids = [client.send(transcripts.submit(f"https://example.com/{name}.wav", {}))["id"] for name in "abc"]
    call = transcripts.list_page(limit=2)
    first, second = client.pages(call), client.pages(call)
    found = [[row["id"] for page in pages for row in page["transcripts"]] for pages in (first, second)]
    assert found == [ids[::-1], ids[::-1]]
    shared = listings(emulator)
    list(client.pages(call))
    assert listings(emulator) == 2 * shared, "a later look-up reads the list anew"


def test_a_listing_that_fails_never_reads_as_its_end(emulator: Emulator, client: SharedClient) -> None:
    call = transcripts.list_page(limit=2)
    first, second = client.pages(call), client.pages(call)
    emulator.fault("http_status", status=403, method="GET", path="/v2/transcript")
    for pages in (first, second):
        with pytest.raises(ApiError):
            list(pages)

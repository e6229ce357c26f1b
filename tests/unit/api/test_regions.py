# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import REGIONS, check_region, hosts_for, is_public


def test_one_choice_switches_every_host() -> None:
    for region in REGIONS:
        hosts = hosts_for(region)
        for product in (hosts.speech, hosts.gateway, hosts.streaming, hosts.token, hosts.short_audio):
            assert (".eu." in product) == (region == "eu")
            assert product.startswith(("https://", "wss://"))
    assert hosts_for(None).streaming == "wss://streaming.us.assemblyai.com"


@pytest.mark.parametrize(
    ("given", "region"), [(None, "us"), ("", "us"), ("US", "us"), (" Eu ", "eu"), ("eu", "eu")]
)
def test_spelling_of_regions(given: object, region: str) -> None:
    assert check_region(given) == region


@pytest.mark.parametrize("given", ["asia", "us-east-1", 1, ["us"], {}])
def test_unknown_region(given: object) -> None:
    with pytest.raises(InvalidInput, match="Unknown AssemblyAI region"):
        check_region(given)


def test_edge_routing_is_a_choice_of_its_own() -> None:
    hosts = hosts_for("us", edge=True)
    assert (hosts.streaming, hosts.token) == (
        "wss://streaming.assemblyai.com",
        "https://streaming.assemblyai.com",
    )
    assert hosts.speech == REGIONS["us"].speech
    for outside in ({"region": "eu"}, {"region": "us", "home": "eu"}, {"region": None, "home": "eu"}):
        with pytest.raises(InvalidInput, match=r"outside region 'eu'.*allow_data_outside_region"):
            hosts_for(**outside, edge=True)
    assert hosts_for("eu", edge=True, allow_data_outside_region=True).streaming == hosts.streaming


@pytest.mark.parametrize(
    ("override", "base", "socket"),
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765", "ws://127.0.0.1:8765"),
        ("http://localhost/", "http://localhost", "ws://localhost"),
        ("http://[::1]:9", "http://[::1]:9", "ws://[::1]:9"),
        ("https://proxy.corp.example/aai/", "https://proxy.corp.example/aai", "wss://proxy.corp.example/aai"),
    ],
)
def test_an_override_serves_every_product(override: str, base: str, socket: str) -> None:
    hosts = hosts_for("eu", override=override)
    assert {hosts.speech, hosts.gateway, hosts.token, hosts.short_audio} == {base}
    assert hosts.streaming == socket
    assert (hosts.region, hosts.overridden) == ("eu", True)


def test_a_key_never_travels_in_clear() -> None:
    with pytest.raises(InvalidInput, match="in clear"):
        hosts_for("us", override="http://proxy.example.com")
    hosts = hosts_for("us", override="http://proxy.example.com", allow_insecure_http=True)
    assert hosts.speech == "http://proxy.example.com"


@pytest.mark.parametrize(
    "override",
    [
        "ftp://host",
        "host",
        "https://",
        "https://user:secret@host",
        "https://host?x=secret",
        "http://host:notaport",
        "https://[bad",
    ],
)
def test_overrides_that_cannot_work(override: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        hosts_for("us", override=override)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("example.com", True),
        ("bucket.s3.amazonaws.com", True),
        ("8.8.8.8", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("minio", False),
        ("minio.default.svc", False),
        ("nas.local", False),
    ],
)
def test_which_hosts_the_service_can_reach(host: str, public: bool) -> None:
    assert is_public(host) is public

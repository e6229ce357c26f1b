# SPDX-License-Identifier: Apache-2.0
"""
The one table of hosts: a region switches every product together.

https://www.assemblyai.com/docs/getting-started/cloud-endpoints-and-data-residency
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.sanitize import strip_url
from airflow_provider_assemblyai.api.validation import shown


@dataclass(frozen=True)
class Hosts:
    """
    Where each product of the service is.

    :param region: ``us`` or ``eu``: where data is processed and kept.
    :param speech: base URL of pre-recorded speech to text (``/v2``).
    :param gateway: base URL of the LLM Gateway and Speech Understanding (``/v1``).
    :param streaming: base URL of streaming sockets (``wss``).
    :param token: base URL that hands out temporary streaming tokens.
    :param short_audio: base URL of sync speech to text (``/v1/transcribe``).
    :param overridden: whether the hosts came from the connection, not from the table.
    :param keep_in: the region that data must not leave, if there is one.
    """

    region: str
    speech: str
    gateway: str
    streaming: str
    token: str
    short_audio: str
    overridden: bool = False
    keep_in: str | None = None


REGIONS = {
    "us": Hosts(
        region="us",
        speech="https://api.assemblyai.com",
        gateway="https://llm-gateway.assemblyai.com",
        streaming="wss://streaming.us.assemblyai.com",
        token="https://streaming.us.assemblyai.com",
        short_audio="https://sync.us.assemblyai.com",
    ),
    "eu": Hosts(
        region="eu",
        speech="https://api.eu.assemblyai.com",
        gateway="https://llm-gateway.eu.assemblyai.com",
        streaming="wss://streaming.eu.assemblyai.com",
        token="https://streaming.eu.assemblyai.com",
        short_audio="https://sync.eu.assemblyai.com",
    ),
}

#: The edge-routed streaming host may process audio in any region, so it is never the default.
EDGE_STREAMING = "streaming.assemblyai.com"

#: That of all hosts of the service.
_DOMAIN: Final = "assemblyai.com"
#: Where data stays, unless the connection says otherwise.
_RESIDENT: Final = ("eu",)
_ALLOW: Final = "set allow_data_outside_region in the connection's extra"
#: Fields of a request that hold what the user says, and no settings.
_CONTENT: Final = ("messages", "prompt", "tools", "response_format")


def check_region(region: object) -> str:
    """
    Return the region in its canonical spelling.

    :param region: ``us`` or ``eu`` in any case; None and an empty string mean ``us``.
    :raises InvalidInput: for any other value.
    """
    named = named_region(region)
    name = "us" if named is None else named.strip().lower()
    if name not in REGIONS:
        raise _unknown(region)
    return name


def named_region(region: object) -> str | None:
    """
    Return the region that is named, as it is spelled; None if none is, which an empty string means as well.

    :raises InvalidInput: it is no text: what is false for Python is not the same as nothing.
    """
    if region is not None and not isinstance(region, str):
        raise _unknown(region)
    return region or None


def _unknown(region: object) -> InvalidInput:
    return InvalidInput(f"Unknown AssemblyAI region {shown(region)}: choose one of {', '.join(REGIONS)}.")


def hosts_for(
    region: object,
    *,
    home: object = None,
    override: str | None = None,
    edge: bool = False,
    allow_insecure_http: bool = False,
    allow_data_outside_region: bool = False,
) -> Hosts:
    """
    Choose the hosts of all products at once.

    :param region: ``us`` or ``eu``; by default that of the connection.
    :param home: the connection's: ``us`` (default) or ``eu``.
    :param override: base URL that serves every product: a proxy, or the local emulator.
    :param edge: open streaming sessions on the edge-routed host, which may process audio in any region.
    :param allow_insecure_http: accept a plain ``http`` override that is not on this machine.
    :param allow_data_outside_region: let data leave the EU, if that is the connection's region.
    :raises InvalidInput: for an unknown region, or a setting that would send the key in clear or data out of the EU.
    """
    home = check_region(region if home is None else home)
    hosts = REGIONS[check_region(home if region in (None, "") else region)]
    if not allow_data_outside_region:
        hosts = replace(hosts, keep_in=next((one for one in (hosts.region, home) if one in _RESIDENT), None))
    if edge:
        if hosts.keep_in is not None:
            raise InvalidInput(
                f"Edge-routed streaming may process audio outside region {hosts.keep_in!r}: turn streaming_edge off, "
                f"or {_ALLOW}."
            )
        hosts = replace(hosts, streaming=f"wss://{EDGE_STREAMING}", token=f"https://{EDGE_STREAMING}")
    if not override:
        return hosts
    base = _check_override(override, allow_insecure_http=allow_insecure_http)
    if hosts.keep_in is not None and _is_outside(base, hosts.keep_in):
        raise InvalidInput(
            f"The host override {strip_url(base)!r} is a host of AssemblyAI that may process data outside region "
            f"{hosts.keep_in!r}: leave it out, or {_ALLOW}."
        )
    socket = base.replace("http", "ws", 1)
    return replace(
        hosts, speech=base, gateway=base, streaming=socket, token=base, short_audio=base, overridden=True
    )


def check_data_stays(hosts: Hosts, request: Mapping[str, object], *, lives_there: bool | None = None) -> None:
    """
    Return if a request leaves its data in the region that the connection keeps it in.

    A request about a transcript that lives elsewhere, which an earlier setting of the connection may have made, does.

    :param hosts: that it goes to.
    :param request: its body, or the parameters of a session.
    :param lives_there: whether it is about a transcript that is known to live where it goes; None believes one that
        names a transcript.
    :raises InvalidInput: it does not.
    """
    if hosts.keep_in is None:
        return
    follows = bool(request.get("transcript_id")) if lives_there is None else lives_there
    if hosts.region != hosts.keep_in and not follows:
        raise InvalidInput(
            f"This would send data to region {hosts.region!r}, and the connection keeps it in {hosts.keep_in!r}: ask in "
            f"that region, or {_ALLOW}."
        )
    for place, region in _model_regions(request):
        if region is not None and str(region).strip().lower() != hosts.keep_in:
            raise InvalidInput(
                f"{place}={shown(region)} lets a model outside region {hosts.keep_in!r} see the data, and the connection "
                f"keeps it there: leave {place} out, or {_ALLOW}."
            )


def _model_regions(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Yield every ``model_region`` in the settings of a request: its own, of its fallbacks, of models of a stream."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            inner = f"{place}.{name}" if place else str(name)
            if name == "model_region":
                yield inner, part
            elif name not in _CONTENT:
                yield from _model_regions(part, inner)
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from _model_regions(part, f"{place}[{number}]")


def _is_outside(base: str, region: str) -> bool:
    """Tell whether ``base`` leads to the service itself, and to none of its hosts of ``region``: a proxy does not."""
    home = REGIONS[region]
    inside = {
        _name_of(one) for one in (home.speech, home.gateway, home.streaming, home.token, home.short_audio)
    }
    name = _name_of(base)
    return f".{name}".endswith(f".{_DOMAIN}") and name not in inside


def _name_of(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".").lower()


def is_official(host: object) -> bool:
    """Tell whether ``host`` is a speech host of the table, and not an override."""
    return any(host == hosts.speech for hosts in REGIONS.values())


def _check_override(override: str, *, allow_insecure_http: bool) -> str:
    try:
        parts = urlsplit(override.strip())
        port = parts.port
    except ValueError:
        raise InvalidInput("The host override is not a URL.") from None
    shown = strip_url(override.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(
            f"The host override {shown!r} must start with http:// or https:// and name a host."
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput(f"The host override {shown!r} must not hold a user, a query or a fragment.")
    if parts.scheme == "http" and not (allow_insecure_http or is_loopback(parts.hostname)):
        raise InvalidInput(
            f"The host override {shown!r} would send the API key in clear: use https://, or set "
            "allow_insecure_http in the connection's extra."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    netloc = host if port is None else f"{host}:{port}"
    return f"{parts.scheme}://{netloc}{parts.path.rstrip('/')}"


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is this machine, however it is written."""
    name = host.lower().strip("[]").rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_public(host: str) -> bool:
    """Tell whether the service could reach ``host``: not an address or name of a private network."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        private = (".local", ".localhost", ".internal", ".lan", ".home", ".corp", ".svc", ".test", ".invalid")
        return "." in host and not f".{host}".endswith(private)

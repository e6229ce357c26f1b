# SPDX-License-Identifier: Apache-2.0
"""Which URLs are the same recording, and that no text or address is too odd to be shown."""

from __future__ import annotations

import itertools

import pytest

from airflow_provider_assemblyai.api.sanitize import (
    address_without_query,
    canonical_url,
    sanitize,
    strip_url,
)

#: Each complete signature, and what else its scheme may add.
SCHEMES = {
    "S3 v4": (
        "X-Amz-Algorithm X-Amz-Credential X-Amz-Date X-Amz-Expires X-Amz-SignedHeaders X-Amz-Signature",
        "X-Amz-Security-Token",
    ),
    "S3 v2": ("AWSAccessKeyId Signature Expires", "x-amz-security-token"),
    "GCS v4": (
        "X-Goog-Algorithm X-Goog-Credential X-Goog-Date X-Goog-Expires X-Goog-SignedHeaders X-Goog-Signature",
        "",
    ),
    "GCS v2": ("GoogleAccessId Expires Signature", ""),
    "Azure service": ("sv sr sig se sp", "st sip spr"),
    "Azure stored policy": ("sv sr sig si", "se sp st sip spr"),
    "Azure user delegation": ("sv sr sig se sp skoid sktid skt ske sks skv", "st sip spr saoid scid"),
    "Azure account": ("sv ss srt sp se sig", "st sip spr"),
    "CloudFront canned": ("Expires Signature Key-Pair-Id", ""),
    "CloudFront custom": ("Policy Signature Key-Pair-Id", ""),
}
URL = "https://example.com/a.wav"
LOOKS_SIGNED = [
    "token",
    "sig",
    "signature",
    "policy",
    "expires",
    "Expires",
    "se",
    "st",
    "sp",
    "sv",
    "sr",
    "ss",
    "srt",
    "si",
    "key",
    "auth",
    "access_token",
    "X-Amz-Signature",
    "X-Amz-Date",
    "x-amz-meta",
    "X-Goog-Signature",
    "Signature",
    "AWSAccessKeyId",
    "Key-Pair-Id",
]


def with_parameters(names: list[str], value: str) -> str:
    return f"{URL}?id=7&" + "&".join(f"{name}={value}" for name in names)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_complete_signature_is_no_identity(scheme: str) -> None:
    required, optional = (names.split() for names in SCHEMES[scheme])
    for size in range(len(optional) + 1):
        for added in itertools.combinations(optional, size):
            assert canonical_url(with_parameters([*required, *added], "x")) == f"{URL}?id=7"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_url_that_is_signed_anew_in_another_order(scheme: str) -> None:
    signed = [f"{name}=x" for name in SCHEMES[scheme][0].split()]
    for others in (["versionId=1", "part=2"], ["v=2", "a=1", "v=1"]):
        orders = (
            itertools.chain(signed, others),
            itertools.chain(sorted(others, key=lambda it: it[0]), signed),
        )
        assert len({canonical_url(f"{URL}?{'&'.join(order)}") for order in orders}) == 1
    one, two = (f"{URL}?{'&'.join([*order, *signed])}" for order in (["v=1", "v=2"], ["v=2", "v=1"]))
    assert canonical_url(one) != canonical_url(two)
    assert canonical_url(f"{URL}?b=1&a=2") == f"{URL}?b=1&a=2"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_part_of_one_or_two_of_one_are(scheme: str) -> None:
    required, optional = (names.split() for names in SCHEMES[scheme])
    # What is left of a user delegation, or of a stored policy, may be another whole one.
    own = [name for name in required if not name.startswith("sk")]
    for name in own:
        rest = [other for other in required if other != name]
        if "sk" not in scheme and "Azure" not in scheme:
            assert canonical_url(with_parameters(rest, "x")) == with_parameters(rest, "x")
        one, two = (with_parameters(rest, value) for value in ("x", "y"))
        assert canonical_url(one) != canonical_url(two)
        emptied = with_parameters(required, "x").replace(f"&{name}=x", f"&{name}=")
        assert f"&{name}=" in canonical_url(emptied)
    for name in [*required, *optional]:
        doubled = with_parameters([*required, *optional, name], "x")
        assert canonical_url(doubled) == doubled


def test_two_signatures_at_once_are_none() -> None:
    for one, two in itertools.combinations(SCHEMES, 2):
        names = list(dict.fromkeys([*SCHEMES[one][0].split(), *SCHEMES[two][0].split()]))
        if set(names) in [set(SCHEMES[name][0].split()) for name in (one, two)]:
            continue
        both = with_parameters(names, "x")
        assert canonical_url(both) in (both, f"{URL}?id=7"), (one, two)
        if "Azure" not in one or "Azure" not in two:
            assert canonical_url(both) == both, (one, two)


@pytest.mark.parametrize("name", LOOKS_SIGNED)
def test_what_only_looks_like_one_is_identity(name: str) -> None:
    assert canonical_url(f"{URL}?{name}=1") == f"{URL}?{name}=1"
    signed = with_parameters(SCHEMES["S3 v4"][0].split(), "x")
    if f"&{name}=" not in signed:
        kept = canonical_url(f"{signed}&{name}=1").partition("?")[2].split("&")
        assert sorted(kept) == sorted(["id=7", f"{name}=1"])


def test_the_user_counts_and_the_password_does_not() -> None:
    assert canonical_url("https://me:one@example.com/a.wav?x=1") == "https://me@example.com/a.wav?x=1"
    assert canonical_url("https://me:two@example.com/a.wav?x=1") == "https://me@example.com/a.wav?x=1"
    assert canonical_url("https://you:one@example.com/a.wav") == "https://you@example.com/a.wav"
    assert canonical_url("https://:one@example.com/a.wav") == "https://example.com/a.wav"
    assert address_without_query("https://me:one@example.com/a.wav?x=1") == "https://me@example.com/a.wav"


@pytest.mark.parametrize(
    "odd",
    [
        "https://[bad",
        "https://x/\ud800?sig=\udfff",
        "\0",
        "https://x:99999/a?b",
        "//",
        "?",
        "://",
        "x" * 10**6,
    ],
)
def test_nothing_is_too_odd(odd: str) -> None:
    canonical_url(odd)
    strip_url(odd)
    shown = sanitize(odd)
    assert shown.isprintable()
    assert len(shown.encode()) <= 503

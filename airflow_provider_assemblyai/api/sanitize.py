# SPDX-License-Identifier: Apache-2.0
"""What of a URL, or of a text of the service, may be shown or kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus, urlsplit, urlunsplit

_URL = re.compile(
    r"(?:https?|wss?|ftp|s3|gs|abfss?)://[^\s'\"<>]+?(?=[,.;:)\]]*(?:[\s'\"<>]|$))", re.IGNORECASE
)
_SECRET_NAME = re.compile(r"sig|token|key|secret|credential|password|auth", re.IGNORECASE)
_SIGNATURE_PARAMETERS = re.compile(
    r"x-(amz|goog|ms)-.*|awsaccesskeyid|googleaccessid|key-pair-id|signature|sig|expires|policy"
    r"|(access_|auth_)?token|s[vepr]|st|spr|sk[stev]|skoid|sktid",
    re.IGNORECASE,
)
_MAX_TEXT = 500
#: JSON may hold them, and neither UTF-8 nor a database takes them.
_NOT_STORABLE = re.compile("[\ud800-\udfff\0]")


def strip_url(url: str) -> str:
    """Return ``url`` without user part, query and fragment: what may be shown of a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable URL)"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def secrets_in(url: object) -> list[str]:
    """Return the parts of ``url`` that give access: signatures, tokens, a password."""
    if not isinstance(url, str) or "://" not in url:
        return []
    try:
        parts = urlsplit(url)
        found = [parts.password or ""]
    except ValueError:
        return []
    for name, _, value in (pair.partition("=") for pair in parts.query.split("&")):
        if _SECRET_NAME.search(name):
            found += [value, unquote_plus(value)]
    return [value for value in dict.fromkeys(found) if value]


def canonical_url(url: str) -> str:
    """Return ``url`` without what only gives access: the same audio has the same canonical URL tomorrow."""
    pairs = [pair for pair in urlsplit(url).query.split("&") if pair]
    kept = [pair for pair in pairs if not _SIGNATURE_PARAMETERS.fullmatch(pair.partition("=")[0])]
    return strip_url(url) + ("?" + "&".join(kept) if kept else "")


def sanitize(text: str, secrets: Iterable[str] = ()) -> str:
    """
    Make a text of the service fit for messages and logs.

    :param text: the text.
    :param secrets: values, such as the API key, that are masked if the service repeats them.
    :return: one line of at most 500 characters, every URL without its query and user part.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    # Cut first: the pattern is slow on megabytes of punctuation.
    text = _URL.sub(lambda match: strip_url(match[0]), " ".join(text[:10_000].split())[:4_000])
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def storable(value: Any) -> Any:
    """Return a JSON value in whose texts the characters that no database takes are replaced by U+FFFD."""
    if isinstance(value, str):
        return _NOT_STORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {storable(name): storable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [storable(one) for one in value]
    return value

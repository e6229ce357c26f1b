# SPDX-License-Identifier: Apache-2.0
"""What of a URL, or of a text of the service, may be shown or kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit, urlunsplit

_URL = re.compile(
    r"(?:https?|wss?|ftp|s3|gs|abfss?)://[^\s'\"<>]+?(?=[,.;:)\]]*(?:[\s'\"<>]|$))", re.IGNORECASE
)
_SECRET_NAME = re.compile(r"sig|token|key|secret|credential|password|auth", re.IGNORECASE)
#: What states without an address fingerprint left out of a URL, wherever it stood.
_ONCE_LEFT_OUT = re.compile(
    r"x-(amz|goog|ms)-.*|awsaccesskeyid|googleaccessid|key-pair-id|signature|sig|expires|policy"
    r"|(access_|auth_)?token|s[vepr]|st|spr|sk[stev]|skoid|sktid",
    re.IGNORECASE,
)
#: What no text of one line holds, and what no UTF-8 can hold.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_TEXT = 500
#: Characters of an address or a path in a sentence; most are shorter, and some have thousands.
_MAX_ADDRESS = 500
#: JSON may hold them, and neither UTF-8 nor a database takes them.
_NOT_STORABLE = re.compile("[\ud800-\udfff\0]")


def _scheme(required: str, optional: str = "") -> tuple[frozenset[str], frozenset[str]]:
    needed = frozenset(required.split())
    return needed, needed | frozenset(optional.split())


_SAS_OPTIONAL: Final = "st sip spr ses sdd saoid suoid scid rscc rscd rsce rscl rsct"
#: The ways to sign a URL: the parameters that each needs, and all that it knows. Vendors' own spelling.
_SIGNING_SCHEMES: Final = (
    _scheme(  # S3, version 4
        "X-Amz-Algorithm X-Amz-Credential X-Amz-Date X-Amz-Expires X-Amz-SignedHeaders X-Amz-Signature",
        "X-Amz-Security-Token",
    ),
    _scheme("AWSAccessKeyId Signature Expires", "x-amz-security-token"),  # S3, version 2
    _scheme(  # Google Cloud Storage, version 4
        "X-Goog-Algorithm X-Goog-Credential X-Goog-Date X-Goog-Expires X-Goog-SignedHeaders X-Goog-Signature"
    ),
    _scheme("GoogleAccessId Expires Signature"),  # Google Cloud Storage, version 2
    # Azure: for a service, with a stored policy, with a user delegation key, for an account.
    _scheme("sv sr sig se sp", _SAS_OPTIONAL),
    _scheme("sv sr sig si", f"se sp {_SAS_OPTIONAL}"),
    _scheme("sv sr sig se sp skoid sktid skt ske sks skv", _SAS_OPTIONAL),
    _scheme("sv ss srt sp se sig", "st sip spr ses"),
    _scheme("Expires Signature Key-Pair-Id"),  # CloudFront, canned policy
    _scheme("Policy Signature Key-Pair-Id"),  # CloudFront, custom policy
)


def escape(text: str) -> str:
    """Return a text with what cannot be printed in one line, or encoded, as escape sequences."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def abridge(address: str) -> str:
    """Return an address or a path for a sentence: in one line, and without its middle if it is very long."""
    text = escape(address)
    half = _MAX_ADDRESS // 2
    return text if len(text) <= _MAX_ADDRESS else f"{text[:half]}…{text[-half:]}"


def strip_url(url: str) -> str:
    """Return ``url`` without user part, query and fragment: what may be shown of a URL."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    except (ValueError, TypeError, AttributeError):
        return "(unreadable URL)"


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
    """
    Return ``url`` without what only gives access: the same audio has the same canonical URL tomorrow.

    That is a password, and the parameters of a signature that is complete. Any other parameter may be what tells two
    recordings apart, whatever it is called, and so may the user name.
    """
    try:
        parts = urlsplit(url)
        user, is_user, host = parts.netloc.rpartition("@")
    except (ValueError, TypeError, AttributeError):
        return url
    user = user.partition(":")[0]
    pairs = [pair for pair in parts.query.split("&") if pair]
    signature = _signature_in(pairs)
    kept = [pair for pair in pairs if pair.partition("=")[0] not in signature]
    if signature:
        # A new signature may come with the others in another order, which means nothing to these stores; values of one name keep theirs.
        kept.sort(key=lambda pair: pair.partition("=")[0])
    netloc = f"{user}@{host}" if is_user and user else host
    return urlunsplit((parts.scheme, netloc, parts.path, "&".join(kept), ""))


def canonical_url_of_old_states(url: str) -> str:
    """Return what :func:`canonical_url` was when states had no address fingerprint: less of the query counted."""
    kept = [pair for pair in urlsplit(url).query.split("&") if pair]
    kept = [pair for pair in kept if not _ONCE_LEFT_OUT.fullmatch(pair.partition("=")[0])]
    return strip_url(url) + ("?" + "&".join(kept) if kept else "")


def address_without_query(url: str) -> str:
    """Return the canonical form of ``url`` without any parameter."""
    return canonical_url(url).partition("?")[0]


def _signature_in(pairs: Iterable[str]) -> frozenset[str]:
    """Return the names of the parameters that are a signature; none if that is not certain."""
    named = [(name, value) for name, _, value in (pair.partition("=") for pair in pairs)]
    times = Counter(name for name, _ in named)
    present = {name for name, value in named if value}
    complete = [scheme for scheme in _SIGNING_SCHEMES if scheme[0] <= present]
    for _, known in complete:
        # Some schemes hold others; two that are both there and have nothing to do with each other are none.
        if all(other <= known for other, _ in complete):
            return known if all(times[name] <= 1 for name in known) else frozenset()
    return frozenset()


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
    text = escape(_URL.sub(lambda match: strip_url(match[0]), " ".join(text[:10_000].split())[:4_000]))
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

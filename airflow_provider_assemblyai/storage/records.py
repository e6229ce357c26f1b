# SPDX-License-Identifier: Apache-2.0
"""
What is stored: records, and files of lines. Each names the version of its format and has a checksum of its content.

Whatever cannot be read, for whichever reason, is :class:`StateUnknown`: it is never taken for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.validation import is_encodable, is_of_type

#: Of records and of files of lines. Version 1 had no checksum, and is still read.
VERSION: Final = 2
_WITHOUT_CHECKSUM: Final = 1

S = TypeVar("S", bound=Mapping[str, Any])


@dataclass(frozen=True)
class RecordKind(Generic[S]):
    """
    What records of a kind hold.

    :param fields: a ``TypedDict``: the types of the fields that are read.
    :param needed: fields that are always there.
    :param needed_in: phase -> fields that are not None in it.
    """

    fields: type[S]
    needed: Sequence[str] = ()
    needed_in: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def problem(self, record: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the fields of a record, or None."""
        if not is_of_type(record, self.fields):
            return "holds a field of a wrong type"
        if not all(is_encodable(value) for value in record.values() if isinstance(value, str)):
            return "holds what is no text"
        phase = record.get("phase")
        missing = [name for name in self.needed if name not in record]
        missing += [name for name in self.needed_in.get(str(phase), ()) if record.get(name) is None]
        return f"lacks {', '.join(missing)}" if missing else None


class TornFile(StateUnknown):
    """A file of lines ends before its end: its writer was killed. All of its lines so far are whole."""


def unreadable(where: str, problem: str) -> StateUnknown:
    """
    Return the error for something stored that cannot be relied upon.

    :param where: the file, or what else holds it.
    :param problem: what is wrong with it, as the end of a sentence.
    """
    return StateUnknown(
        f"{where} {problem}. What it stands for is not known, so nothing is submitted. `assemblyai-ledger check` with "
        "the output path says what that means, and `assemblyai-ledger repair` looks its jobs up at the service."
    )


def parse_object(content: str | bytes, where: str) -> dict[str, Any]:
    """
    Return the JSON object that is stored.

    :param where: the file, for messages.
    :raises StateUnknown: it is none.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise unreadable(where, "cannot be read") from None
    if not isinstance(value, dict):
        raise unreadable(where, "is not one of ours")
    return value


def check_version(record: Mapping[str, Any], where: str) -> int:
    """
    Return the version of a record.

    :raises StateUnknown: it has none, or one that this version of the package does not read.
    """
    version = record.get("version")
    if not is_of_type(version, int):
        raise unreadable(where, "is not one of ours")
    if version not in (VERSION, _WITHOUT_CHECKSUM):
        raise StateUnknown(
            f"{where} has version {sanitize(repr(version))}, and this version of the package reads {VERSION} and "
            f"{_WITHOUT_CHECKSUM}: use the one that wrote it, or a newer one."
        )
    return cast("int", version)


# --- records ---------------------------------------------------------------------------------------------


def seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with its version and a checksum."""
    sealed = {**record, "version": VERSION}
    return {**sealed, "checksum": _checksum(sealed)}


def open_record(record: object, kind: RecordKind[S], where: str) -> S:
    """
    Return a record without its checksum.

    :param record: the stored value.
    :param kind: what it must hold.
    :param where: the file, or what else holds it, for messages.
    :raises StateUnknown: it cannot be relied upon.
    """
    if not isinstance(record, dict):
        raise unreadable(where, "is not one of ours")
    content = {name: value for name, value in record.items() if name != "checksum"}
    version = check_version(content, where)
    checksum = record.get("checksum")
    if (version != _WITHOUT_CHECKSUM or checksum is not None) and checksum != _checksum(content):
        raise unreadable(where, "was changed since it was written, or damaged: its checksum does not fit")
    if (problem := kind.problem(content)) is not None:
        raise unreadable(where, problem)
    return cast("S", content)


def _checksum(record: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(_canonical(record), sort_keys=True, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return a value whose numbers are spelled alike: databases write 1.0 as 1, or the other way round."""
    if isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _canonical(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# --- files of lines --------------------------------------------------------------------------------------


def encode_line(value: Mapping[str, Any]) -> bytes:
    """Return a line of a file. ASCII, so that whatever text it holds can be written."""
    return json.dumps(value).encode()


def sealed_lines(lines: Iterable[bytes]) -> bytes:
    """Return the content of a file that holds these lines, between one that names the version and one that ends it."""
    body = list(lines)
    end = {"end": len(body), "checksum": _checksum_of_lines(body)}
    return b"".join(line + b"\n" for line in (encode_line({"version": VERSION}), *body, encode_line(end)))


def open_lines(
    content: bytes,
    where: str,
    problem: Callable[[bytes, str], str | None] = lambda line, where: None,
    *,
    needs_end: bool = True,
) -> list[bytes]:
    """
    Return the lines that :func:`sealed_lines` was given.

    :param content: of the file.
    :param where: the file, for messages.
    :param problem: returns what is wrong with a line of that file; asked where there is no checksum.
    :param needs_end: whether files of version 1 end with a line of their own.
    :raises TornFile: the file is only the beginning of one.
    :raises StateUnknown: it cannot be relied upon.
    """
    lines = content.split(b"\n")
    rest = lines.pop()
    if not lines:
        headers = (encode_line({"version": version}) for version in (VERSION, _WITHOUT_CHECKSUM))
        if any(header.startswith(rest) for header in headers):
            raise TornFile(str(unreadable(where, "is not whole")))
        raise unreadable(where, "is not one of ours")
    version = check_version(parse_object(lines[0], where), where)
    body = lines[1:]
    if version == _WITHOUT_CHECKSUM and not needs_end and not rest:
        return _checked(body, problem, where)
    end = parse_object(body[-1], where) if body and not rest else {}
    if "end" not in end:
        for line in body:
            parse_object(line, where)
        raise TornFile(str(unreadable(where, "is not whole")))
    body.pop()
    sound = version == _WITHOUT_CHECKSUM or end.get("checksum") == _checksum_of_lines(body)
    if end["end"] != len(body) or not sound:
        raise unreadable(where, "was changed since it was written, or damaged: its end does not fit")
    return _checked(body, problem, where) if version == _WITHOUT_CHECKSUM else body


def _checked(lines: list[bytes], problem: Callable[[bytes, str], str | None], where: str) -> list[bytes]:
    for line in lines:
        if (found := problem(line, where)) is not None:
            raise unreadable(where, found)
    return lines


def _checksum_of_lines(lines: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line + b"\n")
    return digest.hexdigest()

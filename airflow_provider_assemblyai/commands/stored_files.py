# SPDX-License-Identifier: Apache-2.0
"""Everything that is stored below an output path: records, ledgers and leases, each with what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.batch.ledger import open_file
from airflow_provider_assemblyai.capture.state import CAPTURE
from airflow_provider_assemblyai.jobs.state import JOB
from airflow_provider_assemblyai.llm_gateway.call_state import CALL
from airflow_provider_assemblyai.llm_gateway.kept_answers import KEPT
from airflow_provider_assemblyai.storage.lease import Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import RecordKind, TornFile, open_record, parse_object

#: Of a record, what is shown: never an address, never text.
_SHOWN: Final = ("serial", "transcript_id", "conn_id", "region", "resubmits", "duration", "tries")
_UUID: Final = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH: Final = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class StoredFile:
    """
    One file.

    :param folder: where it is.
    :param name: its name.
    :param summary: what it holds, in a line without text and addresses.
    :param problem: why it cannot be relied upon, or None.
    :param harmless: whether that stops no task: a kill cut it off, and nothing was done on the strength of it.
    """

    folder: ObjectFolder
    name: str
    summary: str
    problem: str | None = None
    harmless: bool = False

    @property
    def path(self) -> str:
        return str(self.folder.path / self.name)

    def hints(self) -> tuple[set[str], set[str]]:
        """Return the ids of transcripts and the hashes that its bytes hold, readable or not."""
        content = self.folder.read_bytes(self.name) or b""
        return (
            {found.decode() for found in _UUID.findall(content)},
            {found.decode() for found in _HASH.findall(content)},
        )

    def set_aside(self) -> str:
        """Give it a name that nothing reads, and return that."""
        return self.folder.set_aside(self.name)


def stored_files(root: ObjectFolder) -> Iterator[StoredFile]:
    """
    Yield all records and files of ledgers.

    :param root: the folder ``.assemblyai`` of an output path.
    """
    yield from _records(root)
    for name in root.folders():
        if name == "batch":
            for kind in ("chunks", "segments"):
                yield from _ledger_files(root.subfolder(name).subfolder(kind))
        else:
            yield from _records(root.subfolder(name).subfolder("records"))


def leases(root: ObjectFolder) -> Iterator[Lease]:
    """Yield the leases that were claimed."""
    for name in root.folders():
        lease = Lease(root.subfolder(name).subfolder("lease"), "assemblyai-ledger", lambda owner: False)
        if lease.folder.names():
            yield lease


def _records(folder: ObjectFolder) -> Iterator[StoredFile]:
    for name in folder.names():
        if name.endswith(".json"):
            try:
                yield StoredFile(folder, name, _summary(folder.read_bytes(name) or b"", name))
            except StateUnknown as error:
                yield StoredFile(folder, name, "a record", str(error))


def _summary(content: bytes, name: str) -> str:
    value = parse_object(content, name)
    record: Any = open_record(value, _kind_of(value), name)
    facts = [f"{field} {record[field]}" for field in _SHOWN if record.get(field) is not None]
    kind = "a kept answer" if record["phase"] == "answered" else f"phase {record['phase']}"
    return ", ".join([kind, *facts])


def _kind_of(value: dict[str, Any]) -> RecordKind[Any]:
    if "started_at" in value:
        return CAPTURE
    if value.get("phase") == "answered":
        return KEPT
    return JOB if "url_hashes" in value else CALL


def _ledger_files(folder: ObjectFolder) -> Iterator[StoredFile]:
    names = folder.names()
    for name in names:
        try:
            entries = open_file(folder.read_bytes(name) or b"", name)
            yield StoredFile(folder, name, f"{len(entries)} entries of items")
        except TornFile as error:
            token = name.rpartition("-")[0]
            last = name == max(other for other in names if other.rpartition("-")[0] == token)
            yield StoredFile(
                folder, name, "cut off", str(error), harmless=last and folder.path.name == "segments"
            )
        except StateUnknown as error:
            yield StoredFile(folder, name, "a part of a ledger", str(error))

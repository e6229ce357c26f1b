# SPDX-License-Identifier: Apache-2.0
"""
The lease of an output path: one attempt of one task works on it at a time.

An attempt begins with a claim, a file named by its lease token: the next number and a random part. The greatest token
holds the lease. The holder rewrites its heartbeat file to show that it lives. Claims are never changed, so no late
heartbeat of a former holder can take one back. After each write to the ledger the holder asks whether there is a
greater claim; if so it has been superseded. The new holder reads the ledger after its own claim, and so sees all that
was written before. Nothing is asked of a store but that it lists what was written; two claims at the same moment
differ in their tokens.

No clock of another machine is believed: a holder is dead if its heartbeat did not change for its ttl, while the
waiter counted the seconds.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import AssemblyAIError, Superseded
from airflow_provider_assemblyai.batch.record_version import VERSION, parse_record
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

log = logging.getLogger(__name__)

#: Seconds between two heartbeats, and those without one after which a holder at work is taken for dead.
HEARTBEAT_INTERVAL: Final = 15.0
DEFAULT_TTL: Final = 90.0
_CLAIM, _HEARTBEAT = ".claim.json", ".heartbeat.json"
_SUPERSEDED: Final = "Another attempt took this batch over; nothing more is done here."


@dataclass(frozen=True)
class LeaseHolder:
    """
    The holder of a lease, as another task sees it.

    :param owner: its task.
    :param heartbeat: changes as long as the holder lives.
    :param ttl: seconds without a change after which the lease may be taken over.
    """

    owner: str
    heartbeat: str
    ttl: float


@dataclass
class Lease:
    """
    The right to write below one output path.

    :param folder: where the claims are.
    :param owner: the task; all its tries are one owner, and a later try takes over at once.
    :param is_finished: whether the task that an owner names has ended for good.
    :param ttl: seconds without a heartbeat after which a holder at work is taken for dead.
    :ivar token: the claim of this attempt: later ones are greater.
    :ivar ttl_after_work: seconds for which the lease stays held when the work is done, without heartbeats.
    """

    folder: ObjectFolder
    owner: str
    is_finished: Callable[[str], bool]
    ttl: float = DEFAULT_TTL
    token: str = field(default="", init=False)
    ttl_after_work: float = field(default=0.0, init=False)
    _heartbeats: int = field(default=0, init=False)

    def current_holder(self) -> LeaseHolder | None:
        """Return the other task that holds the lease; None if it may be claimed."""
        newest = self._newest_token()
        claim = self._read(newest, _CLAIM)
        if not claim or claim.get("owner") == self.owner:
            return None
        heartbeat = self._read(newest, _HEARTBEAT)
        ttl = float(heartbeat.get("ttl", DEFAULT_TTL))
        if ttl <= 0 or self.is_finished(claim["owner"]):
            return None
        return LeaseHolder(claim["owner"], f"{newest}.{heartbeat.get('number', 0)}", ttl)

    def claim(self, after: str | None = None) -> None:
        """
        Claim the lease.

        :param after: the token that the same attempt held before; None begins an attempt.
        :raises Superseded: another attempt claims it now, or has claimed it since ``after``.
        """
        newest = self._newest_token()
        if after is not None and newest != after:
            raise Superseded(_SUPERSEDED)
        self.token = f"{int(newest.partition('-')[0] or 0) + 1:08}-{uuid.uuid4().hex[:12]}"
        self._write(_CLAIM, {"owner": self.owner})
        self._write_heartbeat(self.ttl)
        self.check()
        self.folder.remove([name for name in self.folder.names() if name < self.token])

    def check(self) -> None:
        """
        Return if this attempt still holds the lease.

        :raises Superseded: another attempt has claimed it.
        """
        if self._newest_token() != self.token:
            raise Superseded(_SUPERSEDED)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Write heartbeats while the work is done, and give the lease back after it; see :attr:`ttl_after_work`."""
        stop = threading.Event()
        thread = threading.Thread(target=self._renew_until, args=(stop,), name="lease heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            with suppress(AssemblyAIError):  # the next holder waits a little longer then
                self._write_heartbeat(self.ttl_after_work)

    def _renew_until(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_INTERVAL):
            try:
                self._write_heartbeat(self.ttl)
            except AssemblyAIError as error:
                # If this lasts, another task takes over, and the next write to the ledger is refused.
                log.warning("The lease could not be renewed: %s", error)

    def _write_heartbeat(self, ttl: float) -> None:
        self._heartbeats += 1
        self._write(_HEARTBEAT, {"number": self._heartbeats, "ttl": ttl})

    def _write(self, suffix: str, record: dict[str, Any]) -> None:
        self.folder.write(self.token + suffix, json.dumps({"version": VERSION, **record}))

    def _newest_token(self) -> str:
        claims = [name for name in self.folder.names() if name.endswith(_CLAIM)]
        return max(claims, default="").removesuffix(_CLAIM)

    def _read(self, token: str, suffix: str) -> dict[str, Any]:
        text = self.folder.read(token + suffix) if token else None
        return parse_record(text, f"{self.folder.path}/{token}{suffix}") if text else {}

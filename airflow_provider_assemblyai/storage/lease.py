# SPDX-License-Identifier: Apache-2.0
"""
The lease of an output path, or of one input there: one attempt of one task works on it at a time.

An attempt begins with a claim, a file named by its lease token: the next number, and a random part only where the store
cannot create a file exclusively. Where it can, one of those that want a number gets it. The greatest token holds the lease.
The holder rewrites its heartbeat file to show that it lives. Claims are never changed, so no late
heartbeat of a former holder can take one back. After each write of what the lease is for, the holder asks whether
there is a greater claim; if so it has been superseded. The new holder reads what is there after its own claim, and so
sees all that was written before. Where nothing can be created exclusively, two claims at the same moment differ in their
tokens, and the smaller one learns of the other when it asks.

No clock of another machine is believed: a holder is dead if its heartbeat did not change for its ttl, while the
waiter counted the seconds. That is so for a holder whose files cannot be read, too: a claim or heartbeat that a kill
cut off must neither block for ever nor be taken for nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypedDict

from airflow_provider_assemblyai.api.errors import AssemblyAIError, StateUnknown, Superseded
from airflow_provider_assemblyai.api.validation import is_of_type, is_whole
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import parse_object

log = logging.getLogger(__name__)

#: Seconds between two heartbeats, and those without one after which a holder at work is taken for dead.
HEARTBEAT_INTERVAL: Final = 15.0
DEFAULT_TTL: Final = 90.0
#: Of claims and heartbeats.
_VERSION: Final = 1
_CLAIM, _HEARTBEAT = ".claim.json", ".heartbeat.json"
_CLAIM_NAME: Final = re.compile(r"\d{8}-[0-9a-f]{12}" + re.escape(_CLAIM), re.ASCII)
#: In the place of the random part.
_EXCLUSIVE: Final = "0" * 12
_SUPERSEDED: Final = "Another attempt took this work over; nothing more is done here."


class _Claim(TypedDict):
    version: int
    owner: str


class _Heartbeat(TypedDict):
    version: int
    number: int
    ttl: float


@dataclass(frozen=True)
class LeaseHolder:
    """
    The holder of a lease, as another task sees it.

    :param owner: its task; None if that cannot be read.
    :param heartbeat: changes as long as the holder lives.
    :param ttl: seconds without a change after which the lease may be taken over.
    """

    owner: str | None
    heartbeat: str
    ttl: float

    def __str__(self) -> str:
        return "an unknown task (its claim cannot be read)" if self.owner is None else self.owner


class SilentTime(TypedDict):
    """
    How long a heartbeat did not change, as the waiter counted it.

    :ivar heartbeat: that of :class:`LeaseHolder`.
    :ivar seconds: for which it was the same.
    """

    heartbeat: str
    seconds: float


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
    ttl: float = field(default_factory=lambda: DEFAULT_TTL)
    token: str = field(default="", init=False)
    ttl_after_work: float = field(default=0.0, init=False)
    _heartbeats: int = field(default=0, init=False)

    def current_holder(self) -> LeaseHolder | None:
        """
        Return the other task that holds the lease; None if it may be claimed.

        :raises StateUnknown: another version of this package holds it.
        """
        holder = self.holder()
        if holder is None or holder.owner == self.owner or holder.ttl <= 0:
            return None
        return None if holder.owner is not None and self.is_finished(holder.owner) else holder

    def holder(self) -> LeaseHolder | None:
        """
        Return who claimed last, whether or not that one still works.

        :raises StateUnknown: another version of this package did.
        """
        token = self._newest_token()
        if not token:
            return None
        claim, _ = self._read(token, _CLAIM, _Claim)
        heartbeat, content = self._read(token, _HEARTBEAT, _Heartbeat)
        owner = None if claim is None else str(claim["owner"])
        if heartbeat is None:
            # What cannot be read changes as well when it is written anew.
            return LeaseHolder(owner, f"{token}.{content}", DEFAULT_TTL)
        return LeaseHolder(owner, f"{token}.{heartbeat['number']}", float(heartbeat["ttl"]))

    def count_silence(
        self, holder: LeaseHolder, waited: Mapping[str, Any] | None, interval: float
    ) -> SilentTime | None:
        """
        Count the time for which a holder was silent; None if it is dead, so that the lease may be claimed.

        :param holder: from :meth:`current_holder`.
        :param waited: what this returned before.
        :param interval: seconds that pass until it is called again.
        """
        # How long is counted, not read off a clock.
        seconds = waited["seconds"] if waited and waited["heartbeat"] == holder.heartbeat else 0.0
        if seconds > holder.ttl:
            log.warning("The holder of %s is gone: %s.", self.folder.path, holder)
            return None
        return {"heartbeat": holder.heartbeat, "seconds": seconds + interval}

    def claim(self, after: str | None = None) -> None:
        """
        Claim the lease.

        :param after: the token that the same attempt held before; None begins an attempt.
        :raises Superseded: another attempt claims it now, or has claimed it since ``after``.
        """
        newest = self._newest_token()
        if after is not None and newest != after:
            raise Superseded(_SUPERSEDED)
        attempt = uuid.uuid4().hex
        unique = _EXCLUSIVE if self.folder.can_create() else attempt[:12]
        token = f"{int(newest.partition('-')[0] or 0) + 1:08}-{unique}"
        claim = {"version": _VERSION, "owner": self.owner, "attempt": attempt}
        if not self.folder.create(token + _CLAIM, json.dumps(claim)):
            # It may be this claim that is there, if the store's answer was lost and the request repeated.
            found, _ = self._read(token, _CLAIM, _Claim)
            if found is None or found.get("attempt") != attempt:
                raise Superseded(_SUPERSEDED)
        self.token = token
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
                # If this lasts, another task takes over, and the next write of this one is refused.
                log.warning("The lease could not be renewed: %s", error)

    def _write_heartbeat(self, ttl: float) -> None:
        self._heartbeats += 1
        heartbeat = {"version": _VERSION, "number": self._heartbeats, "ttl": ttl}
        self.folder.write(self.token + _HEARTBEAT, json.dumps(heartbeat))

    def _newest_token(self) -> str:
        claims = [name for name in self.folder.names() if _CLAIM_NAME.fullmatch(name)]
        return max(claims, default="").removesuffix(_CLAIM)

    def _read(self, token: str, suffix: str, kind: type[Any]) -> tuple[dict[str, Any] | None, str]:
        """Return a record, or None if it is not whole, and what tells its content from another."""
        content = self.folder.read_bytes(token + suffix) or b""
        where = f"{self.folder.path}/{token}{suffix}"
        try:
            record = parse_object(content, where)
        except StateUnknown:
            record = {}
        version = record.get("version")
        if is_of_type(version, int) and version != _VERSION:
            raise StateUnknown(
                f"{where} has version {version}, and this version of the package reads {_VERSION} only: use the one "
                "that wrote it, or a newer one."
            )
        return record if is_whole(record, kind) else None, hashlib.sha256(content).hexdigest()[:16]

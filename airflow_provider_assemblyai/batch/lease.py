# SPDX-License-Identifier: Apache-2.0
"""
Who may work on an output path: one attempt of one task at a time.

Whoever begins makes the next numbered claim, which a store gives to one writer only, and shows that it lives by
rewriting its beat. Claims are never changed, so no late beat of a former holder can take one back. A holder asks
after each write to the ledger whether a newer claim exists; if so it has been superseded, and what it wrote before
that claim has been seen by whoever made it.

No clock of another machine is believed: a beat is dead if it did not change while somebody else waited.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import AssemblyAIError, CannotTell, RecordRefused
from airflow_provider_assemblyai.batch.folder import Folder

log = logging.getLogger(__name__)

#: Seconds between two beats, and those without one after which a holder at work is taken for dead.
BEAT: Final = 15.0
LASTS: Final = 90.0
_CLAIM, _BEAT = ".claim.json", ".beat.json"


@dataclass(frozen=True)
class Held:
    """
    Somebody else holds the lease.

    :param owner: which task.
    :param mark: changes as long as the holder lives.
    :param lasts: seconds without a change after which it may be taken over.
    """

    owner: str
    mark: str
    lasts: float


class Lease:
    """
    The right to write below one output path.

    :param folder: where claims are.
    :param owner: which task this is; all its tries are one owner, and a later try takes over at once.
    :param is_over: tells whether the task that an owner names has ended.
    """

    def __init__(self, folder: Folder, owner: str, is_over: Callable[[str], bool]) -> None:
        self._folder = folder
        self._owner = owner
        self._is_over = is_over
        self._beats = 0
        self._stop = threading.Event()
        self.epoch = 0
        #: Seconds for which it stays held after the work, when nobody shows that he lives.
        self.lasts = 0.0

    def held(self) -> Held | None:
        """Return who else holds it; None if it may be claimed."""
        epoch = self._newest()
        claim = self._read(epoch, _CLAIM)
        if not claim or claim.get("owner") == self._owner:
            return None
        beat = self._read(epoch, _BEAT)
        lasts = float(beat.get("lasts", LASTS))
        if lasts <= 0 or self._is_over(claim["owner"]):
            return None
        return Held(claim["owner"], f"{epoch}.{beat.get('n', 0)}", lasts)

    def claim(self, after: int | None = None) -> None:
        """
        Claim it.

        :param after: the claim that the same attempt held before; None begins an attempt.
        :raises RecordRefused: somebody else claims it, or did so after that.
        """
        newest = self._newest()
        if after is not None and newest != after:
            raise RecordRefused("Another attempt took this batch over; nothing more is done here.")
        epoch = newest + 1
        content = json.dumps({"epoch": epoch, "owner": self._owner, "token": uuid.uuid4().hex})
        if not self._folder.create(_name(epoch, _CLAIM), content):
            raise RecordRefused("Another attempt claimed this batch at the same moment.")
        self.epoch = epoch
        self._beat(LASTS)
        old = [name for name in self._folder.names() if _epoch_of(name) < epoch]
        self._folder.remove(old)

    def check(self) -> None:
        """
        Return if this attempt still holds it.

        :raises RecordRefused: another attempt has claimed it.
        """
        if self._newest() != self.epoch:
            raise RecordRefused("Another attempt took this batch over; nothing more is done here.")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Show that the holder lives while something is done, and give the lease back then; see :attr:`lasts`."""
        self._stop.clear()
        beating = threading.Thread(target=self._keep, name="lease", daemon=True)
        beating.start()
        try:
            yield
        finally:
            self._stop.set()
            beating.join()
            with suppress(AssemblyAIError):  # the next holder waits a little longer then
                self._beat(self.lasts)

    def _keep(self) -> None:
        while not self._stop.wait(BEAT):
            try:
                self._beat(LASTS)
            except AssemblyAIError as error:
                # If this lasts, somebody else takes over, and the next write is refused.
                log.warning("The lease could not be renewed: %s", error)

    def _beat(self, lasts: float) -> None:
        self._beats += 1
        self._folder.write(_name(self.epoch, _BEAT), json.dumps({"n": self._beats, "lasts": lasts}))

    def _newest(self) -> int:
        claims = [name for name in self._folder.names() if name.endswith(_CLAIM)]
        return max((_epoch_of(name) for name in claims), default=0)

    def _read(self, epoch: int, kind: str) -> dict[str, Any]:
        text = self._folder.read(_name(epoch, kind)) if epoch else None
        try:
            value = json.loads(text) if text else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise CannotTell(f"{self._folder.path}/{_name(epoch, kind)} cannot be read.")
        return value


def _name(epoch: int, kind: str) -> str:
    return f"{epoch:08}{kind}"


def _epoch_of(name: str) -> int:
    digits = name.partition(".")[0]
    return int(digits) if digits.isdigit() else 0

# SPDX-License-Identifier: Apache-2.0
"""
Who may work on an output path: one attempt of one task at a time.

Whoever begins makes a claim, named by the next number and a token, and shows that it lives by rewriting its beat. The
greatest name holds. Claims are never changed, so no late beat of a former holder can take one back. A holder asks
after each write to the ledger whether there is a greater claim; if so it has been superseded, and all that it wrote
before that claim is seen by whoever made it, because that one reads afterwards. So nothing is asked of a store but
that it lists what was written; two claims at the same moment differ in their tokens.

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

from airflow_provider_assemblyai.api.errors import AssemblyAIError, StateUnknown, Superseded
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder

log = logging.getLogger(__name__)

#: Seconds between two beats, and those without one after which a holder at work is taken for dead.
HEARTBEAT_INTERVAL: Final = 15.0
DEFAULT_TTL: Final = 90.0
_CLAIM, _BEAT = ".claim.json", ".beat.json"


@dataclass(frozen=True)
class LeaseHolder:
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

    def __init__(self, folder: ObjectFolder, owner: str, is_over: Callable[[str], bool]) -> None:
        self._folder = folder
        self._owner = owner
        self._is_over = is_over
        self._beats = 0
        self._stop = threading.Event()
        #: The claim of this attempt: later ones are greater.
        self.mark = ""
        #: Seconds for which it stays held after the work, when nobody shows that he lives.
        self.lasts = 0.0

    def held(self) -> LeaseHolder | None:
        """Return who else holds it; None if it may be claimed."""
        newest = self._newest()
        claim = self._read(newest, _CLAIM)
        if not claim or claim.get("owner") == self._owner:
            return None
        beat = self._read(newest, _BEAT)
        lasts = float(beat.get("lasts", DEFAULT_TTL))
        if lasts <= 0 or self._is_over(claim["owner"]):
            return None
        return LeaseHolder(claim["owner"], f"{newest}.{beat.get('n', 0)}", lasts)

    def claim(self, after: str | None = None) -> None:
        """
        Claim it.

        :param after: the claim that the same attempt held before; None begins an attempt.
        :raises RecordRefused: somebody else claims it, or did so after that.
        """
        newest = self._newest()
        if after is not None and newest != after:
            raise Superseded("Another attempt took this batch over; nothing more is done here.")
        self.mark = f"{int(newest.partition('-')[0] or 0) + 1:08}-{uuid.uuid4().hex[:12]}"
        self._folder.write(self.mark + _CLAIM, json.dumps({"owner": self._owner}))
        self._beat(DEFAULT_TTL)
        self.check()
        self._folder.remove([name for name in self._folder.names() if name < self.mark])

    def check(self) -> None:
        """
        Return if this attempt still holds it.

        :raises RecordRefused: another attempt has claimed it.
        """
        if self._newest() != self.mark:
            raise Superseded("Another attempt took this batch over; nothing more is done here.")

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
        while not self._stop.wait(HEARTBEAT_INTERVAL):
            try:
                self._beat(DEFAULT_TTL)
            except AssemblyAIError as error:
                # If this lasts, somebody else takes over, and the next write is refused.
                log.warning("The lease could not be renewed: %s", error)

    def _beat(self, lasts: float) -> None:
        self._beats += 1
        self._folder.write(self.mark + _BEAT, json.dumps({"n": self._beats, "lasts": lasts}))

    def _newest(self) -> str:
        claims = [name for name in self._folder.names() if name.endswith(_CLAIM)]
        return max(claims, default="").removesuffix(_CLAIM)

    def _read(self, mark: str, kind: str) -> dict[str, Any]:
        text = self._folder.read(mark + kind) if mark else None
        try:
            value = json.loads(text) if text else {}
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise StateUnknown(f"{self._folder.path}/{mark}{kind} cannot be read.")
        return value

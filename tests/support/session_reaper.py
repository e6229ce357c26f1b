# SPDX-License-Identifier: Apache-2.0
"""Ends sessions of processes once the process that started them has ended.

Reads one session id a line. When standard input closes, because its writer has finished or was killed, each
session gets SIGTERM, time to end well, then SIGKILL. It imports the standard library only, so that it starts at
once and outlives everything else.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

#: Seconds from SIGTERM to SIGKILL. The scheduler waits for its running tasks meanwhile.
GRACE = 15.0

_never_set = threading.Event()


def session_members(sessions: set[int]) -> list[int]:
    """Ids of the living processes of these sessions; a zombie counts as ended."""
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it has just ended
            with (entry / "stat").open(encoding="utf-8", errors="replace") as stat:
                # The command name in brackets may itself hold brackets and blanks.
                state, _parent, _group, session = stat.read().rpartition(")")[2].split()[:4]
            if int(session) in sessions and state not in "ZX":
                members.append(int(entry.name))
    return members


def _signal_all(sessions: set[int], number: signal.Signals) -> None:
    for pid in session_members(sessions):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _all_gone(sessions: set[int], seconds: float) -> bool:
    """Whether all ended in time; a session that has lost its leader gets SIGTERM as a whole."""
    deadline = time.monotonic() + seconds
    while members := session_members(sessions):
        if time.monotonic() >= deadline:
            return False
        orphaned = sessions - set(members)
        _signal_all(orphaned, signal.SIGTERM)
        _never_set.wait(0.1)
    return True


def end(sessions: set[int], grace: float) -> None:
    # The leaders first: a scheduler that gets SIGTERM ends its own workers in the right order.
    for leader in sessions:
        with suppress(ProcessLookupError):
            # A stopped process would never act on SIGTERM.
            os.kill(leader, signal.SIGCONT)
            os.kill(leader, signal.SIGTERM)
    if _all_gone(sessions, grace):
        return
    deadline = time.monotonic() + grace
    while session_members(sessions) and time.monotonic() < deadline:
        _signal_all(sessions, signal.SIGKILL)
        _never_set.wait(0.1)


def main() -> None:
    # Ctrl-C and `kill` are for the writer; its end is the signal for this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    grace = float(sys.argv[1])
    end({int(line) for line in sys.stdin if line.strip()}, grace)


if __name__ == "__main__":
    main()

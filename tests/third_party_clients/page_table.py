# SPDX-License-Identifier: Apache-2.0
"""The table of clients in ``docs/testing/emulator.md``: every client that was tried writes its row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tests.third_party_clients.clients import ROOT, Client, read_clients

PAGE = ROOT / "docs" / "testing" / "emulator.md"
_HEAD = "| Client | Version | Where the address goes | What was tried | Result |\n|---|---|---|---|---|\n"
_TABLE = re.compile(r"(<!-- clients: begin -->\n).*?(<!-- clients: end -->\n)", re.DOTALL)


def row_of(client: Client, tried: Sequence[str], remarks: Mapping[str, str]) -> str:
    """The row of a client whose script went well.

    :param client: which.
    :param tried: the names of its steps.
    :param remarks: what some of them said, by name.
    """
    name = f"`{client.package}`{' (npm)' if client.npm else ''}"
    result = "; ".join(["works", *(f"{step}: {remark}" for step, remark in remarks.items())])
    cells = (name, client.version, client.address, "; ".join(tried), result)
    return f"| {' | '.join(cells)} |\n"


def rows() -> dict[str, str]:
    """The rows that are on the page, by the first cell."""
    table = _TABLE.search(PAGE.read_text())
    assert table, f"{PAGE} has no table of clients"
    lines = table[0].splitlines(keepends=True)[3:-1]
    return {key(line): line for line in lines}


def key(row: str) -> str:
    """Which client a row is about.

    :param row: of the table.
    """
    return row.split(" | ", 1)[0]


def write(row: str) -> None:
    """Put a row in its place; rows of clients that are no longer tried go.

    :param row: the new one.
    """
    found = {**rows(), key(row): row}
    order = [key(row_of(client, (), {})) for client in read_clients()]
    table = _HEAD + "".join(found[name] for name in order if name in found)
    PAGE.write_text(_TABLE.sub(lambda old: f"{old[1]}{table}{old[2]}", PAGE.read_text()))

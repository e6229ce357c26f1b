# SPDX-License-Identifier: Apache-2.0
"""The clients that are tried, as ``pins.toml`` describes them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    :param name: of its script and of its environment.
    :param packages: what is installed, with versions; the first is the client.
    :param address: how its users tell it where the emulator is.
    :param published_before: what is newer is not installed.
    :param npm: whether the packages are npm's.
    :param tls: whether the emulator is served with TLS.
    :param environment: variables of its script; ``{url}`` is the emulator's.
    """

    name: str
    packages: Sequence[str]
    address: str
    published_before: str
    npm: bool = False
    tls: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The package as users install it."""
        return self.packages[0].partition("==")[0]

    @property
    def version(self) -> str:
        """Its version."""
        return self.packages[0].partition("==")[2]

    @property
    def pins(self) -> str:
        """What its environment is made of; another text is another environment."""
        return json.dumps([*self.packages, self.published_before])

    @property
    def script(self) -> Path:
        """What is run."""
        return HERE / "scripts" / f"{self.name}{'.cjs' if self.npm else '_client.py'}"

    @property
    def directory(self) -> Path:
        """Its environment."""
        return ROOT / ".venv-clients" / self.name


def read_clients() -> list[Client]:
    """All clients, in the order of the table."""
    pins = tomllib.loads((HERE / "pins.toml").read_text())
    published_before = pins.pop("published_before")
    return [Client(name, published_before=published_before, **pin) for name, pin in pins.items()]

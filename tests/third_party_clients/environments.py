# SPDX-License-Identifier: Apache-2.0
"""Make the environments of the clients, as far as they are not there with these versions.

python -m tests.third_party_clients.environments
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.third_party_clients.clients import Client, read_clients

_UV = Path(sys.executable).with_name("uv")
#: An installation waits for the package index most of the time.
_AT_ONCE = 4


def make(client: Client) -> str | None:
    """Make an environment, if it is not there with these versions.

    :param client: whose.
    :return: what went wrong.
    """
    stamp, made_of = client.directory / ".installed", f"{client.pins}\n{sys.version}"
    if stamp.exists() and stamp.read_text() == made_of:
        return None
    shutil.rmtree(client.directory, ignore_errors=True)
    for command in commands(client):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"{client.name} could not be installed: {' '.join(command)}\n{done.stdout}{done.stderr}"
    stamp.write_text(made_of)
    print(f"{client.name}: {client.directory} has {client.package} {client.version}", flush=True)
    return None


def commands(client: Client) -> Iterator[list[str]]:
    """What makes the environment of a client.

    :param client: whose.
    """
    before, directory = client.published_before, str(client.directory)
    if client.npm:
        packages = [package.replace("==", "@") for package in client.packages]
        yield ["npm", "install", "--loglevel=error", "--before", before, "--prefix", directory, *packages]
        return
    yield [str(_UV), "venv", "--quiet", "--python", sys.executable, directory]
    install = [str(_UV), "pip", "install", "--quiet", "--exclude-newer", before]
    yield [*install, "--python", f"{directory}/bin/python", *client.packages]


def main() -> int:
    """Make all that can be made here; returns the exit status."""
    clients = read_clients()
    if shutil.which("npm") is None:
        print("npm is not installed: the Node SDK is not tried.", flush=True)
        clients = [client for client in clients if not client.npm]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        failures = [failure for failure in pool.map(make, clients) if failure]
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

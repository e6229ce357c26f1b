# SPDX-License-Identifier: Apache-2.0
"""Clients made by others work with the emulator as with the service.

Each is used by a script, in an environment of its own that `make test-clients` has made. A script prints a line for
each of its steps; a row of the table in docs/testing/emulator.md is made of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_provider_assemblyai.emulator import serve
from tests.support.emulator_api import wav
from tests.third_party_clients import page_table
from tests.third_party_clients.clients import Client, read_clients

#: Seconds that a script may take on a busy machine.
TIMEOUT = 500
MARK = "STEP "
NO_NPM = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
CLIENTS = [
    pytest.param(client, id=client.name, marks=[NO_NPM] if client.npm else []) for client in read_clients()
]


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, Path]:
    """Files of a certificate for this machine, its key, and its authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("authority", "certificate", "key")}
    authority.cert_pem.write_to_path(paths["authority"])
    certificate.cert_chain_pems[0].write_to_path(paths["certificate"])
    certificate.private_key_pem.write_to_path(paths["key"])
    return paths


def run_script(client: Client, certificates: dict[str, Path], directory: Path) -> list[dict[str, Any]]:
    """Run the script of a client against an emulator of its own, and return its steps."""
    audio = directory / "call.wav"
    audio.write_bytes(wav(12))
    files = (certificates["certificate"], certificates["key"])
    trusted = str(certificates["authority"])
    with serve(tls=files if client.tls else None) as emulator:
        variables = {
            **os.environ,
            "EMULATOR_URL": emulator.url,
            "EMULATOR_KEY": emulator.api_key,
            "AUDIO_FILE": str(audio),
            **dict.fromkeys(("NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), trusted),
            "NODE_PATH": str(client.directory / "node_modules"),
            **{name: value.format(url=emulator.url) for name, value in client.environment.items()},
        }
        program = "node" if client.npm else str(client.directory / "bin" / "python")
        done = subprocess.run(
            [program, str(client.script)],
            env=variables,
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    assert lines, f"the script took no step:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert done.stdout.splitlines()[-1] == "END", (
        f"the script ended early:\n{lines[-1]}\n{done.stderr[-4000:]}"
    )
    return [json.loads(line.removeprefix(MARK)) for line in lines]


@pytest.mark.parametrize("client", CLIENTS)
def test_client(
    client: Client, certificates: dict[str, Path], tmp_path: Path, subtests: pytest.Subtests
) -> None:
    steps = run_script(client, certificates, tmp_path)
    for step in steps:
        with subtests.test(step["name"]):
            assert step["failure"] is None, step["failure"]
    if any(step["failure"] for step in steps):
        return
    remarks = {step["name"]: step["remark"] for step in steps if step["remark"]}
    row = page_table.row_of(client, [step["name"] for step in steps], remarks)
    if page_table.rows().get(page_table.key(row)) != row:
        page_table.write(row)
        pytest.fail(f"{page_table.PAGE} said something else about {client.name}. It says now:\n{row}")

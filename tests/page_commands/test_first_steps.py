# SPDX-License-Identifier: Apache-2.0
"""
The first pages, followed literally on a machine that has nothing but Python, git and make.

Commands and files are read out of the pages themselves. What the package index and the repository's address would give
comes from this checkout; all else is as on the machine of a newcomer: an empty home and an empty environment.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from scripts.docs import code_blocks
from tests.support.processes import free_port, until
from tests.support.sample import SAMPLE

ROOT = Path(__file__).parents[2]
FOLLOWED = "followed by tests/page_commands"
REPOSITORY = "https://github.com/airflow-provider-assemblyai/airflow-provider-assemblyai"
#: Words of the sample, which a small model hears without doubt.
WORDS = ("blue coffee cup", "look for your parcel", "heavy snow", "tomorrow morning", "lovely day")
#: A page says "Save this as `path`:" above a file.
SAVED = re.compile(r"Save this as `([^`]+)`[^\n]*:\n\n\Z")
#: Where packages come from, and which certificates this machine trusts: not the business of a page.
PASSED_ON = re.compile(r"(PIP|UV|SSL|REQUESTS)_\w+|(https?|no)_proxy", re.IGNORECASE)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a newcomer, with a recording in it."""
    shutil.copy(SAMPLE, tmp_path / "recording.wav")
    return tmp_path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
    # A newcomer has Python itself, and not the environment of these tests.
    python = Path(sys.base_prefix) / "bin"
    return passed | {
        "HOME": str(home),
        "PATH": f"{python}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
    }


def followed(page: str) -> Iterator[tuple[str, str]]:
    """Yield what a reader does: ``run``, ``background``, or the path of a file to save; and the code."""
    text = (ROOT / "docs" / page).read_text()
    for block in code_blocks.blocks(text):
        marker = block.marker or ""
        before = "\n".join(text.splitlines()[: block.line - 2]) + "\n"
        if marker.startswith(FOLLOWED):
            yield "background" if marker.endswith("in the background") else "run", block.code
        elif saved := SAVED.search(before):
            yield saved[1], block.code


def script_of(page: str) -> str:
    """What a reader types on a page, as one script; a file is saved where the page says."""
    parts = []
    for kind, code in followed(page):
        if kind == "run":
            parts.append(code)
        elif kind == "background":
            parts.append(f"{{ {code.strip()}; }} > background.log 2>&1 & echo $! > background.pid\n")
        else:
            parts.append(f"cat > {kind} << 'END OF FILE'\n{code}END OF FILE\n")
    return "".join(parts)


def follow(page: str, home: Path, environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
    """Type all commands of a page into one shell; returns it and what it prints."""
    output = home / "output.txt"
    with output.open("wb") as file:
        shell = subprocess.Popen(
            ["bash", "-eu", "-o", "pipefail", "-c", script_of(page) + "\necho THE END OF THE PAGE\nwait\n"],
            cwd=home,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return shell, output


def wait_for_the_end(shell: subprocess.Popen[bytes], output: Path) -> str:
    """Wait until the last command has been typed; what was printed by then."""

    def ended() -> bool:
        return "THE END OF THE PAGE" in output.read_text(errors="replace") or shell.poll() is not None

    until(ended, what="the end of the page", timeout=1800)
    text = output.read_text(errors="replace")
    assert "THE END OF THE PAGE" in text, text[-5000:]
    return text


def stop(shell: subprocess.Popen[bytes]) -> None:
    """End the shell and all that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(shell.pid, number)
        except ProcessLookupError:
            return
        try:
            shell.wait(30)
        except subprocess.TimeoutExpired:
            continue


def check_words(text: str) -> None:
    said = " ".join(text.split()).lower()
    for words in WORDS:
        assert words in said, words


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the package index would give."""
    folder = tmp_path_factory.mktemp("index")
    command = [
        str(Path(sys.executable).parent / "uv"),
        "build",
        "--quiet",
        "--wheel",
        "--out-dir",
        str(folder),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    return folder


def test_the_first_transcript(home: Path, environment: dict[str, str], wheel: Path) -> None:
    links = f"{environment.get('PIP_FIND_LINKS', '')} {wheel}".strip()
    # The port that the browser of a newcomer opens may be taken here.
    port = free_port()
    environment |= {"PIP_FIND_LINKS": links, "AIRFLOW__API__PORT": str(port)}
    shell, output = follow("start/first-transcript.md", home, environment)
    try:
        check_words(wait_for_the_end(shell, output))
        folder = home / "first-transcript"
        written = {path.suffix for path in (folder / "transcripts").iterdir() if path.is_file()}
        assert written == {".json", ".txt", ".srt"}

        def served() -> bool:
            assert shell.poll() is None, (folder / "background.log").read_text()[-5000:]
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/api/v2/monitor/health", timeout=10)
            except requests.RequestException:
                return False
            return answer.ok and answer.json()["scheduler"]["status"] == "healthy"

        until(served, what="Airflow in the browser", timeout=600)
        log = folder / "background.log"
        until(lambda: "assword for user" in log.read_text(errors="replace"), what="the password", timeout=600)
    finally:
        stop(shell)


def test_the_demo(home: Path, environment: dict[str, str]) -> None:
    # The address of the repository is this checkout.
    environment |= {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf",
        "GIT_CONFIG_VALUE_0": REPOSITORY,
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    shell, output = follow("start/without-a-key.md", home, environment)
    try:
        text = wait_for_the_end(shell, output)
    finally:
        stop(shell)
    check_words(text)
    summary = text.rpartition("The summary")[2]
    assert "blue coffee cup" in " ".join(summary.split()), text[-3000:]

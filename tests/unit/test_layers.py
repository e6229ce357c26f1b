# SPDX-License-Identifier: Apache-2.0
"""Which room may import which, what stays out of a room, and what importing an operator may load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import airflow_provider_assemblyai

NAME = "airflow_provider_assemblyai"
ROOT = Path(airflow_provider_assemblyai.__file__).parent

#: From top to bottom. A room imports rooms of lower lines only, so there can be no cycle.
LAYERS = (
    ("decorators", "sensors", "commands", "plugins"),
    ("operators",),
    ("mixins", "batch", "capture"),
    ("triggers",),
    ("events",),
    ("polling", "llm_gateway"),
    ("jobs",),
    ("hooks", "retry_policy"),
    ("client", "storage", "telemetry", "links"),
    ("api",),
)
EMULATOR_LAYERS = (
    ("__main__", "pytest_plugin"),
    ("server",),
    ("routes",),
    ("service",),
    ("streaming",),
    ("llm_gateway",),
    ("transcripts",),
    ("faults", "engines"),
    ("text",),
    ("core",),
)
#: Third parties that are kept in one place.
ONLY_IN = {
    "requests": {"client/http.py", "client/blocking.py"},
    "urllib3": {"client/blocking.py"},
    "httpx": {"client/http.py"},
    "tenacity": {"client/http.py"},
    "websocket": {"client/websocket.py"},
    "openai": {"hooks/common_ai.py"},
    "pydantic_ai": {"hooks/common_ai.py"},
}
#: Decisions and data: they can be used and tested without an Airflow.
WITHOUT_AIRFLOW = (
    *("api/", "client/", "events/", "polling/", "capture/audio/", "capture/streaming/", "capture/runner.py"),
    *("llm_gateway/rate_limiter.py", "llm_gateway/call_window.py", "llm_gateway/call_report.py"),
    "llm_gateway/call_progress.py",
    *("llm_gateway/messages.py", "llm_gateway/structured_output.py"),
    *("jobs/state.py", "jobs/submission.py", "batch/manifest.py", "batch/window.py", "emulator/"),
)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(root: Path, name: str, layers: tuple[tuple[str, ...], ...]) -> list[str]:
    """The imports of a package that do not point to a lower layer."""
    depth = {room: number for number, rooms in enumerate(layers) for room in rooms}
    found = []
    for path in sorted(root.rglob("*.py")):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for target in imports(path):
            inner = target.removeprefix(f"{name}.").partition(".")[0]
            if not target.startswith(f"{name}.") or room not in depth or inner in (room, "__version__"):
                continue
            if depth.get(inner, -1) <= depth[room]:
                found.append(f"{path.relative_to(root)} imports {target}")
    return found


def test_rooms_import_lower_rooms_only() -> None:
    assert wrong_imports(ROOT, NAME, LAYERS) == []
    assert wrong_imports(ROOT / "emulator", f"{NAME}.emulator", EMULATOR_LAYERS) == []


def test_every_module_has_a_room_with_a_layer() -> None:
    for root, layers in ((ROOT, (*LAYERS, ("emulator",))), (ROOT / "emulator", EMULATOR_LAYERS)):
        entries = {path.name.removesuffix(".py") for path in root.iterdir() if path.suffix in ("", ".py")}
        assert entries - {"__init__", "__pycache__"} == {room for rooms in layers for room in rooms}
    for folder in (path for path in ROOT.rglob("*") if path.is_dir()):
        assert len(list(folder.glob("[!_]*.py"))) <= 14, folder


def test_every_room_says_what_it_is_for() -> None:
    said = [ast.get_docstring(ast.parse(path.read_text())) for path in ROOT.rglob("__init__.py")]
    assert all(said)
    assert len(set(said)) == len(said), "in words of its own"


def test_the_emulator_and_the_provider_do_not_know_each_other() -> None:
    for path in ROOT.rglob("*.py"):
        inside = path.is_relative_to(ROOT / "emulator")
        for target in imports(path):
            if target.startswith(f"{NAME}.") and target != f"{NAME}.__version__":
                assert target.startswith(f"{NAME}.emulator") == inside, f"{path} imports {target}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_third_parties_stay_in_their_place(path: Path) -> None:
    place = str(path.relative_to(ROOT))
    roots = {found.partition(".")[0] for found in imports(path)}
    if not place.startswith("emulator/"):
        for library, homes in ONLY_IN.items():
            assert library not in roots or place in homes
    if place.startswith(WITHOUT_AIRFLOW):
        assert "airflow" not in roots


def test_importing_operators_adds_nothing_of_airflow_core_and_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from airflow.sdk import BaseOperator\n"
        "before = set(sys.modules)\n"
        f"import {NAME}.operators.transcribe, {NAME}.operators.transcripts, {NAME}.sensors.transcript\n"
        f"import {NAME}.operators.transcribe_short\n"
        f"import {NAME}.operators.llm_gateway, {NAME}.operators.understand, {NAME}.decorators.llm_gateway\n"
        "heavy = ('faster_whisper', 'av', 'numpy', 'uvicorn', 'requests', 'websocket', 'jsonschema', 'openai',\n"
        "         'airflow.models', 'airflow.utils.session', 'airflow.api_fastapi')\n"
        "print([m for m in set(sys.modules) - before if m.startswith(heavy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_pure_modules_need_no_airflow() -> None:
    script = (
        f"import sys, {NAME}.api.transcripts, {NAME}.api.transcript_status, {NAME}.polling.policy\n"
        "print([m for m in sys.modules if m == 'airflow' or m.startswith('airflow.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_whisper_engine_the_emulator_loads_nothing_heavy() -> None:
    script = (
        f"import sys; from {NAME}.emulator import serve\n"
        "with serve(): pass\n"
        "print({'numpy', 'av', 'faster_whisper', 'ctranslate2', 'airflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

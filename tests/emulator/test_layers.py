# SPDX-License-Identifier: Apache-2.0
"""The emulator imports nothing of the provider: a wrong path there must not be wrong here in the same way."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import airflow_provider_assemblyai.emulator as package

OWN = "airflow_provider_assemblyai"
ROOT = Path(package.__file__).parent


#: Rooms from the top down; imports point down only.
ROOMS = [
    *("__main__", "pytest_plugin", "__init__", "server", "routes", "service", "streaming", "llm_gateway"),
    *("transcripts", "engines", "text", "faults", "core"),
]


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_it_imports_neither_the_provider_nor_airflow() -> None:
    for path in ROOT.rglob("*.py"):
        for name in _imports(path):
            assert name.partition(".")[0] != "airflow", path
            assert not name.startswith(OWN) or name == OWN or name.startswith(f"{OWN}.emulator"), path


def _room(parts: Sequence[str]) -> str:
    return (parts[0] if parts else "__init__").removesuffix(".py")


def test_rooms_import_down_only() -> None:
    for path in ROOT.rglob("*.py"):
        room = _room(path.relative_to(ROOT).parts)
        for name in _imports(path):
            if name.startswith(f"{OWN}.emulator"):
                imported = _room(name.split(".")[2:])
                assert ROOMS.index(imported) >= ROOMS.index(room), f"{path} imports {name}"


def test_no_room_holds_more_than_14_modules() -> None:
    for room in (ROOT, *(path for path in ROOT.iterdir() if path.is_dir())):
        assert len(list(room.glob("[!_]*.py"))) <= 14, room


def test_without_the_whisper_engine_nothing_heavy_is_loaded() -> None:
    code = (
        "import sys; from airflow_provider_assemblyai.emulator import serve\n"
        "with serve(): pass\n"
        "print({'numpy', 'av', 'faster_whisper', 'ctranslate2', 'airflow'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "set()"

# SPDX-License-Identifier: Apache-2.0
"""Who may import whom. A new module has to be given its place here first."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import airflow_provider_assemblyai

ROOT = Path(airflow_provider_assemblyai.__file__).parent
NAME = "airflow_provider_assemblyai"

API = {
    "api.checks",
    "api.errors",
    "api.regions",
    "api.call",
    "api.transcripts",
    "api.outcome",
    "api.llm_gateway",
    "api.understanding",
    "api.closing",
    "api.streaming",
    "api.texts",
}
BELOW_OPERATORS = API | {
    *(
        "job",
        "killable",
        "minutes",
        "opening",
        "submission",
        "records",
        "handover",
        "watching",
        "polling",
        "gateway.pacing",
        "client",
        "storage",
        "results",
        "gateway.prompting",
        "gateway.templating",
        "gateway.answers",
        "gateway.record",
        "gateway.task",
        "gateway.recorded",
    ),
    *("hooks.assemblyai", "triggers.transcript", "triggers.llm_gateway"),
}
MAY_IMPORT: dict[str, set[str]] = {
    "": set(),
    "api.errors": set(),
    "api.texts": set(),
    "api.checks": {"api.errors", "api.texts"},
    "api.regions": {"api.errors", "api.texts"},
    "api.call": {"api.errors", "api.texts"},
    "api.transcripts": {"api.checks", "api.errors", "api.call", "api.texts"},
    "api.outcome": {"api.errors", "api.transcripts", "api.texts"},
    "api.llm_gateway": {"api.errors", "api.call", "api.texts"},
    "api.understanding": {
        *("api.checks", "api.errors", "api.call", "api.llm_gateway", "api.transcripts", "api.texts"),
    },
    "gateway.prompting": {"api.errors"},
    "gateway.templating": {"gateway.prompting"},
    "gateway.answers": {"api.errors", "api.llm_gateway", "api.texts"},
    "gateway.record": {"job", "records", *API},
    "api.closing": {"api.texts"},
    "api.streaming": {"api.call", "api.closing", "api.errors", "api.texts"},
    "live": {"", *API},
    "capture.pcm": API,
    "capture.captions": set(),
    "capture.merging": set(),
    "capture.spool": set(),
    "capture.sound": {"capture.pcm", *API},
    "capture.recorder": {"capture.sound", "capture.spool", *API},
    "capture.talk": {"live", "capture.pcm", "capture.recorder", "capture.sound", "capture.spool", *API},
    "capture.line": {"live", "capture.talk", *API},
    "capture.box": {
        *("live", "capture.line", "capture.recorder", "capture.sound", "capture.spool", "capture.talk"),
        *API,
    },
    "capture.segments": {
        *("storage", "capture.box", "capture.captions", "capture.merging", "capture.pcm", "capture.sound"),
        *API,
    },
    "capture.record": {"records", *API},
    "capture.fallback": {"hooks.assemblyai", "opening", "polling", *API},
    "capture.finishing": {
        *("capture.fallback", "capture.merging", "capture.record", "capture.segments"),
        *("hooks.assemblyai", "job", "opening", "results", "storage"),
        *API,
    },
    "watching": API,
    "polling": {"hooks.assemblyai", "watching", *API},
    "places": set(),
    "budget": set(),
    "claims": {"places", "watching", *API},
    "roster": {"claims", "places", "watching", *API},
    "watcher": {"budget", "claims", "client", "roster", "watching", *API},
    "gateway.pacing": set(),
    "job": {"api.checks"},
    "killable": {"api.errors"},
    "minutes": set(),
    "retry_policy": {"api.errors"},
    "submission": {"job", *API},
    "client": {"", *API},
    "storage": API,
    "results": {"client", "storage", *API},
    "handover": {"client", "storage", *API},
    "records": {"job", "storage", *API},
    "hooks.assemblyai": {"client", *API},
    "hooks.common_ai": {"client", "hooks.assemblyai", *API},
    "opening": {"job", "records", "handover", "storage", "submission", "hooks.assemblyai", *API},
    "triggers.transcript": {"hooks.assemblyai", "watcher", "watching", *API},
    "triggers.transcript_batch": {"hooks.assemblyai", "watcher", "watching", *API},
    "triggers.llm_gateway": {"hooks.assemblyai", "watching", "gateway.pacing", *API},
    "watermark": API,
    "news": {"budget", "client", "watermark", *API},
    "triggers.events": {"hooks.assemblyai", "news", "watermark", *API},
    "gateway.task": {"killable", "gateway.pacing", "hooks.assemblyai", "triggers.llm_gateway", *API},
    "gateway.recorded": {"gateway.record", "gateway.task", "hooks.assemblyai", "records", "storage"},
    "operators.llm_gateway": BELOW_OPERATORS,
    "operators.understand": BELOW_OPERATORS,
    "decorators.llm_gateway": BELOW_OPERATORS | {"operators.llm_gateway"},
    "operators.streaming_capture": BELOW_OPERATORS
    | {
        *("live", "capture.box", "capture.finishing", "capture.merging", "capture.record"),
        *("capture.segments", "capture.sound"),
    },
    "operators.transcribe": BELOW_OPERATORS,
    "batch.folder": {"storage", *API},
    "batch.lease": {"batch.folder", *API},
    "batch.ledger": {"batch.folder", "batch.lease", *API},
    "batch.listing": {"storage", *API},
    "batch.items": {"batch.listing", "job", "storage", *API},
    "batch.plan": {"batch.folder", "batch.items", "batch.ledger"},
    "batch.manifest": {"batch.ledger", *API},
    "batch.owners": set(),
    "batch.account": {"hooks.assemblyai", *API},
    "batch.crew": {
        *("batch.account", "batch.items", "batch.ledger", "batch.manifest", "handover", "minutes"),
        *("job", "opening", "results", "storage", "submission"),
        *API,
    },
    "batch.round": {"batch.crew", "batch.items", "batch.ledger"},
    "batch.desk": {
        *("batch.crew", "batch.folder", "batch.items", "batch.lease", "batch.ledger", "batch.listing"),
        *("batch.plan", "handover", "records"),
        *API,
    },
    "operators.transcribe_batch": BELOW_OPERATORS
    | {
        *("batch.account", "batch.crew", "batch.desk", "batch.items", "batch.lease", "batch.manifest"),
        *("batch.owners", "batch.plan", "batch.round", "triggers.transcript_batch"),
    },
    "operators.transcripts": BELOW_OPERATORS,
    "sensors.transcript": BELOW_OPERATORS,
}
#: Third parties that are kept in one place.
ONLY_IN = {"requests": {"client"}, "httpx": {"client"}, "tenacity": {"client"}, "websocket": {"live"}}
ONLY_IN |= {"openai": {"hooks.common_ai"}, "pydantic_ai": {"hooks.common_ai"}}
NO_AIRFLOW = {
    *API,
    "",
    "client",
    "live",
    *("capture.pcm", "capture.captions", "capture.merging", "capture.spool", "capture.sound"),
    *("capture.recorder", "capture.talk", "capture.line", "capture.box"),
    "watching",
    "places",
    "budget",
    "claims",
    "roster",
    "watcher",
    "watermark",
    "news",
    "gateway.pacing",
    "job",
    "submission",
    "batch.manifest",
    "batch.round",
    "results",
    "gateway.prompting",
    "gateway.answers",
}
PACKAGES = {"api", "batch", "capture", "decorators", "gateway", "hooks", "operators", "sensors", "triggers"}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix("__init__").rstrip(".")] = path
    return found


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def ours(path: Path) -> set[str]:
    known = modules()
    names = set()
    for found in imports(path):
        if found == NAME or found.startswith(f"{NAME}."):
            inner = found.removeprefix(NAME).lstrip(".")
            while inner and inner not in known:
                inner = inner.rpartition(".")[0]
            if inner in known and inner not in PACKAGES:
                names.add(inner)
    return names


PRODUCT = [name for name in modules() if not name.startswith("emulator") and name not in PACKAGES]
EMULATOR = [name for name in modules() if name.startswith("emulator")]


@pytest.mark.parametrize("name", PRODUCT)
def test_imports_point_down_only(name: str) -> None:
    assert name in MAY_IMPORT, f"{name} has no place in MAY_IMPORT"
    reached = ours(modules()[name]) - {name}
    if name not in ("client",):
        reached.discard("")  # "from airflow_provider_assemblyai import x" names the package as well
    assert reached <= MAY_IMPORT[name]


@pytest.mark.parametrize("name", PRODUCT)
def test_third_parties_stay_in_their_place(name: str) -> None:
    roots = {found.partition(".")[0] for found in imports(modules()[name])}
    for library, homes in ONLY_IN.items():
        assert library not in roots or name in homes
    if name in NO_AIRFLOW:
        assert "airflow" not in roots


@pytest.mark.parametrize("name", EMULATOR)
def test_the_emulator_stands_alone(name: str) -> None:
    path = modules()[name]
    roots = {found.partition(".")[0] for found in imports(path)}
    assert "airflow" not in roots
    assert all(inner == "" or inner.startswith("emulator") for inner in ours(path))


def test_importing_operators_adds_nothing_of_airflow_core_and_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from airflow.sdk import BaseOperator\n"
        "before = set(sys.modules)\n"
        f"import {NAME}.operators.transcribe, {NAME}.operators.transcripts, {NAME}.sensors.transcript\n"
        f"import {NAME}.operators.llm_gateway, {NAME}.operators.understand, {NAME}.decorators.llm_gateway\n"
        "heavy = ('faster_whisper', 'av', 'numpy', 'uvicorn', 'requests', 'websocket', 'jsonschema', 'openai',\n"
        "         'airflow.models', 'airflow.utils.session', 'airflow.api_fastapi')\n"
        "print([m for m in set(sys.modules) - before if m.startswith(heavy)])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_pure_modules_need_no_airflow() -> None:
    script = (
        f"import sys, {NAME}.api.transcripts, {NAME}.api.outcome, {NAME}.watching\n"
        "print([m for m in sys.modules if m == 'airflow' or m.startswith('airflow.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

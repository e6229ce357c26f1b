# SPDX-License-Identifier: Apache-2.0
"""What Airflow is told about this package, and what the package promises about itself."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import pytest
from jsonschema import Draft7Validator

from airflow_provider_assemblyai import __version__, get_provider_info

ROOT = Path(__file__).parents[2]
#: What operators are made of, and no DAG imports.
SHARED = ("base", "gateway_call", "paid_call", "transcribe_base")


def test_the_description_fits_airflows_schema() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    assert list(Draft7Validator(schema).iter_errors(get_provider_info())) == []


def test_everything_it_names_exists() -> None:
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for group in info[kind]:
            for module in group["python-modules"]:
                importlib.import_module(module)
    for connection in info["connection-types"]:
        module, _, name = connection["hook-class-name"].rpartition(".")
        hook = getattr(importlib.import_module(module), name)
        assert hook.conn_type == connection["connection-type"]
        assert hook.hook_name == connection["hook-name"]


def test_every_operator_is_listed() -> None:
    package = ROOT / "airflow_provider_assemblyai"
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        there = {
            f"airflow_provider_assemblyai.{kind}.{path.stem}"
            for path in (package / kind).glob("[a-z]*.py")
            if path.stem not in SHARED
        }
        assert there == {module for group in info[kind] for module in group["python-modules"]}


def test_the_entry_point_leads_to_it() -> None:
    (entry,) = [
        entry for entry in entry_points(group="apache_airflow_provider") if "assemblyai" in entry.value
    ]
    assert entry.load() is get_provider_info
    assert entry.dist is not None
    assert get_provider_info()["package-name"] == entry.dist.name


def test_describing_it_imports_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        "from airflow_provider_assemblyai import get_provider_info; get_provider_info()\n"
        "print(sorted(set(sys.modules) - before - {'typing', 'airflow_provider_assemblyai', 'functools',\n"
        "    'collections', 'operator', 'keyword', 'reprlib', 're', 'contextlib'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    extra = [name for name in json.loads(done.stdout.replace("'", '"')) if not name.startswith(("_", "re."))]
    assert not [name for name in extra if name.partition(".")[0] not in sys.stdlib_module_names]


@pytest.mark.parametrize("command", [["list"], ["hooks"], ["get", "airflow-provider-assemblyai"]])
def test_the_airflow_command_shows_it(command: list[str]) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "airflow"), "providers", *command, "--output", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout[done.stdout.index("[") :])
    shown = [row for row in rows if "assemblyai" in json.dumps(row)]
    if command == ["hooks"]:
        assert {row["connection_type"] for row in shown} == {"assemblyai", "pydanticai_assemblyai"}
        assert all(row["hook_name"] for row in shown)
    else:
        (row,) = shown
        assert __version__ in json.dumps(row)


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    first = re.search(r"^## \[?([0-9][^\]\s]*)", changelog, re.MULTILINE)
    assert first is not None
    assert first[1] == __version__
    assert (
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
        == "airflow-provider-assemblyai"
    )

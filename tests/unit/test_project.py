# SPDX-License-Identifier: Apache-2.0
"""The project's own files name what exists: targets of the Makefile, extras, groups, classes."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk import BaseHook, BaseOperator, BaseSensorOperator
from airflow.triggers.base import BaseEventTrigger, BaseTrigger

from airflow_provider_assemblyai import get_provider_info

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):.*##", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SCRIPTS = (".ci/run", ".ci/nightly")
PAGES = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("[a-z]*/*.md")])


def steps(workflow: Path) -> list[dict[str, Any]]:
    document = yaml.safe_load(workflow.read_text())
    return [step for job in document["jobs"].values() for step in job["steps"]]


def test_make_help_lists_every_target() -> None:
    phony = " ".join(re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)).split()
    assert len(phony) == len(set(phony))
    assert set(phony) == TARGETS


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_targets_that_exist(workflow: Path) -> None:
    commands = [step["run"] for step in steps(workflow) if "run" in step]
    made = [command.split()[1] for command in commands if command.startswith("make ")]
    assert set(made) <= TARGETS
    scripts = [command for command in commands if command.startswith(".ci/")]
    assert set(scripts) <= set(SCRIPTS)
    assert made or scripts
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w./-]+@(v\d+|release/v\d+)", step["uses"]), step["uses"]


def test_workflows_try_the_versions_that_the_package_claims() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    claimed = re.findall(
        r"Programming Language :: Python :: ([\d.]+)", str(PYPROJECT["project"]["classifiers"])
    )
    # A version that is tried before it is claimed is allowed to fail.
    tried = str(jobs["python"]["continue-on-error"])
    assert [
        one for one in jobs["python"]["strategy"]["matrix"]["version"] if f"'{one}'" not in tried
    ] == claimed
    for job, target in (("python", "test-python"), ("airflow", "test-airflow")):
        versions = jobs[job]["strategy"]["matrix"]["version"]
        known = re.search(rf"^{target}:.*\n\t@case \"\$\(V\)\" in ([\d.|]+)\)", MAKEFILE, re.MULTILINE)
        assert known
        assert known[1].split("|") == versions


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_of_ci_call_targets_that_exist(script: str) -> None:
    text = (ROOT / script).read_text()
    made = re.findall(r"^ *make ([a-z][a-z-]*)", text, re.MULTILINE)
    made += re.findall(r'^  "([a-z][a-z-]*)(?: V=[\d.]+)?"$', text, re.MULTILINE)
    assert len(made) > 5
    assert set(made) <= TARGETS
    assert (ROOT / script).stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_targets_that_exist(page: str) -> None:
    made = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", (ROOT / page).read_text(), re.MULTILINE)
    assert set(made) <= TARGETS


def test_groups_that_the_makefile_installs_exist() -> None:
    groups = set(PYPROJECT["dependency-groups"])
    needed = set(re.findall(r"\.installed-([a-z]+)\b", MAKEFILE))
    assert needed == groups


def test_users_see_only_their_extras() -> None:
    extras = set(PYPROJECT["project"]["optional-dependencies"])
    assert extras == {"emulator", "media", "common-ai"}
    installed = re.search(r'-e "\.\[([\w,-]+)\]"', MAKEFILE)
    assert installed
    assert set(installed[1].split(",")) == extras


def test_recipes_are_checked_like_code_and_stay_out_of_the_wheel() -> None:
    tools = PYPROJECT["tool"]
    assert list((ROOT / "docs/recipes").glob("*.py"))
    assert "docs/recipes" in tools["mypy"]["files"]
    assert not {"include", "exclude", "extend-exclude"} & set(tools["ruff"])
    # What is not named here goes into the sdist only.
    assert tools["hatch"]["build"]["targets"] == {"wheel": {"packages": ["airflow_provider_assemblyai"]}}


def test_addresses_are_of_one_repository() -> None:
    urls = PYPROJECT["project"]["urls"]
    assert set(urls) == {"documentation", "source", "changelog", "issues"}
    assert all(urls[name].startswith(urls["source"]) for name in ("source", "changelog", "issues"))
    owner, name = urls["source"].split("/")[-2:]
    assert urls["documentation"] == f"https://{owner}.github.io/{name}/"
    site = re.search(r"^site_url: (\S+)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert site
    assert site[1] == urls["documentation"]
    for page in ("README.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ".github/ISSUE_TEMPLATE/config.yml"):
        for address in re.findall(
            r"https://github\.com/[\w-]+/airflow-provider-assemblyai", (ROOT / page).read_text()
        ):
            assert address == urls["source"], page


@pytest.mark.parametrize(
    "path",
    [
        ".pre-commit-config.yaml",
        *(f".github/ISSUE_TEMPLATE/{name}.yml" for name in ("bug", "feature", "config")),
    ],
)
def test_other_files_of_habit_are_yaml(path: str) -> None:
    assert isinstance(yaml.safe_load((ROOT / path).read_text()), dict)


def test_the_registry_lists_every_class() -> None:
    registry = yaml.safe_load((ROOT / ".astro-registry.yaml").read_text())
    info = get_provider_info()
    assert registry["package-name"] == info["package-name"]
    assert registry["docs-url"] == PYPROJECT["project"]["urls"]["documentation"]
    bases: dict[str, type | tuple[type, ...]] = {
        "hooks": BaseHook,
        "operators": BaseOperator,
        "sensors": BaseSensorOperator,
        "triggers": (BaseTrigger, BaseEventTrigger),
    }
    for room, base in bases.items():
        names = {
            f"{name}.{attribute}"
            for group in info[room]
            for name in group["python-modules"]
            for attribute, value in vars(importlib.import_module(name)).items()
            if inspect.isclass(value) and issubclass(value, base) and value.__module__ == name
        }
        assert {row["module"] for row in registry[room]} == names
    assert [row["module"] for row in registry["decorators"]] == [
        decorator["class-name"] for decorator in info["task-decorators"]
    ]

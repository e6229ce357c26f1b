# SPDX-License-Identifier: Apache-2.0
"""
What the package has, found by walking its modules: operators, sensors, triggers, and the calls of its endpoints.

A suite that is to hold for all of them takes them from here, or compares what it has with :func:`missing`, so that a
new one cannot be forgotten.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook, BaseOperator
from airflow.triggers.base import BaseTrigger

import airflow_provider_assemblyai
from airflow_provider_assemblyai.api.call import Call
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

_PACKAGE = airflow_provider_assemblyai.__name__

Class = type[Any]


@lru_cache(maxsize=1)
def modules() -> tuple[ModuleType, ...]:
    """All modules of the product; the emulator is one of its own, and imports nothing of it."""
    walked = pkgutil.walk_packages(airflow_provider_assemblyai.__path__, f"{_PACKAGE}.")
    wanted = [one.name for one in walked if not one.name.startswith(f"{_PACKAGE}.emulator")]
    # Needs Airflow 3.3.
    return tuple(import_module(name) for name in wanted if not name.endswith(".retry_policy"))


def classes(base: Class) -> list[Class]:
    """The classes of the product below a base, without those that are only there to be derived from."""
    found = (
        member
        for module in modules()
        for _, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__ and issubclass(member, base)
    )
    return sorted((one for one in found if not inspect.isabstract(one)), key=path_of)


def operators() -> list[Class]:
    """All operators and sensors; what has no ``execute`` of its own is a base."""
    return [one for one in classes(BaseOperator) if one.execute is not BaseOperator.execute]


def triggers() -> list[Class]:
    """All triggers; what has no ``run`` of its own is a base."""
    return [one for one in classes(BaseTrigger) if one.run is not BaseTrigger.run]


def can_defer(operator: Class) -> bool:
    """Whether an operator waits in the triggerer if it is asked to."""
    return hasattr(operator, "execute_complete")


def hook_methods() -> dict[str, Callable[..., Any]]:
    """The public methods of the hook that are its own."""
    return {
        name: method
        for name, method in inspect.getmembers(AssemblyAIHook, inspect.isfunction)
        if not name.startswith("_") and method.__module__ == AssemblyAIHook.__module__
    }


def endpoints() -> dict[str, Callable[..., Call[Any]]]:
    """All functions that make a call, such as ``transcripts.submit``."""
    return dict(_endpoints())


def _endpoints() -> Iterator[tuple[str, Callable[..., Call[Any]]]]:
    for module in modules():
        if module.__name__.startswith(f"{_PACKAGE}.api."):
            for name, function in inspect.getmembers(module, inspect.isfunction):
                returned = str(function.__annotations__.get("return", ""))
                own = function.__module__ == module.__name__ and not name.startswith("_")
                if own and returned.startswith("Call["):
                    yield f"{module.__name__.rpartition('.')[2]}.{name}", function


def senders() -> dict[Class, set[str]]:
    """
    The operators, sensors, triggers and hooks that can send what costs money, each with what that is.

    Found in the source: a module sends what it names, and what the modules that it imports send. Opening a session
    counts as ``streaming``.
    """
    paid = {name for name, call in endpoints().items() if not may_be_repeated(name, call)}
    trees = {module.__name__: ast.parse(Path(str(module.__file__)).read_text()) for module in modules()}
    sent = {name: _named_in(tree, paid) for name, tree in trees.items()}
    imported = {name: _imported_by(tree, set(trees)) for name, tree in trees.items()}
    changed = True
    while changed:
        changed = False
        for name, others in imported.items():
            grown = sent[name].union(
                *(sent[other] for other in others if not other.startswith(f"{_PACKAGE}.api."))
            )
            changed |= grown != sent[name]
            sent[name] = grown
    bases = (BaseOperator, BaseTrigger, BaseHook)
    found = {one for base in bases for one in classes(base)} - set(classes(BaseOperator)) | set(operators())
    return {one: sent[one.__module__] for one in found if sent[one.__module__]}


def may_be_repeated(name: str, function: Callable[..., Call[Any]]) -> bool:
    """Whether an endpoint's call may be sent again at any time, by its source: some need more than made-up arguments."""
    return "repeatable=False" not in inspect.getsource(function).replace(" ", "")


def _named_in(tree: ast.AST, paid: set[str]) -> set[str]:
    names = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    opened = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return names & paid | ({"streaming"} if "StreamingSocket" in opened else set())


def _imported_by(tree: ast.AST, known: set[str]) -> set[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & known


def path_of(one: Class) -> str:
    return f"{one.__module__}.{one.__qualname__}"


def missing(covered: Iterable[Class], wanted: Iterable[Class]) -> list[str]:
    """
    What a suite forgets, by name.

    :param covered: what it has.
    :param wanted: what there is.
    """
    return sorted({path_of(one) for one in wanted} - {path_of(one) for one in covered})

# SPDX-License-Identifier: Apache-2.0
"""
What the package has, found by walking its modules: operators, sensors, triggers, and the calls of its endpoints.

A suite that is to hold for all of them takes them from here, or compares what it has with :func:`missing`, so that a
new one cannot be forgotten.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any

from airflow.providers.common.compat.sdk import BaseOperator
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


def path_of(one: Class) -> str:
    return f"{one.__module__}.{one.__qualname__}"


def missing(covered: Iterable[Class], wanted: Iterable[Class]) -> list[str]:
    """
    What a suite forgets, by name.

    :param covered: what it has.
    :param wanted: what there is.
    """
    return sorted({path_of(one) for one in wanted} - {path_of(one) for one in covered})

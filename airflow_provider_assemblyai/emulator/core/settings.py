# SPDX-License-Identifier: Apache-2.0
"""Settings that may change while the emulator runs: dataclasses whose fields know what their values may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_assemblyai.emulator.core.option_types import OptionType

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def setting(option_type: OptionType, default: Any) -> Any:
    """A field of a dataclass.

    :param option_type: what its value may be.
    :param default: its value at first.
    """
    # Never changed in place, so one default serves all.
    return dataclasses.field(default_factory=lambda: default, metadata={"type": option_type})


def changed(settings: T, changes: Mapping[str, Any]) -> T:
    """The same settings with changes.

    :param changes: new values by name.
    :raises ValueError: for a name that is not known, or a value of the wrong type.
    """
    types = {field.name: field.metadata["type"] for field in dataclasses.fields(settings)}
    for name, value in changes.items():
        if name not in types:
            raise ValueError(f"unknown setting {name}; known: {', '.join(types)}")
        if not types[name].accepts(value):
            raise ValueError(f"{name} must be {types[name].words}, not {value!r}")
    return dataclasses.replace(settings, **changes)

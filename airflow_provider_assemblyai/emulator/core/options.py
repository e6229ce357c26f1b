# SPDX-License-Identifier: Apache-2.0
"""Options of fault rules, of the gateway and of streaming: what a value may be, checked when it is set."""

from __future__ import annotations

import json
from typing import Any, Self

from airflow_provider_assemblyai.emulator.core.option_types import OptionType

#: Default of an option that must be given.
REQUIRED: Any = ...


class OptionError(ValueError):
    """A fault rule or an option that is not understood."""


class Option:
    """One option, declared as an attribute of an :class:`OptionSet`.

    :param option_type: what its value may be.
    :param default: its value when none is given, or :data:`REQUIRED`.
    """

    def __init__(self, option_type: OptionType, default: Any = None) -> None:
        self.type = option_type
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: OptionSet | None, owner: type) -> Any:
        return self if instance is None else instance.options[self.name]

    def __str__(self) -> str:
        return self.name if self.default is REQUIRED else f"{self.name}={json.dumps(self.default)}"

    def read(self, value: object) -> Any:
        """A value, when it is of the option's type.

        :raises OptionError: when it is not.
        """
        if value is REQUIRED or not self.type.accepts(value):
            shown = "missing" if value is REQUIRED else repr(value)
            raise OptionError(f"{self.name} must be {self.type.words}, not {shown}")
        return value


class OptionSet:
    """The values of the options that its class declares.

    :param values: some of them, by name; the others have their defaults.
    :raises OptionError: for a name that is not known, or a value of the wrong type.
    """

    def __init__(self, /, **values: Any) -> None:
        known = self.declared()
        if unknown := sorted(values.keys() - known.keys()):
            raise OptionError(f"unknown option {', '.join(unknown)}; known: {', '.join(known) or 'none'}")
        self.options = {name: option.read(values.get(name, option.default)) for name, option in known.items()}

    def changed(self, **changes: Any) -> Self:
        """The same options with changes.

        :param changes: new values by name.
        :raises OptionError: for a name that is not known, or a value of the wrong type.
        """
        return type(self)(**{**self.options, **changes})

    @classmethod
    def declared(cls) -> dict[str, Option]:
        """The options by name, those of its bases last."""
        return {
            name: option
            for base in cls.__mro__
            for name, option in vars(base).items()
            if isinstance(option, Option)
        }


def read_text(text: str) -> Any:
    """A value as written on the command line or in an address: JSON where it is JSON, else a text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text

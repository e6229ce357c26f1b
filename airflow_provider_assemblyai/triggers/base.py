# SPDX-License-Identifier: Apache-2.0
"""What the triggers have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from airflow.triggers.base import BaseTrigger

from airflow_provider_assemblyai.api.call import MAX_MOMENT
from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.api.regions import named_region
from airflow_provider_assemblyai.api.validation import check_number, check_text, shown
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.polling.connection import Connection, get_connection

_VERSION = 1


@dataclass(eq=False, repr=False)
class StoredTrigger(BaseTrigger):
    """A trigger whose fields are its arguments. Airflow stores them unencrypted, so there is no key among them."""

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of the class, and all arguments by their name."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {one.name: getattr(self, one.name) for one in fields(self) if one.init},
        )


@dataclass(eq=False, repr=False)
class DeferralTrigger(StoredTrigger):
    """
    A trigger that a deferred task waits for.

    :param version: of the arguments.
    :raises InvalidInput: another version of this provider has made it, or its row is damaged.
    """

    #: A deferred task may ask for a queue of triggerers; there is nothing here that forbids it.
    supports_triggerer_queue = True

    version: int = field(default=_VERSION, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.version) is not int or self.version != _VERSION:
            raise InvalidInput(f"{type(self).__name__}: version {shown(self.version)} is not known here.")
        self._check_arguments()

    def _check_arguments(self) -> None:
        """
        Refuse what no task of this package has stored, before anybody waits for it.

        :raises InvalidInput: an argument has a wrong type, or a value that cannot work.
        """


def check_place(conn_id: object, region: object) -> None:
    """
    Return if a connection and a region can be those of a trigger; an empty region is the connection's.

    :raises InvalidInput: they cannot.
    """
    check_text("assemblyai_conn_id", conn_id)
    named_region(region)


def check_moment(name: str, value: object) -> None:
    """
    Return if ``value`` can be seconds since the epoch.

    :param name: the argument it came from, for the message.
    :raises InvalidInput: it cannot.
    """
    check_number(name, value, 0, MAX_MOMENT)


def shared_connection(conn_id: str, region: str | None) -> Connection:
    """
    Return a connection as all triggers of the running event loop share it.

    :param conn_id: the connection to poll with.
    :param region: where to poll; None is the connection's region.
    """
    return get_connection((conn_id, region), AssemblyAIHook(conn_id, region).polling_client)

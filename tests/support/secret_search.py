# SPDX-License-Identifier: Apache-2.0
"""Searches every table, every log and every trigger's arguments of an Airflow for words that must not be there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.running_airflow import Airflow


class SecretSearch:
    """
    One search; `found` holds sentences that name the place and the secret, not the secret itself.

    :param airflow: where to search.
    :param needles: name -> the secret.
    """

    def __init__(self, airflow: Airflow, needles: Mapping[str, str]) -> None:
        self._airflow = airflow
        self.needles = dict(needles)
        self.found: set[str] = set()
        self.triggers_read = 0
        self.files_read = 0
        self.rows_read = 0

    def add(self, name: str, secret: str) -> None:
        """Search for one more from now on."""
        self.needles[name] = secret

    def search_triggers(self) -> None:
        """The arguments of triggers: they are encrypted, and gone when tasks are no longer deferred."""
        for row in self._airflow.query("select id, classpath, kwargs from trigger"):
            self.triggers_read += 1
            self.search_text(
                self._airflow.decrypt(row["kwargs"]), f"the arguments of trigger {row['classpath']}"
            )

    def search_tables(self) -> None:
        """All rows of the database."""
        self.search_triggers()
        for table in self._airflow.tables():
            for row in self._airflow.query(f'select * from "{table}"'):
                self.rows_read += 1
                self.search_text(json.dumps(row, default=_text, ensure_ascii=False), f"table {table}")

    def search_files(self, folders: Mapping[str, Path]) -> None:
        """
        All files below some folders.

        :param folders: name -> folder.
        """
        for name, folder in folders.items():
            for path in sorted(folder.rglob("*")):
                # The emulator is the service: its output may hold what it was sent.
                if path.is_file() and path.name != "emulator.log":
                    self.files_read += 1
                    text = path.read_bytes().decode("utf-8", "replace")
                    self.search_text(text, f"{name}/{_short_path(path, folder)}")

    def search_text(self, text: str, where: str) -> None:
        """
        A text.

        :param where: it is from.
        """
        lowered = text.lower()
        for name, needle in self.needles.items():
            if needle.lower() in lowered:
                self.found.add(f"{name} is in {where}")


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _short_path(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return "/".join(part for part in parts if not part.startswith("run_id="))

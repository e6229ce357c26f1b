# SPDX-License-Identifier: Apache-2.0
"""Looks for words wherever an Airflow leaves something behind: every table, every log, every trigger's arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.running_airflow import Airflow


class Leaks:
    """
    A search. Finds are kept as sentences without the words themselves.

    :param airflow: where to look.
    :param needles: what must not be seen anywhere, by what it is called.
    """

    def __init__(self, airflow: Airflow, needles: Mapping[str, str]) -> None:
        self._airflow = airflow
        self._needles = {name: needle.lower() for name, needle in needles.items()}
        self.finds: set[str] = set()
        self.triggers_read = 0
        self.files_read = 0
        self.rows_read = 0

    def look_into_triggers(self) -> None:
        """Their arguments are encrypted and short-lived: read while tasks are deferred."""
        for row in self._airflow.query("select id, classpath, kwargs from trigger"):
            self.triggers_read += 1
            self._look(self._airflow.decrypt(row["kwargs"]), f"the arguments of trigger {row['classpath']}")

    def look_into_tables(self) -> None:
        """All rows that there are now."""
        self.look_into_triggers()
        for table in self._airflow.tables():
            for row in self._airflow.query(f'select * from "{table}"'):
                self.rows_read += 1
                self._look(json.dumps(row, default=_text, ensure_ascii=False), f"table {table}")

    def look_into_files(self, folders: Mapping[str, Path]) -> None:
        """
        All files below some folders.

        :param folders: by what they are called.
        """
        for name, folder in folders.items():
            for path in sorted(folder.rglob("*")):
                # The emulator is the service: it may say what it was sent.
                if path.is_file() and path.name != "emulator.log":
                    self.files_read += 1
                    text = path.read_bytes().decode("utf-8", "replace")
                    self._look(text, f"{name}/{_place(path, folder)}")

    def _look(self, text: str, where: str) -> None:
        lowered = text.lower()
        for name, needle in self._needles.items():
            if needle in lowered:
                self.finds.add(f"{name} is in {where}")


def _text(value: Any) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _place(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return "/".join(part for part in parts if not part.startswith("run_id="))

# SPDX-License-Identifier: Apache-2.0
"""Looks for the key and the signatures wherever Airflow and the product leave something behind."""

from __future__ import annotations

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from tests.chaos.cluster import Cluster


class Canary:
    """Finds are kept as sentences without the secret."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._fernet = Fernet(cluster.fernet_key)
        self._needles = {"the key": cluster.canary, "a signature": cluster.signature}
        self.finds: set[str] = set()
        self.triggers_read = 0
        self.files_read = 0
        self.rows_read = 0

    def look_into_triggers(self) -> None:
        """Their arguments are encrypted and short-lived: read while tasks are deferred."""
        for row in self._cluster.query("select id, classpath, kwargs from trigger"):
            self.triggers_read += 1
            try:
                plain = self._fernet.decrypt(row["kwargs"].encode()).decode()
            except InvalidToken:
                plain = row["kwargs"]
            self._look(plain, f"the arguments of trigger {row['classpath']}")

    def look_everywhere(self) -> None:
        """Every table and every file, at the end."""
        self.look_into_triggers()
        tables = self._cluster.query(
            "select table_name from information_schema.tables where table_schema = 'public'"
        )
        for name in (table["table_name"] for table in tables):
            for row in self._cluster.query(f'select t::text as line from "{name}" t'):
                self.rows_read += 1
                self._look(row["line"], f"table {name}")
        folder = self._cluster.folder
        for top in ("airflow/logs", "airflow/output", "out"):
            for path in sorted((folder / top).rglob("*")):
                # The emulator is the service: it may say what it was sent.
                if path.is_file() and path.name != "emulator.log":
                    self.files_read += 1
                    self._look(path.read_bytes().decode("utf-8", "replace"), _place(path, folder))

    def _look(self, text: str, where: str) -> None:
        for name, needle in self._needles.items():
            # PostgreSQL shows bytes as hexadecimal digits.
            if needle in text or needle.encode().hex() in text:
                self.finds.add(f"{name} is in {where}")


def _place(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return "/".join(part for part in parts if not part.startswith("run_id="))

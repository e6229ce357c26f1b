# SPDX-License-Identifier: Apache-2.0
"""Looks for the key and the signatures wherever Airflow and the product leave something behind."""

from __future__ import annotations

from tests.chaos.cluster import Cluster
from tests.support.secret_search import Leaks


class Canary(Leaks):
    """Finds are kept as sentences without the secret."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, {"the key": cluster.canary, "a signature": cluster.signature})
        self._folder = cluster.folder

    def look_everywhere(self) -> None:
        """Every table and every file, at the end."""
        self.look_into_tables()
        self.look_into_files(
            {name: self._folder / name for name in ("airflow/logs", "airflow/output", "out")}
        )

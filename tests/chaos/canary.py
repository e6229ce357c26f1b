# SPDX-License-Identifier: Apache-2.0
"""Searches for the key and the signatures wherever Airflow and the product leave something behind."""

from __future__ import annotations

from tests.chaos.cluster import Cluster
from tests.support.secret_search import SecretSearch


class Canary(SecretSearch):
    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, {"the key": cluster.canary, "a signature": cluster.signature})
        self._folder = cluster.folder

    def search_everywhere(self) -> None:
        """Every table and every file, at the end."""
        self.search_tables()
        self.search_files({name: self._folder / name for name in ("airflow/logs", "airflow/output", "out")})

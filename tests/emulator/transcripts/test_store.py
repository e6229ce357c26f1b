# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from airflow_provider_assemblyai.emulator.transcripts.store import Record, Store


def test_a_page_of_a_long_list_looks_at_few_records(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for number in range(50_000):
        store.add(Record(str(number), "project-1", {}, None, number, 0.0, 0.0, 0.0, ""))
    seen: list[str] = []

    def accept(record: Record) -> bool:
        seen.append(record.id)
        return True

    for edges in ({}, {"before": "25000"}, {"after": "25000"}):
        seen.clear()
        page = store.page("project-1", 1.0, 200, accept=accept, **edges)
        assert len(page.records) == 200
        assert len(seen) <= 202

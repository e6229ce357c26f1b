# SPDX-License-Identifier: Apache-2.0
"""What a task read and wrote, for readers of Airflow's hook lineage: results and recordings, and no file of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.version_compat import AIRFLOW_V_3_2_PLUS

from airflow_provider_assemblyai.telemetry.datasets import DatasetName

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook

log = logging.getLogger(__name__)


def report(context: BaseHook, inputs: Iterable[DatasetName], outputs: Iterable[DatasetName]) -> None:
    """
    Tell the collector, if this Airflow has a reader; nothing that goes wrong with it is an error of the task.

    :param context: the hook that moved the data.
    :param inputs: what was read.
    :param outputs: what was written.
    """
    try:
        from airflow.providers.common.compat.sdk import get_hook_lineage_collector

        # To make the collector loads the asset handlers of all providers, which takes seconds: only for a reader.
        if not (_is_made(get_hook_lineage_collector) or _readers()):
            return
        collector = get_hook_lineage_collector()
        for one in inputs:
            collector.add_input_asset(context, uri=_uri(one))
        for one in outputs:
            collector.add_output_asset(context, uri=_uri(one))
    except Exception as error:
        log.info("Hook lineage lacks what this task read and wrote: %s.", type(error).__name__)


def _is_made(get_collector: Any) -> bool:
    """Return whether a collector is there already; not all versions of Airflow show it."""
    cache = getattr(get_collector, "cache_info", None)
    return AIRFLOW_V_3_2_PLUS if cache is None else bool(cache().currsize)


def _readers() -> list[Any]:
    if TYPE_CHECKING or AIRFLOW_V_3_2_PLUS:
        from airflow.sdk.plugins_manager import get_hook_lineage_readers_plugins

        return list(get_hook_lineage_readers_plugins())
    from airflow import plugins_manager

    plugins_manager.initialize_hook_lineage_readers_plugins()
    return list(plugins_manager.hook_lineage_reader_classes)


def _uri(dataset: DatasetName) -> str:
    # What a name holds must not be taken for a query or a fragment.
    return dataset.address.replace("?", "%3F").replace("#", "%23")

# SPDX-License-Identifier: Apache-2.0
"""Imported before processes are forked: what else each of them would load by itself, as every task of Airflow does."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module

from airflow.providers.common.compat.sdk import ObjectStoragePath

file_system = ObjectStoragePath("file:///").fs  # with those of all providers

for name in (
    # Plugins that import a web server. OpenLineage's is not among them: it is made for the settings of a process.
    "airflow_provider_assemblyai.plugins.assemblyai",
    "airflow.providers.common.ai.plugins.hitl_review",
    "s3fs",
):
    with suppress(ImportError):
        import_module(name)

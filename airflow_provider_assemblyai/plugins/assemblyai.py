# SPDX-License-Identifier: Apache-2.0
"""The plugin of Airflow's API server: a page for each task of this package."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_assemblyai.links.task_page import URL_PREFIX


class PageApp:
    """
    The ASGI application of the page, made at the first request.

    Every process of Airflow loads plugins, workers as well: only the API server pays for what this one needs.
    """

    @cached_property
    def _app(self) -> Any:
        from airflow_provider_assemblyai.plugins.policy import Policed
        from airflow_provider_assemblyai.plugins.routes import make_app

        return Policed(make_app())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


class AssemblyAIPlugin(AirflowPlugin):
    """Registers the page; nothing of it is in a menu: operator links lead to it."""

    name = "assemblyai"
    fastapi_apps = [{"name": "AssemblyAI", "app": PageApp(), "url_prefix": URL_PREFIX}]  # noqa: RUF012 - Airflow reads it from the class

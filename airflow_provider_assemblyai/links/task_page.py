# SPDX-License-Identifier: Apache-2.0
"""The link from a task to its page in Airflow's UI."""

from __future__ import annotations

import logging
from typing import Any, Final, Literal
from urllib.parse import urlencode, urlsplit

import attrs
from airflow.providers.common.compat.sdk import BaseOperatorLink, conf

log = logging.getLogger(__name__)

#: Of the plugin's pages, below the path of ``[api] base_url``.
URL_PREFIX: Final = "/assemblyai"

#: What the page shows of a task.
PageKind = Literal["transcript", "capture", "gateway", "batch"]


@attrs.define()
class TaskPageLink(BaseOperatorLink):
    """
    Leads to the page of a task; it needs no transcript, so it is there from the first moment on.

    :param kind: of the page.
    :param name: of the button.
    """

    kind: PageKind = "transcript"
    name: str = "Transcript"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the path of the page of a task instance."""
        index = getattr(ti_key, "map_index", None)
        query = {
            "dag_id": ti_key.dag_id,
            "run_id": ti_key.run_id,
            "task_id": ti_key.task_id,
            "map_index": -1 if index is None else index,
            "kind": self.kind,
        }
        return f"{_base_path()}{URL_PREFIX}/task?{urlencode(query)}"


def push_links(operator: Any, context: Any) -> None:
    """
    Push the links of a task while it runs; Airflow does so when it ends.

    :param operator: whose links they are.
    :param context: of the task.
    """
    ti = context["ti"]
    for link in operator.operator_extra_links:
        if isinstance(link, TaskPageLink):
            push_shown(context, link.xcom_key, link.get_link(operator, ti_key=ti))


def push_shown(context: Any, key: str, value: Any) -> None:
    """
    Push what only the page shows; where Airflow does not take it, the task goes on: it may have paid for its work.

    :param context: of the task.
    :param key: of the XCom.
    :param value: JSON.
    """
    try:
        context["ti"].xcom_push(key=key, value=value)
    except Exception as error:
        # The text of an error may quote the value, which may be words of a recording.
        log.warning(
            "XCom %r could not be pushed (%s): the page of this task will not show it.",
            key,
            type(error).__name__,
        )


def _base_path() -> str:
    base_url = conf.get("api", "base_url", fallback="/") or "/"
    return urlsplit(base_url).path.rstrip("/")

# SPDX-License-Identifier: Apache-2.0
"""The run facet of this package, for OpenLineage; it needs that, so only what OpenLineage calls imports it."""

from __future__ import annotations

from typing import Final

import attrs
from openlineage.client.facet_v2 import RunFacet

from airflow_provider_assemblyai.telemetry.task_facts import FIELDS

#: Of the facet in an event.
KEY: Final = "assemblyai_task"
PRODUCER: Final = "https://github.com/airflow-provider-assemblyai/airflow-provider-assemblyai"
SCHEMA_URL: Final = (
    "https://raw.githubusercontent.com/airflow-provider-assemblyai/airflow-provider-assemblyai/main"
    "/docs/openlineage/1-0-0/AssemblyAITaskRunFacet.json#/$defs/AssemblyAITaskRunFacet"
)

#: What a task of this package did: see docs/operations/lineage.md. Fields that do not apply are left out of the event.
AssemblyAITaskRunFacet = attrs.make_class(
    "AssemblyAITaskRunFacet",
    {name: attrs.field(default=None) for name in FIELDS},
    bases=(RunFacet,),
    kw_only=True,
    class_body={
        "_get_schema": staticmethod(lambda: SCHEMA_URL),
        # Numbers of tokens: by their names Airflow would take them for secrets.
        "_additional_skip_redact": [name for name in FIELDS if "token" in name],
    },
)

# SPDX-License-Identifier: Apache-2.0
"""Apache Airflow provider for AssemblyAI."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PACKAGE = "airflow_provider_assemblyai"
_OPERATORS = (
    "llm_gateway",
    "transcribe",
    "transcribe_batch",
    "transcribe_short",
    "transcripts",
    "understand",
    "streaming_capture",
)
_TRIGGERS = ("transcript", "transcript_batch", "llm_gateway", "events")
_TASK_DECORATOR = f"{_PACKAGE}.decorators.llm_gateway.llm_gateway_task"
_DOCS = "https://www.assemblyai.com/docs"


def get_provider_info() -> dict[str, Any]:
    """
    Describe this provider to Airflow.

    Every Airflow process calls this at start-up, so it imports nothing.
    """
    return {
        "package-name": "airflow-provider-assemblyai",
        "name": "AssemblyAI",
        "description": f"Speech to text with `AssemblyAI <{_DOCS}>`__ in Airflow DAGs.",
        "versions": [__version__],
        "integrations": [
            {"integration-name": "AssemblyAI", "external-doc-url": _DOCS, "tags": ["service"]},
        ],
        "hooks": _modules("hooks", "assemblyai", "common_ai"),
        "operators": _modules("operators", *_OPERATORS),
        "sensors": _modules("sensors", "transcript"),
        "triggers": _modules("triggers", *_TRIGGERS),
        "extra-links": [f"{_PACKAGE}.links.task_page.TaskPageLink"],
        "config": {"assemblyai": _configuration()},
        "task-decorators": [
            {"name": "llm_gateway", "class-name": _TASK_DECORATOR, "path": _TASK_DECORATOR},
        ],
        "connection-types": [
            _connection_type(
                "assemblyai",
                "AssemblyAI",
                "assemblyai.AssemblyAIHook",
                _assemblyai_fields(),
                host="only for a proxy or the local emulator, e.g. http://127.0.0.1:8765",
            ),
            # Only with the extra `common-ai`; without it Airflow leaves this one out.
            _connection_type(
                "pydanticai_assemblyai",
                "Pydantic AI (AssemblyAI LLM Gateway)",
                "common_ai.AssemblyAILLMHook",
                _pydanticai_fields(),
            ),
        ],
    }


def _configuration() -> dict[str, Any]:
    return {
        "description": "What the page of a task may show beside what Airflow's own API shows. Both are off by default.",
        "options": {
            "transcript_roots": _option(
                "Folders and object store prefixes, separated by blanks, below which the page may read the JSON of a "
                "transcript, and the manifest of a batch, that the task itself has recorded. ``{dag_id}`` in one is replaced "
                "by the DAG's id; without it, the author of any DAG can show what is below. Users who may read the XComs of a DAG "
                "may then read these files of it.",
                "s3://aws_default@recordings/transcripts/{dag_id}",
            ),
            "media_hosts": _option(
                "Hosts, separated by blanks, from which the page may play a recording, if its address is public: https, "
                "and without a query. The viewer's browser asks that host.",
                "media.example.com",
            ),
        },
    }


def _option(description: str, example: str) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": "",
    }


def _assemblyai_fields() -> dict[str, Any]:
    return {
        "region": _region_field("Where the audio is processed and kept. One choice switches every host."),
        "streaming_edge": _field(
            "Edge-routed streaming",
            "Open streaming sessions on the nearest edge. Lower latency, but the audio may be processed in another "
            "region: in region eu only together with the field below that allows it.",
            "boolean",
            default=False,
        ),
        "llm_model": _field("LLM model", "LLM Gateway: the model of tasks that name none.", "string"),
        "requests_per_minute": _field(
            "LLM requests a minute",
            "LLM Gateway: the pace that tasks keep to, for each model and in each triggerer. Left empty, it is the "
            "limit that the service states.",
            "number",
            exclusiveMinimum=0,
        ),
        "status_requests": _field(
            "Status requests in 5 minutes",
            "What each triggerer may spend on waiting, of the 20,000 requests that an account has. Left empty: 2000.",
            "number",
            exclusiveMinimum=0,
        ),
        "prices": _field(
            "Prices",
            "USD an hour by name, as a JSON object: what your account pays in the place of the list prices that cost "
            "estimates use.",
            "object",
        ),
        "allow_insecure_http": _field(
            "Allow plain HTTP",
            "Send the key over http:// to a host override that is not on this machine.",
            "boolean",
            default=False,
        ),
        "allow_data_outside_region": _outside_field(),
    }


def _pydanticai_fields() -> dict[str, Any]:
    return {
        "model": _field("Model", "The id of a model of the LLM Gateway, such as gpt-5.", "string"),
        "region": _region_field("Where models are asked, and transcripts live."),
        "allow_data_outside_region": _outside_field(),
        "fallback_conn_ids": _field(
            "Fallback Connections",
            "Connections of any pydanticai type to fail over to, in order.",
            "array",
            items={"type": "string"},
        ),
    }


def _region_field(description: str) -> dict[str, Any]:
    return _field("Region", description, "string", enum=["us", "eu"], default="us")


def _outside_field() -> dict[str, Any]:
    return _field(
        "Allow data outside the region",
        "Region eu only: let settings such as model_region take data out of the EU. Without it they are refused.",
        "boolean",
        default=False,
    )


def _modules(room: str, *names: str) -> list[dict[str, Any]]:
    modules = [f"{_PACKAGE}.{room}.{name}" for name in names]
    return [{"integration-name": "AssemblyAI", "python-modules": modules}]


def _connection_type(
    name: str, label: str, hook: str, fields: dict[str, Any], **placeholders: str
) -> dict[str, Any]:
    return {
        "connection-type": name,
        "hook-class-name": f"{_PACKAGE}.hooks.{hook}",
        "hook-name": label,
        "ui-field-behaviour": {
            "hidden-fields": ["login", "port", "schema"],
            "relabeling": {"password": "API Key", "host": "Host Override"},
            "placeholders": placeholders,
        },
        "conn-fields": fields,
    }


def _field(label: str, description: str, kind: str, **schema: Any) -> dict[str, Any]:
    # The form sends null for a field that was left alone.
    return {"label": label, "description": description, "schema": {"type": [kind, "null"], **schema}}

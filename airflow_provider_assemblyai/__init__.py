# SPDX-License-Identifier: Apache-2.0
"""Apache Airflow provider for AssemblyAI."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PACKAGE = "airflow_provider_assemblyai"


def get_provider_info() -> dict[str, Any]:
    """
    Describe this provider to Airflow.

    Every Airflow process calls this at start-up, so it imports nothing.
    """
    return {
        "package-name": "airflow-provider-assemblyai",
        "name": "AssemblyAI",
        "description": "Speech to text with `AssemblyAI <https://www.assemblyai.com/docs>`__ in Airflow DAGs.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": "AssemblyAI",
                "external-doc-url": "https://www.assemblyai.com/docs",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": "AssemblyAI",
                "python-modules": [f"{_PACKAGE}.hooks.assemblyai", f"{_PACKAGE}.hooks.common_ai"],
            },
        ],
        "operators": [
            {
                "integration-name": "AssemblyAI",
                "python-modules": [
                    f"{_PACKAGE}.operators.llm_gateway",
                    f"{_PACKAGE}.operators.transcribe",
                    f"{_PACKAGE}.operators.transcribe_batch",
                    f"{_PACKAGE}.operators.transcripts",
                    f"{_PACKAGE}.operators.understand",
                    f"{_PACKAGE}.operators.streaming_capture",
                ],
            },
        ],
        "sensors": [
            {"integration-name": "AssemblyAI", "python-modules": [f"{_PACKAGE}.sensors.transcript"]},
        ],
        "triggers": [
            {
                "integration-name": "AssemblyAI",
                "python-modules": [
                    f"{_PACKAGE}.triggers.transcript",
                    f"{_PACKAGE}.triggers.transcript_batch",
                    f"{_PACKAGE}.triggers.llm_gateway",
                    f"{_PACKAGE}.triggers.events",
                ],
            },
        ],
        "task-decorators": [
            {
                "name": "llm_gateway",
                "class-name": f"{_PACKAGE}.decorators.llm_gateway.llm_gateway_task",
                "path": f"{_PACKAGE}.decorators.llm_gateway.llm_gateway_task",
            },
        ],
        "connection-types": [
            {
                "connection-type": "assemblyai",
                "hook-class-name": f"{_PACKAGE}.hooks.assemblyai.AssemblyAIHook",
                "hook-name": "AssemblyAI",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "port", "schema"],
                    "relabeling": {"password": "API Key", "host": "Host Override"},
                    "placeholders": {
                        "host": "only for a proxy or the local emulator, e.g. http://127.0.0.1:8765"
                    },
                },
                "conn-fields": {
                    "region": {
                        "label": "Region",
                        "description": "Where the audio is processed and kept. One choice switches every host.",
                        "schema": {"type": ["string", "null"], "enum": ["us", "eu"], "default": "us"},
                    },
                    "streaming_edge": {
                        "label": "Edge-routed streaming",
                        "description": (
                            "US only: open streaming sessions on the nearest edge. Lower latency, but the audio "
                            "may be processed in another region."
                        ),
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                    "llm_model": {
                        "label": "LLM model",
                        "description": "LLM Gateway: the model of tasks that name none.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "requests_per_minute": {
                        "label": "LLM requests a minute",
                        "description": (
                            "LLM Gateway: the pace that tasks keep to, for each model and in each triggerer. Left "
                            "empty, it is what the service says."
                        ),
                        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
                    },
                    "status_requests": {
                        "label": "Status requests in 5 minutes",
                        "description": (
                            "What each triggerer may spend on waiting, of the 20,000 requests that an account has. "
                            "Left empty: 2000."
                        ),
                        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
                    },
                    "allow_insecure_http": {
                        "label": "Allow plain HTTP",
                        "description": "Send the key over http:// to a host override that is not on this machine.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                },
            },
            # Only with the extra `common-ai`; without it Airflow leaves this one out.
            {
                "connection-type": "pydanticai_assemblyai",
                "hook-class-name": f"{_PACKAGE}.hooks.common_ai.AssemblyAILLMHook",
                "hook-name": "Pydantic AI (AssemblyAI LLM Gateway)",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "port", "schema"],
                    "relabeling": {"password": "API Key", "host": "Host Override"},
                },
                "conn-fields": {
                    "model": {
                        "label": "Model",
                        "description": "The id of a model of the LLM Gateway, such as gpt-5.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "region": {
                        "label": "Region",
                        "description": "Where models are asked, and transcripts live.",
                        "schema": {"type": ["string", "null"], "enum": ["us", "eu"], "default": "us"},
                    },
                    "fallback_conn_ids": {
                        "label": "Fallback Connections",
                        "description": "Connections of any pydanticai type to fail over to, in order.",
                        "schema": {"type": ["array", "null"], "items": {"type": "string"}},
                    },
                },
            },
        ],
    }

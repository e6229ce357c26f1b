# SPDX-License-Identifier: Apache-2.0
# The connection of the common.ai guide leads to a model of the LLM Gateway.

# [START connection]
export AIRFLOW_CONN_PYDANTICAI_ASSEMBLYAI_DEFAULT='{"conn_type": "pydanticai_assemblyai", "password": "YOUR-API-KEY", "extra": {"region": "us", "model": "claude-sonnet-4-6"}}'
# [END connection]

python -c '
from airflow.sdk import Connection

hook = Connection.get("pydanticai_assemblyai_default").get_hook()
print("found:", type(hook).__name__, hook.get_conn().model_name)
' | grep -F "found: AssemblyAILLMHook claude-sonnet-4-6"

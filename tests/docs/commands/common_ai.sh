# SPDX-License-Identifier: Apache-2.0
# The connection of the common.ai guide, and what Airflow makes of it.

# [START connection]
export AIRFLOW_CONN_PYDANTICAI_ASSEMBLYAI_DEFAULT='{"conn_type": "pydanticai_assemblyai", "password": "YOUR-API-KEY", "extra": {"region": "us", "model": "claude-sonnet-4-6"}}'
# [END connection]

python -c '
from airflow.sdk import Connection

hook = Connection.get("pydanticai_assemblyai_default").get_hook()
print(type(hook).__name__, hook.get_conn().model_name)
'

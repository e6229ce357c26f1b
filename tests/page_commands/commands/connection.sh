# SPDX-License-Identifier: Apache-2.0
# The ways to make a connection.
airflow db migrate > /dev/null

# [START add]
airflow connections add assemblyai_default --conn-type assemblyai \
  --conn-password YOUR-API-KEY --conn-extra '{"region": "eu"}'
# [END add]
airflow connections get assemblyai_default -o plain | grep -q "YOUR-API-KEY"

read_by_the_hook() {
  python -c '
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
hook = AssemblyAIHook()
print(hook.region, hook.client is not None)' 2> /dev/null | grep -q "^eu True$"
}

# [START variables]
export AIRFLOW_CONN_ASSEMBLYAI_DEFAULT='{"conn_type": "assemblyai", "password": "YOUR-API-KEY", "extra": {"region": "eu"}}'
export AIRFLOW_CONN_ASSEMBLYAI_DEFAULT='assemblyai://:YOUR-API-KEY@/?region=eu'
# [END variables]
read_by_the_hook
export AIRFLOW_CONN_ASSEMBLYAI_DEFAULT='{"conn_type": "assemblyai", "password": "YOUR-API-KEY", "extra": {"region": "eu"}}'
read_by_the_hook

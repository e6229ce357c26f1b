# SPDX-License-Identifier: Apache-2.0
# [START triggerers]
export AIRFLOW__TRIGGERER__CAPACITY=2000
export AIRFLOW_CONN_ASSEMBLYAI_DEFAULT='{
  "conn_type": "assemblyai",
  "password": "YOUR-API-KEY",
  "extra": {"region": "us", "status_requests": 4000, "requests_per_minute": 15}
}'
# [END triggerers]

python - <<'END'
import asyncio

from airflow.configuration import conf

from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

assert conf.getint("triggerer", "capacity") == 2000
_, status_requests = asyncio.run(AssemblyAIHook().polling_client())
assert status_requests == 4000
assert AssemblyAIHook().gateway.requests_per_minute == 15
print("the settings are read")
END

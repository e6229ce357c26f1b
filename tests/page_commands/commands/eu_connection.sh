# SPDX-License-Identifier: Apache-2.0
# [START eu_connection]
export AIRFLOW_CONN_ASSEMBLYAI_EU='{"conn_type": "assemblyai", "password": "YOUR-API-KEY", "extra": {"region": "eu"}}'
# [END eu_connection]

# Nothing is sent: only the hosts that it stands for are looked at.
python - <<'END'
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

hosts = AssemblyAIHook("assemblyai_eu").client.hosts
for url in (hosts.speech, hosts.gateway, hosts.streaming, hosts.token, hosts.short_audio):
    assert url.endswith(".eu.assemblyai.com"), url
assert hosts.keep_in == "eu", hosts
print("all hosts are in the EU")
END

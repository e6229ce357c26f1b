# SPDX-License-Identifier: Apache-2.0
# [START prices]
export AIRFLOW_CONN_ASSEMBLYAI_DEFAULT='{
  "conn_type": "assemblyai",
  "password": "YOUR-API-KEY",
  "extra": {
    "region": "us",
    "prices": {"universal-3-5-pro": 0.17, "understanding/summarization": 0.03, "streaming/universal-3-6-pro": 0.36}
  }
}'
# [END prices]

python - <<'END'
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook

prices = AssemblyAIHook().prices
assert prices.find("universal-3-5-pro") == 0.17
assert prices.find("understanding/summarization") == 0.03
assert prices.find("streaming/universal-3-6-pro") == 0.36
assert prices.find("universal-2") == 0.15, "the list price of what is not named"
print("the prices are used")
END

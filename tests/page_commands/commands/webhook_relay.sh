# SPDX-License-Identifier: Apache-2.0
cp "$(dirname "$0")/../../../docs/recipes/webhook_relay.py" .

# The relay goes on until it is stopped, and any port of this machine will do.
uvicorn() {
    command uvicorn "$1" --port 0 2>relay.log &
}
trap 'kill %1' EXIT

# [START webhook_relay]
export WEBHOOK_SECRET=$(openssl rand -hex 32)
export ASSEMBLYAI_API_KEY=YOUR-API-KEY ASSEMBLYAI_REGION=us
export AIRFLOW_URL=https://airflow.example.com AIRFLOW_USER=relay AIRFLOW_PASSWORD=YOUR-PASSWORD
uvicorn webhook_relay:app --port 8080
# [END webhook_relay]

python - <<'END'
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

deadline = time.monotonic() + 300
while not (found := re.search(r"running on (http://\S+)", Path("relay.log").read_text())):
    assert time.monotonic() < deadline, Path("relay.log").read_text()
    time.sleep(0.1)
try:
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(found[1], data=b"{}")
except urllib.error.HTTPError as refused:
    assert refused.code == 401, refused.code
else:
    raise SystemExit("a notice without the secret was taken")
print("the relay refuses who does not know the secret")
END

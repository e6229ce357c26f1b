# SPDX-License-Identifier: Apache-2.0
# [START statsd]
export AIRFLOW__METRICS__STATSD_ON=True
export AIRFLOW__METRICS__STATSD_HOST=localhost
export AIRFLOW__METRICS__STATSD_PORT=9125
export AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED=True
# [END statsd]

python - <<'END'
import os
import socket

receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(300)
os.environ["AIRFLOW__METRICS__STATSD_HOST"] = "127.0.0.1"
os.environ["AIRFLOW__METRICS__STATSD_PORT"] = str(receiver.getsockname()[1])

from airflow_provider_assemblyai.telemetry import metrics  # noqa: E402

metrics.count("assemblyai.polls", region="us")
found = b""
while b"assemblyai.polls" not in found:
    found = receiver.recv(65536)
assert b"airflow.assemblyai.polls" in found, found
assert b"region=us" in found, found
print(found.decode())
END

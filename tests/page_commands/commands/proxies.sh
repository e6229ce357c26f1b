# SPDX-License-Identifier: Apache-2.0
# [START proxies]
export HTTPS_PROXY=http://proxy.example.com:3128
export NO_PROXY=localhost,127.0.0.1,.svc.cluster.local
export REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
# [END proxies]

# A proxy of this machine in the place of the one that is named, and any certificates: each way out must go through it.
unset https_proxy no_proxy
python - <<'END'
import asyncio
import os
import socket
import threading
import time

import certifi

lines: list[bytes] = []
server = socket.create_server(("127.0.0.1", 0))


def refuse() -> None:
    while True:
        client, _ = server.accept()
        with client:
            lines.append(client.recv(65536).partition(b" HTTP/")[0])
            client.sendall(b"HTTP/1.1 503 Not today\r\nContent-Length: 0\r\n\r\n")


threading.Thread(target=refuse, daemon=True).start()
os.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{server.getsockname()[1]}"
for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
    assert os.environ[name]
    os.environ[name] = certifi.where()
os.environ["AIRFLOW_CONN_ASSEMBLYAI_DEFAULT"] = '{"conn_type": "assemblyai", "password": "YOUR-API-KEY"}'

from airflow_provider_assemblyai.api import transcripts  # noqa: E402
from airflow_provider_assemblyai.api.errors import TransportError  # noqa: E402
from airflow_provider_assemblyai.client.connecting import connect  # noqa: E402
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook  # noqa: E402

works, sentence = AssemblyAIHook().test_connection()
assert not works, sentence
assert lines == [b"CONNECT api.assemblyai.com:443"], lines


async def poll() -> None:
    async with await AssemblyAIHook().async_client() as client:
        try:
            await client.send(transcripts.list_page(limit=1), deadline=time.time() + 1)
        except TransportError:
            return
    raise AssertionError("it went another way")


lines.clear()
asyncio.run(poll())
assert set(lines) == {b"CONNECT api.assemblyai.com:443"}, lines

lines.clear()
try:
    connect("wss://streaming.us.assemblyai.com/v3/ws", time.monotonic() + 300)
except OSError:
    pass
assert lines == [b"CONNECT streaming.us.assemblyai.com:443"], lines
print("workers, triggerers and sessions take the proxy")
END

# SPDX-License-Identifier: Apache-2.0
"""
One upload in a process of its own: ``upload_worker.py CONTESTANT WARM-UP AUDIO URL``.

The warm-up is a small upload over the same path: what is imported and looked up at first use is paid there,
by every contestant. Prints one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEY = "bench-key"
#: Uploads one file and returns the URL that the service answered with, and the SHA-256 if it was made.
Upload = Callable[[str], tuple[str, str | None]]


def ours(url: str) -> Upload:
    from airflow_provider_assemblyai.api import transcripts
    from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
    from airflow_provider_assemblyai.jobs import audio as job_audio

    # As TranscribeOperator does it; the hook reads the connection, which points at url, at first use.
    hook = AssemblyAIHook()

    def upload(audio: str) -> tuple[str, str | None]:
        body = job_audio.AudioBody(job_audio.locate(audio))
        return hook.send(transcripts.upload(body)), body.sha256

    return upload


def _post(url: str, open_audio: Callable[[str], Any]) -> Upload:
    import requests

    def upload(audio: str) -> tuple[str, str | None]:
        with open_audio(audio) as file:
            answer = requests.post(f"{url}/v2/upload", data=file, headers={"Authorization": KEY}, timeout=600)
        return answer.json()["upload_url"], None

    return upload


def post(url: str) -> Upload:
    return _post(url, lambda audio: Path(audio).open("rb"))


def hash_then_post(url: str) -> Upload:
    send = post(url)

    def upload(audio: str) -> tuple[str, str | None]:
        digest = _hash(audio)
        return send(audio)[0], digest

    return upload


def hash_only(url: str) -> Upload:
    def upload(audio: str) -> tuple[str, str | None]:
        return f"{url}/{Path(audio).stat().st_size}", _hash(audio)

    return upload


def post_from_store(url: str) -> Upload:
    from airflow.sdk import ObjectStoragePath

    return _post(url, lambda audio: ObjectStoragePath(audio).open("rb"))


def official_sdk(url: str) -> Upload:
    import assemblyai

    assemblyai.settings.api_key = KEY
    assemblyai.settings.base_url = url
    assemblyai.settings.http_timeout = 600.0
    transcriber = assemblyai.Transcriber()

    def upload(audio: str) -> tuple[str, str | None]:
        return transcriber.upload_file(audio), None

    return upload


CONTESTANTS = {
    one.__name__: one for one in (ours, post, hash_then_post, hash_only, post_from_store, official_sdk)
}


def _hash(audio: str) -> str:
    with Path(audio).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    contestant, warm_up, audio, url = sys.argv[1:]
    upload = CONTESTANTS[contestant](url)
    upload(warm_up)
    start = time.perf_counter()
    answered, digest = upload(audio)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "upload_url": answered, "sha256": digest}))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Opens the sessions of a capture, each with a temporary token that limits it."""

from __future__ import annotations

import threading
import time
from typing import Final

from airflow_provider_assemblyai.api import streaming
from airflow_provider_assemblyai.api.regions import check_data_stays
from airflow_provider_assemblyai.capture.config import CaptureConfig
from airflow_provider_assemblyai.client.http import Client
from airflow_provider_assemblyai.client.websocket import StreamingSocket

#: Seconds for a token: an answer that does not come must not hold up the next attempt for long.
_TOKEN_TIMEOUT: Final = 10.0


class Connector:
    """
    Makes one attempt to open a session each time that it is called; its caller decides about the next one.

    :param client: for this alone: it repeats nothing from now on.
    :param config: of the capture.
    """

    def __init__(self, client: Client, config: CaptureConfig) -> None:
        check_data_stays(client.hosts, config.streaming)
        client.max_retry_time = 0.0
        self._client = client
        self._url = streaming.session_url(client.hosts.streaming, config.streaming, config.inactivity_timeout)
        self._lock = threading.Lock()

    def __call__(self, max_session: float) -> StreamingSocket:
        """
        Return an open socket, whose session has not begun.

        :param max_session: seconds that the session may last.
        :raises HandshakeRefused: the service answered with an HTTP error.
        :raises AssemblyAIError: there is no token, or no connection was made.
        """
        with self._lock:
            token = self._client.send(streaming.token(max_session), deadline=time.time() + _TOKEN_TIMEOUT)
        return StreamingSocket(self._url, token)

# SPDX-License-Identifier: Apache-2.0
"""Keeps secrets in what a user gives to a task out of logs and of Airflow's pages."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from airflow.providers.common.compat.sdk import mask_secret

from airflow_provider_assemblyai.api.sanitize import secrets_in

#: Airflow's masker asks its supervisor, which takes one question at a time.
_LOCK = threading.Lock()


def mask_url_secrets(url: object) -> None:
    """Mask the signature, token or password in a URL."""
    for secret in secrets_in(url):
        # A text that cannot be encoded cannot be sent to the masker; the argument is refused later.
        with _LOCK, suppress(UnicodeEncodeError):
            mask_secret(secret)


def mask_webhook_secrets(config: Mapping[str, Any]) -> None:
    """Mask what a request's webhook fields hold."""
    mask_url_secrets(config.get("webhook_url"))
    with _LOCK:
        mask_secret(config.get("webhook_auth_header_value"))

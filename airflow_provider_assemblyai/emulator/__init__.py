# SPDX-License-Identifier: Apache-2.0
"""A local AssemblyAI: the service's protocol on a port of this machine, for tests without a key."""

from __future__ import annotations

from airflow_provider_assemblyai.emulator.handle import Emulator, serve

__all__ = ["Emulator", "serve"]

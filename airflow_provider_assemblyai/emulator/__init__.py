# SPDX-License-Identifier: Apache-2.0
"""A local AssemblyAI: the service's protocol on a port of this machine, for tests without a key."""

from __future__ import annotations

from airflow_provider_assemblyai.emulator.core.options import OptionError
from airflow_provider_assemblyai.emulator.engines.marked_audio import marked_audio
from airflow_provider_assemblyai.emulator.server.handle import Emulator, serve
from airflow_provider_assemblyai.emulator.streaming.manager import StreamingLimits

__all__ = ["Emulator", "OptionError", "StreamingLimits", "marked_audio", "serve"]

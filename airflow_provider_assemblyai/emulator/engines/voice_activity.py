# SPDX-License-Identifier: Apache-2.0
"""Voice activity detection with the network that comes with faster-whisper, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from airflow_provider_assemblyai.emulator.engines.decode import SAMPLE_RATE

_WINDOW = 512
_CONTEXT = 64
_STATE = (1, 1, 128)
WINDOW_MS = _WINDOW * 1000 / SAMPLE_RATE


class VoiceDetector:
    """The detector of one session."""

    def __init__(self) -> None:
        from faster_whisper.vad import get_vad_model

        # The package's own function begins anew with each chunk; the network itself can go on.
        self._network: Any = get_vad_model().session
        self._state = np.zeros(_STATE, dtype=np.float32), np.zeros(_STATE, dtype=np.float32)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)
        self._pending = np.zeros(0, dtype=np.float32)

    def detect(self, samples: Any) -> Iterator[tuple[Any, float]]:
        """The windows that are complete now, each with the probability of speech in it.

        :param samples: 16 kHz, between -1 and 1.
        """
        samples = np.concatenate((self._pending, samples))
        count = len(samples) // _WINDOW
        self._pending = samples[count * _WINDOW :]
        for window in samples[: count * _WINDOW].reshape(count, _WINDOW):
            with_context = np.concatenate((self._context, window))[None, :]
            output, *state = self._network.run(
                None, {"input": with_context, "h": self._state[0], "c": self._state[1]}
            )
            self._state = state[0], state[1]
            self._context = window[-_CONTEXT:]
            yield window, float(output.reshape(-1)[0])

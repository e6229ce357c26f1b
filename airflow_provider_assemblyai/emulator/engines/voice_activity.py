# SPDX-License-Identifier: Apache-2.0
"""Is somebody speaking? The voice detector that comes with faster-whisper, fed piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

_WINDOW = 512
_CONTEXT = 64
_STATE = (1, 1, 128)
WINDOW_MS = _WINDOW * 1000 / 16_000


class VoiceDetector:
    """The detector of one session."""

    def __init__(self) -> None:
        from faster_whisper.vad import get_vad_model

        # The package's own way to ask begins anew with each piece; the network itself can go on.
        self._network: Any = get_vad_model().session
        self._state = np.zeros(_STATE, dtype=np.float32), np.zeros(_STATE, dtype=np.float32)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)
        self._rest = np.zeros(0, dtype=np.float32)

    def hear(self, samples: Any) -> Iterator[tuple[Any, float]]:
        """The windows that are complete now, each with the probability of speech in it.

        :param samples: 16 kHz, between -1 and 1.
        """
        samples = np.concatenate((self._rest, samples))
        count = len(samples) // _WINDOW
        self._rest = samples[count * _WINDOW :]
        for window in samples[: count * _WINDOW].reshape(count, _WINDOW):
            piece = np.concatenate((self._context, window))[None, :]
            output, *state = self._network.run(
                None, {"input": piece, "h": self._state[0], "c": self._state[1]}
            )
            self._state = state[0], state[1]
            self._context = window[-_CONTEXT:]
            yield window, float(output.reshape(-1)[0])

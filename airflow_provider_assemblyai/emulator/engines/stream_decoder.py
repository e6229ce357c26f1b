# SPDX-License-Identifier: Apache-2.0
"""Audio as a client streams it, to samples at 16 kHz."""

from __future__ import annotations

from typing import Any

import av
import numpy as np

from airflow_provider_assemblyai.emulator.core.speech import SAMPLE_BYTES, RecognitionOptions
from airflow_provider_assemblyai.emulator.engines.compressed import CompressedDecoder
from airflow_provider_assemblyai.emulator.engines.decode import SAMPLE_RATE


class StreamDecoder:
    """The decoder of one session.

    :param options: encoding and rate.
    """

    def __init__(self, options: RecognitionOptions) -> None:
        self._options = options
        self._decoder = None if options.encoding in SAMPLE_BYTES else CompressedDecoder(options.encoding)
        self._resampler: Any = None
        if self._decoder is not None or options.sample_rate != SAMPLE_RATE:
            self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        self._partial_sample = b""

    def samples(self, chunk: bytes) -> Any:
        """The samples of a chunk, as floats between -1 and 1.

        :raises ValueError: when it is not of the encoding.
        """
        if self._decoder is not None:
            return self._resampled(self._decoder.frames(chunk))
        chunk = self._partial_sample + chunk
        length = len(chunk) - len(chunk) % SAMPLE_BYTES[self._options.encoding]
        self._partial_sample = chunk[length:]
        samples = (
            np.frombuffer(chunk[:length], dtype="<i2")
            if self._options.encoding == "pcm_s16le"
            else _MU_LAW[np.frombuffer(chunk, dtype=np.uint8)]
        )
        if self._resampler is None:
            return samples.astype(np.float32) / 32768.0
        if not len(samples):
            return np.zeros(0, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None, :].astype(np.int16), format="s16", layout="mono")
        frame.sample_rate = self._options.sample_rate
        return self._resampled([frame])

    def _resampled(self, frames: list[Any]) -> Any:
        parts = [np.zeros(0, dtype=np.float32)]
        for frame in frames:
            frame.pts = None
            parts.extend(
                part.to_ndarray()[0].astype(np.float32) / 32768.0 for part in self._resampler.resample(frame)
            )
        return np.concatenate(parts)


def _mu_law() -> Any:
    """The 256 values of G.711 mu-law."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    size = (((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)
    return np.where(code & 0x80, 0x84 - size, size - 0x84).astype(np.int16)


_MU_LAW = _mu_law()

# SPDX-License-Identifier: Apache-2.0
"""The base of operators that transcribe recordings: the parameters they share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

from airflow.providers.common.compat.sdk import ObjectStoragePath, conf

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.api.validation import check_bool, check_choice, check_seconds
from airflow_provider_assemblyai.jobs import results
from airflow_provider_assemblyai.jobs.audio import TRANSFERS, Transfer
from airflow_provider_assemblyai.jobs.masking import mask_webhook_secrets
from airflow_provider_assemblyai.jobs.results import Format
from airflow_provider_assemblyai.jobs.state import ReusePolicy
from airflow_provider_assemblyai.operators.base import AssemblyAIOperator


class TranscriptionOperator(AssemblyAIOperator):
    """
    Base of the operators that transcribe recordings.

    :param config: what to ask the service for beside the audio, as a dict or its JSON text; passed through
        untouched (templated). Unless it names a model, ``speech_models`` is set to ``universal-3-5-pro``,
        then ``universal-2``.
    :param output_path: an absolute directory, or an object store prefix, for the files (templated).
    :param formats: which files to write: any of ``json``, ``txt``, ``srt``, ``vtt``, ``sentences``,
        ``paragraphs``, ``redacted_audio``, which needs ``redact_pii_audio`` in ``config`` (templated). Default:
        ``json`` and ``txt``.
    :param chars_per_caption: the most characters that a subtitle line has.
    :param transfer: how the service gets the audio. ``url`` passes the address on, ``presign`` lets the
        object store sign a URL, ``upload`` sends the bytes with constant memory, at most 2.2 GB. ``auto``
        passes public URLs on, signs where the store can do that for a public host, and uploads everything
        else.
    :param presign_expiry: seconds that a signed URL works. It must outlast the service's queue.
    :param deferrable: wait in the triggerer, without a worker slot.
    :param poll_interval: seconds between two status requests. On a worker the interval grows to 30 s. In the
        triggerer it stays the same, because one request serves all tasks.
    :param timeout: seconds to wait for the result. A job goes on after that, and is billed.
    :param on_same_url: what to do if the answer to a submission was lost, and the account has a newer job
        with the same public URL and config, which may be of another program. ``adopt`` uses that job,
        ``resubmit`` submits another one, ``fail`` stops.
    :param on_missing: what to do if the service does not know the recorded transcript id: ``fail``, or
        ``resubmit``, which pays again.
    :param max_resubmits: how often a recording is submitted again, over all tries, when its jobs fail for the
        service's own reasons. Failed jobs are not billed.
    :param settle_time: seconds between the two searches for a lost submission. Only if both find nothing, the
        job counts as never made.
    """

    template_fields: Sequence[str] = ("config", "output_path", "formats", "assemblyai_conn_id")
    template_fields_renderers = {"config": "json"}  # noqa: RUF012 - Airflow reads it from the class
    ui_color = "#dbe9ff"

    def __init__(
        self,
        *,
        config: dict[str, Any] | str | None = None,
        output_path: str | ObjectStoragePath | None = None,
        formats: Sequence[Format] | str | None = None,
        chars_per_caption: int | None = None,
        transfer: Transfer = "auto",
        presign_expiry: float | timedelta = 24 * 3600,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval: float | timedelta = 5.0,
        timeout: float | timedelta,
        on_same_url: Literal["adopt", "resubmit", "fail"] = "adopt",
        on_missing: Literal["fail", "resubmit"] = "fail",
        max_resubmits: int = 2,
        settle_time: float | timedelta = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.output_path = output_path
        self.formats = formats
        self.chars_per_caption = results.check_caption_length(chars_per_caption)
        self.transfer = transfer
        self.presign_expiry = check_seconds("presign_expiry", presign_expiry)
        self.deferrable = check_bool("deferrable", deferrable)
        self.poll_interval = check_seconds("poll_interval", poll_interval)
        self.timeout = check_seconds("timeout", timeout)
        self.policy = ReusePolicy(
            True, on_same_url, on_missing, max_resubmits, check_seconds("settle_time", settle_time)
        )
        check_choice("transfer", transfer, TRANSFERS)

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # The hook that plain and mapped tasks share, and the last moment before Airflow stores the rendered
        # fields for its UI.
        super()._do_render_template_fields(*args, **kwargs)
        self._mask_config(self.config)

    def _mask_config(self, config: object) -> None:
        with suppress(Exception):  # execute reports what is wrong with it, and it may be of any class
            mask_webhook_secrets(transcripts.check_config(config))

    def _checked_formats(self) -> tuple[Format, ...]:
        """Return what to write for each recording."""
        given = results.DEFAULT_FORMATS if self.formats is None else self.formats
        return results.check_formats(given, results.FORMATS)

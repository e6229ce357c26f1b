# SPDX-License-Identifier: Apache-2.0
# [START redacted_archive]
"""Keep an archive of calls without personal data: text, words with times, and audio with a tone over them."""

from __future__ import annotations

from airflow.sdk import DAG, Param

from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator

REDACTION = {
    "redact_pii": True,
    "redact_pii_policies": [
        "person_name",
        "phone_number",
        "email_address",
        "location",
        "date_of_birth",
        "account_number",
        "credit_card_number",
        "credit_card_cvv",
        "credit_card_expiration",
    ],
    "redact_pii_sub": "entity_name",  # [PERSON_NAME] in the place of a name
    "redact_pii_audio": True,
    "redact_pii_audio_options": {"return_redacted_no_speech_audio": True},  # also where nothing is said
}

with DAG(
    "assemblyai_redacted_archive",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audios": Param("s3://my_aws_conn@recordings/calls", type="string", description="a folder or a glob"),
        "config": Param(REDACTION, type="object", description="what is redacted, and how"),
        "output_path": Param("s3://my_aws_conn@archive/calls", type="string", description="where files go"),
    },
):
    TranscribeBatchOperator(
        task_id="archive",
        audios="{{ params.audios }}",
        config="{{ params.config | tojson }}",
        output_path="{{ params.output_path }}",
        formats=["json", "txt", "redacted_audio"],
        deferrable=True,
    )
# [END redacted_archive]

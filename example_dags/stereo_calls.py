# SPDX-License-Identifier: Apache-2.0
# [START stereo_calls]
"""Transcribe a telephone call, and write who said what. Caller and agent are on a channel each."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import DAG, ObjectStoragePath, Param, task

from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator

# For one mixed channel: {"speaker_labels": True, "speakers_expected": 2}, and names for "A" and "B".
TWO_CHANNELS = {"multichannel": True}
NAMES = {"1": "caller", "2": "agent"}

with DAG(
    "assemblyai_stereo_calls",
    schedule=None,
    tags=["assemblyai"],
    doc_md=__doc__,
    params={
        "audio": Param("/data/calls/latest.wav", type="string", description="URL or path"),
        "config": Param(TWO_CHANNELS, type="object", description="how the speakers are distinguished"),
        "names": Param(NAMES, type="object", description="channel or speaker -> name"),
        "output_path": Param("/tmp/transcripts", type="string", description="where files go"),
    },
):
    call = TranscribeOperator(
        task_id="call",
        audio="{{ params.audio }}",
        config="{{ params.config | tojson }}",
        output_path="{{ params.output_path }}",
        formats=["json", "txt"],
        deferrable=True,
    )

    @task
    def dialogue(summary: Any, params: Any = None) -> dict[str, float]:
        """Write the dialogue beside the other files, and return for how many seconds each of them speaks."""
        json_file = summary["outputs"]["json"]
        with ObjectStoragePath(json_file).open("r") as file:
            turns = json.load(file)["utterances"]
        lines: list[str] = []
        seconds: dict[str, float] = {}
        for turn in turns:
            label = turn.get("speaker") or turn["channel"]
            name = params["names"].get(label, label)
            lines.append(f"{name}: {turn['text']}\n")
            seconds[name] = round(seconds.get(name, 0) + (turn["end"] - turn["start"]) / 1000, 1)
        with ObjectStoragePath(json_file.removesuffix("json") + "dialogue.txt").open("w") as file:
            file.writelines(lines)
        return seconds

    dialogue(call.output)
# [END stereo_calls]

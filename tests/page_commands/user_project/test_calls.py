# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

from dags.calls import dag

from airflow_provider_assemblyai.emulator import Emulator

AUDIO = "https://example.com/monday.wav"


def run(folder: Path) -> str:
    return str(dag.test(run_conf={"audio": AUDIO, "output_path": str(folder)}).state)


# [START words]
def test_the_text_is_written(assemblyai_emulator: Emulator, tmp_path: Path) -> None:
    assemblyai_emulator.set_transcript("Where is my parcel? It is on its way.")
    assert run(tmp_path) == "success"
    assert "parcel" in (tmp_path / "monday.txt").read_text()
    assert assemblyai_emulator.counters()["billed"] == 1


# [END words]


# [START lost]
def test_a_lost_answer_is_not_paid_twice(assemblyai_emulator: Emulator, tmp_path: Path) -> None:
    # The service accepts the job, and its answer never arrives.
    assemblyai_emulator.fault("drop_response", method="POST", path="/v2/transcript")
    assert run(tmp_path) == "success"
    assert assemblyai_emulator.counters()["billed"] == 1


# [END lost]


# [START failed]
def test_bad_audio_fails_the_run(assemblyai_emulator: Emulator, tmp_path: Path) -> None:
    assemblyai_emulator.fault("fail_job", error="download")
    assert run(tmp_path) == "failed"
    assert assemblyai_emulator.counters()["billed"] == 0


# [END failed]


# [START request]
def test_speakers_are_asked_for(assemblyai_emulator: Emulator, tmp_path: Path) -> None:
    assert run(tmp_path) == "success"
    transcript = json.loads((tmp_path / "monday.json").read_text())
    assert transcript["speaker_labels"] is True
    assert [one["path"] for one in assemblyai_emulator.requests if one["method"] == "POST"] == [
        "/v2/transcript"
    ]


# [END request]

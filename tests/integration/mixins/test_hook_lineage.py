# SPDX-License-Identifier: Apache-2.0
"""Where Airflow collects lineage of hooks, a task shows recordings and results, and none of the package's own files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.emulator import Emulator
from tests.support import lineage_worker
from tests.support.emulator_api import wav
from tests.support.forked_processes import ForkedProcess

ROOT = Path(__file__).parents[3]
OPERATORS = "airflow_provider_assemblyai.operators"
QUICK: dict[str, Any] = {"poll_interval": 0.05, "settle_time": 0.05}


def run(operator: str, with_state_store: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run an operator where there is a reader, and return what was collected."""
    given = {
        "operator": f"{OPERATORS}.{operator}",
        "arguments": arguments,
        "with_state_store": with_state_store,
    }
    worker = ForkedProcess("lineage_worker", json.dumps(given), {**os.environ, **lineage_worker.READER})
    assert worker.wait() == 0, worker.errors()
    found: dict[str, Any] = json.loads(worker.output().splitlines()[-1])
    worker.close()
    assert found["collector"] == "HookLineageCollector", "Airflow has a reader"
    assert ".assemblyai" not in str(found["inputs"] + found["outputs"])
    return found


@pytest.fixture
def calls(tmp_path: Path) -> list[str]:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.wav").write_bytes(wav(1 + number, 8_000))
    return [f"file://{tmp_path}/in/{number}.wav" for number in range(3)]


def test_a_transcription(emulator: Emulator, calls: list[str], out: Path, deferrable: bool) -> None:
    found = run(
        "transcribe.TranscribeOperator",
        deferrable,
        audio=calls[0],
        output_path=str(out),
        deferrable=deferrable,
        reuse="output",
        **QUICK,
    )
    assert found["inputs"] == calls[:1]
    assert sorted(found["outputs"]) == sorted(found["result"]["outputs"].values())
    assert any((out / ".assemblyai").rglob("*")), "it has files of its own"


def test_a_transcription_in_an_object_store(
    emulator: Emulator, calls: list[str], new_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = new_bucket("lineage")
    bucket.fs.put(calls[0].removeprefix("file://"), "lineage/in/0 #1.wav")
    found = run(
        "transcribe.TranscribeOperator",
        audio="s3://aws_moto@lineage/in/0 #1.wav",
        output_path="s3://aws_moto@lineage/out",
        **QUICK,
    )
    assert found["inputs"] == ["s3://lineage/in/0 %231.wav"]
    assert len(found["outputs"]) == 2
    assert all(uri.startswith("s3://lineage/out/0_1.") for uri in found["outputs"])


def test_a_batch(emulator: Emulator, calls: list[str], out: Path, deferrable: bool) -> None:
    batch: dict[str, Any] = {
        "audios": calls,
        "output_path": str(out),
        "deferrable": deferrable,
        "max_in_flight": 2,
        **QUICK,
    }
    found = run("transcribe_batch.TranscribeBatchOperator", **batch)
    assert sorted(found["inputs"]) == calls
    wanted = {f"file://{path}" for path in out.iterdir() if path.is_file()}
    assert len(wanted) == 7
    assert set(found["outputs"]) == wanted
    assert len(found["outputs"]) == 7
    again = run("transcribe_batch.TranscribeBatchOperator", **batch)
    assert set(again["outputs"]) == wanted, "read from the ledger"


def test_a_large_batch_shows_its_folders(emulator: Emulator, tmp_path: Path, out: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(60):
        (tmp_path / "in" / f"{number}.wav").write_bytes(wav(1, 8_000))
    found = run(
        "transcribe_batch.TranscribeBatchOperator", audios=f"{tmp_path}/in", output_path=str(out), **QUICK
    )
    assert found["inputs"] == [f"file://{tmp_path}/in"]
    assert found["outputs"] == [f"file://{out}", f"file://{out}/manifest.jsonl"]


def test_a_capture(listening: Emulator, tape: Path, out: Path) -> None:
    found = run(
        "streaming_capture.StreamingCaptureOperator",
        source=str(tape),
        duration=3,
        segment=1,
        keep_audio=True,
        output_path=str(out),
    )
    assert found["inputs"] == [f"file://{tape}"]
    assert sorted(found["outputs"]) == sorted(found["result"]["outputs"].values())
    assert set(found["result"]["outputs"]) == {"json", "txt", "wav"}
    assert len(list((out / ".assemblyai").rglob("*.json"))) > 2, "it has segments"


def test_a_clip_and_an_answer(emulator: Emulator, calls: list[str], out: Path) -> None:
    found = run("transcribe_short.TranscribeShortOperator", audio=calls[0], output_path=str(out))
    assert (found["inputs"], sorted(found["outputs"])) == (
        calls[:1],
        sorted(found["result"]["outputs"].values()),
    )
    answer: dict[str, Any] = {
        "prompt": "What is new?",
        "model": "gpt-5",
        "output_path": str(out),
        "on_lost_answer": "fail",
    }
    for _ in range(2):  # the second time it is in the files
        found = run("llm_gateway.LLMGatewayOperator", **answer)
        assert (found["inputs"], found["outputs"]) == ([], [found["result"]["output"]])


def test_an_address_that_airflow_takes_for_none_costs_nothing(
    emulator: Emulator, calls: list[str], tmp_path: Path, out: Path
) -> None:
    folder = tmp_path.joinpath(*("n" * 200 for _ in range(8)))
    folder.mkdir(parents=True)
    shutil.copy(calls[0].removeprefix("file://"), folder / "a.wav")
    found = run("transcribe.TranscribeOperator", audio=str(folder / "a.wav"), output_path=str(out), **QUICK)
    assert found["result"]["status"] == "completed"


def test_without_a_reader_no_collector_is_made(emulator: Emulator, calls: list[str], out: Path) -> None:
    """It would load the asset handlers of all providers."""
    script = (
        "import sys\n"
        "from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator\n"
        "from tests.integration.conftest import TaskInstance\n"
        f"task = TranscribeOperator(task_id='a_task', audio={calls[0]!r}, output_path={str(out)!r}, poll_interval=0.05)\n"
        "task.execute({'ti': TaskInstance()})\n"
        "print([name for name in sys.modules if name.endswith('.assets.s3') or 'openlineage' in name])\n"
    )
    env = {**os.environ, "AIRFLOW__OPENLINEAGE__DISABLED": "True"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = done.stdout.splitlines()[-1]
    assert ".assets.s3" not in loaded
    assert "openlineage.client" not in loaded

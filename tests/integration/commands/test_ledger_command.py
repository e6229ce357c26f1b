# SPDX-License-Identifier: Apache-2.0
"""``assemblyai-ledger``: what the person on call sees, and what it does not do without being told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.api.errors import StateUnknown
from airflow_provider_assemblyai.commands.ledger import main
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator
from airflow_provider_assemblyai.operators.transcribe import TranscribeOperator
from airflow_provider_assemblyai.operators.transcribe_batch import TranscribeBatchOperator
from airflow_provider_assemblyai.storage.atomic_files import open_path
from airflow_provider_assemblyai.storage.lease import DEFAULT_TTL, Lease
from airflow_provider_assemblyai.storage.object_folder import ObjectFolder
from airflow_provider_assemblyai.storage.records import sealed_lines

SPOKEN = "fox"
URL = "https://example.com/calls/monday.mp3?Signature=secret-signature"


def transcribe(out: Path, **kwargs: Any) -> TranscribeOperator:
    quick: dict[str, Any] = {"poll_interval": 0.1, "settle_time": 0.05}
    return TranscribeOperator(task_id="transcribe", audio=URL, output_path=str(out), **{**quick, **kwargs})


def batch(out: Path) -> TranscribeBatchOperator:
    audios = [f"https://example.com/{number}.wav" for number in range(3)]
    return TranscribeBatchOperator(
        task_id="batch", audios=audios, output_path=str(out), poll_interval=0.1, settle_time=0.05
    )


def test_show_names_everything_and_tells_nothing(
    emulator: Emulator, old_context: Any, run: Callable[..., Any], tmp_path: Path, capsys: Any
) -> None:
    summary = run(transcribe(tmp_path), old_context)
    run(transcribe(tmp_path, reuse="output"), old_context)
    run(batch(tmp_path), old_context)
    emulator.set_llm_answers("fox, but not JSON")
    with pytest.raises(Exception, match="does not fit"):
        LLMGatewayOperator(
            task_id="ask",
            model="gpt-5",
            prompt="the fox",
            output_path=str(tmp_path),
            response_format={"type": "object"},
        ).execute(old_context)
    capsys.readouterr()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["show", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    for word in (
        summary["transcript_id"],
        "phase stored",
        "a kept answer",
        "entries of items",
        "given back by",
    ):
        assert word in shown
    for secret in (SPOKEN, "secret-signature", json.loads(emulator.connection_json)["password"]):
        assert secret not in shown
    assert main(["check", str(tmp_path)]) == 0
    assert main(["repair", str(tmp_path), "--yes"]) == 0
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_nothing_is_there(tmp_path: Path, capsys: Any) -> None:
    for command in ("show", "check", "unlock"):
        assert main([command, str(tmp_path / "none")]) == 0
    assert main(["show", "nonsense://x"]) == 1
    assert "Nothing is recorded" in capsys.readouterr().out


@pytest.mark.parametrize("reuse", [True, "output"])
def test_a_record_whose_job_exists_is_left_unless_paying_again_is_wanted(
    emulator: Emulator, old_context: Any, run: Callable[..., Any], tmp_path: Path, capsys: Any, reuse: Any
) -> None:
    summary = run(transcribe(tmp_path, reuse=reuse), old_context)
    (record,) = (
        path for path in tmp_path.rglob(".assemblyai/**/*.json") if not {"lease", "owners"} & set(path.parts)
    )
    damaged = record.read_text().replace('"serial"', '"cereal"')
    record.write_text(damaged)
    with pytest.raises(StateUnknown, match="assemblyai-ledger"):
        run(transcribe(tmp_path, reuse=reuse), old_context)
    assert main(["check", str(tmp_path)]) == 1
    assert main(["repair", str(tmp_path)]) == 1
    assert main(["repair", str(tmp_path), "--yes"]) == 1
    assert main(["repair", str(tmp_path), "--pay-again"]) == 1
    said = capsys.readouterr().out
    assert f"transcript {summary['transcript_id']} of " in said
    assert "--pay-again" in said
    assert "--yes does it" in said
    assert record.read_text() == damaged
    assert main(["repair", str(tmp_path), "--pay-again", "--yes"]) == 0
    aside = record.with_name(f"{record.name}.1.unreadable")
    assert (record.exists(), aside.read_text()) == (False, damaged)
    assert main(["check", str(tmp_path)]) == 0
    assert run(transcribe(tmp_path, reuse=reuse), old_context)["status"] == "completed"
    assert emulator.counters()["accepted"] == 2


def test_a_record_of_a_job_that_does_not_exist_is_set_aside(
    emulator: Emulator, tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / ".assemblyai"
    folder.mkdir()
    record = folder / "call.0123456789abcdef.json"
    record.write_text(json.dumps({"version": 2, "url_hashes": ["a" * 64], "phase": "intent"}))
    assert main(["repair", str(tmp_path)]) == 1
    assert record.exists()
    assert main(["repair", str(tmp_path), "--yes"]) == 0
    assert not record.exists()
    assert "no job of it" in capsys.readouterr().out
    record.write_text("null")
    assert main(["repair", str(tmp_path), "--yes"]) == 1
    assert record.exists()
    assert "cannot be told" in capsys.readouterr().out


def test_without_the_service_nothing_is_touched(emulator: Emulator, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / ".assemblyai"
    folder.mkdir()
    (folder / "call.0123456789abcdef.json").write_text("null")
    emulator.fault("http_status", status=403, method="GET", times=None)
    assert main(["repair", str(tmp_path), "--pay-again", "--yes"]) == 1
    assert "403" in capsys.readouterr().err
    assert (folder / "call.0123456789abcdef.json").exists()


def test_what_a_kill_cut_off_stops_no_task(
    emulator: Emulator, old_context: Any, run: Callable[..., Any], tmp_path: Path, capsys: Any
) -> None:
    run(batch(tmp_path), old_context)
    segments = tmp_path / ".assemblyai" / "batch" / "segments"
    last = max(segments.iterdir())
    torn = last.with_name(last.name.replace(last.name[-14:], "99999999.jsonl"))
    torn.write_bytes(sealed_lines([b'{"run_started": "x"}'])[:-5])
    assert main(["check", str(tmp_path)]) == 0
    assert f"{torn.name}: " in capsys.readouterr().out
    last.write_text("null")
    assert main(["check", str(tmp_path)]) == 1
    assert "1 files stop tasks; 1 were cut off" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["segments", "chunks"])
def test_a_ledger_goes_on_without_what_was_set_aside(
    emulator: Emulator, old_context: Any, run: Callable[..., Any], tmp_path: Path, capsys: Any, kind: str
) -> None:
    first = run(batch(tmp_path), old_context)
    folder = tmp_path / ".assemblyai" / "batch" / kind
    folder.mkdir(exist_ok=True)
    broken = folder / "00000001-0123456789ab-00000001.jsonl"
    broken.write_text("damaged")
    with pytest.raises(StateUnknown, match=broken.name):
        run(batch(tmp_path), old_context)
    assert main(["repair", str(tmp_path), "--pay-again", "--yes"]) == 0
    assert broken.with_name(f"{broken.name}.1.unreadable").read_text() == "damaged"
    broken.write_text("damaged again")
    assert main(["repair", str(tmp_path), "--pay-again", "--yes"]) == 0
    kept = [broken.with_name(f"{broken.name}.{number}.unreadable").read_text() for number in (1, 2)]
    assert kept == ["damaged", "damaged again"]
    assert main(["check", str(tmp_path)]) == 0
    assert run(batch(tmp_path), old_context)["completed"] == first["completed"] == 3
    assert emulator.counters()["accepted"] == 3


def test_unlock_ends_the_lease_of_a_silent_holder_only(tmp_path: Path, capsys: Any) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    folder = ObjectFolder(ObjectStoragePath(str(tmp_path)) / ".assemblyai").subfolder("batch")
    lease = Lease(folder.subfolder("lease"), "the dead task", lambda owner: False)
    lease.claim()
    waiting = Lease(folder.subfolder("lease"), "another", lambda owner: False)
    assert main(["unlock", str(tmp_path), "--silence", "0.1"]) == 1
    said = capsys.readouterr().out
    assert "held by the dead task" in said
    assert "--yes does it" in said
    assert waiting.current_holder() is not None
    assert main(["unlock", str(tmp_path), "--silence", "0.1", "--yes"]) == 0
    assert waiting.current_holder() is None
    lease.claim()
    lease.ttl_after_work = 10 * DEFAULT_TTL
    with lease.heartbeat():
        pass
    assert main(["unlock", str(tmp_path), "--silence", "0.1"]) == 1
    assert "may be deferred" in capsys.readouterr().out


@pytest.mark.parametrize("silence", ["nan", "inf", "-1", "0", "1e400", "-inf", "x", ""])
def test_a_time_in_which_no_heartbeat_could_change_ends_no_lease(
    tmp_path: Path, capsys: Any, silence: str
) -> None:
    folder = ObjectFolder(open_path(str(tmp_path), "PATH") / ".assemblyai").subfolder("batch")
    lease = Lease(folder.subfolder("lease"), "a live task", lambda owner: False)
    lease.claim()
    with pytest.raises(SystemExit, match="2"):
        main(["unlock", str(tmp_path), "--yes", f"--silence={silence}"])
    lease.check()
    assert "--silence" in capsys.readouterr().err


def test_a_holder_that_lives_keeps_its_lease(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    monkeypatch.setattr("airflow_provider_assemblyai.storage.lease.HEARTBEAT_INTERVAL", 0.05)
    folder = ObjectFolder(ObjectStoragePath(str(tmp_path)) / ".assemblyai").subfolder("batch")
    lease = Lease(folder.subfolder("lease"), "a live task", lambda owner: False)
    lease.claim()
    with lease.heartbeat():
        assert main(["unlock", str(tmp_path), "--silence", "3600", "--yes"]) == 1
        lease.check()
    assert "that task lives" in capsys.readouterr().out


def test_it_is_a_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "airflow_provider_assemblyai.commands.ledger", "show", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Nothing is recorded" in done.stdout

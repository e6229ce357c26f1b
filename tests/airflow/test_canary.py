# SPDX-License-Identifier: Apache-2.0
"""
The way of every secret through an Airflow that logs all it can: success, failure, retry, deferral and a crash.

The key, the secret of a webhook, a temporary token, the signature of a URL, the words of a recording, also those that
were redacted, and the answers of models are nowhere but in the files that were asked for. The page of a task shows none of
them either, but for the words where the deployment has it read those files.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute

from airflow_provider_assemblyai.plugins import routes
from airflow_provider_assemblyai.plugins.routes import make_app
from tests.airflow.conftest import HERE
from tests.airflow.dags.canary import dag
from tests.support import inventory
from tests.support.airflow_settings import emulator_command, lineage_file, lineage_settings
from tests.support.captures import marked
from tests.support.emulator_control import TIMEOUT
from tests.support.processes import until
from tests.support.running_airflow import Airflow, Run
from tests.support.secret_search import SecretSearch

SPOKEN = (
    "Marmalade trombone says hello. This is Rosalind Quibbleton. Please bring your boots to the harbour. "
    "Goodbye to everyone out there."
)
#: Words of the recording, two of them redacted, and of a model's answer.
WORDS = ("trombone", "Quibbleton", "Rosalind")
ANSWER = "A zanzibar velocipede."
HOOK, SIGNATURE = (f"canary-{name}-{secrets.token_hex(8)}" for name in ("hook", "signature"))
STATIC = Path(routes.__file__).with_name("static")
#: Of these files the user knows what they hold: results, and what a capture or a paid answer is made of.
RESULTS = re.compile(r"(transcribed|killed|short|batch|captured|asked|understood|decorated|exported)/.*")


class Metrics:
    """Takes the metrics that Airflow exports."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Not of interest."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def metrics() -> Iterator[Metrics]:
    taken = Metrics()
    yield taken
    taken.close()


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory, metrics: Metrics) -> Iterator[Airflow]:
    """An Airflow of its own, because what it logs would be too much for the others."""
    home = tmp_path_factory.mktemp("canary")
    settings = {
        **lineage_settings(home),
        "CANARY_HOOK": HOOK,
        "CANARY_SIGNATURE": SIGNATURE,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "AIRFLOW__METRICS__OTEL_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__OTEL_PORT": str(metrics.port),
        "AIRFLOW__METRICS__OTEL_INTERVAL_MILLISECONDS": "1000",
    }
    with Airflow(
        home,
        dag_folders={"canary": HERE / "dags"},
        settings=settings,
        emulator=emulator_command("scripted"),
        taps=("canary_tap",),
    ) as running:
        yield running


def test_every_operator_flies_along() -> None:
    flying = {type(task) for task in dag.tasks}
    assert inventory.missing(flying, inventory.operators()) == []


def test_no_secret_is_anywhere(talkative: Airflow, metrics: Metrics, tmp_path: Path) -> None:
    airflow, control = talkative, talkative.emulator
    control.call("POST", "/transcript-text", {"text": SPOKEN})
    control.call("POST", "/llm-answers", {"answers": [ANSWER]})
    control.call("POST", "/streaming-limits", {"marked_audio": True})
    control.add_faults(
        {"kind": "rate_limit", "path": "/v1/chat/completions", "retry_after": 5},
        {"kind": "rate_limit", "path": "/v1/understanding", "retry_after": 5},
        {"kind": "refuse_clip", "retry_after": 5},
        {"kind": "echo_key", "status": 500, "method": "GET", "path": "/v2/transcript/{id}", "times": 2},
        {"kind": "drop_response", "method": "POST", "path": "/v2/transcript", "skip": 1},
    )
    (source := tmp_path / "show.pcm").write_bytes(marked(20))
    out = tmp_path / "out"
    needles = {
        "the key": airflow.api_key,
        "the secret of the webhook": HOOK,
        "the signature": SIGNATURE,
        "the answer": "velocipede",
        **{f"the word {word}": word for word in WORDS},
    }
    search = SecretSearch(airflow, needles)
    run = airflow.trigger("canary", {"source": str(source), "output_path": str(out)})
    killed = kill_once(airflow, run, "killed")

    def ended() -> str | None:
        search.search_triggers()
        killed()
        state = airflow.state(run)
        return state if state in ("success", "failed") else None

    until(ended, what=f"the end of {run}", interval=0.5)
    states = {instance["task_id"]: instance["state"] for instance in airflow.task_instances(run)}
    assert states.pop("failed") == "failed"
    assert set(states.values()) == {"success"}, airflow.describe(run)
    assert search.triggers_read
    assert airflow.was_deferred(run, "asked")
    assert airflow.was_deferred(run, "short")
    assert airflow.task_instance(run, "killed")["try_number"] >= 2

    (token,) = set(re.findall(rb'"token"\s*:\s*"([^"]+)"', airflow.taps["canary_tap"].received))
    search.add("the temporary token", token.decode())
    search.search_tables()
    # Sent by then, because a task ends after its event.
    told = lineage_file(airflow.home).read_text()
    assert all(f'"canary.{task.task_id}"' in told for task in dag.tasks)
    search.search_files({name: airflow.home / name for name in ("logs", "output", "lineage")})
    assert search.found == set()
    assert '"level":"debug"' in airflow.all_log_text(), "all is logged that can be"
    for body in metrics.bodies:
        search.search_text(body.decode("latin-1"), "a metric")
    assert any(b"assemblyai" in body for body in metrics.bodies), "metrics were taken"
    search_pages(airflow, airflow.url, run, search)
    assert search.found == set()
    check_reader(airflow, run, out, search.needles)

    # In the files are words, because that is what they are for; and no secret.
    results = SecretSearch(
        airflow, {name: secret for name, secret in search.needles.items() if "word" not in name}
    )
    results.search_files({"out": out})
    assert {place for place in results.found if not place.startswith("the answer is in")} == set()
    words = SecretSearch(airflow, needles)
    words.search_files({"out": out})
    assert {name for name in needles if any(place.startswith(name) for place in words.found)} >= {
        "the answer",
        "the word Quibbleton",
    }, "the same search finds what is there"
    for place in words.found:
        assert RESULTS.match(place.partition("out/")[2]), place
        assert not re.search(r"\.assemblyai/[^/]*\.json$", place), f"a record holds words: {place}"


def search_pages(airflow: Airflow, url: str, run: Run, search: SecretSearch) -> dict[str, requests.Response]:
    """Search all that the plugin answers to a user for all tasks of a run; returns the answers by route and task."""
    answers = {}
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {airflow.token}"
        paths = [route.path for route in make_app().routes if isinstance(route, APIRoute)]
        files = [path.name for path in STATIC.iterdir()]
        assert len(paths) > 3
        assert len(files) > 5
        for path in paths:
            for name in files if "{name}" in path else ("",):
                for instance in airflow.task_instances(run):
                    asked = {key: instance[key] for key in ("dag_id", "task_id", "map_index")}
                    answer = session.get(
                        f"{url}/assemblyai{path.format(name=name)}",
                        params={**asked, "run_id": run.run_id},
                        timeout=TIMEOUT,
                    )
                    where = f"{path.format(name=name)} of {instance['task_id']}"
                    assert answer.status_code in (200, 404), where
                    answers[where] = answer
                    search.search_text(f"{answer.headers}\n{answer.text}", where)
                    if name:
                        break
    return answers


def check_reader(airflow: Airflow, run: Run, out: Path, needles: Mapping[str, str]) -> None:
    """Where the deployment has the page read files, it shows words, and of what was redacted those that are left."""
    settings = {"AIRFLOW__ASSEMBLYAI__TRANSCRIPT_ROOTS": str(out)}
    secrets_only = {name: secret for name, secret in needles.items() if "word" not in name}
    search = SecretSearch(airflow, secrets_only)
    with airflow.api_server("-reader", settings) as url:
        answers = search_pages(airflow, url, run, search)
    assert search.found == set()
    (row,) = answers["/failures of batch"].json()["rows"]
    assert row["source"] == "https://example.com/second.wav"
    for task_id in ("transcribed", "killed", "exported"):
        found = answers[f"/transcript of {task_id}"]
        assert "trombone" in found.text
        assert found.json()["redact_pii"] is True
        for word in ("Rosalind", "Quibbleton"):
            assert word not in found.text
        whole = json.loads(next((out / task_id).glob("*.json")).read_text())
        assert "Quibbleton" in json.dumps(whole["entities"])
        assert "Quibbleton" in whole["unredacted_text"]
    for task_id in ("short", "captured"):
        assert answers[f"/transcript of {task_id}"].status_code == 200


def kill_once(airflow: Airflow, run: Run, task_id: str) -> Any:
    """Return a function that kills a task as soon as its job is submitted, and then no more."""
    done: list[bool] = []

    def kill() -> None:
        submitted = [job for job in airflow.emulator.transcripts() if f"/{task_id}.wav" in job["audio_url"]]
        if submitted and not done:
            airflow.kill_task(run, task_id)
            done.append(True)
            airflow.emulator.call("POST", "/clock", {"advance": 60})

    return kill

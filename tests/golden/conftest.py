# SPDX-License-Identifier: Apache-2.0
"""What an older commit left, and the code of now."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_assemblyai.api import transcripts
from airflow_provider_assemblyai.emulator import Emulator
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from tests.golden.moments import RECORDING, Moment, restore, text_of
from tests.integration import conftest as integration
from tests.integration.conftest import StateStore, TaskInstance, fired, import_string, to_the_end
from tests.support.captures import marked

emulator, looks_early = integration.emulator, integration.looks_early


class Recording:
    """The bytes of the recording that moments upload."""

    size = len(RECORDING)

    def open(self) -> list[bytes]:
        return [RECORDING]


@dataclasses.dataclass
class Restored:
    """
    A moment in its place, and what the service has billed since.

    :param moment: the moment.
    :param folder: where its files are.
    :param emulator: has its jobs.
    :param context: of the task, with the state that was stored.
    """

    moment: Moment
    folder: Path
    emulator: Emulator
    context: dict[str, Any]
    _before: tuple[int, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self._before = self._billed()

    def _billed(self) -> tuple[int, ...]:
        counters = self.emulator.counters()
        gateway = counters["gateway"]
        calls = gateway["accepted"], gateway["understanding"]["accepted"]
        return counters["accepted"], *calls, counters["streaming"]["opened"], counters["clips"]

    @property
    def paid(self) -> dict[str, int]:
        """What was billed since: without what was not."""
        names = ("jobs", "chats", "understandings", "sessions", "clips")
        spent = (now - before for now, before in zip(self._billed(), self._before, strict=True))
        return {name: count for name, count in zip(names, spent, strict=True) if count}

    def operator(self, **change: Any) -> Any:
        """The operator as the older commit was given it."""
        arguments = {**self.moment.content["arguments"], **change}
        if "python_callable" in arguments:
            arguments["python_callable"] = import_string(arguments["python_callable"])
        return import_string(self.moment.content["operator"])(task_id="a_task", **arguments)

    def retry(self, **change: Any) -> Any:
        """The next try."""
        operator = self.operator(**change)
        return to_the_end(operator, self.context, partial(operator.execute, self.context))

    def resume(self, *, fires_now: bool, **change: Any) -> Any:
        """
        The same try, after its trigger has fired.

        :param fires_now: whether the trigger is built from its arguments, or fired before the upgrade.
        """
        deferral, operator = self.moment.deferral, self.operator(**change)
        event = fired(*deferral["trigger"]) if fires_now else deferral["event"]
        kwargs = {**deferral["kwargs"], "event": event}
        step = partial(operator.resume_execution, deferral["method"], kwargs, self.context)
        return to_the_end(operator, self.context, step)

    def output(self, name: str) -> Path:
        return self.folder / "out" / name


@pytest.fixture
def restored(emulator: Emulator, tmp_path: Path) -> Callable[..., Restored]:
    """Put a moment in its place: files, jobs, and the state store of a task."""

    def put(
        name: str,
        *,
        home: str = "both",
        jobs: bool = True,
        age: float = 0.0,
        older: Sequence[dict[str, Any]] = (),
    ) -> Restored:
        """
        :param home: where the state is: ``store``, ``file`` or ``both``.
        :param jobs: whether the service has the jobs.
        :param age: seconds that have passed since.
        :param older: jobs that the service had before all of them.
        """
        upload = (
            AssemblyAIHook().send(transcripts.upload(Recording())) if "{upload}" in text_of(name) else None
        )
        (tmp_path / "monday.wav").write_bytes(RECORDING)
        (tmp_path / "show.pcm").write_bytes(marked(30))
        moment = restore(name, tmp_path, emulator.url, age=age, upload=upload)
        for job in (*older, *(moment.jobs if jobs else moment.jobs[:1])):
            emulator.add_transcript(**job)
        emulator.advance(4000)
        store = StateStore()
        store.values = {key: json.dumps(value) for key, value in moment.store.items()}
        context: dict[str, Any] = {"ti": TaskInstance(), "task_state_store": store}
        if home == "store":
            for path in (tmp_path / "out" / ".assemblyai").glob("*.json"):
                path.unlink()
        if home == "file":
            del context["task_state_store"]
        return Restored(moment, tmp_path, emulator, context)

    return put

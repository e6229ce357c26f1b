# SPDX-License-Identifier: Apache-2.0
"""
What a task read and wrote, and what it cost, for OpenLineage: addresses, ids and numbers, never text.

Nothing of OpenLineage is imported by a task unless the OpenLineage provider asks for it. What it asks for is made without
a request, in a process that has a copy of the operator; a failure of it is none of the task.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_assemblyai.api.regions import REGIONS
from airflow_provider_assemblyai.api.transcripts import check_id
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.telemetry import hook_lineage
from airflow_provider_assemblyai.telemetry.datasets import (
    DatasetCounter,
    DatasetName,
    dataset_of,
    transcript_address,
)
from airflow_provider_assemblyai.telemetry.task_facts import facts_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator
    from airflow.providers.openlineage.extractors import OperatorLineage

    _Operator = BaseOperator
else:
    _Operator = object

#: Datasets, each with the number of files below it; None if it is one itself.
Counted: TypeAlias = list[tuple[DatasetName, int | None]]

#: Of a list, what is looked at to name what a task is about to read.
_MAX_LISTED: Final = 10_000
#: What the service knows the work by, and the host that does it: calls, clips and jobs; captures have sessions.
_JOB_IDS: Final = {"request_id": "gateway", "session_id": "short_audio", "transcript_id": "speech"}


class _Job(NamedTuple):
    """
    Work at the service.

    :param job_id: what it is known by there.
    :param host: that does it, in :class:`airflow_provider_assemblyai.api.regions.Hosts`.
    """

    job_id: str
    host: str


@dataclass(frozen=True)
class _Told:
    """
    What is told of a result.

    :param facts: of :func:`facts_of`.
    :param job: the work at the service, or None.
    :param inputs: what was read; None if only the arguments say so.
    :param outputs: what was written.
    """

    facts: dict[str, Any]
    job: _Job | None
    inputs: Counted | None
    outputs: Counted


class LineageMixin(_Operator):
    """Mix it into an operator; it calls :meth:`_note_result` when there is something to tell."""

    #: The job that is known before there is a result, that of a trigger's event, and where the work is done.
    _transcript_id: str | None = None
    _waited_for: str | None = None
    _region: str | None = None
    _told: _Told | None = None

    def _read_addresses(self) -> Iterable[object]:
        """Return the addresses of what the task reads, as its arguments name them; nothing may be asked for here."""
        given = self._given_transcript()
        return () if given is None else (transcript_address(given),)

    def _given_transcript(self) -> str | None:
        """Return the id of the transcript that the task is given, and so does not make."""
        return None

    def _note_result(
        self,
        result: Mapping[str, Any],
        *,
        inputs: Counted | None = None,
        outputs: Counted | None = None,
        is_last: bool = True,
    ) -> None:
        """
        Keep what is told of a result; no text of it is kept. No task fails because of it.

        :param result: what the task returns, and what it pushes beside it.
        :param inputs: what was read, if that is more than the arguments say.
        :param outputs: what was written, where the result only counts it.
        :param is_last: whether there is nothing more to come.
        """
        try:
            self._told = told = _Told(
                facts_of(result), _job_of(result), inputs, self._written(result, outputs)
            )
            if is_last:
                read = self._inputs() if inputs is None else inputs
                hook = AssemblyAIHook(self.assemblyai_conn_id)  # type: ignore[attr-defined]
                hook_lineage.report(hook, _files(read), _files(told.outputs))
        except Exception as error:
            self.log.info("This task reports no lineage: %s.", type(error).__name__)

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Return what the task is about to read."""
        return self._lineage()

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what the task has read and written, with its model, minutes, tokens and estimated cost."""
        return self._lineage()

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the same of a task that has failed, as far as it is known."""
        return self._lineage()

    def _lineage(self) -> OperatorLineage[Any, Any] | None:
        try:
            return self._make_lineage()
        except Exception as error:
            self.log.info("This task reports no lineage: %s.", type(error).__name__)
            return None

    def _make_lineage(self) -> OperatorLineage[Any, Any]:
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset, OutputDataset
        from openlineage.client.facet_v2 import RunFacet
        from openlineage.client.generated.external_query_run import ExternalQueryRunFacet
        from openlineage.client.generated.input_statistics_input_dataset import (
            InputStatisticsInputDatasetFacet as InputStatistics,
        )
        from openlineage.client.generated.output_statistics_output_dataset import (
            OutputStatisticsOutputDatasetFacet as OutputStatistics,
        )

        from airflow_provider_assemblyai.telemetry.task_facet import KEY, PRODUCER, AssemblyAITaskRunFacet

        told = self._told or _Told({}, None, None, [])
        run_facets: dict[str, RunFacet] = {}
        region = told.facts.get("region") or self._region
        if (job := told.job or self._known_job()) is not None:
            run_facets["externalQuery"] = ExternalQueryRunFacet(
                externalQueryId=job.job_id, source=_host_of(job, region), producer=PRODUCER
            )
        facts = {**({} if region is None else {"region": region}), **told.facts}
        if facts:
            run_facets[KEY] = AssemblyAITaskRunFacet(producer=PRODUCER, **facts)
        inputs, outputs = [], []
        for name, count in self._inputs() if told.inputs is None else told.inputs:
            files_in = InputStatistics(fileCount=count, producer=PRODUCER)
            inputs.append(
                InputDataset(*name, inputFacets={"inputStatistics": files_in} if count is not None else {})
            )
        for name, count in told.outputs:
            files_out = OutputStatistics(fileCount=count, producer=PRODUCER)
            outputs.append(
                OutputDataset(
                    *name, outputFacets={"outputStatistics": files_out} if count is not None else {}
                )
            )
        return OperatorLineage(inputs, outputs, run_facets)

    def _inputs(self) -> Counted:
        counter, addresses = DatasetCounter(), iter(self._read_addresses())
        for given in islice(addresses, _MAX_LISTED):
            if (address := _address_of(given)) is not None:
                counter.add(address)
        is_whole = next(addresses, addresses) is addresses
        # How many there are is not known where not all were looked at.
        return [(name, count if is_whole else None) for name, count in counter.counted()]

    def _written(self, result: Mapping[str, Any], counted: Counted | None) -> Counted:
        outputs = result.get("outputs")
        addresses = [*outputs.values()] if isinstance(outputs, Mapping) else []
        addresses += [result.get("output"), result.get("manifest")]
        transcript_id = result.get("transcript_id")
        if isinstance(transcript_id, str) and self._given_transcript() is None:
            addresses.append(transcript_address(transcript_id))
        names = [dataset_of(one) for one in addresses if isinstance(one, str)]
        return [*(counted or []), *((name, None) for name in dict.fromkeys(names) if name is not None)]

    def _known_job(self) -> _Job | None:
        """Return the job that there is before there is a result."""
        transcript_id = self._given_transcript() or self._transcript_id or self._waited_for
        return None if transcript_id is None else _Job(transcript_id, "speech")


def transcript_id_of(transcript: object) -> str | None:
    """
    Return the id of a transcript that a task is given, if it is one by now.

    :param transcript: the id, or what another task returned for it.
    """
    try:
        return check_id(transcript.get("transcript_id") if isinstance(transcript, Mapping) else transcript)
    except Exception:  # a template that is not rendered, or a mapping of the user's
        return None


def _job_of(result: Mapping[str, Any]) -> _Job | None:
    session_ids = result.get("session_ids")
    ids = [(result.get(name), host) for name, host in _JOB_IDS.items()]
    ids += [(one, "streaming") for one in session_ids] if isinstance(session_ids, list) else []
    return next((_Job(one, host) for one, host in ids if isinstance(one, str) and one), None)


def _host_of(job: _Job, region: object) -> str:
    hosts = REGIONS.get(str(region))
    return "assemblyai" if hosts is None else urlsplit(getattr(hosts, job.host)).netloc


def _files(counted: Counted) -> list[DatasetName]:
    """Return what has an address that others know, too."""
    return [name for name, _ in counted if name.namespace != "assemblyai"]


def _address_of(given: object) -> str | None:
    """Return the address that an argument holds, a relative path made absolute; None for anything else."""
    try:
        text = str(given) if isinstance(given, ObjectStoragePath) else os.fspath(given)  # type: ignore[call-overload]
    except Exception:  # a class of the user's may do anything
        return None
    if not isinstance(text, str) or not text.strip() or "{{" in text:  # not rendered
        return None
    return text if "://" in text else os.path.abspath(text)  # noqa: PTH100 - links are not followed

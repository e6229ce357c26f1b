# SPDX-License-Identifier: Apache-2.0
"""
What a task read and wrote, for OpenLineage: addresses, ids and numbers, never text.

Nothing here is imported by a task unless the OpenLineage provider asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow_provider_assemblyai.api.regions import REGIONS
from airflow_provider_assemblyai.api.sanitize import strip_url

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

#: Datasets of one event: of more, folders are named, and at most so many.
MAX_DATASETS: Final = 50
#: Of the facets of this package.
_PRODUCER: Final = "https://github.com/airflow-provider-assemblyai/airflow-provider-assemblyai"
#: Numbers and names of a result that are shown.
_SHOWN: Final = (
    *("status", "region", "speech_model_used", "audio_duration", "estimated_cost_usd"),
    *("items", "completed", "failed", "not_submitted", "reused", "repeated", "minutes"),
    *("captured_seconds", "billed_session_seconds", "turns", "reconnects", "ended_by"),
    *("model", "usage", "finish_reason", "attempts", "waited_seconds"),
)


class LineageMixin:
    """
    Mix it into an operator; it sets ``_result`` when there is something to tell.

    :ivar _result: what the task returns, and what it pushed beside it.
    """

    _result: Mapping[str, Any] | None = None

    def _read_addresses(self) -> Iterable[str]:
        """Return the addresses of what the task reads."""
        return ()

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Return what the task is about to read."""
        return self._lineage({})

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what the task has read and written, with its model, minutes, tokens and estimated cost."""
        return self._lineage(self._result or {})

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return the same of a task that has failed, as far as it is known."""
        return self._lineage(self._result or {})

    def _lineage(self, result: Mapping[str, Any]) -> OperatorLineage[Any, Any] | None:
        from airflow.providers.common.compat.openlineage.facet import Dataset, ExternalQueryRunFacet
        from airflow.providers.openlineage.extractors import OperatorLineage

        addresses = Counter(strip_url(str(one)) for one in self._read_addresses())
        inputs, outputs = _bounded(addresses), _written(result)
        facets: dict[str, Any] = {}
        transcript_id, region = result.get("transcript_id"), result.get("region")
        if isinstance(transcript_id, str):
            facets["externalQuery"] = ExternalQueryRunFacet(
                externalQueryId=transcript_id, source=_place_of(region), producer=_PRODUCER
            )
        shown = {name: result[name] for name in _SHOWN if result.get(name) is not None}
        if len(inputs) < len(addresses):
            shown["recordings"] = addresses.total()
        if shown:
            facets["assemblyai"] = _facet(shown)
        return OperatorLineage(
            inputs=[Dataset(*dataset_of(one)) for one in inputs],
            outputs=[Dataset(*dataset_of(one)) for one in outputs],
            run_facets=facets,
        )


def dataset_of(address: str) -> tuple[str, str]:
    """Return namespace and name of what is at an address, as OpenLineage names datasets."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme in ("file", "local"):
        return "file", rest if separator else address
    place, _, name = rest.partition("/")
    # The connection is how a task got there, not where it is.
    place = place.rpartition("@")[2] if scheme not in ("abfs", "abfss", "wasb", "wasbs") else place
    return f"{scheme}://{place}", name or "/"


def transcript_address(transcript_id: str, region: object) -> str:
    """Return the address by which a transcript at the service is known in lineage."""
    return f"assemblyai://{region or 'us'}/transcript/{transcript_id}"


def transcript_addresses(transcript: object, region: object = None) -> list[str]:
    """
    Return the address of a transcript that another task is given.

    :param transcript: its id, or what a task returned for it.
    :param region: where it lives, if that is known beside it.
    """
    told = transcript if isinstance(transcript, Mapping) else {"transcript_id": transcript}
    named = told.get("transcript_id")
    return [transcript_address(named, told.get("region") or region)] if isinstance(named, str) else []


def _bounded(addresses: Mapping[str, int]) -> list[str]:
    """Return the addresses, or their folders if there are too many."""
    if len(addresses) <= MAX_DATASETS:
        return list(addresses)
    folders = Counter(address.rpartition("/")[0] for address in addresses)
    return [folder for folder, _ in folders.most_common(MAX_DATASETS)]


def _written(result: Mapping[str, Any]) -> list[str]:
    outputs = result.get("outputs")
    found = [str(uri) for uri in outputs.values()] if isinstance(outputs, Mapping) else []
    found += [str(result[name]) for name in ("output", "manifest") if isinstance(result.get(name), str)]
    if isinstance(transcript_id := result.get("transcript_id"), str) and isinstance(outputs, Mapping):
        found.append(transcript_address(transcript_id, result.get("region")))
    return list(dict.fromkeys(found))


def _place_of(region: object) -> str:
    hosts = REGIONS.get(str(region))
    return urlsplit(hosts.speech).netloc if hosts is not None else str(region or "")


def _facet(shown: Mapping[str, Any]) -> Any:
    import attrs
    from openlineage.client.generated.base import RunFacet

    fields = {name: attrs.field(default=value) for name, value in shown.items()}
    return attrs.make_class("AssemblyAIRunFacet", fields, bases=(RunFacet,), kw_only=True)(producer=_PRODUCER)

# SPDX-License-Identifier: Apache-2.0
"""Speech Understanding of a transcript that exists: translation, speakers' names, summaries and more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, cast

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import transcripts, understanding
from airflow_provider_assemblyai.api.call import finite
from airflow_provider_assemblyai.api.errors import AssemblyAIError, InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.api.transcripts import check_id
from airflow_provider_assemblyai.api.understanding import UnderstandingResponse
from airflow_provider_assemblyai.api.validation import MAX_SECONDS, check_bool_or, check_choice
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.jobs.billing import count_cost
from airflow_provider_assemblyai.jobs.results import MAX_XCOM_TEXT
from airflow_provider_assemblyai.llm_gateway.call_progress import CallProgress
from airflow_provider_assemblyai.llm_gateway.call_state import StoredAnswer
from airflow_provider_assemblyai.operators.base import TranscriptReference
from airflow_provider_assemblyai.operators.gateway_call import GatewayCallOperator
from airflow_provider_assemblyai.operators.paid_call import PaidRequest
from airflow_provider_assemblyai.storage.atomic_files import as_json

if TYPE_CHECKING:
    from airflow.sdk import XComArg

#: In the place of a model's name: the service has one limit for these calls.
_RATE_LIMIT_NAME: Final = "speech-understanding"
#: Results that the service puts beside the response; words are only ever in the file.
_MORE_RESULTS: Final = ("translated_texts", "utterances")


class Understanding(TypedDict):
    """
    What the operator returns.

    :ivar transcript_id: id of the transcript.
    :ivar region: ``us`` or ``eu``, where it lives.
    :ivar features: feature -> its status.
    :ivar result: feature -> what the service found, and ``translated_texts`` and ``utterances`` where it gave any;
        None if it was not asked for.
    :ivar output: URI of the file with the whole answer, or None.
    :ivar warnings: what failed or was left out.
    :ivar estimated_cost_usd: by list price; None where a feature has no published price, or the length of the audio is
        not known.
    """

    transcript_id: str
    region: str
    features: dict[str, str]
    result: dict[str, Any] | None
    output: str | None
    warnings: list[str]
    estimated_cost_usd: float | None


class UnderstandOperator(GatewayCallOperator):
    """
    Run Speech Understanding on a completed transcript, and return what it finds.

    It has also the parameters of :class:`airflow_provider_assemblyai.operators.gateway_call.GatewayCallOperator`
    (region), :class:`airflow_provider_assemblyai.operators.paid_call.PaidCallOperator` (file, waiting, lost answers)
    and :class:`airflow_provider_assemblyai.operators.base.AssemblyAIOperator` (connection, retries).

    :param transcript_id: the id of a completed transcript, or what a task of this package returned for it,
        which includes the region (templated).
    :param features: what to run: the service's own ``request`` object, such as ``{"summarization":
        {"summary_type": "bullets"}}``, as a dict or its JSON text (templated). Several features in one call
        count as one call against the limit.
    :param output_path: an absolute directory, or an object store prefix, for the file with the whole answer
        (templated): ``<transcript id>.<task id>.json``, in mapped tasks with ``-<map index>``.
    :param push_result: whether the XCom holds the results, which are text of the recording. Default: only
        without ``output_path``. With one, the largest parts of more than 256 KiB are left out with a warning.
    :param on_failed_feature: what to do if one of several features failed. ``fail``: the task fails, after
        the other results are in the file or in the XCom ``partial``. ``warn``: the task goes on without it.
        If all of them failed, the task fails.
    :return: an :class:`Understanding`.
    :xcom partial: without ``output_path``: the results of the features that succeeded, if the task fails
        because of another one.
    :raises AirflowFailException: a retry cannot help, or would pay again: a request that is refused, an
        unknown transcript, a feature that failed.
    :raises AssemblyAIError: a retry can help: no capacity within ``max_wait``, the service is not there.

    https://www.assemblyai.com/docs/speech-understanding/translation
    """

    template_fields: Sequence[str] = ("features", *GatewayCallOperator.template_fields)
    template_fields_renderers = {"features": "json"}  # noqa: RUF012 - Airflow reads it from the class
    #: Seconds of the audio, as the service told them.
    _read_duration: float | None = None

    def __init__(
        self,
        *,
        transcript_id: TranscriptReference,
        features: Mapping[str, Any] | str | XComArg,
        push_result: bool | None = None,
        on_failed_feature: Literal["fail", "warn"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(transcript_id=transcript_id, **kwargs)
        self.features = features
        self.push_result = check_bool_or("push_result", push_result, None)
        self.on_failed_feature = on_failed_feature
        self._check_options()

    def _check_options(self) -> None:
        super()._check_options()
        check_choice("on_failed_feature", self.on_failed_feature, ("fail", "warn"))
        if self.push_result is False and self.output_path is None:
            raise InvalidInput("push_result=False needs an output_path: what is found would go nowhere.")

    def _build_request(
        self, context: Context, hook: AssemblyAIHook, transcript_id: str | None
    ) -> tuple[str, dict[str, Any]]:
        features = understanding.check_features(self.features)
        return _RATE_LIMIT_NAME, {"transcript_id": check_id(transcript_id), "features": features}

    def _complete(self, context: Context, request: PaidRequest, progress: CallProgress) -> Understanding:
        transcript_id, features = request.body["transcript_id"], request.body["features"]
        kept = request.kept.find("answer", request.body)
        if kept is None:
            call = understanding.understand(transcript_id, features, timeout=self.timeout)
            response = self._call(request, call, progress)
            self._keep(request, "answer", request.body, asdict(response))
        else:
            self.log.info("An earlier try has paid for the answer and kept it: no call is made.")
            response = UnderstandingResponse(**kept)
        statuses = {name: "failed" if name in response.failed else "success" for name in features}
        self.log.info(
            "Speech Understanding of transcript %s answered: %s (request id %s).",
            transcript_id,
            ", ".join(f"{name} {status}" for name, status in statuses.items()),
            response.request_id,
        )
        xcoms = self._push_facts(context, progress, {"request_id": response.request_id})
        result: Understanding = {
            "transcript_id": transcript_id,
            "region": request.hook.region,
            "features": statuses,
            "result": None,
            "output": None,
            "warnings": [f"{name} failed: {problem}." for name, problem in response.failed.items()],
            "estimated_cost_usd": self._estimate_cost(request),
        }
        # Before a failure is raised: what did not fail is paid for.
        content = {"transcript_id": transcript_id, "region": request.hook.region, **response.body}
        result["output"] = uri = self._write(request, "json", as_json(content))
        if uri is None and response.failed:
            self._push(context, {"partial": self._with_results(result, response.body)})
        try:
            self._raise_if_failed(response, result)
        except ResponseUnusable as error:
            self._name_place(error, request, "answer", request.body)
            raise
        if uri is not None:
            delivered: StoredAnswer = {
                "output": uri,
                "suffix": "json",
                "xcoms": xcoms,
                "result": dict(result),
            }
            self._record_delivered(request, delivered)
        count_cost(self._log_success(xcoms, dict(result), uri))
        return self._with_results(result, response.body)

    def _estimate_cost(self, request: PaidRequest) -> float | None:
        """Return what the answer costs; no task fails because that cannot be told."""
        features, prices = request.body["features"], request.hook.prices
        if prices.understanding_cost(features, 0.0) is None:
            return None
        if self._audio_duration() is None:
            call = replace(transcripts.get(request.body["transcript_id"]), repeatable=False, timeout=10.0)
            try:
                self._read_duration = request.hook.send(call).get("audio_duration")
            except AssemblyAIError as error:
                self.log.info("The length of the audio cannot be read: %s", error)
        return prices.understanding_cost(features, self._audio_duration())

    def _audio_duration(self) -> float | None:
        given = self.transcript_id
        told = given.get("audio_duration") if isinstance(given, Mapping) else None
        return finite(self._read_duration if told is None else told, 0.0, MAX_SECONDS)

    def _raise_if_failed(self, response: UnderstandingResponse, result: Understanding) -> None:
        """
        Return, after a warning if need be, if the task has a result that it may return.

        :raises ResponseUnusable: all features failed, or one did and ``on_failed_feature`` does not allow that.
        """
        if not response.failed:
            return
        problems = " ".join(result["warnings"])
        request_id = f" (request id {response.request_id})" if response.request_id else ""
        if len(response.failed) == len(result["features"]):
            raise ResponseUnusable(f"Speech Understanding found nothing{request_id}: {problems}", "failed")
        if self.on_failed_feature == "fail":
            place = result["output"] or "XCom, under the key 'partial'"
            raise ResponseUnusable(
                f"Speech Understanding did only a part{request_id}: {problems} The rest is in {place}; "
                "on_failed_feature='warn' goes on without what failed.",
                "failed",
            )
        self.log.warning("Speech Understanding did only a part%s: %s", request_id, problems)

    def _restore(self, text: str, stored: StoredAnswer) -> Understanding:
        result = {"estimated_cost_usd": None, **stored["result"]}
        return self._with_results(cast("Understanding", result), json.loads(text))

    def _with_results(self, result: Understanding, body: Mapping[str, Any]) -> Understanding:
        """Add what was found, as far as it may go to XCom, which lives in Airflow's database."""
        if not (result["output"] is None if self.push_result is None else self.push_result):
            return result
        found = {**body["speech_understanding"]["response"]}
        found |= {name: body[name] for name in _MORE_RESULTS if body.get(name) is not None}
        if isinstance(found.get("utterances"), list):
            found["utterances"] = [_without_words(turn) for turn in found["utterances"]]
        sizes = {name: len(as_json(value).encode(errors="replace")) for name, value in found.items()}
        warnings = list(result["warnings"])
        if result["output"] is None:
            # The service keeps no copy, and it is paid for: nothing is left out.
            if sum(sizes.values()) > MAX_XCOM_TEXT:
                self.log.warning("%d bytes go to XCom: set output_path.", sum(sizes.values()))
            return {**result, "result": found}
        while sum(sizes.values()) > MAX_XCOM_TEXT:
            largest = max(sizes, key=lambda name: sizes[name])
            size = sizes.pop(largest)
            del found[largest]
            warnings.append(f"{largest} has {size} bytes, too many for XCom: it is only in the file.")
            self.log.warning("%s", warnings[-1])
        return {**result, "result": found, "warnings": warnings}


def _without_words(turn: Any) -> Any:
    return (
        {name: value for name, value in turn.items() if name != "words"} if isinstance(turn, dict) else turn
    )

# SPDX-License-Identifier: Apache-2.0
"""
The base of operators that make one paid call: it is never paid for twice on a guess, and waits for free.

A call that the service refuses for want of capacity is made again when the service allows it. Until then the task is
in the triggerer, or, where it is not deferrable, sleeps in slices. A call whose answer is lost is not made again here.
"""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final, Literal, TypeVar, cast

from airflow.providers.common.compat.sdk import Context, ObjectStoragePath, conf

from airflow_provider_assemblyai.api.call import PAID_TIMEOUT, Call, moment
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    GatewayTimeout,
    InvalidInput,
    RateLimitError,
    ResponseLost,
    ResponseUnusable,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.regions import check_data_stays
from airflow_provider_assemblyai.api.retry_rules import MAX_STATED_WAIT, asks_too_much, backoff, bound_wait
from airflow_provider_assemblyai.api.sanitize import sanitize, storable
from airflow_provider_assemblyai.api.validation import (
    check_bool,
    check_bool_or,
    check_choice,
    check_seconds,
)
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast
from airflow_provider_assemblyai.jobs.billing import log_success
from airflow_provider_assemblyai.jobs.state_store import (
    ReplicatedStateStore,
    open_state_store,
    task_instance_key,
)
from airflow_provider_assemblyai.links.task_page import TaskPageLink, push_links
from airflow_provider_assemblyai.llm_gateway.call_progress import CallProgress, is_usable, start_progress
from airflow_provider_assemblyai.llm_gateway.call_report import CallReporter
from airflow_provider_assemblyai.llm_gateway.call_state import CALL, CallState, CallStateStore, StoredAnswer
from airflow_provider_assemblyai.llm_gateway.kept_answers import KeptAnswers, Slot
from airflow_provider_assemblyai.llm_gateway.rate_limiter import MAX_LEAD, Refusal
from airflow_provider_assemblyai.operators.base import AssemblyAIOperator
from airflow_provider_assemblyai.polling.policy import check_event
from airflow_provider_assemblyai.storage.atomic_files import OutputFiles, open_path, read_file
from airflow_provider_assemblyai.storage.file_owners import claim_name
from airflow_provider_assemblyai.telemetry import metrics
from airflow_provider_assemblyai.triggers.llm_gateway import LLMGatewayTrigger

T = TypeVar("T")

OnLostAnswer = Literal["retry", "fail"]
WaitForTurn = Literal["auto"] | bool

#: Seconds that an answer may take; a socket cannot wait for more than 24 days.
_MAX_ANSWER_TIME: Final = 86_400.0


@dataclass(frozen=True)
class PaidRequest:
    """
    One request that costs money.

    :param hook: sends it.
    :param model: the service limits calls by model.
    :param body: what is asked, as JSON: equal requests are equal in it.
    :param outputs: where the file of the answer goes; None if there is none.
    :param state: what outlives this process.
    :param kept: the answers, before they are judged.
    :param reporter: tells the rate limiter of the call.
    :param attachment: what is sent beside the body, which holds its hash.
    """

    hook: AssemblyAIHook
    model: str
    body: dict[str, Any]
    outputs: OutputFiles | None
    state: CallStateStore
    kept: KeptAnswers
    reporter: CallReporter
    attachment: Any = None


class PaidCallOperator(AssemblyAIOperator):
    """
    Make one paid call of a model, and never pay for its answer twice on a guess.

    A subclass builds the request, makes the call, delivers the answer, and restores an answer that an earlier try
    has delivered.

    :param output_path: an absolute directory, or an object store prefix, for the answer's file (templated).
    :param deferrable: wait for capacity in the triggerer, without a worker slot.
    :param wait_for_turn: whether a deferrable task waits for a turn of the rate limiter before its first
        call, too. ``auto``: in mapped tasks, and where the connection has ``requests_per_minute``.
    :param max_wait: seconds to wait for capacity, in total.
    :param timeout: seconds for the whole call, to the last byte of its answer, at most 24 h. A call that
        times out costs the same as an answer.
    :param on_lost_answer: a call whose answer did not arrive may be billed. ``retry`` fails the try, and a
        retry of the task calls again; ``fail`` never calls again, also not after a kill, until the task is
        cleared.
    :xcom attempts: requests that were made, refused ones included.
    :xcom waited_seconds: seconds that were spent waiting for capacity.
    :xcom rate_limit: of a task that waited for a turn: what the answer stated about the limit, and when the
        call was released, sent and answered.
    """

    template_fields: Sequence[str] = ("output_path", "assemblyai_conn_id")
    ui_color = "#e6dbff"
    operator_extra_links = (TaskPageLink("gateway", "Answer"),)
    #: Tells the state of a task apart from that of an operator of another kind that has had its place; None for none.
    _state_kind: str | None = None
    _call_in_flight = False

    def __init__(
        self,
        *,
        output_path: str | ObjectStoragePath | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        wait_for_turn: WaitForTurn = "auto",
        max_wait: float | timedelta = 3600.0,
        timeout: float | timedelta = PAID_TIMEOUT,
        on_lost_answer: OnLostAnswer = "retry",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_path = output_path
        self.deferrable = check_bool("deferrable", deferrable)
        self.wait_for_turn = check_bool_or("wait_for_turn", wait_for_turn, "auto")
        self.max_wait = check_seconds("max_wait", max_wait)
        self.timeout = check_seconds("timeout", timeout, most=_MAX_ANSWER_TIME)
        self.on_lost_answer = on_lost_answer
        check_choice("on_lost_answer", on_lost_answer, ("retry", "fail"))
        if self.wait_for_turn is True and not self.deferrable:
            raise InvalidInput(
                "wait_for_turn=True needs deferrable=True: the rate limiter is in the triggerer."
            )

    def on_kill(self) -> None:
        """Only set a flag, and log what may be lost."""
        super().on_kill()
        if self._call_in_flight:
            self.log.warning("The task is being killed while a model works for it: that call may be billed.")

    def execute(self, context: Context) -> Any:
        with fail_fast(), self._report_running_job(context):
            push_links(self, context)
            progress = self._start_progress(context)
            request = self._prepare(context)
            earlier = self._find_earlier_answer(request)
            if earlier is not None:
                text, stored = earlier
                self._push(context, stored["xcoms"])
                restored = self._storable(self._restore(text, stored))
                self._log_success(stored["xcoms"], stored.get("result"), stored["output"])
                return restored
            if request.kept.find("answer", request.body) is None:
                self._prepare_to_pay(context, request, progress)
            return self._storable(self._complete(context, request, progress))

    def execute_complete(self, context: Context, event: Any, progress: object = None) -> Any:
        """Go on after the trigger has fired."""
        with fail_fast(), self._report_running_job(context):
            if not is_usable(progress):
                # Some ways to run a DAG forget what a deferral was given.
                progress = self._start_progress(context)
            request = self._prepare(context)
            self._resume_after_wait(event, request, progress)
            return self._storable(self._complete(context, request, progress))

    def _prepare_to_pay(self, context: Context, request: PaidRequest, progress: CallProgress) -> None:
        check_data_stays(request.hook.client.hosts, request.body, lives_there=self._lives_there())
        if self.on_lost_answer == "fail":
            request.state.require_no_lost_answer()
        if request.outputs is not None:
            request.outputs.check_writable()
        if not request.kept.durable:
            self.log.warning(
                "The answer cannot be kept before it is checked and delivered: this Airflow has no task state store "
                "(3.3 and newer have), and there is no output_path. If something fails after it, a retry pays again."
            )
        self._pass_rate_limiter(context, request, progress)

    def _lives_there(self) -> bool:
        """Return whether what is asked about is known to live where the request goes."""
        return False

    @abstractmethod
    def _prepare(self, context: Context) -> PaidRequest:
        """
        Return the request, by :meth:`_request`; nothing is sent.

        :raises InvalidInput: it cannot work.
        """

    @abstractmethod
    def _is_busy(self, error: AssemblyAIError) -> bool:
        """Return whether a call was refused for want of capacity: it was not made, and may be made later."""

    @abstractmethod
    def _is_lost(self, error: AssemblyAIError, progress: CallProgress) -> bool:
        """Return whether a call may have been made and billed although there is no answer."""

    def _count_answer(self, progress: CallProgress) -> None:
        """Count a call that was answered now."""

    def _count_refusal(self) -> None:
        """Count a call that was refused for want of capacity."""

    @abstractmethod
    def _complete(self, context: Context, request: PaidRequest, progress: CallProgress) -> Any:
        """Make the call, deliver its answer, and return what the task returns."""

    @abstractmethod
    def _restore(self, text: str, stored: StoredAnswer) -> Any:
        """Return what the task returns, out of the file that an earlier try wrote; nothing is paid for."""

    def _request(
        self,
        context: Context,
        hook: AssemblyAIHook,
        model: str,
        body: dict[str, Any],
        name: str,
        owner: str,
        attachment: Any = None,
    ) -> PaidRequest:
        """
        Return a request with all that belongs to it.

        :param hook: sends it.
        :param model: whose limit counts.
        :param body: as in :class:`PaidRequest`.
        :param name: of the files, without extension.
        :param owner: whose that name is.
        :param attachment: as in :class:`PaidRequest`.
        """
        outputs = named = None
        if self.output_path is not None:
            named = OutputFiles.at(self.output_path, name, context["ti"].map_index)
            outputs = claim_name(named, owner)
        state = self._open_state(context, hook, body, named)
        kept = KeptAnswers(context, named, (self.assemblyai_conn_id, hook.region))
        reporter = CallReporter(context["ti"], body.get("model"), self.log)
        self._region = hook.region
        metrics.set_tag("region", hook.region)
        metrics.set_tag("model", model)
        return PaidRequest(hook, model, body, outputs, state, kept, reporter, attachment)

    def _open_state(
        self, context: Context, hook: AssemblyAIHook, body: Mapping[str, Any], outputs: OutputFiles | None
    ) -> CallStateStore:
        store = ReplicatedStateStore[CallState]()
        if outputs is not None or self.on_lost_answer == "fail":
            owner, key = None, "assemblyai"
            if (kind := self._state_kind) is not None:
                owner, key = (*task_instance_key(context), kind), f"{key}_{kind}"
            store = open_state_store(context, CALL, outputs, owner, key)
        if self.on_lost_answer == "fail" and not store.durable:
            self.log.warning(
                "on_lost_answer='fail' cannot hold after a kill: this Airflow has no task state store (3.3 and newer "
                "have), and there is no output_path to keep a state."
            )
        return CallStateStore(store, self.assemblyai_conn_id, hook.region, body, context["ti"].max_tries)

    def _find_earlier_answer(self, request: PaidRequest) -> tuple[str, StoredAnswer] | None:
        """Return the text of the file that an earlier try wrote, and what is stored about it; None to call now."""
        stored = request.state.find_answer()
        if stored is None or request.outputs is None:
            return None
        text = read_file(open_path(stored["output"], "output_path"))
        if text is None:
            return None
        self.log.info("An earlier try left the answer in %s: no call is made.", stored["output"])
        return text, stored

    def _write(self, request: PaidRequest, suffix: str, text: str) -> str | None:
        """Write the file of the answer, if there is to be one, and return its URI."""
        if request.outputs is None:
            return None
        # Half of a surrogate pair has no UTF-8; JSON reads what this writes as the same.
        uri = request.outputs.write(suffix, text.encode(errors="backslashreplace").decode())
        self.log.info("The answer is in %s.", uri)
        return uri

    def _record_delivered(self, request: PaidRequest, answer: StoredAnswer) -> None:
        """Record that the answer's file is written; what was kept of it before goes."""
        request.state.record_answer(answer)
        with suppress(AssemblyAIError):  # it is only there once more then
            request.kept.discard()

    def _keep(self, request: PaidRequest, slot: Slot, body: Mapping[str, Any], answer: object) -> None:
        """Keep an answer before anything is done with it."""
        problem = request.kept.keep(slot, body, answer)
        if problem is not None and request.kept.durable:
            self.log.warning(
                "The answer is paid for, and could not be kept before it was checked: %s", problem
            )
        request.reporter.push()

    def _name_place(
        self, error: ResponseUnusable, request: PaidRequest, slot: Slot, body: Mapping[str, Any]
    ) -> None:
        """Add to an error where the answer is."""
        if (place := request.kept.place(slot, body)) is not None:
            error.args = (f"{error} {place} holds the answer; to ask anew, clear the task.", *error.args[1:])

    def _push_facts(self, context: Context, progress: CallProgress, facts: dict[str, Any]) -> dict[str, Any]:
        """Push what is known of a call beside its answer, and return it."""
        facts |= {
            "attempts": progress["attempts"],
            "waited_seconds": round(progress["waited_seconds"], 3),
        }
        self._push(context, facts)
        # Also of an answer that turns out to be of no use: it is paid for.
        self._note_result(facts, is_last=False)
        return facts

    def _push(self, context: Context, xcoms: Mapping[str, Any]) -> None:
        for key, value in xcoms.items():
            context["ti"].xcom_push(key=key, value=self._storable(value))

    def _log_success(
        self, xcoms: Mapping[str, Any], result: Mapping[str, Any] | None, output: str | None
    ) -> float | None:
        """
        Log the last line of a task that ends well, and return the estimated USD.

        :param xcoms: what was pushed.
        :param result: what is returned beside the answer itself.
        :param output: URI of the answer's file.
        """
        self._note_result({**xcoms, **(result or {}), **({} if output is None else {"output": output})})
        cost: float | None = {**(xcoms.get("usage") or {}), **(result or {})}.get("estimated_cost_usd")
        files = [] if output is None else [output]
        duration = self._audio_duration()
        log_success(
            self.log, "The call", cost=cost, audio_duration=duration, model=xcoms.get("model"), files=files
        )
        return cost

    def _audio_duration(self) -> float | None:
        """Return the seconds of the audio that the call is about, if it is about one and they are known."""
        return None

    def _storable(self, value: T) -> T:
        """Return a value as Airflow's database takes it."""
        stored: T = storable(value)
        if repr(stored) != repr(value):
            self.log.warning(
                "Characters that Airflow's database does not take (NUL, halves of surrogate pairs) are replaced in XCom."
            )
        return stored

    # --- the call ----------------------------------------------------------------------------------------

    def _start_progress(self, context: Context) -> CallProgress:
        """Return the progress of a new try."""
        return start_progress(getattr(context["ti"], "start_date", None), self._time_limit(self.max_wait))

    def _pass_rate_limiter(self, context: Context, request: PaidRequest, progress: CallProgress) -> None:
        """Wait for a turn before the first call, where many calls are to be expected or a limit is stated."""
        if not self.deferrable or self.wait_for_turn is False:
            return
        map_index = context["ti"].map_index
        mapped = map_index is not None and map_index >= 0
        if self.wait_for_turn is True or mapped or request.hook.gateway.requests_per_minute is not None:
            self._defer_to_rate_limiter(request, progress)

    def _resume_after_wait(self, event: object, request: PaidRequest, progress: CallProgress) -> None:
        """
        Go on after the trigger has fired, at the moment that the rate limiter planned for this call.

        :raises GatewayTimeout: there was no turn in time; nothing was billed, a retry may help.
        """
        given = check_event(event)
        outcome, detail = given.get("outcome"), sanitize(str(given.get("detail")))
        if outcome not in ("go", "timeout", "refused"):
            raise UnexpectedReply(f"The trigger ended with the unknown outcome {sanitize(repr(outcome))}.")
        now = time.time()
        if outcome == "refused":
            raise InvalidInput(f"Waiting for a turn is not possible: {detail}")
        released_at, call_at = moment(given.get("released_at")), moment(given.get("call_at"))
        if released_at is not None:
            progress["startup_seconds"] = max(0.0, now - released_at)
            request.reporter.on_released(released_at)
        if outcome == "timeout":
            raise GatewayTimeout(request.model, self.max_wait, f"At the end: {detail}.")
        if call_at is not None:
            self._control.pause(min(MAX_LEAD, max(0.0, call_at - now)))
        progress["waited_seconds"] += time.time() - progress.get("waiting_since", now)

    def _call(self, request: PaidRequest, call: Call[T], progress: CallProgress) -> T:
        """
        Make a paid call, as soon as there is capacity for it.

        :raises GatewayTimeout: there was none in time; nothing was billed, a retry may help.
        :raises ResponseLost: it may have been made, and is not made again here.
        """
        while True:
            try:
                answer = self._call_once(request, call, progress)
            except AssemblyAIError as error:
                if not self._is_busy(error):
                    request.reporter.push()
                    raise
                self._wait_for_capacity(request, error, progress)
            else:
                progress["refusals"] = 0
                self._count_answer(progress)
                return answer

    def _call_once(self, request: PaidRequest, call: Call[T], progress: CallProgress) -> T:
        """Make a call, with the key that the connection has now."""
        try:
            return self._send(request.hook, request, call, progress)
        except AuthenticationError:
            # The key may have been changed since this process read it.
            self.log.info("The API key was refused: the connection is read once more.")
            hook = AssemblyAIHook(self.assemblyai_conn_id, request.hook.region, pause=self._control.pause)
            return self._send(hook, request, call, progress)

    def _send(self, hook: AssemblyAIHook, request: PaidRequest, call: Call[T], progress: CallProgress) -> T:
        """Send a call once; before that its intent is durable, where the user wants to be sure."""

        def before() -> None:
            self._control.check()
            if self.on_lost_answer == "fail":
                request.state.record_intent()
            request.reporter.on_sent()

        self._control.check()
        progress["attempts"] += 1
        self._call_in_flight = True
        try:
            return hook.send(call.observed(request.reporter.on_reply), before=before)
        except AssemblyAIError as error:
            if self._is_lost(error, progress):
                raise ResponseLost(str(error), retryable=self.on_lost_answer == "retry") from error
            request.state.withdraw_intent()
            raise
        finally:
            self._call_in_flight = False

    def _wait_for_capacity(
        self, request: PaidRequest, error: AssemblyAIError, progress: CallProgress
    ) -> None:
        """Wait until there may be capacity; a task that is deferrable does not do that here."""
        now = time.time()
        progress["refusals"] += 1
        self._count_refusal()
        retry_after = error.retry_after if isinstance(error, ApiError) else None
        seconds = max(1.0, backoff(progress["refusals"] + 1, error, random.random()))
        if asks_too_much(error):
            detail = f"The service asks for a wait of {retry_after:.0f} s, and none is longer than {MAX_STATED_WAIT:.0f} s. {error}"
            raise GatewayTimeout(request.model, self.max_wait, detail) from error
        if now + seconds > progress["deadline"]:
            raise GatewayTimeout(request.model, self.max_wait, str(error)) from error
        if self.deferrable:
            refusal = _refusal(error, now)
            # Where a refusal names no time, the rate limiter decides; an overload is for this task alone.
            undetermined = retry_after is None and refusal is not None
            delay = seconds if retry_after is None else bound_wait(retry_after)
            not_before = None if undetermined else now + delay
            self._defer_to_rate_limiter(request, progress, not_before=not_before, refusal=refusal)
        self.log.info(
            "Model %s has no capacity; the next call is in %.0f s. %s", request.model, seconds, error
        )
        self._control.pause(seconds)
        progress["waited_seconds"] += time.time() - now

    def _defer_to_rate_limiter(
        self,
        request: PaidRequest,
        progress: CallProgress,
        not_before: float | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        self._control.check()
        now = time.time()
        progress["waiting_since"] = now
        if "entered_at" not in progress:
            progress["entered_at"] = now
            request.reporter.announce()
        startup_seconds = progress.pop("startup_seconds", None)
        self.log.info(
            "Waiting for a turn at model %s, in the triggerer and without a worker slot.", request.model
        )
        trigger = LLMGatewayTrigger(
            self.assemblyai_conn_id,
            request.hook.region,
            request.model,
            progress["entered_at"],
            progress["deadline"],
            not_before,
            refusal,
            startup_seconds,
        )
        self._defer_until(progress["deadline"], trigger, {"progress": dict(progress)})


def _refusal(error: AssemblyAIError, at: float) -> Refusal | None:
    if not isinstance(error, RateLimitError):
        return None
    return cast("Refusal", {**asdict(error.limit), "at": at})

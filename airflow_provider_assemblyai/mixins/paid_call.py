# SPDX-License-Identifier: Apache-2.0
"""
A task that calls a model: it waits where waiting is free, and never pays twice on its own.

A call that was refused for want of room is made again when the service says so; until then the task is in the
triggerer, or, where it is not deferrable, sleeps in slices. A call whose answer is lost is not made again here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal, TypedDict, TypeVar

from airflow.providers.common.compat.sdk import Context

from airflow_provider_assemblyai.api import llm_gateway
from airflow_provider_assemblyai.api.call import Call, backoff
from airflow_provider_assemblyai.api.errors import (
    ApiError,
    AssemblyAIError,
    AuthenticationError,
    GatewayTimeout,
    InvalidInput,
    RateLimitError,
    ResponseLost,
    UnexpectedReply,
)
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.validation import check_choice
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook
from airflow_provider_assemblyai.llm_gateway.rate_limiter import MAX_LEAD, Refusal
from airflow_provider_assemblyai.mixins.cancellation import CancellationMixin
from airflow_provider_assemblyai.triggers.llm_gateway import LLMGatewayTrigger

T = TypeVar("T")

OnLostAnswer = Literal["retry", "fail"]
Gating = Literal["auto"] | bool


class CallProgress(TypedDict, total=False):
    """
    What a try has done so far. It goes through deferrals: numbers only, never text.

    Moments are seconds since the epoch.
    """

    deadline: float
    entered_at: float
    #: How often the service was asked, and how often in a row it had no room.
    attempts: int
    busy: int
    waited: float
    #: When the last wait began.
    since: float
    #: Seconds that starting the process took.
    start_cost: float | None
    #: Whether an answer of the wrong shape was paid for already, and what it took.
    repairing: bool
    spent: dict[str, Any]


class PaidCallMixin(CancellationMixin):
    """Mix it in before ``BaseOperator``; the attributes are arguments of the operator."""

    assemblyai_conn_id: str
    deferrable: bool
    gate: Gating
    max_wait: float
    on_lost_answer: OnLostAnswer
    transcript_id: str | Mapping[str, Any] | None
    _calling = False

    def _do_render_template_fields(self, *args: Any, **kwargs: Any) -> None:
        # The last moment before Airflow stores the rendered fields for its UI. What a task returned for a
        # transcript may hold its text; here only the id and the region are of use.
        super()._do_render_template_fields(*args, **kwargs)
        given = getattr(self, "transcript_id", None)
        if isinstance(given, Mapping):
            self.transcript_id = {name: given[name] for name in ("transcript_id", "region") if name in given}

    def _check_waiting(self) -> None:
        check_choice("gate", self.gate, ("auto", True, False))
        check_choice("on_lost_answer", self.on_lost_answer, ("retry", "fail"))
        if self.gate is True and not self.deferrable:
            raise InvalidInput("gate=True needs deferrable=True: the gate is in the triggerer.")

    def on_kill(self) -> None:
        """Only set a flag, and say what is lost."""
        super().on_kill()
        if self._calling:
            self.log.warning("The task is being killed while a model works for it: that call may be billed.")

    def _begin(self, context: Context) -> CallProgress:
        """Return the progress of a new try."""
        now = time.time()
        limit = self.execution_timeout
        # Airflow's own limit ends with a deferral, ours does not.
        wait = self.max_wait if limit is None else min(self.max_wait, limit.total_seconds())
        return {
            "deadline": now + wait,
            "attempts": 0,
            "busy": 0,
            "waited": 0.0,
            "start_cost": _start_cost(context, now),
        }

    def _pass_gate(self, context: Context, hook: AssemblyAIHook, model: str, progress: CallProgress) -> None:
        """Wait for one's turn before the first call, where many are to be expected or a pace is stated."""
        if not self.deferrable or self.gate is False:
            return
        mapped = (context["ti"].map_index if context["ti"].map_index is not None else -1) >= 0
        if self.gate is True or mapped or hook.gateway.requests_per_minute is not None:
            self._defer(hook, model, progress, not_before=None, refused=None)

    def _let_out(self, event: object, model: str, progress: CallProgress) -> None:
        """
        Go on after the trigger has fired, at the moment that it planned for this call.

        :raises GatewayTimeout: there was no turn in time.
        """
        if not isinstance(event, dict) or event.get("outcome") not in ("go", "timeout", "refused"):
            raise UnexpectedReply(f"The trigger's event is not one of ours: {sanitize(repr(event))}.")
        now = time.time()
        if event["outcome"] == "refused":
            raise InvalidInput(f"Waiting for a turn is not possible: {event.get('detail')}")
        let_out, call_at = _moment(event.get("released_at")), _moment(event.get("call_at"))
        if let_out is not None:
            progress["start_cost"] = max(0.0, now - let_out)
        if event["outcome"] == "timeout":
            progress["waited"] += now - progress.get("since", now)
            raise GatewayTimeout(model, self.max_wait, f"At the end: {event.get('detail')}.")
        if call_at is not None:
            self._control.pause(min(MAX_LEAD, max(0.0, call_at - now)))
        progress["waited"] += time.time() - progress.get("since", now)

    def _ask(
        self,
        hook: AssemblyAIHook,
        model: str,
        call: Call[T],
        progress: CallProgress,
    ) -> T:
        """
        Make a paid call, as soon as there is room for it.

        :raises GatewayTimeout: there was none in time; nothing was billed.
        :raises AnswerLost: it may have been made, and is not made again here.
        """
        while True:
            try:
                answer = self._once(hook, call, progress)
            except AssemblyAIError as error:
                if not llm_gateway.is_busy(error):
                    raise
                self._give_way(hook, model, error, progress)
            else:
                progress["busy"] = 0
                return answer

    def _once(self, hook: AssemblyAIHook, call: Call[T], progress: CallProgress) -> T:
        try:
            return self._sent(hook, call, progress)
        except AuthenticationError:
            # The key may have been changed since this process read it.
            self.log.info("The API key was refused: the connection is read once more.")
            again = AssemblyAIHook(self.assemblyai_conn_id, hook.region, pause=self._control.pause)
            return self._sent(again, call, progress)

    def _sent(self, hook: AssemblyAIHook, call: Call[T], progress: CallProgress) -> T:
        self._control.check()
        progress["attempts"] += 1
        self._calling = True
        try:
            return hook.send(call, before=self._before_call)
        except AssemblyAIError as error:
            if not llm_gateway.is_lost(error):
                self._after_refusal()
                raise
            raise ResponseLost(str(error), retryable=self.on_lost_answer == "retry") from error
        finally:
            self._calling = False

    def _before_call(self) -> None:
        """Run when only the request is left to send."""
        self._control.check()

    def _after_refusal(self) -> None:
        """Run when it is sure that a call was not made."""

    def _give_way(
        self, hook: AssemblyAIHook, model: str, error: AssemblyAIError, progress: CallProgress
    ) -> None:
        """Wait until there may be room; a task that is deferrable does not do that here."""
        now = time.time()
        progress["busy"] += 1
        asked = error.retry_after if isinstance(error, ApiError) else None
        seconds = max(1.0, backoff(progress["busy"] + 1, error, random.random()))
        if now + seconds > progress["deadline"]:
            raise GatewayTimeout(model, self.max_wait, str(error)) from error
        if self.deferrable:
            refused = _refusal(error, now)
            silent = asked is None and refused is not None
            # Where a refusal says nothing of the time, the gate decides; an overload is for this task alone.
            not_before = None if silent else now + max(1.0, seconds if asked is None else asked)
            self._defer(hook, model, progress, not_before=not_before, refused=refused)
        self.log.info("Model %s has no room; the next call is in %.0f s. %s", model, seconds, error)
        self._control.pause(seconds)
        progress["waited"] += time.time() - now

    def _defer(
        self,
        hook: AssemblyAIHook,
        model: str,
        progress: CallProgress,
        *,
        not_before: float | None,
        refused: Refusal | None,
    ) -> None:
        self._control.check()
        now = time.time()
        progress["since"] = now
        progress.setdefault("entered_at", now)
        start_cost = progress.pop("start_cost", None)
        self.log.info("Waiting for room at model %s, in the triggerer and without a worker slot.", model)
        self.defer(
            trigger=LLMGatewayTrigger(
                self.assemblyai_conn_id,
                hook.region,
                model,
                progress["entered_at"],
                progress["deadline"],
                not_before,
                refused,
                start_cost,
            ),
            method_name="execute_complete",
            kwargs={"progress": dict(progress)},
            # A backstop only: the trigger's own deadline ends with a better message.
            timeout=timedelta(seconds=max(0.0, progress["deadline"] - now) + 120),
        )


def _refusal(error: AssemblyAIError, at: float) -> Refusal | None:
    if not isinstance(error, RateLimitError):
        return None
    said = error.limit
    return {
        "limit": said.limit,
        "remaining": said.remaining,
        "reset": said.reset,
        "retry_after": said.retry_after,
        "model": said.model,
        "at": at,
    }


def _start_cost(context: Context, now: float) -> float | None:
    began: Any = getattr(context["ti"], "start_date", None)
    return None if began is None else max(0.0, now - began.timestamp())


def _moment(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None

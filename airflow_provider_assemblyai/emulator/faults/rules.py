# SPDX-License-Identifier: Apache-2.0
"""Rules for what goes wrong, and when.

A rule says which requests it means and which fault meets them::

    {"kind": "rate_limit", "method": "POST", "path": "/v2/transcript", "skip": 1, "times": 2, "retry_after": 3}

====================  ==============================================================================
``method``            HTTP method; any when absent
``path``              a template such as ``/v2/transcript/{id}``, a path, or a regular expression
                      for the whole path; any path of the API when absent
``skip``              requests that pass before the rule begins, default 0
``times``             requests that it meets, default 1; ``null`` for ever
``probability``       chance for each request, default 1; drawn from ``seed`` (default 0)
``when``              ``before`` or ``after`` the request took effect, for the kinds that have a choice
====================  ==============================================================================

=====================  =============================================================================
``rate_limit``         429, or with ``"status": 403`` the other documented form. ``retry_after``:
                       seconds, ``"date"``, or ``null`` for no header (default 1)
``http_status``  any ``status`` with ``body`` ``json`` (default), ``empty``, ``html`` or ``text``,
                       ``headers`` and ``message``; ``when`` defaults to ``before``
``delay_response``  the answer comes ``seconds`` late; ``when`` defaults to ``after``: the
                       request has already taken effect while its client waits
``reset_connection``  the connection breaks before the request took effect
``drop_response``  the request takes effect, then the connection breaks without an answer
``truncate_response``  200 whose JSON stops half way
``corrupt_response``  200 with ``variant`` ``html`` (default), ``text``, ``no_id`` or ``status``
``echo_key``           an error (``status``, default 400) that quotes the caller's key
``hold``               the request waits, ``when`` ``before`` (default) or ``after`` it took effect, until
                       it is released
``fail_job``  the submitted job ends in ``error`` (default
                       ``server``); the classes are those of the ``error:`` marker
``list_lag``           the submitted transcript shows up in the list ``seconds`` late
``clock_skew``         the ``Date`` header and the creation time are ``seconds`` off; ``times``
                       defaults to for ever
``duplicate_webhook``  the submitted job's webhooks are delivered twice
``refuse_call``  the gateway refuses the call with ``error`` ``access``, ``model_access``,
                       ``overload`` (503; ``"status": 529`` for the other form), ``server`` or
                       ``transcript``
``model_error``        the model fails with ``status`` (default 503); the gateway asks it once more,
                       then the fallbacks, and each time counts
``llm_status``         200 without an answer, and ``llm_status_code`` is ``status`` (default 503)
``split_choices``  the answer's content comes in several ``choices`` (default 2)
``truncate_stream``  a streamed answer ends after so many ``chunks`` (default 2), without ``[DONE]``
``understanding_error``  Speech Understanding answers for ``feature`` with ``status`` (default ``error``) and
                       ``message`` instead of a result; with ``"status": null`` not at all
=====================  =============================================================================

The last six meet calls of the gateway, with ``model`` those of one model only.

Streaming sessions have no method or path; their rules count sessions. ``after`` is in seconds of audio, a
number or a pair to draw from.

=====================  =============================================================================
``stream_refuse``      the handshake is answered with ``status`` (default 503; ``null`` breaks the
                       connection), or, with a ``code``, succeeds and is closed with it and ``error``
``stream_delay_handshake``  the handshake is answered ``seconds`` late
``stream_drop``        the connection breaks without a close frame, ``after`` so much audio
``stream_close``       an Error frame with ``error`` and a close with ``code`` (default 3005)
``stream_stall``       nothing is read for ``seconds`` (default 1)
``stream_warn``        a Warning message with ``code`` and ``error``
``stream_revise_speakers``  a SpeakerRevision of all turns so far
``stream_ignore_terminate``  a Terminate is never answered
=====================  =============================================================================

On the command line a rule is ``KIND`` or ``KIND:key=value,key=value``, for instance
``rate_limit:path=/v2/transcript,times=3,retry_after=2``, or the JSON object itself.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_assemblyai.emulator.core.errors import JOB_ERROR_CLASSES
from airflow_provider_assemblyai.emulator.core.llm_errors import REFUSALS
from airflow_provider_assemblyai.emulator.faults.stream_faults import STREAM_FAULT_KINDS
from airflow_provider_assemblyai.emulator.faults.stream_faults import make_stream_fault as make_act

#: Faults that change the answer to a request; at most one of them meets a request.
WIRE_KINDS = frozenset(
    (
        "rate_limit",
        "http_status",
        "delay_response",
        "reset_connection",
        "drop_response",
        "truncate_response",
        "corrupt_response",
        "echo_key",
        "hold",
    )
)
#: Faults that change what a submission leads to.
SUBMIT_KINDS = frozenset(("fail_job", "list_lag", "duplicate_webhook"))
#: Faults of the models behind the gateway.
GATEWAY_KINDS = frozenset(
    ("refuse_call", "model_error", "llm_status", "split_choices", "truncate_stream", "understanding_error")
)
CLOCK_KIND = "clock_skew"
#: Faults of streaming sessions; the first ones meet the handshake.
HANDSHAKE_KINDS = frozenset(("stream_refuse", "stream_delay_handshake"))
STREAM_KINDS = HANDSHAKE_KINDS.union(f"stream_{kind}" for kind in STREAM_FAULT_KINDS)

_OPTIONS: Mapping[str, frozenset[str]] = {
    "rate_limit": frozenset(("retry_after", "status", "message")),
    "http_status": frozenset(("status", "body", "headers", "message", "when")),
    "delay_response": frozenset(("seconds", "when")),
    "reset_connection": frozenset(),
    "drop_response": frozenset(),
    "truncate_response": frozenset(),
    "corrupt_response": frozenset(("variant",)),
    "echo_key": frozenset(("status",)),
    "hold": frozenset(("when",)),
    "fail_job": frozenset(("error",)),
    "list_lag": frozenset(("seconds",)),
    "clock_skew": frozenset(("seconds",)),
    "duplicate_webhook": frozenset(),
    "stream_refuse": frozenset(("status", "code", "error")),
    "stream_delay_handshake": frozenset(("seconds",)),
    **{f"stream_{kind}": frozenset(("after", "code", "error", "seconds")) for kind in STREAM_FAULT_KINDS},
    "refuse_call": frozenset(("error", "status", "model")),
    "model_error": frozenset(("status", "model")),
    "llm_status": frozenset(("status", "model")),
    "split_choices": frozenset(("choices", "model")),
    "truncate_stream": frozenset(("chunks", "model")),
    "understanding_error": frozenset(("feature", "status", "message")),
}
_COMMON = frozenset(("kind", "method", "path", "skip", "times", "probability", "seed"))


class FaultError(ValueError):
    """A rule that is not understood."""


@dataclass(slots=True)
class Rule:
    """One rule and how far it has got."""

    kind: str
    method: str | None = None
    path: str | None = None
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    pattern: re.Pattern[str] | None = None
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    hits: int = 0

    def meets(self, method: str, template: str, path: str) -> bool:
        """Whether this request is hit; counts it.

        :param method: of the request.
        :param template: its path with ``{id}`` in place of an id.
        :param path: its path.
        """
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method not in (None, method) or not self._on_path(template, path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.probability < 1 and self.chance.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def _on_path(self, template: str, path: str) -> bool:
        if self.path is None or self.path in (template, path):
            return True
        return self.pattern is not None and self.pattern.fullmatch(path) is not None

    @property
    def seconds(self) -> float:
        return float(self.options.get("seconds", 0))

    @property
    def after(self) -> bool:
        """Whether the request takes effect before the fault."""
        default = "after" if self.kind == "delay_response" else "before"
        return bool(self.options.get("when", default) == "after")

    def shown(self) -> dict[str, Any]:
        """The rule as the control endpoint lists it."""
        return {
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "skip": self.skip,
            "times": self.times,
            "probability": self.probability,
            "hits": self.hits,
            **self.options,
        }


class Faults:
    """The rules in force, in the order they were given."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Mapping[str, Any]) -> Rule:
        """Put a rule in force.

        :param rule: as described at the top of this module.
        :raises FaultError: for a rule that is not understood.
        """
        made = _rule(rule)
        self._rules.append(made)
        return made

    def clear(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def shown(self) -> list[dict[str, Any]]:
        """All rules with their hits, spent ones included."""
        return [rule.shown() for rule in self._rules]

    def on_wire(self, method: str, template: str, path: str) -> Rule | None:
        """The fault that meets the answer of a request, if any."""
        return next(self._meeting(WIRE_KINDS, method, template, path), None)

    def on_submit(self, kind: str) -> Rule | None:
        """The fault of one kind that meets this submission, if any.

        :param kind: one of :data:`SUBMIT_KINDS`.
        """
        return next(self._meeting({kind}, "POST", "/v2/transcript", "/v2/transcript"), None)

    def on_gateway(self, kind: str, path: str, model: str | None = None) -> Rule | None:
        """The fault of one kind that meets this call of the gateway, if any.

        :param kind: one of :data:`GATEWAY_KINDS`.
        :param path: of the call.
        :param model: that it asks for.
        """
        rules = (rule for rule in self._rules if rule.options.get("model") in (None, model))
        return next((rule for rule in rules if rule.kind == kind and rule.meets("POST", path, path)), None)

    def on_session(self, kind: str) -> list[Rule]:
        """The faults of one kind that meet the session that is opened now.

        :param kind: one of :data:`STREAM_KINDS`.
        """
        return list(self._meeting({kind}, "GET", "/v3/ws", "/v3/ws"))

    def clock_skew(self, method: str, template: str, path: str) -> float:
        """Seconds that this request's clock is off."""
        rule = next(self._meeting({CLOCK_KIND}, method, template, path), None)
        return rule.seconds if rule else 0.0

    def _meeting(self, kinds: Iterable[str], method: str, template: str, path: str) -> Iterator[Rule]:
        return (rule for rule in self._rules if rule.kind in kinds and rule.meets(method, template, path))


def _rule(rule: Mapping[str, Any]) -> Rule:
    kind = rule.get("kind")
    if not isinstance(kind, str) or kind not in _OPTIONS:
        raise FaultError(f"unknown fault {kind!r}; known: {', '.join(sorted(_OPTIONS))}")
    unknown = set(rule) - _COMMON - _OPTIONS[kind]
    if unknown:
        raise FaultError(f"{kind} does not know {', '.join(sorted(unknown))}")
    options = {name: rule[name] for name in _OPTIONS[kind] if name in rule}
    if kind == "fail_job" and options.setdefault("error", "server") not in JOB_ERROR_CLASSES:
        raise FaultError(f"unknown class of job error; known: {', '.join(JOB_ERROR_CLASSES)}")
    if kind == "refuse_call" and options.setdefault("error", "server") not in REFUSALS:
        raise FaultError(f"unknown refusal; known: {', '.join(REFUSALS)}")
    if options.get("when") not in (None, "before", "after"):
        raise FaultError("when must be before or after")
    path = rule.get("path")
    method = rule.get("method")
    try:
        if kind.removeprefix("stream_") in STREAM_FAULT_KINDS:
            make_act(kind.removeprefix("stream_"), options)
        return Rule(
            kind=kind,
            method=method.upper() if method else None,
            path=path,
            skip=int(rule.get("skip") or 0),
            times=_times(rule.get("times", None if kind == CLOCK_KIND else 1)),
            probability=float(rule.get("probability", 1)),
            options=options,
            # Braces of a template would be taken for a repetition.
            pattern=re.compile(path) if path and "{" not in path else None,
            chance=random.Random(rule.get("seed", 0)),
        )
    except (TypeError, ValueError, AttributeError, re.error) as error:
        raise FaultError(f"{kind}: {error}") from error


def _times(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("times must be a positive number, or null for ever")
    return value


def parse_rule(text: str) -> dict[str, Any]:
    """A rule as written on the command line.

    :param text: ``KIND[:key=value,...]`` or a JSON object.
    :raises FaultError: when it is neither.
    """
    if text.lstrip().startswith("{"):
        try:
            rule = json.loads(text)
        except json.JSONDecodeError as error:
            raise FaultError(f"not a JSON object: {error}") from error
        return dict(rule)
    kind, _, rest = text.partition(":")
    parsed: dict[str, Any] = {"kind": kind.strip()}
    for part in filter(None, rest.split(",")):
        name, mark, value = part.partition("=")
        if not mark:
            raise FaultError(f"expected key=value, found {part!r}")
        try:
            parsed[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            parsed[name.strip()] = value
    return parsed

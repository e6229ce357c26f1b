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
====================  ==============================================================================

The other keys are the options of its kind, see :mod:`.kinds`. Rules for submissions count those, rules for streaming
count sessions.

On the command line a rule is ``KIND`` or ``KIND:key=value,key=value``, for instance
``rate_limit:path=/v2/transcript,times=3,retry_after=2``, or the JSON object itself.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from airflow_provider_assemblyai.emulator.core import option_types as types
from airflow_provider_assemblyai.emulator.core.options import Option, OptionError, OptionSet, read_text
from airflow_provider_assemblyai.emulator.faults import kinds


class Selection(OptionSet):
    """Which requests a rule meets: the options that all rules have, whatever their kind."""

    method = Option(types.or_null(types.TEXT, "for any method"))
    path = Option(types.or_null(types.PATTERN, "for any path"))
    skip = Option(types.integer(0), 0)
    times = Option(types.or_null(types.integer(1), "for ever"), 1)
    probability = Option(types.PROBABILITY, 1)
    seed = Option(types.WHOLE_NUMBER, 0)


class Rule:
    """One rule and how far it has got.

    :param fault: that it lets happen.
    :param selection: of the requests that it meets.
    """

    def __init__(self, fault: kinds.Fault, selection: Selection) -> None:
        self.fault = fault
        self.options = fault.options
        self.selection = selection
        self.chance = random.Random(selection.seed)
        self.hits = 0
        self._skip = selection.skip

    def meets(self, method: str, template: str, path: str) -> bool:
        """Whether this request is hit; counts it.

        :param method: of the request.
        :param template: its path with ``{id}`` in place of an id.
        :param path: its path.
        """
        selection = self.selection
        if selection.times is not None and self.hits >= selection.times:
            return False
        if (selection.method or method).upper() != method or not self._is_on_path(template, path):
            return False
        if self._skip > 0:
            self._skip -= 1
            return False
        if selection.probability < 1 and self.chance.random() >= selection.probability:
            return False
        self.hits += 1
        return True

    def _is_on_path(self, template: str, path: str) -> bool:
        wanted = self.selection.path
        if wanted in (None, template, path):
            return True
        # Braces of a template would be taken for a repetition.
        return "{" not in wanted and re.fullmatch(wanted, path) is not None

    def to_dict(self) -> dict[str, Any]:
        """The rule as the control endpoint lists it."""
        return {"kind": self.fault.kind(), **self.selection.options, "hits": self.hits, **self.options}


class Faults:
    """The rules in force, in the order they were given."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Put rules in force: all of them, or none.

        :param rules: as described at the top of this module.
        :raises OptionError: for a rule that is not understood.
        """
        self._rules.extend([make_rule(rule) for rule in rules])

    def clear(self) -> None:
        """Forget all rules."""
        self._rules.clear()

    def to_list(self) -> list[dict[str, Any]]:
        """All rules with their hits, spent ones included."""
        return [rule.to_dict() for rule in self._rules]

    def on_wire(self, method: str, template: str, path: str) -> kinds.WireFault | None:
        """The fault that meets a request on the wire, if any."""
        for rule in self._rules:
            if isinstance(rule.fault, kinds.WireFault) and rule.meets(method, template, path):
                return rule.fault
        return None

    def on_submit(self, kind: str) -> Rule | None:
        """The fault of one kind that meets this submission, if any."""
        return next(self._meeting(kind, "POST", "/v2/transcript", "/v2/transcript"), None)

    def on_gateway(self, kind: str, path: str, model: str | None = None) -> Rule | None:
        """The fault of one kind that meets this call of the gateway, if any.

        :param kind: of the fault.
        :param path: of the call.
        :param model: that it asks for.
        """
        rules = (rule for rule in self._rules if rule.options.get("model") in (None, model))
        return next((rule for rule in rules if _is(rule, kind) and rule.meets("POST", path, path)), None)

    def on_clip(self, kind: str, path: str) -> Rule | None:
        """The fault of one kind that meets this clip, if any.

        :param kind: of the fault.
        :param path: of the request.
        """
        return next(self._meeting(kind, "POST", path, path), None)

    def on_handshake(self, kind: str) -> list[Rule]:
        """The faults of one kind that meet the handshake of a session."""
        return list(self._meeting(kind, "GET", "/v3/ws", "/v3/ws"))

    def for_session(self) -> list[kinds.SessionFault]:
        """The faults that meet the session that is opened now."""
        return [
            rule.fault.drawn(rule.chance)
            for rule in self._rules
            if isinstance(rule.fault, kinds.SessionFault) and rule.meets("GET", "/v3/ws", "/v3/ws")
        ]

    def clock_skew(self, method: str, template: str, path: str) -> float:
        """Seconds that this request's clock is off."""
        rule = next(self._meeting("clock_skew", method, template, path), None)
        return float(rule.options["seconds"]) if rule else 0.0

    def _meeting(self, kind: str, method: str, template: str, path: str) -> Iterator[Rule]:
        return (rule for rule in self._rules if _is(rule, kind) and rule.meets(method, template, path))


def _is(rule: Rule, kind: str) -> bool:
    return isinstance(rule.fault, kinds.KINDS[kind])


def make_rule(rule: Mapping[str, Any]) -> Rule:
    """A rule from its keys.

    :param rule: as described at the top of this module.
    :raises OptionError: when it is not understood.
    """
    if not isinstance(rule, Mapping):
        raise OptionError(f"a rule is an object, not {rule!r}")
    kind = kinds.find_kind(rule.get("kind"), kinds.KINDS)
    selection: dict[str, Any] = {"times": kind.times}
    options: dict[str, Any] = {}
    for name, value in rule.items():
        if name != "kind":
            (selection if name in Selection.declared() else options)[name] = value
    try:
        return Rule(kind(**options), Selection(**selection))
    except OptionError as error:
        raise OptionError(f"{kind.kind()}: {error}") from None


def parse_rule(text: str) -> dict[str, Any]:
    """A rule as written on the command line.

    :param text: ``KIND[:key=value,...]`` or a JSON object.
    :raises OptionError: when it is neither.
    """
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise OptionError(f"not a JSON object: {error}") from error
    kind, _, rest = text.partition(":")
    parsed: dict[str, Any] = {"kind": kind.strip()}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise OptionError(f"expected key=value, found {part!r}")
        parsed[name.strip()] = read_text(value)
    return parsed

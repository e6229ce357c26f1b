# SPDX-License-Identifier: Apache-2.0
"""
From a model's answer to a value of the shape that was asked for.

An error names places by the property names of the schema and says which rule is broken; it never repeats what
the model wrote, which may be text of a recording.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from airflow_provider_assemblyai.api.errors import InvalidInput, ResponseUnusable
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion
from airflow_provider_assemblyai.api.sanitize import sanitize

#: Models wrap JSON like this, also where they are told not to.
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_SHOWN: Final = 3


class OutputSchema:
    """
    A shape that answers must have.

    :param response_format: a JSON schema, the service's own ``response_format`` that holds one, or a pydantic
        model class.
    :raises InvalidInput: it is something else, or no valid schema.
    """

    def __init__(self, response_format: Any) -> None:
        self._model = response_format if _is_model(response_format) else None
        if self._model is not None:
            schema, name, self._request = self._model.model_json_schema(), self._model.__name__, None
        elif isinstance(response_format, Mapping):
            schema, name, self._request = _parts(response_format)
            _check_schema(schema)
        else:
            raise InvalidInput(
                "response_format must be a JSON schema as a dict or a pydantic model class, "
                f"not {sanitize(repr(response_format))}."
            )
        self.schema: dict[str, Any] = schema
        self._name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(name))[:64] or "answer"

    @property
    def request(self) -> dict[str, Any]:
        """What the request says of it."""
        named = {"type": "json_schema", "json_schema": {"name": self._name, "schema": self.schema}}
        return self._request or named

    def read(self, answer: ChatCompletion) -> Any:
        """
        Return the value that the answer's text is.

        :raises AnswerUnusable: it is not of this shape.
        """
        fenced = _FENCED.fullmatch(answer.text)
        try:
            value = json.loads(fenced[1] if fenced else answer.text)
        except ValueError:
            raise self._unusable(answer, ["it is not JSON"]) from None
        if self._model is not None:
            return self._validated(answer, value)
        problems = list(self._problems(value))
        if problems:
            raise self._unusable(answer, problems)
        return value

    def _validated(self, answer: ChatCompletion, value: Any) -> Any:
        from pydantic import ValidationError

        assert self._model is not None
        try:
            # As JSON, because pydantic reads dates and the like from text only there.
            return self._model.model_validate_json(json.dumps(value)).model_dump(mode="json")
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise self._unusable(
                answer, [f"{self._place(one['loc'])}: {one['type']}" for one in found]
            ) from None

    def _problems(self, value: Any) -> Iterator[str]:
        from jsonschema.validators import validator_for
        from referencing import Registry

        # With a registry of its own it does not fetch what a schema refers to.
        validator = validator_for(self.schema, default=_newest())(self.schema, registry=Registry())
        for error in validator.iter_errors(value):
            missing = ""
            if error.validator == "required" and isinstance(error.instance, Mapping):
                missing = ", ".join(str(name) for name in error.validator_value if name not in error.instance)
            yield f"{self._place(error.absolute_path)}: {error.validator}{f' ({missing})' if missing else ''}"

    def _place(self, path: Iterable[object]) -> str:
        known = set(_property_names(self.schema))
        steps = [str(step) if isinstance(step, int) or step in known else "*" for step in path]
        return ".".join(steps) or "the whole"

    def _unusable(self, answer: ChatCompletion, problems: Sequence[str]) -> ResponseUnusable:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        problem = "; ".join(problems[:_SHOWN]) + more
        named = f" (request id {answer.request_id})" if answer.request_id else ""
        return ResponseUnusable(
            f"The answer{named} does not fit response_format: {problem}. It is paid for; repair=1 asks once more in "
            "such a case, and another model may keep to the schema better.",
            "invalid",
            problem,
        )


def value_of(answer: ChatCompletion, shape: OutputSchema | None, max_tokens: int, *, keep_cut: bool) -> Any:
    """
    Return what a task returns for an answer.

    :param answer: what the model said.
    :param shape: what it must look like; None takes the text as it is.
    :param max_tokens: what was asked for, for the message.
    :param keep_cut: whether an answer that is not whole is good enough.
    :raises AnswerUnusable: it is not.
    """
    named = f" (request id {answer.request_id})" if answer.request_id else ""
    if answer.cut_off and not keep_cut:
        raise ResponseUnusable(
            f"The answer{named} was cut off after max_tokens={max_tokens} and is paid for: raise max_tokens, ask for "
            "less, or take it as it is with on_truncation='return'.",
            "truncated",
        )
    if answer.tool_calls:
        return {"tool_calls": answer.tool_calls, "text": answer.text}
    if not answer.text.strip():
        raise ResponseUnusable(
            f"The model answered{named} with no text (finish_reason {answer.finish_reason!r}); that is paid for. "
            "Change the prompt or the model.",
            "empty",
        )
    return answer.text if shape is None else shape.read(answer)


def _is_model(value: object) -> bool:
    # Without importing pydantic: only who has a model class has it in this process already.
    return (
        isinstance(value, type) and hasattr(value, "model_json_schema") and hasattr(value, "model_validate")
    )


def _parts(given: Mapping[str, Any]) -> tuple[dict[str, Any], Any, dict[str, Any] | None]:
    if given.get("type") != "json_schema":
        return dict(given), given.get("title") or "answer", None
    inner = given.get("json_schema")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise InvalidInput("response_format of type json_schema must hold json_schema with a schema.")
    named = {"name": "answer", **inner}
    return dict(inner["schema"]), named["name"], {**given, "json_schema": named}


def _check_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    try:
        json.dumps(schema, allow_nan=False)
        validator_for(schema, default=_newest()).check_schema(schema)
        for name in _references(schema):
            resolver.lookup(name)
    except Unresolvable as error:
        raise InvalidInput(f"response_format refers to {sanitize(error.ref)}, which is not in it.") from None
    except SchemaError as error:
        raise InvalidInput(
            f"response_format is not a valid JSON schema: {sanitize(error.message)}."
        ) from None
    except (TypeError, ValueError):
        raise InvalidInput("response_format cannot be sent as JSON.") from None


def _newest() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def _references(schema: object) -> Iterator[str]:
    inner = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
        yield schema["$ref"]
    for one in inner:
        yield from _references(one)


def _property_names(schema: object) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for name, inner in schema.items():
            if name == "properties" and isinstance(inner, Mapping):
                yield from (str(one) for one in inner)
            yield from _property_names(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _property_names(inner)

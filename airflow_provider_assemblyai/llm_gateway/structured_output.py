# SPDX-License-Identifier: Apache-2.0
"""
From a model's answer to a value that fits a JSON schema.

An error names a place in the answer by the property names of the schema, and the rule that is broken there. It never
repeats what the model wrote, which may be text of a recording.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from airflow_provider_assemblyai.api.call import parse_json
from airflow_provider_assemblyai.api.errors import InvalidInput, ResponseUnusable, UnexpectedReply
from airflow_provider_assemblyai.api.llm_gateway import ChatCompletion
from airflow_provider_assemblyai.api.sanitize import sanitize
from airflow_provider_assemblyai.api.validation import check_json, shown

#: Models wrap JSON like this, also where a request forbids it.
_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL | re.IGNORECASE)
_MAX_PROBLEMS: Final = 3


class OutputSchema:
    """
    The schema that an answer must fit.

    :param response_format: a JSON schema, the service's own ``response_format`` that holds one, or a pydantic
        model class.
    :raises InvalidInput: it is something else, or no valid schema.
    """

    def __init__(self, response_format: Any) -> None:
        self._model = response_format if _is_model(response_format) else None
        if self._model is not None:
            schema, name, self._given = _schema_of(self._model), self._model.__name__, None
        else:
            schema, name, self._given = _unpack(check_response_format(response_format))
            _check_schema(schema)
        self.schema: dict[str, Any] = schema
        self._name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(name))[:64] or "answer"

    @property
    def response_format(self) -> dict[str, Any]:
        """The field of a request that asks for such an answer."""
        named = {"name": self._name, "schema": self.schema}
        return self._given or {"type": "json_schema", "json_schema": named}

    def read(self, answer: ChatCompletion) -> Any:
        """
        Return the value that the answer's text holds.

        :param answer: of a model.
        :raises ResponseUnusable: it does not fit.
        """
        fenced = _FENCED.fullmatch(answer.text)
        try:
            value = parse_json(fenced[1] if fenced else answer.text)
        except UnexpectedReply:
            raise self._unusable(answer, ["it is not JSON"]) from None
        if self._model is not None:
            return self._validate_with_model(answer, value)
        problems = list(self._violations(value))
        if problems:
            raise self._unusable(answer, problems)
        return value

    def _validate_with_model(self, answer: ChatCompletion, value: Any) -> Any:
        from pydantic import ValidationError

        assert self._model is not None
        try:
            # As JSON, because pydantic reads dates and the like from text only there.
            return self._model.model_validate_json(json.dumps(value)).model_dump(mode="json")
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False, include_input=False)
            problems = [f"{self._path(detail['loc'])}: {detail['type']}" for detail in details]
            raise self._unusable(answer, problems) from None

    def _violations(self, value: Any) -> Iterator[str]:
        from jsonschema.validators import validator_for
        from referencing import Registry

        # With a registry of its own it does not fetch what a schema refers to.
        validator = validator_for(self.schema, default=_default_draft())(self.schema, registry=Registry())
        for error in validator.iter_errors(value):
            missing = ""
            if error.validator == "required" and isinstance(error.instance, Mapping):
                missing = ", ".join(str(name) for name in error.validator_value if name not in error.instance)
            yield f"{self._path(error.absolute_path)}: {error.validator}{f' ({missing})' if missing else ''}"

    def _path(self, steps: Iterable[object]) -> str:
        known = set(_property_names(self.schema))
        shown = [str(step) if isinstance(step, int) or step in known else "*" for step in steps]
        return ".".join(shown) or "the whole"

    def _unusable(self, answer: ChatCompletion, problems: Sequence[str]) -> ResponseUnusable:
        more = f" and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
        problem = "; ".join(problems[:_MAX_PROBLEMS]) + more
        return ResponseUnusable(
            f"The answer{_request_id(answer)} does not fit response_format: {problem}. It is paid for; "
            "repair=1 asks once more in such a case, and another model may keep to the schema better.",
            "invalid",
            problem,
        )


def parse_answer(
    answer: ChatCompletion, schema: OutputSchema | None, max_tokens: int, *, allow_truncated: bool
) -> Any:
    """
    Return what a task returns for an answer.

    :param answer: of a model.
    :param schema: what it must fit; None takes the text as it is.
    :param max_tokens: the limit of the request, for the message.
    :param allow_truncated: whether an answer that is not whole is good enough.
    :raises ResponseUnusable: it is truncated, empty, or does not fit.
    """
    request_id = _request_id(answer)
    if answer.truncated and not allow_truncated:
        raise ResponseUnusable(
            f"The answer{request_id} was cut off after max_tokens={max_tokens} and is paid for: raise max_tokens, "
            "ask for less, or take it as it is with on_truncation='return'.",
            "truncated",
        )
    if answer.incomplete and not allow_truncated and (answer.tool_calls or answer.text.strip()):
        raise ResponseUnusable(
            f"The answer{request_id} is not whole (finish_reason {sanitize(repr(answer.finish_reason))}) and is paid for: "
            "a filter, a refusal or a fault ended it. Change the prompt or the model, or take it as it is with "
            "on_truncation='return'.",
            "filtered",
        )
    if answer.tool_calls:
        return {"tool_calls": answer.tool_calls, "text": answer.text}
    if not answer.text.strip():
        raise ResponseUnusable(
            f"The model answered{request_id} with no text (finish_reason {sanitize(repr(answer.finish_reason))}); that is paid for. "
            "Change the prompt or the model.",
            "empty",
        )
    return answer.text if schema is None else schema.read(answer)


def _request_id(answer: ChatCompletion) -> str:
    return f" (request id {answer.request_id})" if answer.request_id else ""


def check_response_format(value: object) -> Any:
    """
    Return the user's ``response_format`` if its kind is right; whether the schema is, costs an import to find out.

    :raises InvalidInput: it is neither a dict nor a model class, or cannot be sent.
    """
    if isinstance(value, Mapping):
        check_json("response_format", dict(value))
    elif not _is_model(value):
        raise InvalidInput(
            f"response_format must be a JSON schema as a dict or a pydantic model class, not {shown(value)}."
        )
    return value


def _schema_of(model: Any) -> dict[str, Any]:
    try:
        return dict(model.model_json_schema())
    except Exception as error:  # pydantic has many, and users' own types raise what they like
        raise InvalidInput(
            f"response_format: {model.__name__} has no JSON schema ({type(error).__name__})."
        ) from error


def _is_model(value: object) -> bool:
    # pydantic is not imported for that: where a model class exists, it is in this process already.
    return (
        isinstance(value, type) and hasattr(value, "model_json_schema") and hasattr(value, "model_validate")
    )


def _unpack(given: Mapping[str, Any]) -> tuple[dict[str, Any], Any, dict[str, Any] | None]:
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
        validator_for(schema, default=_default_draft()).check_schema(schema)
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


def _default_draft() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def _references(schema: object) -> Iterator[str]:
    return (part["$ref"] for part in _objects_in(schema) if isinstance(part.get("$ref"), str))


def _property_names(schema: object) -> Iterator[str]:
    for part in _objects_in(schema):
        if isinstance(part.get("properties"), Mapping):
            yield from map(str, part["properties"])


def _objects_in(schema: object) -> Iterator[Mapping[str, Any]]:
    """Yield every object of a schema, itself included."""
    if isinstance(schema, Mapping):
        yield schema
        schema = list(schema.values())
    for part in schema if isinstance(schema, list) else ():
        yield from _objects_in(part)

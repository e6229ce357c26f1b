# SPDX-License-Identifier: Apache-2.0
"""
The LLM Gateway for tasks of Airflow's common.ai provider: ``@task.llm``, ``@task.agent`` and their operators.

The gateway understands what clients made for OpenAI send, and answers nearly as they expect. This module adapts
the differences. It imports the extra ``common-ai``; nothing else of this package does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletion
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from airflow_provider_assemblyai.api import llm_gateway
from airflow_provider_assemblyai.api.call import Reply
from airflow_provider_assemblyai.api.errors import ApiError, InvalidInput, UnexpectedReply
from airflow_provider_assemblyai.api.regions import Hosts, check_data_stays
from airflow_provider_assemblyai.api.validation import shown
from airflow_provider_assemblyai.client.http import check_key, without_proxy
from airflow_provider_assemblyai.hooks.assemblyai import AssemblyAIHook, fail_fast

#: Where a task sets no other: the service's own default is 1000, and it truncates silently.
MAX_TOKENS: Final = 4096

_PROFILE = OpenAIModelProfile(
    # The gateway does not take these, or not under this name.
    openai_chat_supports_max_completion_tokens=False,
    openai_supports_strict_tool_definition=False,
    supports_forced_tool_choice=False,
    # So an output type is a response_format, and not a tool that the model would have to call.
    supports_json_schema_output=True,
    default_structured_output_mode="native",
)
#: ``finish_reason`` of other providers -> OpenAI's.
_FINISH_REASONS: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
}


class AssemblyAILLMHook(PydanticAIHook):
    """
    Models of the LLM Gateway, for tasks of the common.ai provider.

    Connection: password = API key, extra ``model`` = the id of a model, extra ``region`` = ``us`` or ``eu``; host
    only for a proxy or the local emulator, as in a connection of type ``assemblyai``.

    A call is sent once. The OpenAI client by default also repeats calls that may be billed.

    https://www.assemblyai.com/docs/llm-gateway/quickstart
    """

    conn_name_attr = "llm_conn_id"
    default_conn_name = "pydanticai_assemblyai_default"
    conn_type = "pydanticai_assemblyai"
    hook_name = "Pydantic AI (AssemblyAI LLM Gateway)"
    model_provider = "openai-chat"

    @cached_property
    def _hosts(self) -> Hosts:
        with AssemblyAIHook(self.llm_conn_id).client as client:
            return client.hosts

    def _get_provider_kwargs(
        self, api_key: str | None, base_url: str | None, extra: dict[str, Any]
    ) -> dict[str, Any]:
        key = check_key(api_key)
        url = f"{self._hosts.gateway}/v1"
        # The service documents the bare key; the client's own header would say Bearer.
        headers = {"Authorization": key}
        http_client = DefaultAsyncHttpxClient(mounts=without_proxy(url), follow_redirects=False)
        return {
            "openai_client": AsyncOpenAI(
                api_key=key, base_url=url, default_headers=headers, max_retries=0, http_client=http_client
            )
        }

    def _resolve_own_model(self, **forwarded: Any) -> Model:
        with fail_fast():
            model = super()._resolve_own_model(**forwarded)
            if not isinstance(model, OpenAIChatModel):
                raise InvalidInput(
                    f"Connection {shown(self.llm_conn_id)}: the LLM Gateway has chat completions only, so name the model "
                    f"by its id alone, such as 'gpt-5', not {shown(self._get_configured_model_name())}."
                )
            if primary := forwarded.get("forwarded_from_conn_id"):
                self._check_chain(str(primary))
        return GatewayModel(
            model.model_name,
            hosts=self._hosts,
            provider=OpenAIProvider(openai_client=model.client),
            profile=_PROFILE,
            settings=ModelSettings(max_tokens=MAX_TOKENS),
        )

    def _check_chain(self, primary: str) -> None:
        """Raise if this connection is the fallback of one whose data stays in another region."""
        if self.get_connection(primary).conn_type != self.conn_type:
            return
        home = AssemblyAILLMHook(primary)._hosts.keep_in
        if home is not None:
            check_data_stays(replace(self._hosts, keep_in=home), {})


class GatewayModel(OpenAIChatModel):
    """
    A model behind the gateway: its answers have no ``id`` and ``object``, and may be spread over several choices.

    :param hosts: of the connection.
    :raises ModelHTTPError: also for a good HTTP status that carries a model's bad one.
    :raises AirflowFailException: a setting would take data out of the region that the connection keeps it in.
    """

    def __init__(self, *args: Any, hosts: Hosts, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hosts = hosts

    def prepare_request(
        self, model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> tuple[ModelSettings | None, ModelRequestParameters]:
        settings, parameters = super().prepare_request(model_settings, model_request_parameters)
        extra_body = (settings or {}).get("extra_body")
        if isinstance(extra_body, Mapping):
            with fail_fast():
                check_data_stays(self._hosts, extra_body)
        return settings, parameters

    def _validate_completion(self, response: ChatCompletion) -> Any:
        body = response.model_dump(warnings=False)
        return super()._validate_completion(
            ChatCompletion.model_construct(**to_openai(body, self.model_name))
        )


def to_openai(body: dict[str, Any], model: str) -> dict[str, Any]:
    """
    Return an answer of the gateway in the form that OpenAI documents.

    :param body: as it came.
    :param model: the model of the request.
    :raises ModelHTTPError: it is an error.
    :raises UnexpectedModelBehavior: there is no answer in it.
    """
    try:
        answer = llm_gateway.chat({}).result(Reply(200, {}, json.dumps(body, default=str).encode()))
    except ApiError as error:
        raise ModelHTTPError(error.status, model, {"message": str(error)}) from error
    except UnexpectedReply as error:
        raise UnexpectedModelBehavior(str(error)) from error
    calls = [
        {
            "id": call["id"] or f"call_{number}",
            "type": "function",
            "function": {"name": call["name"], "arguments": _as_text(call["arguments"])},
        }
        for number, call in enumerate(answer.tool_calls)
    ]
    finish_reason = _FINISH_REASONS.get(answer.finish_reason or "", answer.finish_reason) or "stop"
    message = {"role": "assistant", "content": answer.text or None, "tool_calls": calls or None}
    usage = answer.usage
    return {
        **body,
        "id": body.get("id") or answer.request_id or "",
        "object": "chat.completion",
        "created": body.get("created") or 0,
        "model": answer.model or model,
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
        "usage": {
            "prompt_tokens": usage["input_tokens"] or 0,
            "completion_tokens": usage["output_tokens"] or 0,
            "total_tokens": usage["total_tokens"] or 0,
            "prompt_tokens_details": {"cached_tokens": usage["cached_tokens"] or 0},
        },
    }


def _as_text(arguments: object) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)

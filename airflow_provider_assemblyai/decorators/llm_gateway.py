# SPDX-License-Identifier: Apache-2.0
"""``@task.llm_gateway``: a function returns the prompt, a model's answer is the task's result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from airflow.providers.common.compat.sdk import (
    Context,
    DecoratedOperator,
    TaskDecorator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)

from airflow_provider_assemblyai.api.errors import InvalidInput
from airflow_provider_assemblyai.operators.llm_gateway import LLMGatewayOperator

#: Takes the place of what the function returns; it is never sent.
_PROMPT_FROM_FUNCTION = "(what the function returns)"


class _LLMGatewayDecoratedOperator(DecoratedOperator, LLMGatewayOperator):
    """
    Asks a model what a function returns: a prompt, or a list of messages.

    What it returns is not rendered as a template: it may hold text of a recording. The function runs again when
    the task comes back from waiting, because no text is kept in between.

    :param python_callable: the function.
    :param op_args: its positional arguments (templated).
    :param op_kwargs: its keyword arguments (templated).
    :raises InvalidInput: the decorator has an argument that the function shall return.
    """

    custom_operator_name = "@task.llm_gateway"
    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in LLMGatewayOperator.template_fields if name not in ("prompt", "messages")),
    )
    template_fields_renderers = {**DecoratedOperator.template_fields_renderers}  # noqa: RUF012 - as in the base
    marker_fields: Sequence[str] = ("op_args", "op_kwargs", "system_prompt")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        for name in ("prompt", "messages"):
            if name in kwargs:
                raise InvalidInput(f"@task.llm_gateway: the function returns {name}; it is no argument here.")
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            prompt=_PROMPT_FROM_FUNCTION,
            **kwargs,
        )

    def _prompt(self, context: Context) -> tuple[object, object]:
        context_merge(context, self.op_kwargs)
        kwargs = determine_kwargs(self.python_callable, self.op_args, context)
        returned = self.python_callable(*self.op_args, **kwargs)
        if isinstance(returned, str):
            return returned, None
        if isinstance(returned, list | tuple):
            return None, list(returned)
        raise InvalidInput(
            "The function of @task.llm_gateway must return a prompt as text or a list of messages, not "
            f"{type(returned).__name__}."
        )


def llm_gateway_task(
    python_callable: Callable[..., Any] | None = None, *, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """
    Turn a function that returns a prompt into a task that returns a model's answer.

    :param python_callable: the function.
    :param multiple_outputs: whether a dict as answer becomes an XCom for each key, too.
    :param kwargs: the arguments of
        :class:`airflow_provider_assemblyai.operators.llm_gateway.LLMGatewayOperator`, without ``prompt`` and
        ``messages``.
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_LLMGatewayDecoratedOperator,
        **kwargs,
    )

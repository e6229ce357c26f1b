# SPDX-License-Identifier: Apache-2.0
"""
What templating must do, and must not do, to texts for a model.

The marker for a transcript's text gets through as it is. A value that came from XCom may hold text of a recording,
and is data. Airflow does not render it, with one exception: the values of ``expand_kwargs``. This module keeps them
from being rendered, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_assemblyai.llm_gateway.messages import TRANSCRIPT_MARKER

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseOperator, Context

    _Operator = BaseOperator
else:
    _Operator = object


class TranscriptMarkerMixin(_Operator):
    """Mix it in before ``BaseOperator``."""

    #: Template fields in which ``{{ transcript }}`` is a marker for the service.
    marker_fields: Sequence[str] = ()

    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: Any,
        seen_oids: set[int],
    ) -> None:
        # The hook that plain and mapped tasks share. What is in seen_oids is not rendered.
        if parent is self:
            seen_oids.update(id(value) for value in self._expanded_from_xcom(context))
        names = list(template_fields)
        plain = [name for name in names if name not in self.marker_fields]
        with_marker = [name for name in names if name in self.marker_fields]
        super()._do_render_template_fields(parent, plain, context, jinja_env, seen_oids)
        marker_context: Any = {**context, "transcript": TRANSCRIPT_MARKER}
        super()._do_render_template_fields(parent, with_marker, marker_context, jinja_env, seen_oids)

    def _expanded_from_xcom(self, context: Context) -> Iterator[Any]:
        """Yield the values that ``expand_kwargs`` took out of XCom."""
        dag = self.get_dag()
        mapped: Any = dag.task_dict.get(self.task_id) if dag is not None else None
        if not hasattr(mapped, "_get_specified_expand_input"):
            return
        expanded = mapped._get_specified_expand_input()
        if expanded.EXPAND_INPUT_TYPE != "list-of-dicts":
            return
        index: Any = context["ti"].map_index
        if isinstance(expanded.value, Sequence) and isinstance(expanded.value[index], Mapping):
            return  # written in the DAG file
        partial = mapped.partial_kwargs
        yield from (getattr(self, name) for name in self.template_fields if name not in partial)
        for name, value in getattr(self, "op_kwargs", {}).items():
            if name not in partial.get("op_kwargs", {}):
                yield value

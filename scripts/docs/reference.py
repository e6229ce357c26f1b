# SPDX-License-Identifier: Apache-2.0
"""
The reference pages, made of docstrings, signatures and the tables in the code.

Nothing of them is written by hand, so nothing of them can be out of date.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

from airflow_provider_assemblyai import get_provider_info
from airflow_provider_assemblyai.api import llm_gateway as gateway_api
from airflow_provider_assemblyai.api import streaming, transcripts, understanding
from airflow_provider_assemblyai.api.short_audio import clips
from airflow_provider_assemblyai.batch.manifest import BatchSummary, ManifestLine, Minutes
from airflow_provider_assemblyai.capture.output.merge import CaptureSummary, Gap
from airflow_provider_assemblyai.commands import ledger
from airflow_provider_assemblyai.decorators.llm_gateway import llm_gateway_task
from airflow_provider_assemblyai.jobs.results import Summary
from airflow_provider_assemblyai.operators.understand import Understanding
from airflow_provider_assemblyai.telemetry.metrics import METRICS
from scripts.docs import docstrings
from scripts.docs.docstrings import Docstring
from scripts.docs.tables import default_of, table, type_of

PACKAGE: Final = "airflow_provider_assemblyai"
#: Page -> the class that it describes.
CLASSES: Final = {
    "transcribe-operator": "operators.transcribe.TranscribeOperator",
    "transcribe-batch-operator": "operators.transcribe_batch.TranscribeBatchOperator",
    "transcribe-short-operator": "operators.transcribe_short.TranscribeShortOperator",
    "transcript-sensor": "sensors.transcript.TranscriptSensor",
    "transcript-export-operator": "operators.transcripts.TranscriptExportOperator",
    "transcript-delete-operator": "operators.transcripts.TranscriptDeleteOperator",
    "llm-gateway-operator": "operators.llm_gateway.LLMGatewayOperator",
    "understand-operator": "operators.understand.UnderstandOperator",
    "streaming-capture-operator": "operators.streaming_capture.StreamingCaptureOperator",
    "transcript-event-trigger": "triggers.events.TranscriptEventTrigger",
    "hook": "hooks.assemblyai.AssemblyAIHook",
    "common-ai-hook": "hooks.common_ai.AssemblyAILLMHook",
    "retry-policy": "retry_policy.AssemblyAIRetryPolicy",
}
#: The triggers of tasks that wait; a DAG does not name them.
WAITING: Final = (
    "triggers.transcript.TranscriptTrigger",
    "triggers.transcript_batch.TranscriptBatchTrigger",
    "triggers.llm_gateway.LLMGatewayTrigger",
)
#: What tasks return, and the name of its section.
RESULTS: Final[dict[type, str]] = {
    Summary: "Summary",
    BatchSummary: "BatchSummary",
    CaptureSummary: "CaptureSummary",
    Understanding: "Understanding",
}
#: Settings that are passed on to the service: section -> their names and types.
SETTINGS: Final[dict[str, type]] = {
    "Transcripts: config": transcripts.TranscriptConfig,
    "Short clips: config": clips.ClipConfig,
    "Live recordings: config": streaming.StreamingConfig,
    "LLM Gateway: extra_body": gateway_api.ExtraFields,
    **{f"Speech Understanding: {name}": kind for name, kind in understanding.FEATURES.items()},
}

_OF_BASES: Final = re.compile(
    r"^It has (?:also )?the\s+parameters\s+of\s.*?\.(?:\s+|\Z)", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Page:
    """
    One generated page.

    :param title: as the navigation shows it.
    :param text: Markdown, with the title.
    """

    title: str
    text: str


def pages() -> dict[str, Page]:
    """Return all reference pages by their path below the documentation's folder."""
    made: dict[str, Callable[[], Page]] = {
        name: partial(_class_page, load(path)) for name, path in CLASSES.items()
    }
    made |= {
        "triggers": _triggers_page,
        "connection": _connection_page,
        "configuration": _configuration_page,
        "request-parameters": _settings_page,
        "xcoms": _xcoms_page,
        "manifest": _manifest_page,
        "metrics": _metrics_page,
        "errors": _errors_page,
        "endpoints": _endpoints_page,
        "commands": _commands_page,
    }
    found = {name: make() for name, make in made.items()}
    rows = [(f"[{page.title}]({name}.md)", _first_sentence(page.text)) for name, page in found.items()]
    found["index"] = Page(
        "Reference",
        _page(
            "Reference",
            "Every operator, parameter, XCom, metric and error of the provider. These pages are made of the code's own "
            "docstrings and signatures.",
            table(("page", "what it describes"), rows),
        ).text,
    )
    return {f"reference/{name}.md": page for name, page in found.items()}


def load(path: str) -> Any:
    """Return a class or function of the package by its path below it."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"{PACKAGE}.{module}"), name)


def own_classes(of: type) -> list[type]:
    """Return a class and its bases in this package, the class first."""
    return [one for one in of.__mro__ if one.__module__.startswith(f"{PACKAGE}.")]


def parameters(of: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class by name, with those of its bases in this package; its own come first."""
    found: dict[str, inspect.Parameter] = {}
    for one in own_classes(of):
        if "__init__" in vars(one):
            for name, parameter in inspect.signature(vars(one)["__init__"]).parameters.items():
                if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD:
                    found.setdefault(name, parameter)
    return found


def described(of: type, kind: str) -> dict[str, str]:
    """
    Return what the docstrings of a class and its bases in this package say.

    :param of: the class.
    :param kind: of the fields, ``param`` or ``xcom``.
    """
    found: dict[str, str] = {}
    for one in own_classes(of):
        if one.__doc__ is not None:
            for name, text in docstrings.parse(one.__doc__).fields.get(kind, {}).items():
                found.setdefault(name, text)
    return found


def keys_of(result: type) -> dict[str, tuple[str, str]]:
    """
    Return the keys of a ``TypedDict``: key -> type and meaning.

    :param result: the class.
    """
    texts: dict[str, str] = {}
    types: dict[str, Any] = {}
    for one in _with_bases(result):
        texts |= docstrings.parse(one.__doc__).fields.get("ivar", {})
        types |= inspect.get_annotations(one)
    return {name: (_annotation(kind), texts.get(name, "")) for name, kind in types.items()}


def _with_bases(result: Any) -> list[Any]:
    """Return a ``TypedDict`` and those that it extends, the oldest first."""
    bases = [base for base in getattr(result, "__orig_bases__", ()) if hasattr(base, "__annotations__")]
    return [*(older for base in bases for older in _with_bases(base)), result]


def error_classes() -> list[type]:
    """Return the error classes of the package, in the order in which they are defined."""
    errors = import_module(f"{PACKAGE}.api.errors")
    return [
        one
        for one in vars(errors).values()
        if inspect.isclass(one)
        and issubclass(one, errors.AssemblyAIError)
        and one.__module__ == errors.__name__
    ]


def endpoints() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the functions that make a call: the name that a DAG imports, and the function."""
    for module in (transcripts, gateway_api, understanding, clips, streaming):
        for name, function in inspect.getmembers(module, inspect.isfunction):
            returned = str(function.__annotations__.get("return", ""))
            if (
                function.__module__ == module.__name__
                and not name.startswith("_")
                and returned.startswith("Call[")
            ):
                yield f"{module.__name__.removeprefix(f'{PACKAGE}.')}.{name}", function


def _page(title: str, *blocks: str) -> Page:
    return Page(title, "\n\n".join([f"# {title}", *(block for block in blocks if block)]) + "\n")


def _first_sentence(text: str) -> str:
    return text.split("\n\n")[1].partition(". ")[0].rstrip(".") + "."


def _page_of(name: str) -> str | None:
    """Return the reference page of a class, by its full name or its last part."""
    short = name.rpartition(".")[2]
    for page, path in CLASSES.items():
        if path.rpartition(".")[2] == short:
            return f"{page}.md"
    if short in {one.__name__ for one in RESULTS}:
        return f"xcoms.md#{short.lower()}"
    return f"errors.md#{short.lower()}" if short in {one.__name__ for one in error_classes()} else None


def _markdown(text: str) -> str:
    return docstrings.to_markdown(text, _page_of)


def _annotation(value: Any) -> str:
    text = value.__forward_arg__ if hasattr(value, "__forward_arg__") else value
    shown = type_of(text)
    return f"{shown} or null" if "None" in str(text) else shown


# One class


def _class_page(of: type) -> Page:
    doc = docstrings.parse(of.__doc__)
    fields = {kind: described(of, kind) for kind in ("param", "xcom")}
    templated = getattr(of, "template_fields", ())
    blocks = [
        _markdown(doc.summary),
        f"```python\nfrom {of.__module__} import {of.__name__}\n```",
        _markdown(_without_bases(doc)),
        "## Parameters" if parameters(of) else "",
        _parameter_table(of, fields["param"], templated),
        _result(doc),
        "## XComs" if fields["xcom"] else "",
        _xcom_table(fields["xcom"]),
        _raises(doc),
        _decorator(of),
        f"The vendor's page: <{doc.address}>" if doc.address else "",
        _methods(of),
    ]
    return _page(of.__name__, *blocks)


def _without_bases(doc: Docstring) -> str:
    """The body without the sentence that points to the base classes: a page has their parameters in one table."""
    return _OF_BASES.sub("", doc.body)


def _parameter_table(of: type, texts: dict[str, str], templated: Any) -> str:
    rows = [
        (
            f"`{name}`",
            type_of(parameter.annotation) + (", templated" if name in templated else ""),
            default_of(parameter),
            _sentence(_markdown(texts[name].replace(" (templated)", ""))),
        )
        for name, parameter in parameters(of).items()
        if name in texts
    ]
    if not rows:
        return ""
    airflow = (
        "BaseSensorOperator"
        if any(one.__name__ == "BaseSensorOperator" for one in of.__mro__)
        else "BaseOperator"
    )
    more = f"\n\nAll other parameters are those of Airflow's `{airflow}`." if hasattr(of, "execute") else ""
    return table(("parameter", "type", "default", "meaning"), rows) + more


def _result(doc: Docstring) -> str:
    text = doc.fields.get("return", {}).get("", "")
    return f"## Returns\n\n{_sentence(_markdown(text))}" if text else ""


def _xcom_table(texts: dict[str, str]) -> str:
    return (
        table(("key", "holds"), [(f"`{name}`", _sentence(_markdown(text))) for name, text in texts.items()])
        if texts
        else ""
    )


def _raises(doc: Docstring) -> str:
    rows = [(f"`{name}`", _sentence(_markdown(text))) for name, text in doc.fields.get("raises", {}).items()]
    return "## Raises\n\n" + table(("error", "when"), rows) if rows else ""


def _decorator(of: type) -> str:
    if of.__name__ != "LLMGatewayOperator":
        return ""
    doc = docstrings.parse(llm_gateway_task.__doc__)
    rows = [(f"`{name}`", _sentence(_markdown(text))) for name, text in doc.fields["param"].items()]
    return "\n\n".join(
        ["## The decorator @task.llm_gateway", _markdown(doc.summary), table(("parameter", "meaning"), rows)]
    )


def _methods(of: type) -> str:
    if of.__name__ != "AssemblyAIHook":
        return ""
    rows = []
    for name, member in vars(of).items():
        function = getattr(member, "func", getattr(member, "fget", member))
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        shown = f"{name}()" if inspect.isfunction(member) else name
        rows.append((f"`{shown}`", _markdown(docstrings.parse(function.__doc__).summary)))
    return "## Methods and properties\n\n" + table(("name", "what it does"), rows)


def _sentence(text: str) -> str:
    return (text[:1].upper() + text[1:]).rstrip(".") + "." if text else ""


# Tables of the code


def _triggers_page() -> Page:
    blocks = []
    for path in WAITING:
        of = load(path)
        doc = docstrings.parse(of.__doc__)
        rows = [(f"`{name}`", _markdown(text)) for name, text in described(of, "param").items()]
        blocks += [
            f"## {of.__name__}",
            _markdown(doc.summary),
            table(("argument", "meaning"), rows) if rows else "",
        ]
    return _page(
        "Triggers",
        "What waits in the triggerer for deferred tasks. Operators make these triggers themselves: you do not name them in a DAG.",
        "For DAGs that react to transcripts there is the [TranscriptEventTrigger](transcript-event-trigger.md).",
        *blocks,
    )


def _connection_page() -> Page:
    blocks = []
    for kind in get_provider_info()["connection-types"]:
        labels = kind["ui-field-behaviour"]["relabeling"]
        hints = kind["ui-field-behaviour"]["placeholders"]
        rows = [
            (labels["password"], "`password`", "text", "", "The API key, as it is: without the word Bearer."),
            (
                labels["host"],
                "`host`",
                "text",
                "",
                _sentence(hints.get("host", "Only for a proxy, or the local emulator")),
            ),
        ]
        for name, field in kind["conn-fields"].items():
            schema = field["schema"]
            allowed = " or ".join(f"`{one}`" for one in schema.get("enum", ())) or schema["type"][0]
            default = f"`{str(schema['default']).lower()}`" if "default" in schema else ""
            rows.append((field["label"], f"extra `{name}`", allowed, default, field["description"]))
        blocks += [
            f"## {kind['hook-name']}",
            f"Connection type `{kind['connection-type']}`.",
            table(("field of the form", "where it is stored", "type", "default", "meaning"), rows),
        ]
    return _page(
        "Connection fields",
        "What a connection holds: the form in Airflow's UI, and the same as JSON or URI.",
        *blocks,
    )


def _configuration_page() -> Page:
    blocks = []
    for section, content in get_provider_info()["config"].items():
        rows = [
            (f"`{name}`", _markdown(option["description"]), f"`{option['example']}`")
            for name, option in content["options"].items()
        ]
        blocks += [f"## [{section}]", content["description"], table(("option", "meaning", "example"), rows)]
    return _page(
        "Configuration options",
        "What you can set in Airflow's configuration file for this provider.",
        *blocks,
    )


def _settings_page() -> Page:
    blocks = []
    for title, kind in SETTINGS.items():
        doc = docstrings.parse(kind.__doc__)
        keys = keys_of(kind)
        told = any(meaning for _, meaning in keys.values())
        head = ("name", "type", "meaning") if told else ("name", "type")
        rows = [
            (f"`{name}`", shown, _sentence(_markdown(text)))[: len(head)]
            for name, (shown, text) in keys.items()
        ]
        blocks += [f"## {title}", _markdown(doc.summary), table(head, rows)]
    return _page(
        "Request parameters",
        "Names and types of the settings that are passed on to the service. A value of another type is refused before it is sent.",
        "What each of them does is on the vendor's pages: [transcripts](https://www.assemblyai.com/docs/api-reference/transcripts/submit), "
        "[streaming](https://www.assemblyai.com/docs/speech-to-text/universal-streaming), "
        "[LLM Gateway](https://www.assemblyai.com/docs/llm-gateway/quickstart).",
        *blocks,
    )


def _keys(result: type) -> str:
    rows = [
        (f"`{name}`", shown, _sentence(_markdown(text))) for name, (shown, text) in keys_of(result).items()
    ]
    return table(("key", "type", "holds"), rows)


def _xcoms_page() -> Page:
    rows = []
    for page, path in CLASSES.items():
        of = load(path)
        for name, text in described(of, "xcom").items():
            rows.append((f"`{name}`", f"[{of.__name__}]({page}.md)", _sentence(_markdown(text))))
    blocks = []
    for result, title in RESULTS.items():
        blocks += [f"## {title}", _markdown(docstrings.parse(result.__doc__).summary), _keys(result)]
    for part in (Minutes, Gap):
        blocks += [f"### {part.__name__}", _markdown(docstrings.parse(part.__doc__).summary), _keys(part)]
    return _page(
        "XComs",
        "What tasks leave in Airflow: the value that they return, and XComs with a key of their own.",
        "## Keys",
        table(("key", "task", "holds"), rows),
        *blocks,
    )


def _manifest_page() -> Page:
    rows = [
        (f"`{name}`", shown, _sentence(_markdown(text)))
        for name, (shown, text) in keys_of(ManifestLine).items()
    ]
    return _page(
        "Manifest",
        "The columns of `manifest.jsonl`, which a batch writes at its end: one JSON object for each item.",
        table(("column", "type", "holds"), rows),
        "How a batch works is on the page about [batches](../concepts/batches.md).",
    )


def _metrics_page() -> Page:
    rows = [
        (f"`{name}`", metric.kind, ", ".join(f"`{tag}`" for tag in metric.tags), metric.meaning)
        for name, metric in METRICS.items()
    ]
    return _page(
        "Metrics",
        "What tasks and triggers count, by the names that Airflow's metrics have; Airflow adds its own prefix.",
        table(("metric", "kind", "tags", "meaning"), rows),
        "How to collect them is on the page about [metrics](../operations/metrics.md).",
    )


def _errors_page() -> Page:
    blocks = []
    for one in error_classes():
        doc = docstrings.parse(one.__doc__)
        bases = ", ".join(f"`{base.__name__}`" for base in one.__bases__)
        rows = [
            (f"`{name}`", _sentence(_markdown(text))) for name, text in doc.fields.get("param", {}).items()
        ]
        blocks += [
            f"## {one.__name__}",
            _markdown(doc.summary),
            _markdown(doc.body),
            f"A kind of {bases}. [What to do](../troubleshooting/errors.md#{one.__name__.lower()}).",
            table(("fact", "holds"), rows) if rows else "",
        ]
    return _page(
        "Errors",
        "Every error of the provider. All have an attribute `retryable`: whether the same task may succeed later.",
        f"Import them from `{PACKAGE}.api.errors`. Operators turn an error that a retry cannot help into Airflow's "
        "`AirflowFailException`, so that the task fails without using up its retries.",
        *blocks,
    )


def _endpoints_page() -> Page:
    rows = []
    for name, function in endpoints():
        call = f"{name.rpartition('.')[2]}{_arguments(function)}"
        rows.append(
            (
                f"`{name.rpartition('.')[0]}`",
                f"`{call}`",
                _markdown(docstrings.parse(function.__doc__).summary),
            )
        )
    return _page(
        "Endpoints",
        "Every request of the service as a function that returns a call; the [hook](hook.md) sends it.",
        f"The modules are below `{PACKAGE}`. A call that costs money is never repeated on a guess.",
        table(("module", "function", "what it does"), rows),
    )


def _arguments(function: Callable[..., Any]) -> str:
    return "(" + ", ".join(inspect.signature(function).parameters) + ")"


def _commands_page() -> Page:
    # Widths of help texts follow the terminal.
    before, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "100"
    try:
        emulator = import_module(f"{PACKAGE}.emulator.__main__")
        parsers = [ledger.make_parser(), emulator.make_parser()]
        texts = [parser.format_help().strip() for parser in parsers]
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    blocks = []
    for parser, text in zip(parsers, texts, strict=True):
        blocks += [f"## {parser.prog}", f"```text\n{text}\n```"]
    return _page("Commands", "The programs that come with the provider, and their options.", *blocks)

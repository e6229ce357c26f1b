# SPDX-License-Identifier: Apache-2.0
"""What the package can say, read off its source: messages of errors and lines of logs, with … for what is put in."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "airflow_provider_assemblyai"
#: Where a value is put in.
VALUE = "…"
#: Methods of a logger, by whether users have to do something.
WARNINGS = ("warning", "error", "exception", "critical")


@cache
def trees() -> dict[str, ast.Module]:
    """Path below the package -> its source, without the emulator, which is a product of its own."""
    found = sorted(PACKAGE.rglob("*.py"))
    names = {str(path.relative_to(PACKAGE)): path for path in found}
    return {
        name: ast.parse(path.read_text()) for name, path in names.items() if not name.startswith("emulator/")
    }


def calls() -> Iterator[tuple[str, ast.Call]]:
    for name, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield name, node


def name_of(function: ast.expr) -> str:
    return str(getattr(function, "id", "") or getattr(function, "attr", ""))


def text_of(node: ast.expr, module: str) -> str:
    """Return a text as it is written, with … for values; names of constants are looked up in their module."""
    if isinstance(node, ast.Constant):
        return re.sub(r"%(?:\.\d+)?[a-z]", VALUE, node.value) if isinstance(node.value, str) else VALUE
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else _constant(part, module)
            for part in node.values
        )
    if isinstance(node, ast.BinOp):
        return text_of(node.left, module) + text_of(node.right, module)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and not isinstance(node.func.value, ast.Name)
    ):
        return text_of(node.func.value, module)  # f"...".rstrip()
    return _constant(node, module)


def _constant(node: ast.expr, module: str) -> str:
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    if isinstance(inner, ast.Name) and inner.id.isupper():
        for statement in trees()[module].body:
            targets = (
                [statement.target]
                if isinstance(statement, ast.AnnAssign)
                else getattr(statement, "targets", [])
            )
            value = getattr(statement, "value", None)
            if any(name_of(one) == inner.id for one in targets) and isinstance(value, ast.Constant):
                return str(value.value)
    return VALUE


@cache
def exception_classes() -> dict[str, str]:
    """The exception classes of the package by name, with the module of each."""
    bases = {
        node.name: (module, {name_of(base) for base in node.bases} - {node.name})
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }

    def is_exception(name: str) -> bool:
        if name in ("Exception", "BaseException"):
            return True
        return name in bases and any(map(is_exception, bases[name][1]))

    return {name: module for name, (module, _) in bases.items() if is_exception(name)}


def error_texts() -> dict[str, set[str]]:
    """Class -> the messages that it is made with, and those that it makes itself."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, call in calls():
        name = name_of(call.func)
        if name in exception_classes() and call.args:
            found[name].add(text_of(call.args[0], module))
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in exception_classes():
                for inner in ast.walk(node):
                    if (
                        isinstance(inner, ast.Call)
                        and ast.unparse(inner.func) == "super().__init__"
                        and inner.args
                    ):
                        found[node.name].add(text_of(inner.args[0], module))
    return found


def foreign_exceptions() -> set[str]:
    """Names of exceptions of Airflow and of other packages that this package raises, or lets pass after a line in the log."""
    imported, seen = set(), set()
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("airflow.", "pydantic_ai", "fastapi")
            ):
                imported |= {alias.name for alias in node.names}
            if isinstance(node, ast.Raise) and node.exc is not None:
                seen.add(name_of(node.exc.func if isinstance(node.exc, ast.Call) else node.exc))
            if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name):
                bare = any(isinstance(one, ast.Raise) and one.exc is None for one in node.body)
                seen |= {node.type.id} if bare else set()
    return imported & seen


def manifest_classes() -> set[str]:
    """What a manifest calls the errors that are no exceptions."""
    return {
        str(call.args[0].value)
        for _, call in calls()
        if name_of(call.func) == "ItemError" and call.args and isinstance(call.args[0], ast.Constant)
    }


def log_texts(*, warnings: bool) -> set[tuple[str, str]]:
    """
    Module and text of each line of the log.

    :param warnings: those that may need action, or the others.
    """
    wanted = WARNINGS if warnings else ("info",)
    found = set()
    for module, call in calls():
        functions = [call.func.body, call.func.orelse] if isinstance(call.func, ast.IfExp) else [call.func]
        for function in functions:
            shown = ast.unparse(function)
            of_logger = isinstance(function, ast.Attribute) and function.attr in wanted
            of_logger = of_logger and "log" in ast.unparse(function.value)  # type: ignore[attr-defined]
            # Jobs of a task are given its log.info.
            given = not warnings and shown in ("self.log", "log")
            if (of_logger or given) and call.args:
                found.add((module, text_of(call.args[0], module)))
    return found


def result_warnings() -> set[str]:
    """What is added to the ``warnings`` of a result, which is logged as well."""
    found = set()
    for module, call in calls():
        if name_of(call.func) == "append" and call.args:
            to = ast.unparse(call.func).removesuffix(".append")
            found |= {text_of(call.args[0], module)} if re.search(r"\bwarnings\b", to) else set()
    for module, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "warnings":
                        found |= set(_texts(value, module))
    return found


def texts_in(module: str, function: str) -> set[str]:
    """All texts of a function, such as what it returns, but for single words and its docstring."""
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            body = node.body[1:] if ast.get_docstring(node) else node.body
            return {text for statement in body for text in _texts(statement, module)}
    raise LookupError(f"{module} has no {function}")


def _texts(node: ast.AST, module: str) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ):
        yield text_of(node, module)
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _texts(inner, module)


def first_arguments(*functions: str) -> set[str]:
    """The first text that these functions are called with."""
    return {
        text_of(call.args[0], module)
        for module, call in calls()
        if name_of(call.func) in functions and call.args
    }


def closing_lines() -> set[str]:
    """What the last line of a task begins with."""
    return {text_of(call.args[1], module) for module, call in calls() if name_of(call.func) == "log_success"}


def statuses() -> set[str]:
    """HTTP statuses that the code compares with; those of a whole hundred, where it compares by size, as ``5xx``."""
    found = set()
    for module, tree in trees().items():
        if module.startswith(("plugins/", "capture/state")):
            continue  # answers of Airflow, and its state store
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Compare) and "status" in ast.unparse(node)):
                continue
            by_size = any(isinstance(one, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for one in node.ops)
            for one in ast.walk(node):
                if isinstance(one, ast.Constant) and type(one.value) is int and one.value > 200:
                    redirect = one.value < 400 and one.value != 202 and one.value >= 300
                    found.add(f"{one.value // 100}xx" if by_size or redirect else str(one.value))
    return found - {"2xx"}

"""What no worker checks before it is too late: the sources of the functions, read as trees.

An orchestrator is replayed from its history, so it must not see anything that differs from one look to the next.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_TRIGGERS = Path(__file__).parents[2] / "backup_core" / "triggers"
_PLAIN = {"dict", "list", "str", "int", "float", "bool", "Any"}

# What code that runs in an orchestrator may import, and nothing that it may call: the rest of the world differs.
_IMPORTS = {"datetime", "math", "collections.abc", "typing", "azure.durable_functions"}
_FORBIDDEN_NAMES = {"open", "print", "input", "set", "frozenset", "hash", "id", "globals", "eval", "exec", "vars"}
_FORBIDDEN_ATTRIBUTES = {
    "now",
    "utcnow",
    "today",
    "environ",
    "getenv",
    "call_activity_with_retry",
    "call_sub_orchestrator_with_retry",
    "call_http",
    "call_entity",
    "signal_entity",
    "task_any",
}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _decorated(tree: ast.AST, decorator: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for each in ast.walk(tree):
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [ast.unparse(found.func) for found in each.decorator_list if isinstance(found, ast.Call)]
            if any(name.split(".")[-1] == decorator for name in names):
                yield each


def _imported(tree: ast.AST) -> Iterator[str]:
    for each in ast.walk(tree):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom):
            yield each.module or ""


def _orchestrator_files() -> list[Path]:
    """Those with an orchestrator, and those of this package that they import."""
    found = {path for path in _TRIGGERS.glob("*.py") if list(_decorated(_tree(path), "orchestration_trigger"))}
    prefix = "backup_core.triggers."
    for path in list(found):
        found.update(
            _TRIGGERS / f"{name.removeprefix(prefix)}.py" for name in _imported(_tree(path)) if name.startswith(prefix)
        )
    return sorted(found)


def _faults(tree: ast.AST) -> list[str]:
    """What in a tree could differ between two replays, or belongs to what the SDK does wrong."""
    return [
        f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)[:60]}" for node in ast.walk(tree) if _is_fault(node)
    ]


def _is_fault(node: ast.AST) -> bool:
    if isinstance(node, ast.Set | ast.SetComp | ast.Global | ast.Nonlocal | ast.Await | ast.AsyncFunctionDef):
        return True
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any(name not in _IMPORTS and not name.startswith("backup_core.triggers.") for name in _imported(node))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in _FORBIDDEN_NAMES
    return isinstance(node, ast.Attribute) and node.attr in _FORBIDDEN_ATTRIBUTES


@pytest.mark.parametrize("path", _orchestrator_files(), ids=lambda path: path.name)
def test_orchestrators_see_nothing_that_changes(path: Path) -> None:
    """No clock, no chance, no environment, no files, no order of sets, none of the calls that the SDK gets wrong."""
    assert _faults(_tree(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import random",
        "from uuid import uuid4",
        "import os",
        "datetime.datetime.now()",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "[x for x in {a for a in b}]",
        "open('x')",
        "context.task_any(jobs)",
        "context.call_activity_with_retry('x', r, 1)",
        "async def f(): await g()",
        "from backup_core.storage import store",
    ],
)
def test_the_check_itself_finds_each(line: str) -> None:
    """A check that finds nothing proves nothing."""
    assert _faults(ast.parse(line))


def test_the_check_itself_bears_what_is_right() -> None:
    """The context's own clock, plain groups and timers are what orchestrators are made of."""
    code = "x = context.current_utc_datetime\ny = yield context.task_all([context.call_activity('a', 1)])"
    assert _faults(ast.parse(code)) == []


def test_orchestrators_are_generators_of_one_argument() -> None:
    """The 1.x SDK indexes others without a word, and fails when they are called."""
    found = [each for path in _orchestrator_files() for each in _decorated(_tree(path), "orchestration_trigger")]
    assert len(found) >= 4
    for each in found:
        assert isinstance(each, ast.FunctionDef), each.name
        assert [argument.arg for argument in each.args.args] == ["context"], each.name
        assert any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(each)), each.name


def test_activities_are_plain() -> None:
    """Not async, since they block; one argument with a plain type: any other unloads the whole app in Azure."""
    found = [each for path in _TRIGGERS.glob("*.py") for each in _decorated(_tree(path), "activity_trigger")]
    assert len(found) >= 8
    for each in found:
        assert isinstance(each, ast.FunctionDef), each.name
        assert len(each.args.args) == 1, each.name
        annotation = each.args.args[0].annotation
        assert annotation is None or ast.unparse(annotation) in _PLAIN, each.name


def test_who_is_called_exists() -> None:
    """Every activity and child that an orchestrator names is a function of that kind, and none is left uncalled."""
    activities = {each.name for path in _TRIGGERS.glob("*.py") for each in _decorated(_tree(path), "activity_trigger")}
    children = {
        each.name for path in _orchestrator_files() for each in _decorated(_tree(path), "orchestration_trigger")
    }
    named = {name for path in _orchestrator_files() for name in _named(_tree(path))}
    assert named <= activities | children
    assert activities <= named


def _named(tree: ast.Module) -> Iterator[str]:
    """First arguments of the calls that start something, as literals or as what a variable of that function may be."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and node.args and _starts_something(node.func):
                yield from _values(node.args[0], function)
            elif isinstance(node, ast.Call) and _is_name(node.func, "_called"):  # the context comes first there
                yield from _values(node.args[1], function)


def _starts_something(function: ast.expr) -> bool:
    names = ("call_activity", "call_sub_orchestrator", "step")
    return isinstance(function, ast.Attribute) and function.attr in names


def _values(argument: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    if isinstance(argument, ast.Constant):
        yield str(argument.value)
    elif isinstance(argument, ast.Name):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and _is_name(node.targets[0], argument.id):
                choice: Any = node.value
                literals = [choice.body, choice.orelse] if isinstance(choice, ast.IfExp) else [choice]
                yield from (str(each.value) for each in literals if isinstance(each, ast.Constant))


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name

"""Which lines of a config do more than set values: unusual imports, calls, loops, functions, classes.

For a person to review before a config from elsewhere is executed. A config without such lines may still do harm (it
chooses what is loaded, and from where), so this grants nothing. Executes nothing.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

# What XTuner's presets import from: names that create models, data, optimizers and hooks.
_USUAL = ("xtuner", "mmengine", "transformers", "peft", "bitsandbytes", "torch.optim")
_USUAL_NAMES = {("datasets", "load_dataset"), ("torch", "float16"), ("torch", "bfloat16")}
_CONTAINERS = {"dict", "list", "tuple", "set"}
# mmengine imports or executes what these name.
_LOADING = {"_base_", "custom_imports", "_delete_"}
# Formats that the `datasets` library reads without a custom script.
_READERS = {"json", "csv", "text", "parquet", "arrow"}


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a config, counted from 1."""

    number: int
    text: str


def beyond(text: str, base: str = "") -> list[Line]:
    """Return the lines of `text` that do more than set values, except those also in `base`. Both are Python."""
    lines = text.splitlines()
    try:
        usual = {ast.unparse(node) for node in _beyond(ast.parse(base))}
        numbers: set[int] = set()
        for node in _beyond(ast.parse(text)):
            if ast.unparse(node) not in usual:
                numbers |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    except RecursionError:
        # No ordinary config is nested this deep: report every line.
        numbers = set(range(1, len(lines) + 1))
    return [Line(number, lines[number - 1]) for number in sorted(numbers) if number <= len(lines)]


def other_files(text: str) -> list[str]:
    """Return the statements that make mmengine execute other config files: `_base_` and relative imports."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "_base_" for to in node.targets):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.append(ast.unparse(node))
    return found


def _beyond(tree: ast.Module) -> Iterator[ast.stmt | ast.expr | ast.keyword]:
    yield from _of_statements(tree.body)


def _of_statements(statements: list[ast.stmt]) -> Iterator[ast.stmt | ast.expr | ast.keyword]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            if any(alias.name != "torch" for alias in statement.names):
                yield statement
        elif isinstance(statement, ast.ImportFrom):
            if not _usual(statement):
                yield statement
        elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if all(_name(target) for target in targets):
                yield from _in_value(statement.value) if statement.value else ()
            else:
                yield statement
        elif isinstance(statement, ast.If):
            yield from _in_value(statement.test)
            yield from _of_statements([*statement.body, *statement.orelse])
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield statement


def _usual(statement: ast.ImportFrom) -> bool:
    module = statement.module or ""
    if statement.level or any(alias.name == "*" for alias in statement.names):
        return False
    if any(module == one or module.startswith(f"{one}.") for one in _USUAL):
        # A lower-case name is a function; the presets import only classes from transformers.
        return not module.startswith("transformers") or all(alias.name[:1].isupper() for alias in statement.names)
    return all((module, alias.name) in _USUAL_NAMES for alias in statement.names)


def _name(target: ast.expr) -> bool:
    """Return whether the assignment target is a name that mmengine loads nothing from."""
    if isinstance(target, ast.Tuple):
        return all(_name(part) for part in target.elts)
    return isinstance(target, ast.Name) and target.id not in _LOADING


def _in_value(value: ast.expr) -> Iterator[ast.expr | ast.keyword]:
    """Yield the parts of a value that are more than constants, names and containers of them."""
    if isinstance(value, ast.Call):
        if not (isinstance(value.func, ast.Name) and value.func.id in _CONTAINERS):
            yield value
            return
        yield from (part for argument in value.args for part in _in_value(argument))
        loads = any(word.arg == "type" and _says(word.value, "load_dataset") for word in value.keywords)
        for word in value.keywords:
            by_name = word.arg in ("type", *_LOADING) and isinstance(word.value, ast.Constant | ast.JoinedStr)
            scripted = loads and word.arg == "path" and getattr(word.value, "value", None) not in _READERS
            if by_name or scripted:
                yield word
            else:
                yield from _in_value(word.value)
    elif isinstance(value, ast.Dict):
        for key, part in zip(value.keys, value.values, strict=True):
            named = isinstance(key, ast.Constant) and key.value in ("type", *_LOADING)
            if named and isinstance(part, ast.Constant):
                yield part
            else:
                yield from (found for each in (key, part) if each is not None for found in _in_value(each))
    elif isinstance(value, ast.List | ast.Tuple | ast.Set):
        yield from (found for part in value.elts for found in _in_value(part))
    elif isinstance(value, ast.UnaryOp):
        yield from _in_value(value.operand)
    elif isinstance(value, ast.BinOp):
        yield from (*_in_value(value.left), *_in_value(value.right))
    elif isinstance(value, ast.IfExp):
        yield from (found for part in (value.test, value.body, value.orelse) for found in _in_value(part))
    elif isinstance(value, ast.Compare):
        yield from (found for part in (value.left, *value.comparators) for found in _in_value(part))
    elif isinstance(value, ast.Attribute):
        if value.attr.startswith("_") or not isinstance(value.value, ast.Name | ast.Attribute):
            yield value
        else:
            yield from _in_value(value.value)
    elif not isinstance(value, ast.Constant | ast.Name):
        yield value


def _says(value: ast.expr, name: str) -> bool:
    return (isinstance(value, ast.Name) and value.id == name) or (
        isinstance(value, ast.Attribute) and value.attr == name
    )

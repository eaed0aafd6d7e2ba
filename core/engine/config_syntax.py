"""The syntax of a config: paths, the parts of a display, constant folding, what a statement changes.

Pure functions of libcst nodes; whole files are handled by `config_file`. Executes nothing.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import libcst as cst


@dataclass(frozen=True, slots=True)
class Kind:
    """A path step that picks a list element by the last word of its `type`: `custom_hooks[EvaluateChatHook]`."""

    type: str


Part = str | int | Kind
Parts = tuple[Part, ...]
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"int": int, "float": float, "round": round, "min": min, "max": max}
# Methods whose effect on a list or dict a path cannot follow; append and extend keep the existing items.
_CHANGING = {"update", "pop", "popitem", "clear", "insert", "remove", "setdefault", "sort", "reverse", "merge"}


class NotConstant(Exception):  # noqa: N818
    """An expression that cannot be evaluated without running the file."""


def parts(path: str) -> Parts:
    """Split `a.b[1][Hook].c` into its steps."""
    return tuple(
        int(index) if index else Kind(kind) if kind else name
        for index, kind, name in re.findall(r"\[(\d+)\]|\[(\w+)\]|([^.\[\]]+)", path)
    )


def string_pieces(node: cst.BaseExpression) -> list[str] | None:
    """Return the adjacent literals that a string is written as; None if it is not a plain string."""
    if isinstance(node, cst.ConcatenatedString):
        pieces = [string_pieces(node.left), string_pieces(node.right)]
        return None if None in pieces else [text for piece in pieces for text in piece]
    value = node.evaluated_value if isinstance(node, cst.SimpleString) else None
    return [value] if isinstance(value, str) else None


def child(node: cst.BaseExpression | None, key: Part) -> cst.BaseExpression | None:
    """Return the item at `key` of a list, a `dict(...)` call or a dict display; None if it is missing."""
    if isinstance(node, cst.List | cst.Tuple):
        if isinstance(key, int):
            return node.elements[key].value if key < len(node.elements) else None
        if isinstance(key, Kind):
            return next((e.value for e in node.elements if _type_of(e.value) == key.type), None)
    if isinstance(node, cst.Call):
        return next((a.value for a in node.args if a.keyword is not None and a.keyword.value == key), None)
    if isinstance(node, cst.Dict):
        for element in node.elements:
            if isinstance(element, cst.DictElement) and text_of(element.key) == key:
                return element.value
    return None


def text_of(node: cst.BaseExpression) -> str | None:
    """Return the text of a string literal; None for anything else."""
    value = node.evaluated_value if isinstance(node, cst.SimpleString) else None
    return value if isinstance(value, str) else None


def target_parts(node: cst.BaseExpression) -> Parts | None:
    """Return the path that an assignment target names: `a`, `a.b`, `a["b"][0]`; None for anything else."""
    if isinstance(node, cst.Name):
        return (node.value,)
    if isinstance(node, cst.Attribute):
        before = target_parts(node.value)
        return (*before, node.attr.value) if before else None
    if isinstance(node, cst.Subscript) and len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
        before, index = target_parts(node.value), node.slice[0].slice.value
        key: Part | None = int(index.value) if isinstance(index, cst.Integer) else text_of(index)
        return (*before, key) if before and key is not None else None
    return None


def changed_by_code(statement: cst.CSTNode) -> Iterator[Parts]:
    """Yield the paths that a top-level statement changes without a plain assignment: loops, `del`, `.update(…)`."""
    if isinstance(statement, cst.FunctionDef | cst.ClassDef):
        return
    simple = isinstance(statement, cst.SimpleStatementLine)
    for small in statement.body if simple else _small_statements(statement):
        if isinstance(small, cst.Del):
            yield from _bases(small.target)
        elif isinstance(small, cst.Expr) and isinstance(small.value, cst.Call):
            yield from _changed_by_call(small.value)
        elif isinstance(small, cst.AugAssign):
            # `x += [...]` keeps the existing items; `x *= n` at the top level is evaluated.
            multiplied = simple and isinstance(small.operator, cst.MultiplyAssign)
            if not multiplied and not isinstance(small.operator, cst.AddAssign):
                yield from _bases(small.target)
        elif not simple and isinstance(small, cst.Assign):
            for target in small.targets:
                yield from _bases(target.target)
    if isinstance(statement, cst.For):
        yield from _bases(statement.target)


def constant(code: str, look: Callable[[str], str]) -> Any:
    """Return the value of an expression of numbers, strings and names; `look` gives a name's code.

    Raises NotConstant.
    """
    try:
        return ast.literal_eval(code)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return _fold(ast.parse(code, mode="eval").body, look, 20)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, LookupError) as error:
        raise NotConstant(code) from error


def _fold(node: ast.expr, look: Callable[[str], str], depth: int) -> Any:
    if depth == 0:
        raise ValueError("too deep")
    fold = lambda inner: _fold(inner, look, depth - 1)  # noqa: E731
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _fold(ast.parse(look(node.id), mode="eval").body, look, depth - 1)
        case ast.UnaryOp(op=ast.USub()):
            return -fold(node.operand)
        case ast.UnaryOp(op=ast.Not()):
            return not fold(node.operand)
        case ast.BinOp(op=ast.Pow()):
            base, power = fold(node.left), fold(node.right)
            if abs(base) > 1e6 or abs(power) > 8:
                raise ValueError("too large")
            return base**power
        case ast.BinOp():
            left, right = fold(node.left), fold(node.right)
            if isinstance(node.op, ast.Add) and isinstance(left, str) and isinstance(right, str):
                return left + right
            if not all(isinstance(side, int | float) for side in (left, right)):
                raise ValueError("not numbers")
            return _OPERATORS[type(node.op)](left, right)
        case ast.Compare(ops=[single]):
            return _COMPARISONS[type(single)](fold(node.left), fold(node.comparators[0]))
        case ast.IfExp():
            return fold(node.body) if fold(node.test) else fold(node.orelse)
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*map(fold, node.args))
        case ast.List() | ast.Tuple():
            return type(ast.literal_eval("[]" if isinstance(node, ast.List) else "()"))(map(fold, node.elts))
    raise ValueError("not constant")


def _type_of(node: cst.BaseExpression) -> str | None:
    kind = child(node, "type")
    if kind is None:
        return None
    if isinstance(kind, cst.SimpleString):
        return (text_of(kind) or "").rpartition(".")[2]
    return kind.value if isinstance(kind, cst.Name) else kind.attr.value if isinstance(kind, cst.Attribute) else None


def _small_statements(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    """Yield every simple statement inside a compound one; bodies of functions and classes are not run there."""
    for inner in node.children:
        if isinstance(inner, cst.BaseSmallStatement):
            yield inner
        elif not isinstance(inner, cst.FunctionDef | cst.ClassDef | cst.BaseExpression):
            yield from _small_statements(inner)


def _bases(target: cst.BaseExpression) -> Iterator[Parts]:
    """Yield the paths that a target names; for a computed key, its container."""
    if isinstance(target, cst.Tuple | cst.List):
        for element in target.elements:
            yield from _bases(element.value)
        return
    found = target_parts(target)
    if found is None and isinstance(target, cst.Subscript | cst.Attribute):
        yield from _bases(target.value)
    elif found:
        yield found


def _changed_by_call(call: cst.Call) -> Iterator[Parts]:
    if isinstance(call.func, cst.Attribute) and call.func.attr.value in _CHANGING:
        holder = target_parts(call.func.value)
        if holder:
            first = call.args[0].value if call.args else None
            key = text_of(first) if call.func.attr.value == "pop" and first is not None else None
            yield (*holder, key) if key else holder


def with_entry(holder: cst.Call | cst.Dict, key: str, value: cst.BaseExpression) -> cst.Call | cst.Dict:
    """Return `holder` with `key` appended, formatted like its neighbors."""
    entries = holder.args if isinstance(holder, cst.Call) else holder.elements
    if isinstance(holder, cst.Call):
        no_space = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        entry: Any = cst.Arg(keyword=cst.Name(key), value=value, equal=no_space)
    else:
        entry = cst.DictElement(key=cst.SimpleString(repr(key)), value=value)
    last = entries[-1] if entries else None
    if last is not None and not isinstance(last.comma, cst.Comma):
        last = last.with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
    elif last is not None:
        # Multi-line: the new line takes the layout and comma of the one before it.
        entry = entry.with_changes(comma=_with_comment_of(last.comma, None))
        between = entries[-2].comma if len(entries) > 1 else last.comma
        last = last.with_changes(comma=_with_comment_of(between, last.comma))
    return _with(holder, [*entries[:-1], *([last] if last is not None else []), entry])


def without_entry(holder: cst.Call | cst.Dict, key: Part) -> cst.Call | cst.Dict:
    """Return `holder` without `key`; comments and layout are preserved."""
    entries = holder.args if isinstance(holder, cst.Call) else holder.elements

    def named(entry: Any) -> Any:
        if isinstance(entry, cst.Arg):
            return entry.keyword.value if entry.keyword is not None else None
        return text_of(entry.key) if isinstance(entry, cst.DictElement) else None

    kept = [entry for entry in entries if named(entry) != key]
    if kept and kept[-1] is not entries[-1]:
        ending = entries[-1].comma
        if isinstance(ending, cst.Comma):
            kept[-1] = kept[-1].with_changes(comma=_with_comment_of(ending, kept[-1].comma))
        elif not _comment(kept[-1].comma):
            kept[-1] = kept[-1].with_changes(comma=ending)
    return _with(holder, kept)


def _with(holder: cst.Call | cst.Dict, entries: list[Any]) -> cst.Call | cst.Dict:
    return holder.with_changes(**{"args" if isinstance(holder, cst.Call) else "elements": entries})


def _comment(comma: Any) -> bool:
    space = getattr(comma, "whitespace_after", None)
    return isinstance(space, cst.ParenthesizedWhitespace) and space.first_line.comment is not None


def _with_comment_of(comma: cst.Comma, other: Any) -> cst.Comma:
    """Return `comma` with the comment that follows `other` in place of its own."""
    space = comma.whitespace_after
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return comma
    line = cst.TrailingWhitespace()
    if isinstance(other, cst.Comma) and isinstance(other.whitespace_after, cst.ParenthesizedWhitespace):
        line = other.whitespace_after.first_line
    return comma.with_changes(whitespace_after=space.with_changes(first_line=line))


# Fields that hold layout, which is half of a tree.
_LAYOUT = re.compile("whitespace|leading_lines|trailing|[lr]par$|comma$|semicolon$|equal$")


def replaced(tree: cst.Module, old: cst.CSTNode, new: cst.CSTNode) -> cst.Module:
    """Return the tree with `old` replaced. Rebuilds only the statement that contains it, a third of the time."""
    body = [line.deep_replace(old, new) if _contains(line, old) else line for line in tree.body]
    return tree.with_changes(body=body)


@cache
def _content(kind: type) -> tuple[str, ...]:
    return tuple(name for name in kind.__dataclass_fields__ if not _LAYOUT.search(name))


def _contains(statement: cst.CSTNode, wanted: cst.CSTNode) -> bool:
    waiting: list[Any] = [statement]
    while waiting:
        node = waiting.pop()
        if node is wanted:
            return True
        if node.__class__ in (list, tuple):
            waiting += node
        elif hasattr(node, "__dataclass_fields__"):
            waiting += [getattr(node, name) for name in _content(node.__class__)]
    return False

"""An XTuner config as text that can be edited in place: XTuner's configs are Python programs.

Reads and sets values by a path such as `lr`, `model.lora.r` or `custom_hooks[1].max_new_tokens`, through
`dict(...)` calls, dict and list displays, and names assigned at the top level; comments, order and all that
is not touched stay as they are. Never executes the file.
"""

import ast
import re
from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import AddImportsVisitor

from core.ground.errors import BadInput

MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Source:
    """A value that is Python code rather than a literal, such as `torch.float16` or a `dict(...)` call."""

    code: str


class ConfigFile:
    """The text of one config, parsed."""

    def __init__(self, text: str) -> None:
        """Parse `text`. Raises BadInput with the line where it is not Python."""
        try:
            # First by Python's own parser: libcst's takes the process with it where brackets nest too deep.
            ast.parse(text)
            self._tree = cst.parse_module(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refusal(getattr(error, "lineno", None) or 1, str(getattr(error, "msg", error))) from error
        except cst.ParserSyntaxError as error:
            raise self._refusal(error.raw_line, error.message) from error

    @staticmethod
    def _refusal(line: int, message: str) -> BadInput:
        first = next(iter(message.splitlines()), "")
        return BadInput(
            f"配置第 {line} 行不是合法的 Python：{first}", f"line {line} of the config is not valid Python: {first}"
        )

    @property
    def text(self) -> str:
        """The whole file."""
        return self._tree.code

    def get(self, path: str) -> Any:
        """The value at `path`: a Python value, a `Source` where it is code, MISSING where there is none."""
        node = self._find(path)
        if node is None:
            return MISSING
        code = self._tree.code_for_node(self._follow(node))
        try:
            return ast.literal_eval(code)
        except (ValueError, SyntaxError):
            return Source(code)

    def names(self, path: str) -> str | None:
        """The top-level variable that the value at `path` is taken from, None where it is written out."""
        node = self._find(path)
        return node.value if isinstance(node, cst.Name) and self._assigned(node.value) is not None else None

    def set(self, path: str, value: Any) -> None:
        """Put `value` (a literal or a `Source`) at `path`; a missing last key is added to its dict.

        Raises BadInput where nothing that could hold it is there.
        """
        code = value.code if isinstance(value, Source) else repr(value)
        expression = cst.parse_expression(code)
        node = self._find(path)
        if node is not None:
            self._tree = self._tree.deep_replace(node, expression)
            return
        holder_path, key = _split_last(path)
        holder = self._follow(self._find(holder_path)) if holder_path else None
        if not (isinstance(holder, cst.Call) and isinstance(key, str)):
            raise BadInput(f"配置里没有 {path} 可改", f"the config has no place for {path}")
        argument = cst.Arg(
            keyword=cst.Name(key),
            value=expression,
            equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        )
        last = holder.args[-1] if holder.args else None
        if last is not None and not isinstance(last.comma, cst.Comma):
            last = last.with_changes(comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
        elif last is not None:
            # A call over several lines: the new line looks like the one before it, and so does its comma.
            argument = argument.with_changes(comma=_with_comment_of(last.comma, None))
            between = holder.args[-2].comma if len(holder.args) > 1 else last.comma
            last = last.with_changes(comma=_with_comment_of(between, last.comma))
        arguments = [*holder.args[:-1], *([last] if last is not None else []), argument]
        self._tree = self._tree.deep_replace(holder, holder.with_changes(args=arguments))

    def delete(self, path: str) -> None:
        """Take the keyword at `path` out of its `dict(...)`; nothing happens where it is not there."""
        holder_path, key = _split_last(path)
        holder = self._follow(self._find(holder_path)) if holder_path else None
        if not isinstance(holder, cst.Call):
            return
        kept = [argument for argument in holder.args if argument.keyword is None or argument.keyword.value != key]
        if len(kept) == len(holder.args):
            return
        if kept and kept[-1] is not holder.args[-1]:
            ending = holder.args[-1].comma
            if isinstance(ending, cst.Comma):
                kept[-1] = kept[-1].with_changes(comma=_with_comment_of(ending, kept[-1].comma))
            elif not _comment(kept[-1].comma):
                kept[-1] = kept[-1].with_changes(comma=ending)
        self._tree = self._tree.deep_replace(holder, holder.with_changes(args=kept))

    def import_name(self, module: str, name: str) -> None:
        """Make sure of `from module import name`."""
        context = CodemodContext()
        AddImportsVisitor.add_needed_import(context, module, name)
        self._tree = AddImportsVisitor(context).transform_module(self._tree)

    def import_module(self, module: str) -> None:
        """Make sure of `import module`."""
        context = CodemodContext()
        AddImportsVisitor.add_needed_import(context, module)
        self._tree = AddImportsVisitor(context).transform_module(self._tree)

    def _assigned(self, name: str) -> cst.BaseExpression | None:
        """What the last `name = …` at the top level gives it."""
        found = None
        for statement in self._tree.body:
            if not isinstance(statement, cst.SimpleStatementLine):
                continue
            for small in statement.body:
                if isinstance(small, cst.Assign) and any(
                    isinstance(t.target, cst.Name) and t.target.value == name for t in small.targets
                ):
                    found = small.value
        return found

    def _follow(self, node: cst.BaseExpression | None) -> cst.BaseExpression | None:
        """`node`, or what it was assigned where it is the name of a top-level variable."""
        for _ in range(10):
            if not isinstance(node, cst.Name):
                return node
            assigned = self._assigned(node.value)
            if assigned is None:
                return node
            node = assigned
        return node

    def _find(self, path: str) -> cst.BaseExpression | None:
        """The expression at `path` as it is written there; names on the way are followed, the last one is not."""
        first, *rest = _parts(path)
        node = self._assigned(str(first))
        for part in rest:
            node = _child(self._follow(node), part)
            if node is None:
                return None
        return node


def _child(node: cst.BaseExpression | None, key: str | int) -> cst.BaseExpression | None:
    if isinstance(node, cst.List | cst.Tuple) and isinstance(key, int):
        return node.elements[key].value if key < len(node.elements) else None
    if isinstance(node, cst.Call):
        return next((a.value for a in node.args if a.keyword is not None and a.keyword.value == key), None)
    if isinstance(node, cst.Dict):
        for element in node.elements:
            if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString):
                if element.key.evaluated_value == key:
                    return element.value
    return None


def _comment(comma: cst.Comma) -> bool:
    space = comma.whitespace_after
    return isinstance(space, cst.ParenthesizedWhitespace) and space.first_line.comment is not None


def _with_comment_of(comma: cst.Comma, other: cst.Comma | None) -> cst.Comma:
    """`comma` with the comment behind `other` in place of its own."""
    space = comma.whitespace_after
    if not isinstance(space, cst.ParenthesizedWhitespace):
        return comma
    line = cst.TrailingWhitespace()
    if other is not None and isinstance(other.whitespace_after, cst.ParenthesizedWhitespace):
        line = other.whitespace_after.first_line
    return comma.with_changes(whitespace_after=space.with_changes(first_line=line))


def _parts(path: str) -> list[str | int]:
    return [int(index) if index else name for index, name in re.findall(r"\[(\d+)\]|([^.\[\]]+)", path)]


def _split_last(path: str) -> tuple[str, str | int]:
    """`a.b[1]` into `a.b` and 1, `a.b` into `a` and `b`, `a` into nothing and `a`."""
    key = _parts(path)[-1]
    ending = f"[{key}]" if isinstance(key, int) else f".{key}"
    return (path[: -len(ending)] if path.endswith(ending) else ""), key

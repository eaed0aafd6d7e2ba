"""An XTuner config, which is a Python program, as text that can be edited in place.

Reads and sets values by a path such as `lr`, `model.lora.r` or `custom_hooks[EvaluateChatHook].max_new_tokens`, through
`dict(...)` calls, dict and list displays, and names assigned at the top level. Comments, order and everything untouched
are preserved byte for byte. Values changed by loops, deletions and the like are reported as code, not guessed. Never
executes the file.
"""

import ast
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import libcst as cst

from core.engine.config_syntax import (
    NotConstant,
    Parts,
    changed_by_code,
    child,
    constant,
    parts,
    replaced,
    string_pieces,
    target_parts,
    with_entry,
    without_entry,
)
from core.ground.errors import BadInput

MISSING: Any = object()
# Values that whoever gets them could change, a tuple by what is in it.
_CHANGEABLE = (list, dict, set, tuple)


@dataclass(frozen=True, slots=True)
class Source:
    """A value that is Python code rather than a constant, such as `torch.float16` or a `dict(...)` call."""

    code: str


class SyntaxRefusal(BadInput):
    """The text is not Python; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        first = next(iter(message.splitlines()), "")
        if "unicodeescape" in first:
            # How Python reports `"C:\Users\..."`, where the backslash begins an escape.
            super().__init__(
                f"配置第 {line} 行像是 Windows 路径，反斜杠不能这样写：而且这个文件在另一台电脑上，请先上传到这台机器，再写它在这里的路径",
                f"line {line} of the config seems to contain a Windows path, which is not valid in Python and refers to another computer: upload the file to this machine and enter its path here",
            )
        else:
            super().__init__(
                f"配置第 {line} 行不是合法的 Python：{first}", f"line {line} of the config is not valid Python: {first}"
            )
        self.line = line


# A tree takes some 70 times the memory of its text, and XTuner's presets have 7,000 characters.
_KEPT_CHARACTERS = 32_000


@lru_cache(maxsize=16)
def _parsed(text: str) -> tuple[cst.Module, dict[str, Any]]:
    """Return the tree of `text`, which edits never modify, and a place for its values by path.

    Cached, as pages and checks read the same text often.
    """
    # Python's parser goes first: libcst's crashes the process on brackets nested too deep.
    ast.parse(text)
    return cst.parse_module(text), {}


class ConfigFile:
    """The text of one config, parsed."""

    def __init__(self, text: str) -> None:
        """Parse `text`. Raises SyntaxRefusal with the line if it is not Python."""
        try:
            self._take(*(_parsed(text) if len(text) <= _KEPT_CHARACTERS else _parsed.__wrapped__(text)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise SyntaxRefusal(getattr(error, "lineno", None) or 1, str(getattr(error, "msg", error))) from error
        except cst.ParserSyntaxError as error:
            raise SyntaxRefusal(error.raw_line, error.message) from error

    @property
    def text(self) -> str:
        """The whole file."""
        return self._tree.code

    def get(self, path: str) -> Any:
        """Return the value at `path`: a Python value, a `Source` if it is code, MISSING if there is none."""
        if path not in self._values:
            self._values[path] = self._value(path)
        value = self._values[path]
        return deepcopy(value) if isinstance(value, _CHANGEABLE) else value

    def _value(self, path: str) -> Any:
        found = parts(path)
        node = self._find(found)
        if self._by_code(found):
            return Source(self._code(node) if node is not None else path)
        if node is None:
            return MISSING
        code = self._code(self._follow(node))
        try:
            value = constant(code, self._look)
            factor = self._factor(path)
        except NotConstant:
            return Source(code)
        return value if factor == 1 else value * factor

    def names(self, path: str) -> str | None:
        """Return the top-level variable that holds the value at `path`; None if the value is written inline."""
        node, name = self._find(parts(path)), None
        for _ in range(10):
            if not isinstance(node, cst.Name) or self._assigned(node.value) is None:
                break
            name, node = node.value, self._assigned(node.value)
        return name

    def computed(self, path: str) -> bool:
        """Return whether the value at `path` is computed from other settings, such as `warmup_ratio * max_epochs`."""
        return isinstance(self._find(parts(path)), cst.BinaryOperation | cst.IfExp)

    def joined(self, path: str) -> list[list[str]]:
        """Return the string literals of the list at `path`, one list per element; empty if it is no list of strings.

        An element has several pieces where adjacent literals are concatenated, as when a comma was forgotten.
        """
        node = self._follow(self._find(parts(path)))
        if not isinstance(node, cst.List | cst.Tuple):
            return []
        texts = [string_pieces(element.value) for element in node.elements]
        return [] if None in texts else texts

    def modules(self) -> list[str]:
        """Return all modules that the file imports, as written; relative ones with their dots."""
        named: list[str] = []
        for node in ast.walk(ast.parse(self.text)):
            if isinstance(node, ast.Import):
                named += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                named.append("." * node.level + (node.module or ""))
        return list(dict.fromkeys(named))

    def holds(self, path: str) -> bool:
        """Return whether there is a dict that the last key of `path` could be added to."""
        *before, key = parts(path)
        holder = self._follow(self._find(tuple(before))) if before else None
        return isinstance(holder, cst.Call | cst.Dict) and isinstance(key, str)

    def set(self, path: str, value: Any) -> None:
        """Set `path` to `value` (a constant or a `Source`); a missing last key is added to its dict.

        Raises BadInput if nothing there can hold it, or if code changes it.
        """
        steps = parts(path)
        if self._by_code(steps):
            raise BadInput(
                f"{path} 在文件里由代码改动：请直接编辑 Python",
                f"{path} is set by code in the file: edit the Python file instead",
            )
        if not isinstance(value, Source) and (factor := self._factor(path)) != 1:
            if value % factor:
                raise BadInput(
                    f"文件里 {path} 还要乘以 {factor}：请用它的倍数",
                    f"the file multiplies {path} by {factor}: use a multiple of it",
                )
            value //= factor
        code = value.code if isinstance(value, Source) else repr(value)
        expression = cst.parse_expression(code)
        node = self._find(steps)
        if node is not None:
            self._replace(node, expression)
            return
        if not self.holds(path):
            raise BadInput(f"配置里没有 {path} 可改", f"the config has no setting {path}")
        holder = self._follow(self._find(steps[:-1]))
        self._replace(holder, with_entry(holder, steps[-1], expression))

    def delete(self, path: str) -> None:
        """Remove the key at `path` from its dict; does nothing if it is missing."""
        *before, key = parts(path)
        holder = self._follow(self._find(tuple(before))) if before else None
        if isinstance(holder, cst.Call | cst.Dict) and child(holder, key) is not None:
            self._replace(holder, without_entry(holder, key))

    def add_import(self, module: str, name: str | None = None) -> None:
        """Ensure `from module import name`, or `import module` without a name."""
        # Imported here: this part takes most of libcst's load time, and few readers need it.
        from libcst.codemod import CodemodContext
        from libcst.codemod.visitors import AddImportsVisitor

        context = CodemodContext()
        AddImportsVisitor.add_needed_import(context, module, name)
        self._take(AddImportsVisitor(context).transform_module(self._tree))

    def _replace(self, old: cst.CSTNode, new: cst.CSTNode) -> None:
        self._take(replaced(self._tree, old, new))

    def _take(self, tree: cst.Module, values: dict[str, Any] | None = None) -> None:
        """Store a tree with its top-level assignments, by variable, and changes; `values`: what is known of it."""
        self._tree = tree
        self._values = {} if values is None else values
        self._assignments: dict[Parts, list[tuple[Parts, cst.BaseExpression]]] = {}
        lines = [line for line in tree.body if isinstance(line, cst.SimpleStatementLine)]
        self._multiplied: list[tuple[str, cst.BaseExpression]] = []
        for small in (small for line in lines for small in line.body):
            if isinstance(small, cst.AugAssign) and isinstance(small.operator, cst.MultiplyAssign):
                self._multiplied.append((self._code(small.target), small.value))
            if isinstance(small, cst.Assign):
                targets = [target.target for target in small.targets]
            elif isinstance(small, cst.AnnAssign) and small.value is not None:
                targets = [small.target]
            else:
                continue
            for named in filter(None, map(target_parts, targets)):
                self._assignments.setdefault(named[:1], []).append((named, small.value))
        self._changed = [where for statement in tree.body for where in changed_by_code(statement)]

    def _code(self, node: cst.CSTNode) -> str:
        return self._tree.code_for_node(node)

    def _factor(self, path: str) -> int:
        """Return the product of later `x *= n` on the variable at `path`. Raises NotConstant."""
        name, factor = self.names(path) or path, 1
        for named, node in self._multiplied:
            if named == name:
                factor *= constant(self._code(node), self._look)
        return factor

    def _look(self, name: str) -> str:
        """Return the code last assigned to a name, for constant folding."""
        node = self._assigned(name)
        if node is None or self._by_code((name,)):
            raise LookupError(name)
        return self._code(node)

    def _assigned(self, name: str) -> cst.BaseExpression | None:
        """Return the value of the last top-level `name = …`."""
        return self._assignment((name,))[0] if name else None

    def _assignment(self, steps: Parts) -> tuple[cst.BaseExpression | None, Parts]:
        """Return the last top-level assignment to `steps` or a container of it, and the remaining steps."""
        found, left = None, steps
        for named, value in self._assignments.get(steps[:1], ()):
            if named == steps[: len(named)]:
                found, left = value, steps[len(named) :]
        return found, left

    def _by_code(self, steps: Parts) -> bool:
        """Return whether code other than plain assignments changes the value at `steps`, or a container of it."""
        if not self._changed:
            return False
        return any(where == said[: len(where)] for where in self._changed for said in self._chain(steps))

    def _chain(self, steps: Parts, most: int = 10) -> list[Parts]:
        """Return `steps` and its equivalents: each variable along the path resolved."""
        said, now = [steps], steps
        for _ in range(most):
            node, left = self._assignment(now)
            taken = 0
            while node is not None and not isinstance(node, cst.Name) and taken < len(left):
                node, taken = child(node, left[taken]), taken + 1
            if not isinstance(node, cst.Name) or self._assigned(node.value) is None:
                break
            now = (node.value, *left[taken:])
            said.append(now)
        return said

    def _follow(self, node: cst.BaseExpression | None) -> cst.BaseExpression | None:
        """Return `node`, or the value assigned to it if it is the name of a top-level variable."""
        for _ in range(10):
            if not isinstance(node, cst.Name):
                return node
            assigned = self._assigned(node.value)
            if assigned is None:
                return node
            node = assigned
        return node

    def _find(self, steps: Parts, most: int = 20) -> cst.BaseExpression | None:
        """Return the expression at `steps` as written; names along the path are resolved, the last one is not."""
        if not steps or most == 0:
            return None
        node, left = self._assignment(steps)
        while node is not None and left:
            if isinstance(node, cst.Name):
                return self._find((node.value, *left), most - 1)
            node, left = child(node, left[0]), left[1:]
        return node

"""Which changes are tried: those of cosmic-ray that a person could make by mistake, and three that it does not have.

Of the replacements of operators one for each is enough: the nearest one, and for a comparison its boundary and its
opposite. Type annotations and the arguments of `@dataclass` decide nothing at run time and are left as they are.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.operators.operator import Operator

_KEPT = re.compile(
    r"core/(AddNot|ExceptionReplacer|NumberReplacer|RemoveDecorator|ZeroIterationForLoop"
    r"|Replace(AndWithOr|OrWithAnd|TrueWithFalse|FalseWithTrue|BreakWithContinue|ContinueWithBreak)"
    r"|ReplaceUnaryOperator_Delete_\w+"
    r"|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|Pow_Mul"
    r"|LShift_RShift|RShift_LShift|BitOr_BitAnd|BitAnd_BitOr|BitXor_BitAnd)"
    r"|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is"
    r"|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt))"
)
_BOUND = re.compile(r"(?<=\{)\d+(?=(?:,\d*)?\})|(?<=,)\d+(?=\})")
Position = tuple[int, int]


class _OfOurs(Operator):
    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DropCall(_OfOurs):
    """A call that stands alone is not made."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        if node.type == "simple_stmt" and node.children[0].type in ("atom_expr", "power"):
            if node.children[0].get_last_leaf().value == ")":
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002
        prefix = node.get_first_leaf().prefix
        node.children[0] = parso.parse(f"{prefix}pass").children[0]
        return node


class ReturnNone(_OfOurs):
    """What a function returns is lost; where that is False, nobody could tell."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        if node.type == "return_stmt" and node.children[1].get_code().strip() not in ("None", "False"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:  # noqa: ARG002
        node.children[1] = parso.parse(" None").children[0]
        return node


class PatternBound(_OfOurs):
    """How often something is repeated in a pattern: once more, once less."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Position, Position]]:
        if node.type in ("string", "fstring_string"):
            for _ in range(2 * len(_BOUND.findall(node.value))):
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        bound = list(_BOUND.finditer(node.value))[index // 2]
        number = int(bound[0]) + (1 if index % 2 == 0 else -1)
        node.value = node.value[: bound.start()] + str(number) + node.value[bound.end() :]
        return node


_OURS = {f"ours/{kind.__name__}": kind for kind in (DropCall, ReturnNone, PatternBound)}


def kinds() -> dict[str, Operator]:
    """All kinds of change, by name."""
    theirs = {name: cosmic_ray.plugins.get_operator(name) for name in cosmic_ray.plugins.operator_names()}
    return {name: kind() for name, kind in {**theirs, **_OURS}.items() if name in _OURS or _KEPT.fullmatch(name)}


def left_alone(code: str) -> list[tuple[Position, Position]]:
    """The places that are not changed: annotations, and the arguments of `@dataclass`."""
    found: list[ast.AST] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation:
            found.append(node.annotation)
        if isinstance(node, ast.FunctionDef) and node.returns:
            found.append(node.returns)
        if isinstance(node, ast.ClassDef):
            found += [word for call in node.decorator_list if isinstance(call, ast.Call) for word in call.keywords]
    return [((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)) for node in found]

"""Small faults planted into the source of one module, one at a time.

Strings are left alone (golden texts hold the wording), and so are annotations, decorators,
``__all__`` and what only a type checker runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Mutant", "mutants_of"]

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: where it is, what was there and what is there now.

    ``number`` and ``variant`` tell which node of ``source`` is changed into what.
    """

    line: int
    place: str
    before: str
    after: str
    source: str
    number: int
    variant: int

    @property
    def name(self) -> str:
        """What tells it from the others of its module, also after lines have moved."""
        return f"{self.place}: {self.before} -> {self.after}"

    def tree(self) -> ast.Module:
        """The whole module with the fault in it."""
        harmed = ast.parse(self.source)
        _, _, old = list(_places(harmed))[self.number]
        _replace(harmed, old, list(_changed(old))[self.variant])
        return ast.fix_missing_locations(harmed)


def mutants_of(source: str) -> Iterator[Mutant]:
    """Every fault of a module's source, in the order of its text."""
    for number, (place, statement_line, node) in enumerate(_places(ast.parse(source))):
        line = getattr(node, "lineno", statement_line)
        for variant, new in enumerate(_changed(node)):
            before, after = _short(ast.unparse(node)), _short(ast.unparse(new))
            yield Mutant(line, place, before, after, source, number, variant)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:60]} ... {line[-25:]}"


def _places(tree: ast.Module) -> Iterator[tuple[str, int, ast.AST]]:
    """Every node that may be harmed, with the qualified name of its function or class."""
    yield from _inside(tree, "", 1)


def _inside(node: ast.AST, place: str, line: int) -> Iterator[tuple[str, int, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_left_alone(child):
                continue
            inner = place + _step(child)
            at = getattr(child, "lineno", line)
            yield inner.removeprefix(".").removesuffix(".<locals>") or "module", at, child
            yield from _inside(child, inner, at)


def _step(node: ast.AST) -> str:
    """What a definition adds to the name of the place, as in ``__qualname__``."""
    if isinstance(node, ast.ClassDef):
        return f".{node.name}"
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        return f".{getattr(node, 'name', '<lambda>')}.<locals>"
    return ""


def _is_left_alone(node: ast.AST) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """What the node may be replaced by."""
    if isinstance(node, ast.expr):
        yield from _changed_expression(node)
    elif isinstance(node, ast.Return):
        if node.value is not None and ast.unparse(node.value) != "None":
            yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Raise, ast.AugAssign, ast.Break, ast.Continue)) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass()
    yield from _changed_condition(node)


def _changed_condition(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, (ast.If, ast.While)):
        if _is_bare(node.test):
            yield _with(node, test=_negated(node.test))
    elif isinstance(node, ast.comprehension):
        for place, condition in enumerate(node.ifs):
            if _is_bare(condition):
                ifs = [*node.ifs[:place], _negated(condition), *node.ifs[place + 1 :]]
                yield _with(node, ifs=ifs)


def _changed_expression(node: ast.expr) -> Iterator[ast.AST]:
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            ops = [*node.ops[:place], _COMPARISONS[type(operator)](), *node.ops[place + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS and not _is_type(node):
        yield ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield ast.BoolOp(other, node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = not node.value if isinstance(node.value, bool) else node.value + 1
        yield ast.Constant(value)


def _is_bare(condition: ast.expr) -> bool:
    """Whether nothing else changes what the condition says."""
    return not isinstance(condition, (ast.Compare, ast.BoolOp, ast.UnaryOp))


def _negated(condition: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), condition)


def _with(node: ast.AST, **changed: object) -> ast.AST:
    return type(node)(**{**dict(ast.iter_fields(node)), **changed})


def _is_type(node: ast.BinOp) -> bool:
    """``int | None``, outside an annotation."""
    return isinstance(node.op, ast.BitOr) and "None" in ast.unparse(node)


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            if value is old:
                setattr(node, field, new)
                return
            if isinstance(value, list):
                for position, one in enumerate(value):
                    if one is old:
                        value[position] = new
                        return
    raise AssertionError("the node is not in the tree")

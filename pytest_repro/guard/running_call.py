"""Which call a frame is in the middle of.

By the positions that Python 3.11 keeps of its code; before it by the instructions themselves.
"""

from __future__ import annotations

import ast
import dis
import itertools
import linecache
from collections.abc import Callable
from types import FrameType

__all__ = ["is_calling"]


def is_calling(frame: FrameType, name: str) -> bool:
    """Whether what ``frame`` calls right now is called ``name``, as a method or by another name.

    Where neither positions nor instructions tell, a line that calls such a method decides.
    """
    function = _called(frame)
    if isinstance(function, ast.Attribute):
        return function.attr == name
    if isinstance(function, ast.Name):
        known = frame.f_locals.get(function.id, frame.f_globals.get(function.id))
        # The position of a call over several lines begins at the method's name.
        return function.id == name or getattr(known, "__name__", "") == name
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    return function is None and f".{name}(" in line


def _called(frame: FrameType) -> ast.expr | None:
    """The expression that stands before the parentheses of the running call."""
    code = frame.f_code
    if not hasattr(code, "co_positions"):
        return _called_before_3_11(frame)
    places = itertools.islice(code.co_positions(), frame.f_lasti // 2, None)
    first, last, begin, end = next(places, (None,) * 4)
    if first is None or last is None or begin is None or end is None:
        return None
    lines = [linecache.getline(code.co_filename, at).encode() for at in range(first, last + 1)]
    lines[-1] = lines[-1][:end]  # columns count bytes
    lines[0] = lines[0][begin:]
    try:
        call = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return call.func if isinstance(call, ast.Call) else None


_ABOVE: dict[str, Callable[[int], int]] = {
    "CALL_METHOD": lambda count: count,
    "CALL_FUNCTION": lambda count: count,
    "CALL_FUNCTION_KW": lambda count: count + 1,  # the names of its keywords
    "CALL_FUNCTION_EX": lambda flags: 1 + (flags & 1),  # all arguments are one tuple and one dict
}
"""How much lies on the stack above the function, by the instruction that calls it."""
_NAMES = frozenset({"LOAD_NAME", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_CLASSDEREF"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_JUMPS = frozenset({*dis.hasjrel, *dis.hasjabs})


def _called_before_3_11(frame: FrameType) -> ast.expr | None:
    """The same by the instructions; ``None`` where an argument has a branch or a loop of its own.

    Source: documentation of ``dis`` in Python 3.10: what a call finds on the stack.
    """
    before = [one for one in dis.get_instructions(frame.f_code) if one.offset <= frame.f_lasti]
    call = before.pop()
    if call.opname not in _ABOVE:
        return None
    surplus = _ABOVE[call.opname](call.arg or 0)
    for one in reversed(before):
        # What the instructions after this one left on the stack is as much as lies above it.
        if surplus == 0:
            return _pushed(one)
        if one.opcode in _JUMPS or one.is_jump_target:
            return None
        surplus -= dis.stack_effect(one.opcode, one.arg)
    return None


def _pushed(instruction: dis.Instruction) -> ast.expr:
    if instruction.opname in _ATTRIBUTES:
        return ast.Attribute(ast.Constant(None), str(instruction.argval), ast.Load())
    if instruction.opname in _NAMES:
        return ast.Name(str(instruction.argval), ast.Load())
    return ast.Constant(None)  # an expression without a name

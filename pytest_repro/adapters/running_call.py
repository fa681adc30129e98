"""Which call a frame is in the middle of, by the positions that Python 3.11 keeps of its code."""

from __future__ import annotations

import ast
import itertools
import linecache
from types import FrameType

__all__ = ["is_calling"]


def is_calling(frame: FrameType, name: str) -> bool:
    """Whether what ``frame`` calls right now is called ``name``, as a method or by another name.

    Before Python 3.11, or where the source is not at hand, a line that calls such a method decides.
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
        return None
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

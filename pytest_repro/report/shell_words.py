"""Owns quoting: text from tests as one word of a command that a person copies into a shell."""

from __future__ import annotations

__all__ = ["shell_word"]


def shell_word(text: str) -> str:
    """``text`` in single quotes, as a POSIX shell reads it back, whatever stands in it."""
    return "'" + text.replace("'", "'\\''") + "'"

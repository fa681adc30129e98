"""The terminal itself instead of what pytest captures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["without_capture"]


@contextmanager
def without_capture(config: Any) -> Iterator[None]:
    """Suspend pytest's capture, as pdb does."""
    capture = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()

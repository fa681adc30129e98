"""`--repro-update=ask`: shows what a recording would change and asks, on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_repro.errors import UsageError
from pytest_repro.plugin.xdist import is_distributed

if TYPE_CHECKING:
    from pytest_repro.model.outcome import Candidate

_NEXT = "pytest --repro-report DIR, then pytest-repro accept DIR --interactive"


def require_terminal(config: Any) -> None:
    """Refuse if there is no terminal to ask on.

    Raises:
        UsageError: Workers run the tests, or there is no terminal.
    """
    if is_distributed(config.option):
        raise UsageError(
            "--repro-update=ask needs a terminal, and workers have none",
            next_step=f"leave -n and --dist out, or {_NEXT}",
        )
    with without_capture(config):
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(
                "--repro-update=ask needs a terminal, and there is none",
                next_step=f"pytest --repro-update, or {_NEXT}",
            )


def terminal_question(config: Any) -> Callable[[Candidate], bool]:
    """What asks about one candidate after another, outside of pytest's capture."""
    from pytest_repro.report.changes import Questions, candidate_lines

    def show(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def read() -> str:
        return sys.stdin.readline()  # another object whenever capture is on

    questions = Questions(read, show)

    def wants(one: Candidate) -> bool:
        with without_capture(config):
            if not questions.is_settled:
                show("\n" + "\n".join(candidate_lines(one)) + "\n")
            return questions.wants(one)

    return wants


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

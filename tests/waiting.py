"""Code that may wait for ever, ended after a while."""

from __future__ import annotations

import contextlib
import signal

__all__ = ["OutOfTime", "at_most_s"]


class OutOfTime(BaseException):
    """The time is over; no fault that the code under test could catch by ``except Exception``."""


@contextlib.contextmanager
def at_most_s(seconds):
    """Raise `OutOfTime` in the body when it takes longer; in the main thread only."""

    def end(number, frame):
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

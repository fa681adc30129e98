"""Which record of one trace stands for which of the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Generic, TypeVar

__all__ = ["Pair", "align"]

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Pair(Generic[_Record]):
    """A record of each trace that stand for the same thing, or one alone.

    Attributes:
        index: Place in the baseline; for a record that only this run has, its place there.
        moved: For a record that is alone: the other trace has it too, but elsewhere.
    """

    index: int
    baseline: _Record | None
    observed: _Record | None
    moved: bool = False

    @property
    def record(self) -> _Record:
        """The record, the baseline's where both exist."""
        found = self.observed if self.baseline is None else self.baseline
        assert found is not None
        return found


def align(
    baseline: Sequence[_Record], observed: Sequence[_Record], key: Callable[[_Record], Hashable]
) -> tuple[Pair[_Record], ...]:
    """Pairs in order of time; a record that the other trace lacks stands alone where it happened.

    Records are the same thing when their keys are equal and they lie in the same order.
    """
    old, new = [key(record) for record in baseline], [key(record) for record in observed]
    if old == new:
        both = enumerate(zip(baseline, observed, strict=True))
        return tuple(Pair(at, one, other) for at, (one, other) in both)
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    changed = [block[1:] for block in blocks if block[0] != "equal"]
    lone_old = {k for start, end, _, _ in changed for k in old[start:end]}
    lone_new = {k for _, _, start, end in changed for k in new[start:end]}
    pairs: list[Pair[_Record]] = []
    for word, i, i_end, j, j_end in blocks:
        if word == "equal":
            matched = enumerate(zip(baseline[i:i_end], observed[j:j_end], strict=True))
            pairs.extend(Pair(i + at, one, other) for at, (one, other) in matched)
            continue
        pairs.extend(Pair(at, baseline[at], None, old[at] in lone_new) for at in range(i, i_end))
        pairs.extend(Pair(at, None, observed[at], new[at] in lone_old) for at in range(j, j_end))
    return tuple(pairs)

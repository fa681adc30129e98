"""The draw log, its digest, and the first difference between two of them, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from pytest_repro.model.baseline import DrawLogDifference
from pytest_repro.model.ids import Digest, Draw, DrawLog, FactDifference
from pytest_repro.tensors.record import digest_text

if TYPE_CHECKING:
    from pytest_repro.model.ids import Draw

RAW_MOVE = "bit_generator"
"""Method of an entry for a generator that moved without a draw."""

_Item = TypeVar("_Item")

_DESCRIPTION = re.compile(r"(?P<kind>[\w.]+)\((?P<seed>[^()]*)\)\Z")


def compare_draw_logs(
    baseline: DrawLog, observed: DrawLog, facts: Sequence[FactDifference] | None = None
) -> DrawLogDifference | None:
    """The first difference between two draw logs, or ``None`` if they are equal.

    A draw is extra, absent or moved, and not changed, if the calls after it agree again. Seed or
    kind of a generator comes first if it explains the first differing draw. ``facts`` that may
    explain different bits are named, numpy's version first.
    """
    if (baseline.generators, baseline.draws) == (observed.generators, observed.draws):
        return None
    pair = _Pair(baseline, observed)
    position = pair.parts_at()
    found = pair.generators_at()
    if found is not None and found <= position:
        return pair.difference(found, "generator", _generators_sentence(baseline, observed))
    kind, sentence = _classified(pair, position, facts or ())
    return pair.difference(position, kind, sentence)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two draw logs that differ."""

    baseline: DrawLog
    observed: DrawLog

    def parts_at(self) -> int:
        """Index of the first draw that differs; the end if none does."""
        pairs = zip(self.baseline.draws, self.observed.draws, strict=False)
        same = len(self.baseline.draws), len(self.observed.draws)
        return next((at for at, (one, two) in enumerate(pairs) if one != two), min(same))

    def generators_at(self) -> int | None:
        """Index of the first draw by a generator with another description."""
        ours, theirs = self.baseline.generators, self.observed.generators
        if ours == theirs:
            return None
        firsts = [
            at
            for draws in self._draws()
            for at, draw in enumerate(draws)
            if _get(ours, draw.generator) != _get(theirs, draw.generator)
        ]
        return min(firsts, default=min(map(len, self._draws())))

    def difference(self, position: int, kind: str, sentence: str) -> DrawLogDifference:
        one, two = (_get(draws, position) for draws in self._draws())
        return DrawLogDifference(position, kind, sentence, one, two)

    def _draws(self) -> tuple[tuple[Draw, ...], tuple[Draw, ...]]:
        return self.baseline.draws, self.observed.draws


def _classified(pair: _Pair, at: int, facts: Sequence[FactDifference]) -> tuple[str, str]:
    ours, theirs = pair.baseline.draws, pair.observed.draws
    moved = _moved(ours, theirs, at)
    if moved is not None:
        return moved
    where = f"draw {at + 1} of {len(ours)}"
    one, two = ours[at], theirs[at]
    changed = _changed_call(one, two)
    if changed is not None:
        return changed[0], f"{where}: {changed[1]}"
    if _calls(ours) != _calls(theirs):
        return "bits", f"{where}: same call, different bits{_because(facts)}"
    return "bits", _bits_sentence(where, facts)


def _bits_sentence(where: str, facts: Sequence[FactDifference]) -> str:
    return f"same calls, different bits{_because(facts) or f' (first in {where})'}"


def _because(facts: Sequence[FactDifference]) -> str:
    numpy = [fact for fact in facts if fact.name in ("numpy", "numpy.version")]
    named = [
        f"{fact.name.removesuffix('.version')} {fact.baseline or 'absent'}"
        f" -> {fact.observed or 'absent'}"
        for fact in (numpy or facts)[:2]
    ]
    return f": {', '.join(named)}" if named else ""


_Call = tuple[int, str, tuple[int, ...], str, str]


def _calls(draws: Sequence[Draw]) -> list[_Call]:
    return [(d.generator, d.method, d.shape, d.dtype, d.arguments) for d in draws]


def _moved(ours: Sequence[Draw], theirs: Sequence[Draw], at: int) -> tuple[str, str] | None:
    """Extra, absent or swapped at ``at``, or ``None`` if the draw itself changed."""
    one, two = _calls(ours), _calls(theirs)
    count = len(two) - len(one)
    if at < min(len(one), len(two)) and one[at] == two[at]:
        # The same call with different bits: no draw before it is extra or absent.
        count = 0
    if count > 0 and two[at + count :] == one[at:]:
        return "extra", _count_sentence(count, "more", at, theirs[at])
    if count < 0 and one[at - count :] == two[at:]:
        return "absent", _count_sentence(-count, "fewer", at, ours[at])
    other = _partner(ours, theirs, at)
    if other is not None:
        return "swapped", f"draws {at + 1} and {other + 1} swapped places"
    return _shifted(count, ours, theirs, at)


def _shifted(
    count: int, ours: Sequence[Draw], theirs: Sequence[Draw], at: int
) -> tuple[str, str] | None:
    """One draw more or fewer here, if the next calls agree and others differ later."""
    one, two = _calls(ours), _calls(theirs)
    if count > 0 and two[at + 1 : at + 3] == one[at : at + 2]:
        return "extra", _count_sentence(1, "more", at, theirs[at])
    if count < 0 and one[at + 1 : at + 3] == two[at : at + 2]:
        return "absent", _count_sentence(1, "fewer", at, ours[at])
    return None


def _partner(ours: Sequence[Draw], theirs: Sequence[Draw], at: int) -> int | None:
    """The later draw that swapped places with this one, if everything else agrees."""
    if len(ours) != len(theirs):
        return None
    one, two = _calls(ours), _calls(theirs)
    if one[at] == two[at]:
        return _exchanged(ours, theirs, at)
    return _exchanged(one, two, at)


def _exchanged(one: Sequence[object], two: Sequence[object], at: int) -> int | None:
    """Index of the item that swapped places with the one at ``at``, if all others are equal."""
    for other in range(at + 1, len(one)):
        swapped = one[at] == two[other] and one[other] == two[at]
        between = one[at + 1 : other] == two[at + 1 : other]
        if swapped and between and one[other + 1 :] == two[other + 1 :]:
            return other
    return None


def _count_sentence(count: int, word: str, at: int, first: Draw) -> str:
    place = f"after draw {at}" if at else "before draw 1"
    if count == 1 and first.method == RAW_MOVE:
        more = "also" if word == "more" else "no longer"
        return f"the bit generator was {more} moved without a draw {place}"
    draws = "one draw" if count == 1 else f"{count} draws"
    return f"{draws} {word} {place}"


def _changed_call(one: Draw, two: Draw) -> tuple[str, str] | None:
    """Kind and words of the first field of a call that differs."""
    if one.generator != two.generator:
        return "generator", f"{one.method} from generator {one.generator} became {two.generator}"
    if one.method != two.method:
        return "method", f"{one.method} {one.shape} became {two.method} {two.shape}"
    if one.shape != two.shape:
        return "shape", f"{one.method} {one.shape} became {two.shape}"
    if one.dtype != two.dtype:
        return "dtype", f"{one.method} {one.shape} {one.dtype} became {two.dtype}"
    if one.arguments != two.arguments:
        return "arguments", f"{one.method}({one.arguments}) became {two.method}({two.arguments})"
    return None


def _generators_sentence(baseline: DrawLog, observed: DrawLog) -> str:
    ours, theirs = baseline.generators, observed.generators
    number = _first_unequal(ours, theirs)
    if number >= min(len(ours), len(theirs)):
        texts = (theirs if len(theirs) > len(ours) else ours)[number:]
        return f"{_generators(len(ours))} became {len(theirs)}: {', '.join(texts[:3])}" + (
            ", ..." if len(texts) > 3 else ""
        )
    sentence = _described(ours[number], theirs[number])
    alone = len(ours) == len(theirs) == 1
    return sentence if alone else f"generator {number + 1} of {len(ours)}: {sentence}"


def _described(one: str, two: str) -> str:
    ours, theirs = _DESCRIPTION.match(one), _DESCRIPTION.match(two)
    if ours is None or theirs is None:
        return f"{one} became {two}"
    if ours["kind"] != theirs["kind"] and ours["seed"] == theirs["seed"]:
        return f"bit generator {ours['kind']} became {theirs['kind']}"
    if ours["kind"] == theirs["kind"] and "," not in ours["seed"] + theirs["seed"]:
        return f"seed {ours['seed']} became {theirs['seed']}"
    return f"{one} became {two}"


def _generators(count: int) -> str:
    return "1 generator" if count == 1 else f"{count} generators"


def _first_unequal(ours: Sequence[str], theirs: Sequence[str]) -> int:
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((at for at, (one, two) in pairs if one != two), min(len(ours), len(theirs)))


def _get(items: Sequence[_Item], position: int) -> _Item | None:
    return items[position] if position < len(items) else None


class DrawLogHasher:
    """SHA-256 over the canonical text of a draw log, draw by draw.

    Hashed by `digest_text`: a line ``generator <text>`` for each generator, then a line with the
    SHA-256 of all draws, each a line of its fields joined by tabs.
    """

    def __init__(self) -> None:
        self._draws = sha256()

    def add(self, draw: Draw) -> None:
        """Add the next draw."""
        shape = ",".join(str(length) for length in draw.shape)
        line = (str(draw.generator), draw.method, shape, draw.dtype, draw.arguments, draw.digest)
        # repr escapes tabs and line ends, so no text looks like the next field.
        self._draws.update(("\t".join(map(repr, line)) + "\n").encode("utf-8", "surrogatepass"))

    def digest(self, generators: Sequence[str]) -> Digest:
        """The digest of these generators and all draws so far."""
        lines = [f"generator {text!r}\n" for text in generators]
        return digest_text(f"ledger 1\n{''.join(lines)}draws {self._draws.hexdigest()}\n")


def make_draw_log(generators: Sequence[str], draws: Sequence[Draw]) -> DrawLog:
    """The draw log of these generators and draws, with its digest, as a `NoiseBook` gives it."""
    hasher = DrawLogHasher()
    for draw in draws:
        hasher.add(draw)
    return DrawLog(tuple(generators), tuple(draws), hasher.digest(generators))


EMPTY_DRAW_LOG = make_draw_log((), ())
"""Of a test without a generator."""

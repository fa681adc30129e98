"""Measures whether one key's envelope may serve the others; writes docs/evidence/envelope_adoption.md.

Run: ``python -m docs.measure.envelope_adoption`` from the root of the checkout; needs no MindSpore. It
reads the stored baselines of the model tests, whose sixteen keys were each recorded with an envelope
of their own, and judges every key by every other with the envelope of a third.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import permutations
from pathlib import Path

from benchmarks.page import table
from pytest_repro.analysis.agreement import leaf_distances, simulate_verdict
from pytest_repro.model.baseline import Baseline, Envelope, TensorSummary
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.model.words import Distance, Verdict
from pytest_repro.store.store import Store
from pytest_repro.tolerance.bounds import DEFAULT_FACTOR
from pytest_repro.tolerance.choose import Chosen, choose_tolerance
from pytest_repro.tolerance.policy import Policy, resolve

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "evidence" / "envelope_adoption.md"
FACTORS = (4.0, 3.0, 2.0, 1.5, 1.0)
Held = Mapping[EnvironmentKey, Baseline]


@dataclass(frozen=True, slots=True)
class Row:
    """What one check says of adopting: spread of its envelopes, and verdicts by factor."""

    check: CheckId
    keys: int
    spread: float
    own: Counter[tuple[float, Verdict]]
    adopted: Counter[tuple[float, Verdict]]


def main() -> None:
    store = Store(ROOT / "baselines", root=ROOT)
    rows = [measure(store, check, held) for check, held in sorted(stored(store).items())]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("\n".join(page(rows)) + "\n", encoding="utf-8")


def stored(store: Store) -> dict[CheckId, dict[EnvironmentKey, Baseline]]:
    found: dict[CheckId, dict[EnvironmentKey, Baseline]] = {}
    keys = store.keys()
    for key in keys:
        for module in store.modules(key):
            for one in store.manifest(key, module):
                found.setdefault(one.check, {})[key] = one
    return found


def measure(store: Store, check: CheckId, held: Held) -> Row:
    """Judge each key by each other of unequal bits, with every key's envelope in turn."""
    tensor = cache(store.tensor)
    largest = [
        max(one.envelope.rel_l2_max for one in b.tensors if one.envelope) for b in held.values()
    ]
    own: Counter[tuple[float, Verdict]] = Counter()
    adopted: Counter[tuple[float, Verdict]] = Counter()
    verdicts: dict[object, Verdict] = {}
    for before, after in permutations(held, 2):
        one, other = held[before], held[after]
        if one.index.value == other.index.value:
            continue
        distances = leaf_distances(one.tensors, other.tensors, tensor)
        for source, factor in ((s, f) for s in held for f in FACTORS):
            envelopes = {s.path: s.envelope for s in held[source].tensors}
            place = (one.index.value, other.index.value, source, factor)
            if place not in verdicts:
                verdicts[place] = simulate_verdict(
                    distances,
                    one.tensors,
                    other.tensors,
                    tensor,
                    partial(_choose, check, envelopes, factor),
                )
            (own if source == before else adopted)[factor, verdicts[place]] += 1
    return Row(check, len(held), max(largest) / min(largest), own, adopted)


def _choose(
    check: CheckId, envelopes: Mapping[str, Envelope | None], factor: float, summary: TensorSummary
) -> Chosen:
    resolved = replace(resolve(Policy(), str(check)), factor=factor)
    changed = replace(summary, envelope=envelopes[summary.path])
    return choose_tolerance((), resolved, Distance.ANY, changed, "")


def page(rows: list[Row]) -> Iterator[str]:
    yield "# May one key's envelope serve the others?"
    yield ""
    yield "Written by `python -m docs.measure.envelope_adoption`; not to be edited."
    yield ""
    keys = max(row.keys for row in rows)
    yield (
        f"{len(rows)} checks under {keys} keys (four releases of MindSpore on four kinds of "
        "hardware), each recorded with an envelope of its own, from equal draws, weights and "
        "settings. Each key is judged by each other of unequal bits: once with the baseline's own "
        "envelope, and once with that of every other key. All of them ran the same code, so every "
        "drift is a false alarm."
    )
    yield ""
    columns = ("factor", "own: judged", "own: false alarms", "adopted: judged", "adopted: false")
    yield from table(
        columns,
        [
            (f"{factor:g}", *_counts(rows, "own", factor), *_counts(rows, "adopted", factor))
            for factor in FACTORS
        ],
    )
    yield ""
    spread = max(row.spread for row in rows)
    false = int(_counts(rows, "adopted", DEFAULT_FACTOR)[1])
    yield (
        f"The envelopes of one check differ by at most {spread:.1f} times between keys. With the "
        f"default factor of {DEFAULT_FACTOR:g} an adopted envelope raises {false} false alarms."
    )
    yield ""
    yield from table(
        ("check", "largest by smallest envelope", "false alarms with an adopted one, factor 1"),
        [
            (str(row.check), f"{row.spread:.2f}", str(row.adopted[1.0, Verdict.DRIFT]))
            for row in rows
        ],
    )


def _counts(rows: list[Row], which: str, factor: float) -> tuple[str, str]:
    found: list[Counter[tuple[float, Verdict]]] = [getattr(row, which) for row in rows]
    judged = sum(n for one in found for (f, _), n in one.items() if f == factor)
    return f"{judged:,}", f"{sum(one[factor, Verdict.DRIFT] for one in found):,}"


if __name__ == "__main__":
    main()

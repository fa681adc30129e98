"""Writes docs/evidence/kernels.md: which kernels change between MindSpore releases and SIMD levels.

Run: ``python docs/make_kernels.py PYTHON...``, one interpreter for each MindSpore release. Each is
asked ``pytest-repro kernels --here --json`` under three SIMD levels. The page then asks the recorded
traces of this repository whether the kernels that differ explain the checks that differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pytest_repro.analysis.agreement import KernelTable, kernel_table
from pytest_repro.environment.kernels import Kernels, differing
from pytest_repro.environment.key import parse_hardware, parse_key
from pytest_repro.frameworks.kernels import used_by
from pytest_repro.model.baseline import CellRecord, Trace
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.report.matrix import letters
from pytest_repro.store.select import entries_by_check
from pytest_repro.store.store import Store
from pytest_repro.trace.records import trace_from_rows

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "evidence" / "kernels.md"
LEVELS = ("SSE41", "AVX", "AVX2")


@dataclass(frozen=True, slots=True)
class Change:
    """A check whose recorded bits differ between two environments, and where that begins."""

    check: CheckId
    cell: CellRecord | None


def measured(pythons: Sequence[str]) -> dict[str, Kernels]:
    """The kernels of every interpreter under every SIMD level."""
    found: dict[str, Kernels] = {}
    for python in pythons:
        for level in LEVELS:
            limits = {"ONEDNN_MAX_CPU_ISA": level, "DNNL_MAX_CPU_ISA": level, "GLOG_v": "3"}
            done = subprocess.run(
                [python, "-m", "pytest_repro.cli", "kernels", "--here", "--json"],
                env={**os.environ, **limits},
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
            )
            for name, rows in json.loads(done.stdout)["kernels"].items():
                found[name.removeprefix("here: ")] = dict(rows)
    return found


def page(found: dict[str, Kernels]) -> str:
    """The page as text."""
    ordered = {key: found[key] for key in sorted(found, key=_order)}
    table = kernel_table(ordered)
    store = Store(ROOT / "baselines", root=ROOT)
    return "\n".join([*_head(table), *_table(table), "", *_pairs(ordered, store)]) + "\n"


def _order(key: str) -> tuple[int, tuple[int, ...]]:
    hardware, framework = key.split("/")
    version = framework.partition("-")[2]
    level = [one.lower() for one in LEVELS].index(parse_hardware(hardware).simd)
    return level, tuple(int(part) for part in version.split("."))


def _head(table: KernelTable) -> Iterator[str]:
    yield "# Which kernels change bits between MindSpore releases and SIMD levels"
    yield ""
    yield "Written by `python docs/make_kernels.py PYTHON...`; do not edit. Measured on one machine, an"
    yield "x86-64 CPU with two cores and 512 KiB of L2 cache per core. No Ascend device was at hand."
    yield ""
    same = sum(not row.differs for row in table.rows)
    yield f"{len(table.rows)} kernels, {same} of them with equal bits in all {len(table.keys)} environments."
    yield "Equal letters in a row are equal bits; a row is shown if any bits differ."
    yield ""
    yield from (f"{number}. `{key}`" for number, key in enumerate(table.keys, 1))
    yield ""


def _table(table: KernelTable) -> Iterator[str]:
    yield f"| kernel | {' | '.join(str(number) for number in range(1, len(table.keys) + 1))} |"
    yield "| --- |" + " --- |" * len(table.keys)
    for row in table.rows:
        if row.differs:
            numbers = {key: number for number, group in enumerate(row.groups) for key in group}
            yield f"| `{row.name}` | {' | '.join(letters(numbers.get(key)) for key in table.keys)} |"


def _pairs(found: dict[str, Kernels], store: Store) -> Iterator[str]:
    yield "## Do they explain the checks that differ?"
    yield ""
    yield "For two releases on one SIMD level, and for two SIMD levels of one release: the kernels that"
    yield "differ, the recorded checks that differ, and the cells in which the recorded traces differ"
    yield "first (equal inputs, other outputs). A cell is explained if a kernel that it uses differs."
    yield "The column L2 says on which machine the baselines were recorded: with 512k, the machine on"
    yield "which the kernels were measured; with 1024k, another one, whose kernels were not measured."
    yield ""
    yield "| environments | L2 | kernels that differ | checks that differ | first cells | explained |"
    yield "| --- | --- | --- | --- | --- | --- |"
    pairs = [
        _pair(first, second, differing(found[first], found[second]), store)
        for first, second in combinations(found, 2)
        if sum(a != b for a, b in zip(first.split("/"), second.split("/"), strict=True)) == 1
    ]
    yield from (one.row for one in pairs)
    yield ""
    for where in sorted({one.l2 for one in pairs}, reverse=True):
        mine = [one for one in pairs if one.l2 == where]
        total, explained = sum(one.changed for one in mine), sum(one.explained for one in mine)
        yield f"L2 {where}: {explained} of {total} differing checks are explained."
    left = [one for one in pairs if one.unexplained]
    yield ""
    yield "Not explained:" if left else "No difference is left unexplained."
    if left:
        yield ""
        yield from (f"- {one.name} (L2 {one.l2}): {one.unexplained}" for one in left)


@dataclass(frozen=True, slots=True)
class Explained:
    """A pair of environments as a row, and what its kernels do not explain."""

    name: str
    l2: str
    row: str
    changed: int
    explained: int
    unexplained: str


def _pair(first: str, second: str, kernels: Sequence[str], store: Store) -> Explained:
    l2, keys = _recorded(store, parse_key(first), parse_key(second))
    changes = list(_changes(store, *keys))
    open_ones = [one for one in changes if not _explains(kernels, one.cell)]
    names = sorted({name.rpartition(".")[0] for name in kernels})
    explained = len(changes) - len(open_ones)
    row = (
        f"| `{first}` `{second}` | {l2} | {', '.join(names) or 'none'} | {len(changes)} | "
        f"{_cells(changes) or '-'} | {explained} of {len(changes)} |"
    )
    return Explained(f"`{first}` `{second}`", l2, row, len(changes), explained, _cells(open_ones))


def _recorded(
    store: Store, first: EnvironmentKey, second: EnvironmentKey
) -> tuple[str, tuple[EnvironmentKey, EnvironmentKey]]:
    """The keys under which both were recorded, and their L2 size: this one, or another one."""
    keys = set(store.keys())
    if {first, second} <= keys:
        return parse_hardware(first.hardware).l2, (first, second)
    for size in sorted({parse_hardware(one.hardware).l2 for one in keys}):
        one, two = (
            EnvironmentKey(f"{parse_hardware(key.hardware).name}-l2_{size}", key.framework)
            for key in (first, second)
        )
        if {one, two} <= keys:
            return size, (one, two)
    return "none", (first, second)


def _cells(changes: Sequence[Change]) -> str:
    counted = Counter(_class(one) for one in changes)
    return ", ".join(f"{words} ({count})" for words, count in counted.most_common())


def _class(change: Change) -> str:
    if change.cell is None:
        return "not recorded"
    inputs = change.cell.inputs
    shape = "x".join(map(str, inputs[0].shape)) if inputs else ""
    return f"{change.cell.class_name} {inputs[0].dtype if inputs else ''} {shape}".strip()


def _explains(kernels: Sequence[str], cell: CellRecord | None) -> bool:
    if cell is None:
        return False
    dtypes = {one.dtype for one in (*cell.inputs, *cell.outputs)}
    return bool(used_by(cell.class_name, dtypes, kernels))


def _changes(store: Store, first: EnvironmentKey, second: EnvironmentKey) -> Iterator[Change]:
    for check, held in entries_by_check(store, (first, second)).items():
        if len(held) == 2 and held[first].value != held[second].value:
            yield Change(
                check, _first_cell(_trace(store, first, check), _trace(store, second, check))
            )


def _trace(store: Store, key: EnvironmentKey, check: CheckId) -> Trace | None:
    digest = store.baseline(key, check).trace
    rows = None if digest is None else store.rows(digest)
    return None if rows is None else trace_from_rows(rows)


def _first_cell(before: Trace | None, now: Trace | None) -> CellRecord | None:
    if before is None or now is None:
        return None
    for old, new in zip(before.cells, now.cells, strict=False):
        if _digests(old.inputs) == _digests(new.inputs) and _digests(old.outputs) != _digests(
            new.outputs
        ):
            return old
    return None


def _digests(signals: Sequence[object]) -> list[object]:
    return [getattr(one, "digest", one) for one in signals]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python docs/make_kernels.py PYTHON...")
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(measured(sys.argv[1:])), encoding="utf-8")
    print(f"wrote {PAGE}")

"""The commands that delete: `prune` for checks without a test, `gc` for unused files."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_repro.environment.facts import KERNELS
from pytest_repro.errors import UsageError
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.store import inventory
from pytest_repro.store.inventory import FileKind, FoundFile
from pytest_repro.store.select import Entry
from pytest_repro.store.store import Store

Track = Callable[[Iterable[FoundFile], str], Iterable[FoundFile]]


@dataclass(frozen=True, slots=True)
class Prunable:
    """What pruning would delete, and what it keeps because it is unsure."""

    orphans: tuple[Entry, ...]
    unsure: tuple[CheckId, ...]


@dataclass(frozen=True, slots=True)
class Garbage:
    """Files that nothing needs; ``young_count`` more may belong to a recording in progress."""

    tensors: tuple[FoundFile, ...]
    temporaries: tuple[FoundFile, ...]
    young_count: int

    @property
    def files(self) -> tuple[FoundFile, ...]:
        return self.tensors + self.temporaries


def find_prunable(
    store: Store, keys: Iterable[EnvironmentKey], collection: Collection, root: Path
) -> Prunable:
    """The checks stored under ``keys`` whose test is gone.

    Raises:
        UsageError: The collection is not complete, or empty.
        BaselineError: A manifest cannot be used.
    """
    _require_complete(collection)
    stored = [
        Entry(baseline.check, key, baseline.index)
        for key in keys
        for module in store.modules(key)
        for baseline in store.manifest(key, module)
    ]
    owned = ownership_of((entry.check for entry in stored), collection, root)
    orphans = frozenset(owned.orphans)
    return Prunable(tuple(entry for entry in stored if entry.check in orphans), owned.unsure)


def _require_complete(collection: Collection) -> None:
    if collection.incomplete:
        raise UsageError(
            "the collection is not complete, so a missing test may still exist",
            facts=collection.incomplete[:8],
            next_step="repair or widen it until pytest --collect-only shows every test",
        )
    if not collection.tests:
        raise UsageError(
            "pytest collected no tests, so every baseline would be deleted",
            next_step="name the root folder of the tests: pytest-repro prune --root DIR",
        )


def prune(store: Store, orphans: Iterable[Entry]) -> int:
    """Delete entries from their manifests, and return how many; tensors stay until gc."""
    doomed: dict[tuple[EnvironmentKey, str], list[str]] = {}
    for entry in orphans:
        doomed.setdefault((entry.key, entry.check.module), []).append(entry.check.entry)
    return sum(store.remove(key, module, names) for (key, module), names in doomed.items())


def find_garbage(
    store: Store, *, now_s: float, least_age_s: float, track: Track = lambda items, _: items
) -> Garbage:
    """Tensors that no manifest names and temporary files that a killed run left.

    Files younger than ``least_age_s`` are kept: a recording writes tensors before it names them.

    Raises:
        BaselineError: A manifest cannot be read, so its tensors are unknown.
    """
    files = inventory.list_files(store.folder)
    named: set[str] = set()
    for file in track([one for one in files if one.kind is FileKind.MANIFEST], "manifests"):
        manifest = inventory.read_manifest(file, where=store.shown(file.path))
        for baseline in manifest.baselines:
            named |= _named_by(baseline)
    idle = [file for file in files if _is_idle(file, named)]
    old = [file for file in idle if now_s - file.modified_s >= least_age_s]
    return Garbage(
        tuple(file for file in old if file.kind in (FileKind.TENSOR, FileKind.RECORD)),
        tuple(file for file in old if file.kind is FileKind.TEMPORARY),
        len(idle) - len(old),
    )


def _is_idle(file: FoundFile, named: set[str]) -> bool:
    if file.kind in (FileKind.TENSOR, FileKind.RECORD):
        return file.digest not in named and not file.is_folder  # verify names it
    return file.kind is FileKind.TEMPORARY


def _named_by(baseline: Baseline) -> set[str]:
    """Digests of tensors, of draws stored for a replay, and of records."""
    digests = {str(one.digest) for one in baseline.tensors}
    digests |= {str(draw.digest) for draw in baseline.draw_log.draws}
    digests |= {str(one.digest) for one in baseline.weights}
    kernels = baseline.provenance.environment.value(KERNELS)
    records = (baseline.trace, baseline.configuration, baseline.step_envelope, kernels)
    return digests | {str(one) for one in records if one}


_PLUGIN = "pytest_repro.plugin.collecting"
_TAIL_LINES = 5


def collect_tests(root: Path, *, python: str) -> Collection:
    """What ``python -m pytest --collect-only`` finds from ``root``, with its ini file.

    The cache is off, so ``--lf`` in an ini file cannot narrow the collection.

    Raises:
        UsageError: pytest could not be run, or ended before it had collected.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "collection.json")
        command = [python, "-m", "pytest", "--collect-only", "-q", "--rootdir", str(root)]
        command += ["-p", "no:cacheprovider", "-p", _PLUGIN]
        try:
            run = subprocess.run(
                command,
                cwd=root,
                env={**os.environ, FILE_VARIABLE: str(file)},
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError as error:
            raise UsageError(f"cannot run {python}: {error}") from error
        if not file.is_file():
            raise UsageError(
                f"pytest ended with exit code {run.returncode} before it had collected",
                facts=tuple((run.stdout + run.stderr).strip().splitlines()[-_TAIL_LINES:]),
                next_step=f"{python} -m pytest --collect-only",
            )
        return _collection(file.read_text(encoding="utf-8"))


def _collection(text: str) -> Collection:
    document = json.loads(text)
    return Collection(
        frozenset(document["tests"]), frozenset(document["modules"]), tuple(document["incomplete"])
    )


FILE_VARIABLE = "PYTEST_REPRO_COLLECTION_FILE"
"""Environment variable that tells `pytest_repro.plugin.collecting` which file to write."""


@dataclass(frozen=True, slots=True)
class Collection:
    """What pytest collected, and whether that was everything.

    Attributes:
        tests: Node ids of all tests.
        modules: Paths of the test modules that were collected without errors, empty ones included.
        incomplete: Why something may be missing, one sentence for each reason; empty if nothing is.
    """

    tests: frozenset[str]
    modules: frozenset[str]
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ownership:
    """Which stored checks still have a test.

    Attributes:
        orphans: Their module is gone, or was collected and no longer defines their test.
        unsure: Their module exists but was not collected (skipped as a whole, ignored), or it
            defines their test, which was not collected (below an ``if``, removed by a plugin).
    """

    orphans: tuple[CheckId, ...]
    unsure: tuple[CheckId, ...]


def ownership_of(checks: Iterable[CheckId], collection: Collection, root: Path) -> Ownership:
    """Which of ``checks`` are orphans and which may still have a test.

    A check's name is known only when its test runs, so a check that its test no longer makes is
    not found here. A removed parameter makes an orphan, if the test has others. ``collection``
    must be complete.
    """
    orphans: list[CheckId] = []
    unsure: list[CheckId] = []
    collected = {_without_parameters(test) for test in collection.tests}
    defined: dict[str, frozenset[str]] = {}
    for check in sorted(set(checks)):
        test = f"{check.module}::{check.test}"
        if test in collection.tests:
            continue
        if check.module not in defined:
            defined[check.module] = _functions_of(root / check.module)
        name = _without_parameters(check.test).rpartition("::")[2]
        dropped = _without_parameters(test) not in collected and name in defined[check.module]
        skipped = check.module not in collection.modules and (root / check.module).exists()
        (unsure if dropped or skipped else orphans).append(check)
    return Ownership(tuple(orphans), tuple(unsure))


def _without_parameters(test: str) -> str:
    return test.partition("[")[0]


def _functions_of(module: Path) -> frozenset[str]:
    """Every function name that the module defines, under any condition."""
    try:
        tree = ast.parse(module.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return frozenset()
    return frozenset(
        one.name
        for one in ast.walk(tree)
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
    )

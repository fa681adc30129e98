"""The commands that delete or move: `prune`, `gc` and `rename`."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_repro.errors import UsageError
from pytest_repro.model.baseline import Baseline
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.store import inventory
from pytest_repro.store.inventory import FileKind, FoundFile
from pytest_repro.store.named import record_digests, tensor_digests
from pytest_repro.store.select import Entry, check_id, entries
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
    records = {str(digest) for digest, _ in record_digests(baseline)}
    return {*map(str, tensor_digests(baseline)), *records}


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


_LISTED = 8


@dataclass(frozen=True, slots=True)
class Renaming:
    """One stored check under one key, and its new id."""

    key: EnvironmentKey
    old: CheckId
    new: CheckId


def find_renamings(
    store: Store, keys: Iterable[EnvironmentKey], old: str, new: str
) -> tuple[Renaming, ...]:
    """The stored checks at or below ``old``, with ``new`` in its place.

    ``old`` is a whole id, or its beginning up to the end of a part: a folder (``tests/models``), a
    module, a class, a test (with all its parameters) or a check. ``new`` has the same form.

    Raises:
        UsageError: ``old`` selects nothing, ``new`` makes no id, or that id is stored already.
        BaselineError: A manifest cannot be used.
    """
    stored = [(one.key, one.check) for one in entries(store, keys)]
    begin = old.rstrip("/")
    found = tuple(
        Renaming(key, check, _renamed(str(check), begin, new.rstrip("/")))
        for key, check in stored
        if _begins(str(check), begin)
    )
    if not found:
        near = sorted({str(check) for _, check in stored if old in str(check)})
        raise UsageError(
            f"no stored check has the id {old!r} or begins with it",
            facts=tuple(f"{one} contains it" for one in near[:_LISTED]),
            next_step="name a folder, module, class, test or check as pytest-repro list shows it",
        )
    taken = sorted({str(one.new) for one in found if (one.key, one.new) in set(stored)})
    if taken:
        raise UsageError(
            f"{taken[0]!r} already has baselines",
            facts=tuple(taken[1:_LISTED]),
            next_step=f"delete those first: pytest-repro prune --check {shlex.quote(taken[0])}",
        )
    return found


def _begins(check: str, begin: str) -> bool:
    """Whether ``begin`` is the id, or ends where one of its parts ends."""
    return check == begin or check.startswith(tuple(begin + end for end in ("/", "::", "[")))


def _renamed(check: str, old: str, new: str) -> CheckId:
    text = new + check[len(old) :]
    renamed = check_id(text)
    if not (renamed.module.endswith(".py") and renamed.test and renamed.name):
        raise UsageError(
            f"{text!r} is not the id of a check",
            facts=(f"it would be the new id of {check}",),
            next_step="give the same part of an id twice: module and module, or test and test",
        )
    return renamed


def rename(store: Store, renamings: Sequence[Renaming]) -> int:
    """Give every check its new id, and return how many; its content does not change.

    The new entries are written before the old ones are deleted: a killed run leaves both.

    Raises:
        StoreError: The folder cannot be written.
        BaselineError: A manifest cannot be used.
    """
    moved: dict[tuple[EnvironmentKey, str], list[Baseline]] = {}
    gone: dict[tuple[EnvironmentKey, str], list[str]] = {}
    for one in renamings:
        baseline = replace(store.baseline(one.key, one.old), check=one.new)
        moved.setdefault((one.key, one.new.module), []).append(baseline)
        gone.setdefault((one.key, one.old.module), []).append(one.old.entry)
    for (key, module), baselines in moved.items():
        store.write(key, module, baselines, ())
    return sum(store.remove(key, module, names) for (key, module), names in gone.items())

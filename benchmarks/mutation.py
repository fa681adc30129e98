"""Plants small faults into the pure rooms, one at a time, and runs the tests that pass there.

``python benchmarks/mutation.py [--every N] [--log FILE] [MODULE ...] [--tests PATH ...]``: all
modules of `ROOMS` and `ALONE`, or these (``tensors/compare``); with ``--every``, each N-th mutant
of a module; with ``--tests``, by fewer tests, which is quicker and lists what only others kill as a
survivor. Needs coverage.
docs/evidence/mutation.md gets the figures and survivors, with what `mutation_reasons.json` says.

What counts:

- Which tests run a line is measured first, with every plugin but pytester off. They must pass
  without a fault.
- Killed: one of them fails, or pytest cannot load them. Out of time (said apart): the tests use
  ten times their CPU time and 10 s more, or never come back.
- Survived: all of them pass. A line that runs on import gets every test, in a process that loads
  the fault from the start. A line that no test runs gets all tests of its module; a module that no
  test loads survives whole.
- A survivor without a reason is a gap, and the exit status is 1. So it is for a reason whose
  mutant is killed or does not exist.

``--log`` keeps every result, and a second run goes on where the first stopped: a mutant of an
unchanged module stays killed, a survivor is tried again when a test or ``--tests`` has changed. A
new log starts from nothing.

Why not mutmut or cosmic-ray: mutmut 3.8 was tried and runs here. It makes none outside functions
or in a decorated one (properties, what is cached), where limits and tables stand: one in nine of
ours. Its mutants have numbers that shift with every edit, so that
a reason cannot be held to one, and most are of texts or of left-out arguments (421 in `compare`,
to 115 here), which cannot be chosen. cosmic-ray starts pytest again for every mutant.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import hashlib
import importlib.abc
import importlib.util
import inspect
import json
import math
import os
import re
import resource
import signal
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

# What every child needs is loaded once; nothing of pytest_repro is.
import hypothesis
import ml_dtypes  # noqa: F401
import numpy as np  # noqa: F401
import pytest
import yaml  # noqa: F401
from _pytest import pytester  # noqa: F401
from hypothesis import strategies  # noqa: F401
from mutants import Mutant, mutants_of
from page import replace_section, row, table

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pytest_repro"
ROOMS = ("model", "tensors", "noise", "tolerance", "trace")
ALONE = (
    *("errors", "settings", "analysis/agreement", "analysis/sensitivity"),
    *("environment/devices", "environment/facts", "environment/key", "environment/simd"),
)
PAGE = ROOT / "docs" / "evidence" / "mutation.md"
REASONS = Path(__file__).with_name("mutation_reasons.json")
HEAD = """# Mutation testing

Written by `benchmarks/mutation.py` (`tox -e mutation`); nothing here is typed but the reasons,
which are in `benchmarks/mutation_reasons.json`. A mutant is one small fault: a comparison, an
operator, a number, a condition, a returned value or a call changed or taken away. Killed means
that a test fails; out of time, that a test that ends without the fault does not end with it. Texts
are not changed: golden files hold them. Modules may be measured one by one and with some of the
tests (`--tests`); then others may kill what is listed as a survivor.
"""
COLUMNS = ("module", "mutants", "run", "killed", "out of time", "explained", "gaps", "source")
TESTS = (
    *(f"tests/{room}" for room in (*ROOMS, "analysis", "environment", "report")),
    *("tests/test_errors.py", "tests/test_settings.py", "tests/properties/test_numeric.py"),
    *("tests/checking/test_cause.py", "tests/store/test_policy_file.py"),
    *("tests/store/test_codec.py", "tests/store/test_index_lines.py"),
)
KILLED, OUT_OF_TIME, SURVIVED = "killed", "out of time", "SURVIVED"
_MEMORY = 6 << 30
_BROKEN = 70
_OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-W", "ignore", "--assert=plain", "--tb=no")


@dataclass(frozen=True, slots=True)
class Covering:
    """Which tests run which line of a module, which run outside any, how long each test took."""

    of_line: Mapping[int, frozenset[str]]
    outside: frozenset[int]
    took_s: Mapping[str, float]

    def tests(self, line: int) -> list[str]:
        """The tests of a line, quickest first; where no test runs it, those of the module."""
        return self._quickest_first(self.of_line.get(line) or self._of_module())

    def every_test(self) -> list[str]:
        """All tests, those of the module first: any may read what the module makes on import."""
        mine = self._of_module()
        return [*self._quickest_first(mine), *self._quickest_first(self.took_s.keys() - mine)]

    def is_loaded(self) -> bool:
        """Whether any test imports the module."""
        return bool(self.of_line)

    def _of_module(self) -> frozenset[str]:
        return frozenset().union(*self.of_line.values())

    def _quickest_first(self, names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: (self.took_s[name], name))


class _Watch:
    """Tells coverage which test runs, and notes how long it took."""

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self.took_s: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._coverage.switch_context(nodeid)
        # What one test computes and keeps would not be seen running in the next.
        for name, module in list(sys.modules.items()):
            if name.startswith("pytest_repro."):
                for value in vars(module).values():
                    getattr(value, "cache_clear", int)()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took_s[report.nodeid] = self.took_s.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def measure(modules: Sequence[str], paths: Sequence[str]) -> dict[str, Covering]:
    """What covers each module; runs in a child, so that nothing of ours is loaded here."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "covering.json"
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                _measure(modules, paths, answer)
            os._exit(0)
        os.waitpid(child, 0)
        if not answer.exists():
            raise SystemExit("the tests could not be measured: run pytest on them by hand")
        found = json.loads(answer.read_text())
    if found["failed"]:
        raise SystemExit(f"tests fail without any fault: {', '.join(found['failed'])}")
    return {
        name: Covering(
            {int(line): frozenset(tests) - {""} for line, tests in lines.items()},
            frozenset(int(line) for line, tests in lines.items() if "" in tests),
            found["took_s"],
        )
        for name, lines in found["lines"].items()
    }


def _measure(modules: Sequence[str], paths: Sequence[str], answer: Path) -> None:
    import coverage

    _silence()
    measured = coverage.Coverage(data_file=None, include=[str(_file(name)) for name in modules])
    watch = _Watch(measured)
    measured.start()
    pytest.main([*_OPTIONS, *paths], plugins=[watch])
    measured.stop()
    data = measured.get_data()
    lines = {name: data.contexts_by_lineno(str(_file(name))) for name in modules}
    answer.write_text(json.dumps({"lines": lines, "took_s": watch.took_s, "failed": watch.failed}))


def _file(module: str) -> Path:
    return PACKAGE / f"{module}.py"


def _dotted(module: str) -> str:
    return f"pytest_repro.{module.replace('/', '.')}"


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives modules of the package as these trees are."""

    def __init__(self, trees: Mapping[str, ast.Module]) -> None:
        self._codes = {
            _dotted(name): compile(tree, str(_file(name)), "exec") for name, tree in trees.items()
        }

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(name, self) if name in self._codes else None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._codes[module.__name__], module.__dict__)


def from_scratch(
    trees: Mapping[str, ast.Module], tests: Sequence[str], took_s: Mapping[str, float]
) -> str:
    """What tests say of these modules in a process that has loaded nothing of ours."""
    planted, limit_s = _Planted(trees), _limit_s(tests, took_s)
    status = _status(planted, tests, limit_s)
    if status == pytest.ExitCode.USAGE_ERROR:
        # A table of the module names the cases of a test, and one is gone: pytest alone would not
        # miss it, so the files are run as they are.
        files = sorted({name.partition("::")[0] for name in tests})
        status = _status(planted, files, limit_s + 600)
    return _word(status)


def _status(planted: _Planted, tests: Sequence[str], limit_s: int) -> int:
    child = os.fork()
    if child == 0:
        code = _BROKEN
        with contextlib.suppress(BaseException):
            _silence()
            _limit(limit_s)
            sys.meta_path.insert(0, planted)
            code = 1
            code = int(pytest.main([*_OPTIONS, *tests]))
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _word(status: int) -> str:
    if status in (-signal.SIGXCPU, -signal.SIGALRM, -signal.SIGKILL):
        return OUT_OF_TIME
    assert status != _BROKEN, "the fault could not be planted"
    return SURVIVED if status == 0 else KILLED


def _limit_s(tests: Sequence[str], took_s: Mapping[str, float]) -> int:
    return math.ceil(10 + 10 * sum(took_s.get(name, 0.0) for name in tests))


def _limit(limit_s: int) -> None:
    # CPU time: on a busy machine elapsed time would kill what is only slow. It does not pass while
    # a test waits, though.
    used = resource.getrusage(resource.RUSAGE_SELF)
    most_s = math.ceil(used.ru_utime + used.ru_stime) + limit_s
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
    signal.alarm(60 + 20 * limit_s)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


class Collected:
    """A process that has loaded and collected the tests and forks for every mutant.

    It changes the code of a function that is there, so it can only answer for faults in functions;
    what was computed on import stays as it was.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self._child = os.fork()
        if self._child == 0:
            with contextlib.suppress(BaseException):
                ours.close()
                _silence()
                pytest.main([*_OPTIONS, *paths], plugins=[_Answering(theirs)])
            os._exit(0)
        theirs.close()
        self._lines = ours.makefile("rw")

    def outcome(self, module: str, name: str, tests: Sequence[str], limit_s: int) -> str | None:
        """What these tests say, or None where no function has the fault in it.

        An empty ``name`` is the module without a fault.
        """
        print(json.dumps([module, name, tests, limit_s]), file=self._lines, flush=True)
        answer = self._lines.readline()
        if not answer:
            raise SystemExit("the tests could not be collected: run pytest on them by hand")
        word: str | None = json.loads(answer)
        return word

    def close(self) -> None:
        """End the process."""
        self._lines.close()
        os.waitpid(self._child, 0)


class _Answering:
    """Answers instead of running the tests that pytest has collected."""

    def __init__(self, line: socket.socket) -> None:
        self._lines = line.makefile("rw")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for question in self._lines:
            module, name, tests, limit_s = json.loads(question)
            tree = named_mutants(_file(module))[name].tree() if name else None
            answer = self._answer(module, tree, [items[test] for test in tests], limit_s)
            print(json.dumps(answer), file=self._lines, flush=True)
        return True

    def _answer(
        self, module: str, tree: ast.Module | None, items: Sequence[pytest.Item], limit_s: int
    ) -> str | None:
        changed = _changed_functions(module, tree) if tree else {}
        if tree and not changed:
            return None
        child = os.fork()
        if child == 0:
            code = _BROKEN
            with contextlib.suppress(BaseException):
                _limit(limit_s)
                for function, new in changed.items():
                    function.__code__ = new
                code = 1
                code = int(_fails(items))
            os._exit(code)
        return _word(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _fails(items: Sequence[pytest.Item]) -> bool:
    for item, following in zip_longest(items, items[1:]):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if item.session.testsfailed:
            return True
    return False


def _changed_functions(module: str, tree: ast.Module) -> dict[FunctionType, CodeType]:
    """The loaded functions of a module whose code is another in ``tree``, with that code."""
    codes = dict(_codes(compile(tree, str(_file(module)), "exec")))
    loaded = sys.modules[_dotted(module)]
    changed = {}
    for function in _functions(vars(loaded).values(), loaded.__name__):
        old = function.__code__
        new = codes.get((old.co_name, old.co_firstlineno), old)
        if new != old and new.co_freevars == old.co_freevars:
            changed[function] = new
    return changed


def _codes(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield (inner.co_name, inner.co_firstlineno), inner
            yield from _codes(inner)


def _functions(values: Iterable[object], module: str) -> Iterator[FunctionType]:
    """The functions among these and in the classes among these, under any decorator."""
    for value in values:
        if isinstance(value, type):
            if value.__module__ == module:
                yield from _functions(vars(value).values(), module)
        else:
            function = _undecorated(value)
            if isinstance(function, FunctionType) and function.__module__ == module:
                yield function


def _undecorated(value: object) -> object:
    for name in ("fget", "func", "__func__"):
        value = getattr(value, name, value)
    return inspect.unwrap(value) if callable(value) else value


class Log:
    """The results of earlier runs, for as long as they hold."""

    def __init__(self, path: Path | None, tests: Sequence[str]) -> None:
        self._path = path
        self._tests = " ".join([_digest(*sorted((ROOT / "tests").rglob("*.py"))), *tests])
        self._rows: dict[tuple[str, str, str], tuple[str, str]] = {}
        if path and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                module, name, digest, outcome, run = json.loads(line)
                self._rows[module, name, digest] = outcome, run

    def known(self, module: str, name: str) -> str | None:
        """The outcome, if a run would find the same."""
        outcome, tests = self._rows.get(self._key(module, name), (None, None))
        return None if outcome == SURVIVED and tests != self._tests else outcome

    def add(self, module: str, name: str, outcome: str) -> None:
        """Append one result."""
        if self._path:
            line = json.dumps([*self._key(module, name), outcome, self._tests])
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    @staticmethod
    def _key(module: str, name: str) -> tuple[str, str, str]:
        return module, _digest(_file(module)), name


def _digest(*files: Path) -> str:
    total = hashlib.sha256()
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()[:8]


def write_module(module: str, outcomes: Mapping[str, str], made: int) -> int:
    """The figures and the survivors of one module; gives how many are gaps."""
    known = reasons().get(module, {})
    alive = [name for name, outcome in outcomes.items() if outcome == SURVIVED]
    gaps = sum(name not in known for name in alive)
    late = sum(outcome == OUT_OF_TIME for outcome in outcomes.values())
    killed = len(outcomes) - len(alive) - late
    figures = (made, len(outcomes), killed, late, len(alive) - gaps, gaps, _digest(_file(module)))
    _write_table({**_figures(), module: [module, *map(str, figures)]})
    rows = [(f"`{_cell(name)}`", known.get(name, "**a gap**")) for name in alive]
    lines = [f"## {module}", "", *table(("survivor", "why it lives"), rows)]
    replace_section(PAGE, module, lines if rows else [])
    return gaps


_SECTION = re.compile(r"<!-- ([\w/]+) -->\n.*?<!-- end of \1 -->\n", re.DOTALL)


def _figures() -> dict[str, list[str]]:
    """The rows that the page has, by module."""
    if not PAGE.exists():
        return {}
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells for cells in rows if len(cells) == len(COLUMNS) and cells[1].isdigit()}


def _write_table(figures: Mapping[str, Sequence[str]]) -> None:
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    # A module that is gone leaves no section.
    named = {"figures", *every_module()}
    sections = (found[0] for found in _SECTION.finditer(text) if found[1] in named)
    PAGE.write_text("\n".join([HEAD, *sections]), encoding="utf-8")
    rows = [figures[name] for name in every_module() if name in figures]
    sums = [str(sum(int(cells[column]) for cells in rows)) for column in range(1, 7)]
    lines = [
        "## Figures",
        "",
        "`source` is the beginning of the SHA-256 digest of the module that was measured.",
        "",
        *table(COLUMNS, rows),
        row("**all**", *sums, ""),
    ]
    missing = [name for name in every_module() if name not in figures]
    changed = [cells[0] for cells in rows if cells[7] != _digest(_file(cells[0]))]
    if missing:
        lines += ["", f"Not measured: {', '.join(missing)}."]
    if changed:
        lines += ["", f"Changed since they were measured: {', '.join(changed)}."]
    replace_section(PAGE, "figures", lines)


def every_module() -> list[str]:
    """The modules that have a mutant."""
    found = [
        f"{room}/{file.stem}" for room in ROOMS for file in sorted((PACKAGE / room).glob("*.py"))
    ]
    return [
        name for name in (*ALONE, *found) if _file(name).exists() and named_mutants(_file(name))
    ]


def reasons() -> dict[str, dict[str, str]]:
    """Why a mutant lives, by its module and its name."""
    known: dict[str, dict[str, str]] = json.loads(REASONS.read_text(encoding="utf-8"))
    return known


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def stale_reasons() -> list[str]:
    """Reasons for mutants that do not exist."""
    return [
        f"{module}: {name}"
        for module, known in reasons().items()
        for name in known
        if not _file(module).exists() or name not in named_mutants(_file(module))
    ]


@functools.cache
def named_mutants(file: Path) -> dict[str, Mutant]:
    """Every mutant of a module by a name of its own, in the order of its text."""
    seen: Counter[str] = Counter()
    named = {}
    for mutant in mutants_of(file.read_text(encoding="utf-8")):
        seen[mutant.name] += 1
        times = seen[mutant.name]
        named[mutant.name if times == 1 else f"{mutant.name} ({times})"] = mutant
    return named


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--log", type=Path, help="keep every result here and go on from it")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH", help="instead of ours")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        _prepare(folder)
        modules = chosen.modules or every_module()
        wrong = stale_reasons()
        if wrong:
            raise SystemExit("no such mutant: " + "; ".join(wrong))
        raise SystemExit(
            1 if _run_all(modules, chosen.every, Log(chosen.log, chosen.tests), chosen.tests) else 0
        )


def _prepare(folder: str) -> None:
    """What all children inherit: where to import from, no plugin, no chance."""
    sys.path.insert(0, str(ROOT))
    sys.pycache_prefix, sys.dont_write_bytecode = folder, False
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    hypothesis.settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("mutation")


def _run_all(modules: Sequence[str], every: int, log: Log, paths: Sequence[str]) -> int:
    """Run, write and print; gives how much is wrong."""
    covered = measure(modules, paths)
    collected = Collected(paths)
    _check_without_fault(covered, collected)
    wrong = 0
    for module in modules:
        mutants = named_mutants(_file(module))
        picked = dict(list(mutants.items())[::every])
        outcomes = _run(module, picked, covered[module], collected, log)
        wrong += write_module(module, outcomes, len(mutants))
        for name in reasons().get(module, {}):
            if outcomes.get(name, SURVIVED) != SURVIVED:
                print(f"{module} {name}: {outcomes[name]}, and has a reason why not")
                wrong += 1
    collected.close()
    return wrong


def _check_without_fault(covered: Mapping[str, Covering], collected: Collected) -> None:
    """Refuse to go on if tests fail in either kind of process, in the order that is used."""
    took_s = next(iter(covered.values())).took_s
    tests = sorted(took_s, key=took_s.__getitem__)
    trees = {name: ast.parse(_file(name).read_text(encoding="utf-8")) for name in covered}
    there = collected.outcome("", "", tests, _limit_s(tests, took_s))
    # The quicker half is enough to see that modules can be planted.
    found = there, from_scratch(trees, tests[: len(tests) // 2], took_s)
    if found != (SURVIVED, SURVIVED):
        raise SystemExit(f"the tests fail without any fault: {found}")


def _run(
    module: str,
    mutants: Mapping[str, Mutant],
    covering: Covering,
    collected: Collected,
    log: Log,
) -> dict[str, str]:
    if not covering.is_loaded():
        print(f"{module}: no test loads it")
    found = {}
    for name, mutant in mutants.items():
        found[name] = log.known(module, name) or ""
        if not found[name]:
            found[name] = outcome_of(module, name, mutant, covering, collected)
            log.add(module, name, found[name])
        if found[name] != KILLED:
            print(f"{module}:{mutant.line} {name}: {found[name]}", flush=True)
    print(f"{module}: {len(found)} mutants", flush=True)
    return found


def outcome_of(
    module: str, name: str, mutant: Mutant, covering: Covering, collected: Collected
) -> str:
    """KILLED, OUT_OF_TIME or SURVIVED."""
    if not covering.is_loaded():
        return SURVIVED
    tests, took_s = covering.tests(mutant.line), covering.took_s
    outcome = collected.outcome(module, name, tests, _limit_s(tests, took_s))
    # A function that another makes may have been made on import.
    made_on_import = mutant.line in covering.outside or "<locals>" in mutant.place
    if outcome is None or (outcome == SURVIVED and made_on_import):
        return from_scratch({module: mutant.tree()}, covering.every_test(), took_s)
    return outcome


if __name__ == "__main__":
    main()

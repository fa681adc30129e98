"""Plants small faults into `pytest_repro.core`, one at a time, and runs the tests that pass there.

``python benchmarks/mutation.py [--every N] [MODULE ...]``: every N-th mutant of these modules, or
of those where a miss is worst. Needs coverage. Which tests run a line is measured first; a mutant
is killed when one of them fails, or takes ten times as long as it did. docs/mutation.md gets the
figures and the survivors, with what `mutation_reasons.json` says about each; one without a reason
is a gap.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.abc
import importlib.util
import json
import math
import os
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np  # noqa: F401  what every child needs is loaded once
import pytest
from hypothesis import strategies  # noqa: F401
from mutants import Mutant, mutants_of
from page import replace_section, table

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "mutation.md"
REASONS = Path(__file__).with_name("mutation_reasons.json")
HEAD = """# Mutation testing

Written by `benchmarks/mutation.py` (`tox -e mutation`); nothing here is typed but the reasons,
which stand in `benchmarks/mutation_reasons.json`. A mutant is one small fault: a comparison, an
operator, a number, a condition, a returned value or a call changed or taken away. Killed means
that a test fails. Texts are not changed: golden files hold them.
"""
WORST = (
    *("compare", "tally", "block_pair", "tolerance", "tolerance_elements", "tolerance_measured"),
    *("tolerance_value", "judgement", "digest", "ledger", "envelope", "policy", "policy_rules"),
)
TESTS = ("tests/core", "tests/properties/test_numeric.py", "tests/adapters/test_policy_file.py")


@dataclass(frozen=True, slots=True)
class Covering:
    """Which tests run which line of a module, and how long each took."""

    of_line: Mapping[int, frozenset[str]]
    took_s: Mapping[str, float]

    def tests(self, line: int) -> list[str]:
        """The tests of a line, quickest first; where it runs on import, those of the module."""
        found = self.of_line.get(line) or frozenset().union(*self.of_line.values())
        return sorted(found, key=lambda name: self.took_s.get(name, 0.0))


class _Watch:
    """Tells coverage which test runs, and notes how long it took."""

    def __init__(self, coverage) -> None:
        self._coverage = coverage
        self.took_s: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_runtest_logstart(self, nodeid):
        self._coverage.switch_context(nodeid)

    def pytest_runtest_logreport(self, report):
        self.took_s[report.nodeid] = self.took_s.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def measure(modules: Sequence[str]) -> dict[str, Covering]:
    """What covers each module; runs in a child, so that nothing of ours is loaded here."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "covering.json"
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                _measure(modules, answer)
            os._exit(0)
        os.waitpid(child, 0)
        found = json.loads(answer.read_text())
    return {
        name: Covering(
            {int(line): frozenset(tests) for line, tests in lines.items()}, found["took_s"]
        )
        for name, lines in found["lines"].items()
    }


def _measure(modules: Sequence[str], answer: Path) -> None:
    import coverage

    _silence()
    measured = coverage.Coverage(data_file=None, include=[str(_file(name)) for name in modules])
    watch = _Watch(measured)
    measured.start()
    pytest.main([*_OPTIONS, *TESTS], plugins=[watch])
    measured.stop()
    data = measured.get_data()
    lines = {
        name: {
            line: [one for one in tests if one]
            for line, tests in data.contexts_by_lineno(str(_file(name))).items()
            if any(tests)
        }
        for name in modules
    }
    assert not watch.failed, watch.failed
    answer.write_text(json.dumps({"lines": lines, "took_s": watch.took_s}))


_OPTIONS = ("-q", "-x", "-p", "no:repro", "-p", "no:cacheprovider", "-W", "ignore")


def _file(module: str) -> Path:
    return ROOT / "pytest_repro" / "core" / f"{module}.py"


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


class _Planted(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module with a fault in it."""

    def __init__(self, module: str, mutant: Mutant) -> None:
        self._name = f"pytest_repro.core.{module}"
        self._code = compile(mutant.tree, str(_file(module)), "exec")

    def find_spec(self, name, path=None, target=None):
        if name != self._name:
            return None
        return importlib.util.spec_from_loader(name, self)

    def exec_module(self, module):
        exec(self._code, module.__dict__)


def is_killed(module: str, mutant: Mutant, covering: Covering) -> bool:
    """Whether a test fails, or never ends, with the fault in place."""
    tests = covering.tests(mutant.line)
    limit_s = math.ceil(10 + 10 * sum(covering.took_s.get(name, 0.0) for name in tests))
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            _silence()
            # CPU time: on a busy machine elapsed time would kill what is only slow.
            used = resource.getrusage(resource.RUSAGE_SELF)
            most_s = math.ceil(used.ru_utime + used.ru_stime) + limit_s
            resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s))
            sys.meta_path.insert(0, _Planted(module, mutant))
            code = int(pytest.main([*_OPTIONS, *tests]))
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def write_section(module: str, killed: Mapping[str, bool], made: int) -> int:
    """The figures and the survivors of one module; gives how many have no reason."""
    reasons = json.loads(REASONS.read_text(encoding="utf-8")) if REASONS.exists() else {}
    if not PAGE.exists():
        PAGE.write_text(HEAD, encoding="utf-8")
    known = reasons.get(module, {})
    alive = [name for name, dead in killed.items() if not dead]
    gaps = [name for name in alive if name not in known]
    lines = [
        f"## {module}",
        "",
        f"{len(killed)} of {made} mutants run: {len(killed) - len(alive)} killed, "
        f"{len(alive) - len(gaps)} explained, {len(gaps)} gaps.",
    ]
    if alive:
        rows = [(f"`{_cell(name)}`", known.get(name, "**a gap**")) for name in alive]
        lines += ["", *table(("survivor", "why it lives"), rows)]
    replace_section(PAGE, module, lines)
    return len(gaps)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N")
    parser.add_argument("--log", type=Path, help="add a line for every mutant to this file")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    modules = chosen.modules or list(WORST)
    covered = measure(modules)
    gaps = 0
    for module in modules:
        mutants = named_mutants(_file(module).read_text(encoding="utf-8"))
        picked = dict(list(mutants.items())[:: chosen.every])
        killed = _run(module, picked, covered[module], chosen.log)
        gaps += write_section(module, killed, len(mutants))
    raise SystemExit(1 if gaps else 0)


def named_mutants(source: str) -> dict[str, Mutant]:
    """Every mutant by a name of its own."""
    seen: Counter[str] = Counter()
    named = {}
    for mutant in mutants_of(source):
        seen[mutant.name] += 1
        times = seen[mutant.name]
        named[mutant.name if times == 1 else f"{mutant.name} ({times})"] = mutant
    return named


def _run(
    module: str, mutants: Mapping[str, Mutant], covering: Covering, log: Path | None
) -> dict[str, bool]:
    untouched = Mutant(0, "", "", "", ast.parse(_file(module).read_text(encoding="utf-8")))
    if is_killed(module, untouched, covering):
        raise SystemExit(f"{module}: its tests fail without any fault")
    found = {}
    for name, mutant in mutants.items():
        found[name] = is_killed(module, mutant, covering)
        word = "killed" if found[name] else "SURVIVED"
        print(f"{module}:{mutant.line} {name}: {word}", flush=True)
        if log:
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps([module, mutant.line, name, found[name]]) + "\n")
    return found


if __name__ == "__main__":
    main()

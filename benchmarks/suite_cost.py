"""What suite mode costs a passing test, in plain runs of the same suite: tests/suites.

``python benchmarks/suite_cost.py``; needs MindSpore and mindone. Plain and recorded runs alternate.
"""

from __future__ import annotations

import json
import shutil
import statistics
import tempfile
from pathlib import Path

from measure import REPRO, run_pytest
from page import GOALS, mark, table, write_section
from recording import CONFTEST

_ROUNDS = 3
_SUITES = Path(__file__).resolve().parent.parent / "tests" / "suites"
_SAME_MODE = """
def pytest_runtest_setup():
    import mindspore

    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
"""
"""A plain run keeps the mode of the test before, which suite mode restores: both start alike."""
_SUITE_MODE = ("-o", "repro_suite=tests")


def spent(folder: Path, *options: str) -> dict[str, float]:
    """CPU seconds of each test."""
    run_pytest(folder, (*REPRO, *options))
    found: dict[str, float] = json.loads((folder / "spent.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tests").mkdir()
        # Names of tests are the keys of what they spent, so one suite is enough.
        shutil.copy(_SUITES / "suite_pipelines.py", folder / "tests" / "test_ddim.py")
        (folder / "conftest.py").write_text(CONFTEST + _SAME_MODE, encoding="utf-8")
        (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        spent(folder, *_SUITE_MODE, "--repro-update", "--repro-envelope=0")
        rounds = [(spent(folder), spent(folder, *_SUITE_MODE)) for _ in range(_ROUNDS)]
    rows = []
    for test in rounds[0][0]:
        ratios = [ours[test] / plain[test] for plain, ours in rounds]
        plain_s = statistics.median(plain[test] for plain, _ in rounds)
        goal = mark(statistics.median(ratios), 1.1)
        rows.append((test, f"{plain_s:.2f}", *goal))
    head = ("test", "plain, CPU s", *GOALS)
    write_section("suite", "Suite mode, in plain runs of the same test", table(head, rows))


if __name__ == "__main__":
    main()

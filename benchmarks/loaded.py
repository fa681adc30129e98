"""What surrounds a test with MindSpore loaded, by the cheapest model test: two steps of DDIM.

``python benchmarks/loaded.py [--short]``; needs MindSpore and mindone.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from measure import REPRO, Variant, run_pytest, side_by_side
from page import GOALS, mark, table, write_section

_TINY = """
import mindspore
import numpy as np
import pytest

@pytest.mark.parametrize("number", range({count}))
{mark}
def test_value(number{fixture}):
    value = mindspore.Tensor(np.full(4, number, np.float32)) + 1
    {check}
"""
_MODEL = """
import pytest

@pytest.mark.parametrize("number", range({count}))
@pytest.mark.repro(seed=0)
def test_image(number, repro_ddim, repro_generator, repro_check):
    image = repro_ddim(num_inference_steps=2, output_type="np", generator=repro_generator)[0]
    repro_check(image)
"""
_TINY_TESTS = 200
_MOST_SHARE = 0.01


def project(folder: Path, name: str, source: str) -> Variant:
    """A folder with one module of tests, recorded where it checks something."""
    place = folder / name
    place.mkdir()
    (place / "pytest.ini").write_text("[pytest]\n")
    (place / "test_it.py").write_text(source)
    if "repro_check" not in source:
        return Variant(name, place, ())
    run_pytest(place, (*REPRO, "--repro-update", "--repro-envelope=0"))
    return Variant(name, place, REPRO)


def variants(folder: Path, models: int) -> list[Variant]:
    """Tests of a tiny operator, plain and checked; one model test, and more of them."""
    tiny = {
        "plain": _TINY.format(count=_TINY_TESTS, mark="", fixture="", check="assert value.size"),
        "checked": _TINY.format(
            count=_TINY_TESTS,
            mark="@pytest.mark.repro",
            fixture=", repro_check",
            check="repro_check(value)",
        ),
        "one model test": _MODEL.format(count=1),
        "model tests": _MODEL.format(count=1 + models),
    }
    return [project(folder, name, source) for name, source in tiny.items()]


def main() -> None:
    short = "--short" in sys.argv
    models, rounds = (4, 3) if short else (10, 7)
    with tempfile.TemporaryDirectory() as name:
        costs = side_by_side(variants(Path(name), models), rounds)
    model_s = (costs["model tests"].cpu_s - costs["one model test"].cpu_s) / models
    each_s = (costs["checked"].cpu_s - costs["plain"].cpu_s) / _TINY_TESTS
    rows = [
        ("two steps of DDIM, CPU ms a test", "", f"{model_s * 1e3:.0f}", ""),
        ("a tiny test, marked and checked: more than plain, CPU ms", "", f"{each_s * 1e3:.2f}", ""),
        ("what surrounds a test, by two steps of DDIM", *mark(each_s / model_s, _MOST_SHARE)),
    ]
    write_section("loaded", "With MindSpore loaded", table(("figure", *GOALS), rows))


if __name__ == "__main__":
    main()

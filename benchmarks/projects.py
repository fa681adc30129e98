"""Small test projects that make the same arrays and check them in different ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from measure import REPRO, Variant, run_pytest

__all__ = ["WAYS", "Load", "make_variant"]

_HEAD = """
import numpy as np
import pytest

@pytest.mark.parametrize("number", range({checks}))
def test_value({fixture}number):
    array = {array}
    {check}
"""


@dataclass(frozen=True, slots=True)
class Load:
    """How many checks of how large an array, one a test."""

    checks: int
    elements: int
    dtype: str = "float32"
    constant: bool = False

    @property
    def array(self) -> str:
        """The expression that makes the array; a constant one needs no memory beside its own."""
        if self.constant:
            return f"np.full({self.elements}, number, np.{self.dtype})"
        noise = f"np.random.Generator(np.random.PCG64(number)).standard_normal({self.elements})"
        return f"{noise}.astype(np.{self.dtype})"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of checking an array.

    Attributes:
        fixture: What the test asks for.
        check: The line that checks ``array``.
        plugins: pytest's arguments that load it.
        record: The further argument of the run that records.
    """

    fixture: str
    check: str
    plugins: tuple[str, ...] = ()
    record: str = ""


WAYS = {
    "floor": Way("", "assert array.size"),
    "pytest-repro": Way("repro_check, ", "repro_check(array)", REPRO, "--repro-update"),
    "syrupy": Way(
        "snapshot, ",
        "assert snapshot == array.tobytes()",
        ("-p", "syrupy"),
        "--snapshot-update",
    ),
    "ndarrays_regression": Way(
        "ndarrays_regression, ",
        'ndarrays_regression.check({"array": array})',
        ("-p", "pytest_datadir.plugin", "-p", "pytest_regressions.plugin"),
        "--regen-all",
    ),
}
"""The floor makes the arrays and looks at their size."""


def make_variant(folder: Path, name: str, load: Load, *, records: bool = True) -> Variant:
    """Write the project of one way below ``folder``; record it where it has baselines."""
    way, place = WAYS[name], folder / name
    place.mkdir(parents=True)
    source = _HEAD.format(
        checks=load.checks,
        array=load.array,
        fixture=way.fixture,
        check=way.check,
    )
    (place / "test_load.py").write_text(source, encoding="utf-8")
    ini = "[pytest]\n" + ("repro_framework = numpy\n" if way.plugins == REPRO else "")
    (place / "pytest.ini").write_text(ini, encoding="utf-8")
    if way.record and records:
        run_pytest(place, (*way.plugins, way.record))
    return Variant(name, place, way.plugins)

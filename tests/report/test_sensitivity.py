"""The table of sensitivities says what the values say."""

from __future__ import annotations

import math

from pytest_repro.analysis.sensitivity import Sensitivity
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.report.sensitivity import sensitivity_summary, sensitivity_table
from pytest_repro.report.tables import plain_table

CHECK = CheckId("tests/test_ddim.py", "test_ddim[50-float16]", "image")


def _row(**changes):
    values = {
        "check": CHECK,
        "key": EnvironmentKey("cpu", "numpy-1"),
        "path": "",
        "dtype": "float32",
        "shape": (2,),
        "runs": 4,
        "input_rel_l2": 6e-8,
        "output_rel_l2": 3e-7,
        "output_rel_l2_max": 4e-7,
        "amplification": 5.0,
        "digits": 6.4,
    }
    return Sensitivity(**{**values, **changes})


def test_every_figure_stands_in_its_row():
    table = sensitivity_table([_row(), _row(path="x[0]", digits=math.inf, amplification=None)])
    assert table.rows[0] == (
        str(CHECK),
        "cpu/numpy-1",
        "float32",
        "4",
        "6e-08",
        "3e-07",
        "5",
        "6.4",
    )
    assert table.rows[1][0] == f"{CHECK} at x[0]"
    assert table.rows[1][-2:] == ("-", "all")
    assert "amplification" in plain_table(table)


def test_the_summary_has_one_row_a_tensor_and_the_weakest_first():
    far = EnvironmentKey("cpu", "numpy-2")
    weak = {"digits": 2.5, "output_rel_l2": 3e-4, "amplification": 5e3}
    table = sensitivity_summary([_row(), _row(path="x"), _row(path="x", key=far, **weak)])
    assert table.rows == (
        (f"{CHECK} at x", "float32", "2", "3e-07 to 0.0003", "5 to 5e+03", "2.5"),
        (str(CHECK), "float32", "1", "3e-07", "5", "6.4"),
    )


def test_a_tensor_that_never_moved_keeps_all_its_digits_in_the_summary():
    still = _row(digits=math.inf, output_rel_l2=0.0, amplification=None)
    assert sensitivity_summary([still]).rows[0][-3:] == ("0", "-", "all")

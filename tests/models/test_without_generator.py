"""The negative control: a pipeline that draws its own noise is stopped, and never green."""

from __future__ import annotations

import subprocess
import sys

import pytest

_TEST = """
import pytest

@pytest.mark.repro(seed=0)
def test_ddim(repro_ddim, repro_generator, repro_check):
    repro_check(repro_ddim(num_inference_steps=1, output_type="np", {generator})[0])
"""


@pytest.mark.parametrize("generator", ["", "generator=repro_generator"], ids=["none", "given"])
def test_only_a_run_with_a_generator_is_recorded(tmp_path, generator):
    (tmp_path / "test_it.py").write_text(_TEST.format(generator=generator))
    options = ["-q", "--repro-update", "--repro-envelope=0"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_it.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    recorded = list((tmp_path / "baselines").rglob("test_it*"))
    if generator:
        assert done.returncode == 0, done.stdout
        assert len(recorded) == 1
    else:
        assert done.returncode == 1
        assert "RandomnessError" in done.stdout
        assert "mindspore_utils.py" in done.stdout
        assert recorded == []

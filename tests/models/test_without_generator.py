"""The negative control: a pipeline that draws its own noise is stopped, and never green."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

DDIM = 'repro_ddim(num_inference_steps=1, output_type="np"{generator})[0]'
UNCLIP = """repro_unclip(
        "a photo of a red panda", prior_num_inference_steps=2, decoder_num_inference_steps=2,
        super_res_num_inference_steps=2, output_type="np"{generator},
    )[0]"""
_TEST = """
import pytest

@pytest.mark.repro(seed=0)
def test_pipeline({fixture}, repro_generator, repro_check):
    repro_check({call})
"""


@pytest.mark.parametrize(
    ("call", "generator"),
    [(DDIM, ""), (UNCLIP, ""), (DDIM, ", generator=repro_generator")],
    ids=["ddim without", "unclip without", "ddim with"],
)
def test_only_a_run_with_a_generator_is_recorded(tmp_path, call, generator):
    source = _TEST.format(fixture=call.partition("(")[0], call=call.format(generator=generator))
    (tmp_path / "test_it.py").write_text(source, encoding="utf-8")
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
        # The line in mindone's randn_tensor that drew.
        assert re.search(r"mindone/diffusers/\S*mindspore_utils\.py:\d+", done.stdout), done.stdout
        assert recorded == []

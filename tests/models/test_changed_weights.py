"""The negative control of the trained network: one changed weight is caught and named."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

_HERE = Path(__file__).parent
_WEIGHTS = "tests/models/digits/unet/diffusion_pytorch_model.safetensors"
_CHANGED = "mid_block.attentions.0.to_v.weight"


def _pytest(folder, *options):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "two_steps", "--repro-envelope=0", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def _plant(path):
    from safetensors.numpy import load_file, save_file

    weights = load_file(path)
    flat = weights[_CHANGED].reshape(-1)
    flat[7] = np.nextafter(flat[7], np.float32(np.inf))
    save_file(weights, path, metadata={"format": "pt"})


def test_one_ulp_in_one_weight_is_caught_by_its_name_and_nothing_else_is(tmp_path):
    shutil.copy(_HERE.parents[1] / "conftest.py", tmp_path)
    models = tmp_path / "tests" / "models"
    shutil.copytree(_HERE / "digits", models / "digits")
    # Without it, a package of the same name that another project installed is imported.
    shutil.copy(_HERE.parent / "__init__.py", models.parent)
    for name in ("conftest.py", "latents.py", "test_digits.py"):
        shutil.copy(_HERE / name, models)
    code, text = _pytest(tmp_path, "--repro-update")
    assert code == 0, text
    assert "2 recorded" in text
    code, text = _pytest(tmp_path)
    assert code == 0, text
    assert "2 exact" in text
    _plant(tmp_path / _WEIGHTS)
    code, text = _pytest(tmp_path)
    assert code == 1, text
    assert "cause weights" in text
    assert "unet: 1 of 208 tensors differ" in text
    assert _CHANGED in text
    assert f"first cell that differs: unet.{_CHANGED.removesuffix('.weight')} " in text

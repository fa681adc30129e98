from __future__ import annotations

import json

import pytest

from pytest_repro.errors import WeightsError
from pytest_repro.pipelines.source import check_weight_files

_INDEX = {
    "_class_name": "DDPMPipeline",
    "scheduler": ["diffusers", "DDPMScheduler"],
    "unet": ["diffusers", "UNet2DModel"],
}
_COMPONENTS = ("unet", "scheduler")


def _pipeline(folder, *files, index=_INDEX):
    (folder / "model_index.json").write_text(json.dumps(index))
    for name in files:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return folder


@pytest.mark.parametrize("place", ["unet/", ""], ids=["own folder", "beside the index"])
def test_safetensors_pass_and_pickle_alone_is_refused(tmp_path, place):
    folder = _pipeline(tmp_path, f"{place}diffusion_pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"weights of unet are pickled(.|\n)*model\.bin"):
        check_weight_files(folder, _COMPONENTS)
    (folder / f"{place}diffusion_pytorch_model.safetensors").write_bytes(b"")
    check_weight_files(folder, _COMPONENTS)


def test_absent_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="weights of unet are missing"):
        check_weight_files(_pipeline(tmp_path, "unet/config.json"), _COMPONENTS)


def test_pipeline_of_another_kind_is_refused(tmp_path):
    folder = _pipeline(tmp_path, "unet/model.safetensors")
    with pytest.raises(WeightsError, match="has no prior"):
        check_weight_files(folder, ("unet", "prior"))


@pytest.mark.parametrize("text", [None, "{", "[]", "\udc80"], ids=["none", "cut", "list", "bytes"])
def test_folder_without_an_index_is_no_pipeline(tmp_path, text):
    if text is not None:
        (tmp_path / "model_index.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(WeightsError, match="not the folder of a pipeline"):
        check_weight_files(tmp_path, _COMPONENTS)

"""What releases of mindone do differently is repaired where pipelines are written and loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_repro.errors import WeightsError
from pytest_repro.pipelines import family as family_module
from pytest_repro.pipelines.family import Family, source_folder
from pytest_repro.pipelines.source import parse_source


class Processor:
    """Like an image processor, which mindone 0.3.0 and later list as null and do not save."""

    def save_pretrained(self, folder):
        from pathlib import Path

        Path(folder).mkdir()
        (Path(folder) / "preprocessor_config.json").write_text("{}", encoding="utf-8")


class Pipeline:
    def __init__(self, processor):
        self.feature_extractor = processor

    def save_pretrained(self, folder):
        from pathlib import Path

        index = {"_class_name": "P", "feature_extractor": [None, None]}
        (Path(folder) / "model_index.json").write_text(json.dumps(index), encoding="utf-8")


def family(processor, **changes):
    return Family(
        name="p",
        class_name="P",
        components=("feature_extractor",),
        repository="a/b",
        revision="",
        seed_prefix="p",
        recipe="1",
        build=lambda: Pipeline(processor),
        conditioned=(),
        **changes,
    )


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTEST_REPRO_CACHE", str(tmp_path))


def test_an_image_processor_that_mindone_leaves_out_is_saved_and_listed():
    # Its class name says that it has no weights, as those of transformers do.
    processor = type("CLIPImageProcessor", (Processor,), {"__module__": "transformers.clip"})()
    folder = source_folder(family(processor), parse_source("seeded"))
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    assert index["feature_extractor"] == ["transformers", "CLIPImageProcessor"]
    assert (folder / "feature_extractor" / "preprocessor_config.json").is_file()


def test_a_draft_that_lacks_a_component_does_not_enter_the_cache(tmp_path):
    with pytest.raises(WeightsError, match="has no feature_extractor"):
        source_folder(family(None), parse_source("seeded"))
    assert list((tmp_path / "weights").iterdir()) == []


def test_each_release_of_mindone_has_a_folder_of_its_own(monkeypatch):
    processor = type("ImageProcessor", (Processor,), {})()
    folders = set()
    for release in ("0.2.0", "0.5.0"):
        monkeypatch.setattr(family_module, "package_version", lambda _, at=release: at)
        folders.add(source_folder(family(processor), parse_source("seeded")).name)
    assert len(folders) == 2
    assert {name.rpartition("_")[2] for name in folders} == {"0.2.0", "0.5.0"}


def test_the_prior_of_unclip_runs_with_its_mask_in_the_installed_release():
    pytest.importorskip("mindone")
    import mindspore

    from pytest_repro.pipelines.registry import load_pipeline

    prior = load_pipeline("unclip", parse_source("seeded")).prior
    rng = np.random.default_rng(0)
    size = prior.config.embedding_dim
    hidden = mindspore.Tensor(rng.standard_normal((2, size)).astype(np.float32))
    states = mindspore.Tensor(rng.standard_normal((2, 77, size)).astype(np.float32))
    masks = [np.ones((2, 77), bool), np.arange(77)[None] < np.array([[77], [5]])]
    whole, masked = (
        prior(
            hidden,
            timestep=1,
            proj_embedding=hidden,
            encoder_hidden_states=states,
            attention_mask=mindspore.Tensor(mask),
        )[0].asnumpy()
        for mask in masks
    )
    assert np.array_equal(whole[0], masked[0])
    assert not np.array_equal(whole[1], masked[1])

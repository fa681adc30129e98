"""A test that dies because the Hub cannot be reached says so in a sentence, not in pages."""

from __future__ import annotations

import pytest

DOWNLOAD = """
    @pytest.fixture
    def file(monkeypatch):
        from huggingface_hub import constants, hf_hub_download
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        return lambda: hf_hub_download("owner/name", "config.json", cache_dir={cache!r},
                                       local_files_only=True)

    def load(download):
        try:
            return download()
        except Exception as error:
            raise OSError("cannot load the pipeline:" + 200 * "\\n more") from error
"""
IN_BODY = """
    @pytest.mark.repro
    def test_model(file, repro_check):
        load(file)
"""
IN_FIXTURE = """
    @pytest.fixture
    def model(file):
        return load(file)

    @pytest.mark.repro
    def test_model(model, repro_check):
        repro_check(np.zeros(2))
"""
OTHER = """
    @pytest.mark.repro
    def test_model(repro_check):
        try:
            raise ConnectionError("no database")
        except ConnectionError as error:
            raise OSError("cannot load rows") from error
"""


@pytest.mark.parametrize("source", [IN_BODY, IN_FIXTURE], ids=["body", "fixture"])
def test_unreachable_hub_is_one_sentence_with_the_way_out(project, tmp_path, source):
    project.write(DOWNLOAD.format(cache=str(tmp_path)) + source)
    ran = project.run()
    assert "the test needs a file of the Hub, which cannot be reached" in ran.text
    assert "LocalEntryNotFoundError" in ran.text
    assert "where  test_story.py:" in ran.text
    assert "HF_HUB_OFFLINE" in ran.text
    assert "repro_ddim" in ran.text
    assert " more\n" not in ran.text
    assert len(ran.text.splitlines()) < 40


def test_other_failures_keep_their_traceback(project):
    project.write(OTHER)
    text = project.run().text
    assert "no database" in text
    assert "direct cause" in text
    assert "of the Hub" not in text

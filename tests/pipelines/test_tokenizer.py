from __future__ import annotations

import pytest

from pytest_repro.pipelines.unclip import build_tokenizer, vocabulary_size, write_vocabulary


@pytest.fixture
def tokenizer(tmp_path):
    pytest.importorskip("transformers")
    write_vocabulary(tmp_path)
    return build_tokenizer(tmp_path)


def test_text_is_encoded_and_read_back(tokenizer):
    text = "a photo of a red panda, 2 dogs"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ,", ",") == text
    assert tokenizer("a photo of a red panda, 3 dogs").input_ids != ids


def test_text_is_padded_and_cut_to_77(tokenizer):
    padded = tokenizer("cat", padding="max_length", max_length=77)
    assert len(padded.input_ids) == 77
    assert sum(padded.attention_mask) < 10
    cut = tokenizer("cat " * 200, truncation=True, max_length=tokenizer.model_max_length)
    assert len(cut.input_ids) == 77


def test_end_mark_has_the_largest_id(tokenizer, tmp_path):
    # CLIP's text encoder finds the end of a text by its largest id.
    assert tokenizer.eos_token_id == vocabulary_size(tmp_path) - 1
    assert tokenizer("cat").input_ids[-1] == max(tokenizer.get_vocab().values())


def test_unknown_letter_becomes_the_unknown_token(tokenizer):
    assert tokenizer.tokenize("cat") != tokenizer.tokenize("ж")
    assert set(tokenizer.convert_tokens_to_ids(tokenizer.tokenize("ж"))) == {tokenizer.unk_token_id}

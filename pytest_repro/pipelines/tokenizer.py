"""Owns the vocabulary of the seeded UnCLIP: a CLIP tokenizer of a few hundred tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_START, _END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
_WORDS = "a an and blue cat corgi dog flower high horse in is of on panda photo quality red the to"

VOCABULARY_RECIPE = f"{_LETTERS}|{_WORDS}"


def write_vocabulary(folder: Path) -> None:
    """Write ``vocab.json`` and ``merges.txt`` of a byte-pair encoding into ``folder``.

    Letters and letters that end a word come first, then every prefix of our words, built one merge
    a letter; the two marks come last, because CLIP's text encoder finds the end of a text by its
    largest id. A letter that is not ours becomes the end mark, CLIP's unknown token.
    """
    tokens = [*_LETTERS, *(letter + _WORD_END for letter in _LETTERS)]
    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS.split():
        merges.update(dict.fromkeys(_merges_of(word)))
    tokens += dict.fromkeys(left + right for left, right in merges)
    tokens += [_START, _END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    # CLIPTokenizer drops the first and the last line of a merges file as header and remainder.
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _merges_of(word: str) -> list[tuple[str, str]]:
    """Merges that build ``word`` from its left: c+a, ca+t</w>."""
    symbols = [*word[:-1], word[-1] + _WORD_END]
    return [("".join(symbols[:n]), symbols[n]) for n in range(1, len(symbols))]


def vocabulary_size(folder: Path) -> int:
    """Number of tokens in the ``vocab.json`` that `write_vocabulary` wrote."""
    return len(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))


def build_tokenizer(folder: Path) -> Any:
    """A ``transformers.CLIPTokenizer`` over the vocabulary in ``folder``, for 77 tokens a text."""
    from transformers import CLIPTokenizer

    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77
    )

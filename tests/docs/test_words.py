"""Readers get plain modern English: a short list of words that read as archaic is rejected."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import PAGES, ROOT

WORDS = (
    "stands|lies|anew|nobody|somebody|foreign|wherever|thereof|whoever|whence|hitherto|thereupon|"
    "whereof|shall|of ours|of its own accord|says nothing of|makes good|passed over"
)
_WORD = re.compile(rf"\b({WORDS})\b", re.IGNORECASE)
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)


def old_words(text):
    """The rejected words of a text, code left out."""
    return sorted({found.lower() for found in _WORD.findall(_CODE.sub("", text))})


def strings_of(source):
    """Every string of a module, docstrings among them."""
    tree = ast.walk(ast.parse(source))
    return " ".join(
        one.value for one in tree if isinstance(one, ast.Constant) and isinstance(one.value, str)
    )


def _rooms():
    return sorted(
        path for path in (ROOT / "pytest_repro").iterdir() if path.is_dir() or path.suffix == ".py"
    )


def _words_of_room(room):
    files = [room] if room.is_file() else sorted(room.rglob("*.py"))
    return {
        f"{file.relative_to(ROOT)}: {word}"
        for file in files
        for word in old_words(strings_of(file.read_text(encoding="utf-8")))
    }


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_no_old_word(page):
    assert old_words((ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("room", _rooms(), ids=lambda one: one.name)
def test_a_room_has_no_old_word(room):
    assert _words_of_room(room) == set()


def test_an_old_word_is_found_and_code_is_left_out():
    assert old_words("It Stands anew, `nobody`.\n```python\nlies\n```") == ["anew", "stands"]
    assert "lies" in old_words(strings_of('def f():\n    """What lies there."""'))
    assert old_words("understands, families, a standard") == []

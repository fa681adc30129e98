"""Every page does what it says: its blocks are written and run in the order of the page."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PAGES, ROOT, Reader, blocks_of, has_mindone

_NEEDS = re.compile(r"^```.*\bneeds=mindspore", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
_OURS = re.compile(r"\]\(https://github\.com/pytest-repro/pytest-repro/blob/main/([^)#]+)")


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds(page, tmp_path):
    reader = Reader(tmp_path)
    assert reader.follow(_text(page)) == []
    runnable = [b for b in blocks_of(_text(page)) if not b.option("shown")]
    alone = [b for b in runnable if has_mindone() or not b.option("needs")]
    assert reader.ran == len(alone)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    missing = [link for link in _LINK.findall(_text(page)) if not (folder / link).exists()]
    missing += [link for link in _OURS.findall(_text(page)) if not (ROOT / link).exists()]
    assert missing == []


def test_the_readme_is_short_and_its_links_work_where_pypi_shows_them():
    text = _text("README.md")
    assert len(text.splitlines()) <= 90
    assert _LINK.findall(text) == []
    assert len(_OURS.findall(text)) >= 8
    assert _LINK.findall("[relative](docs/index.md)") == ["docs/index.md"]


def _named_in_toctrees(page):
    """The pages that the toctrees of a page name, and all that theirs name."""
    found = {page}
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        names = [line for line in block.splitlines() if line and not line.startswith(":")]
        for name in names:
            found |= _named_in_toctrees(page.parent / f"{name}.md")
    return found


def test_every_page_is_reachable_from_the_first():
    assert _named_in_toctrees(ROOT / "docs" / "index.md") == set((ROOT / "docs").rglob("*.md"))


GOOD = """
```python file=test_it.py
import pytest

@pytest.mark.repro(seed=0)
def test_it(repro_generator, repro_check):
    repro_check(repro_generator.random(2), name="noise")
```
```console run exit=1
$ pytest -q
'noise': missing (gate value)
...
1 check: 1 missing
```
"""


def test_a_true_page_has_no_faults(tmp_path):
    reader = Reader(tmp_path)
    assert reader.follow(GOOD) == []
    assert reader.ran == 2


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("exit=1", "exit=0", "exit 1, not 0"),
        ("1 check: 1 missing", "1 check: 1 exact", "lacks '1 check: 1 exact'"),
        ("file=test_it.py", "", "says neither file=, run nor shown="),
        ("repro_check(repro", "repro_chek(repro", "lacks"),
    ],
)
def test_a_page_that_is_wrong_is_caught(tmp_path, old, new, fault):
    assert old in GOOD
    faults = Reader(tmp_path).follow(GOOD.replace(old, new))
    assert fault in "".join(faults)


def test_lines_out_of_order_are_caught(tmp_path):
    lines = "'noise': missing (gate value)\n...\n1 check: 1 missing"
    turned = "1 check: 1 missing\n...\n'noise': missing (gate value)"
    faults = Reader(tmp_path).follow(GOOD.replace(lines, turned))
    assert "lacks" in "".join(faults)

"""The page of a real run in a real browser, used as a reviewer does: by keyboard alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tests.cli.stores import fill, run
from tests.stories.browser import CONTROL, DOWN, ENTER, HOME, RIGHT, TAB, WHY_NOT, Browser

pytest.importorskip("jinja2", reason="the page needs the extra `report`")
pytest.importorskip("PIL", reason="the page needs the extra `report`")

from pytest_repro.report.html import page_text
from tests.report.test_html import IMAGE, NOISE, document, drifted, held

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=f"{WHY_NOT}: the page is not driven")

EVIL = "<img src=x onerror=document.title='pwned'></script><script>alert(1)</script>"
SUITE = """
    @pytest.mark.repro
    def test_image(repro_generator, repro_check):
        image = repro_generator.random((2, 16, 16, 3))
        image[1, 3:6] += {moved}
        repro_check(image, name="image")
        repro_check(image[0], name="image that stayed")

    @pytest.mark.repro
    def test_array(repro_generator, repro_check):
        repro_check(repro_generator.standard_normal((7, 300)) * (1 + {moved}), name="array")

    @pytest.mark.repro
    def test_nan(repro_generator, repro_check):
        value = repro_generator.standard_normal((4, 4))
        value[0, 0] = np.nan if {moved} else 0.0
        repro_check(value, name={evil!r})

    @pytest.mark.repro
    def test_many(repro_check):
        for number in range(220):
            repro_check(np.full(2, number), name=f"exact {{number}}")
"""
ROWS = "document.querySelectorAll('.row').length"
ACTIVE = "document.activeElement"
DETAIL = "document.querySelector('.detail')"


@pytest.fixture
def page(project):
    project.write(SUITE.format(moved=0.0, evil=EVIL))
    project.record()
    project.write(SUITE.format(moved=0.25, evil=EVIL))
    ran = project.run("--repro-report=report")
    assert ran.exit_code == 1, ran.text
    return project.folder / "report" / "index.html"


def tab_to(browser, what):
    """Press Tab until the focus is on what a selector says; at most a screenful of times."""
    for _ in range(20):
        browser.press(TAB)
        if browser.run(f"{ACTIVE}.matches({what!r})"):
            return
    pytest.fail(f"no Tab leads to {what}; the focus is on {browser.run(ACTIVE + '.outerHTML')}")


@pytest.mark.parametrize("options", [(), ("--force-dark-mode",)], ids=["light", "dark"])
def test_a_reviewer_finds_looks_and_accepts_by_keyboard_alone(project, page, options):
    with Browser(project.folder, *options) as browser:
        browser.open(page)
        is_dark = browser.run("matchMedia('(prefers-color-scheme: dark)').matches")
        assert is_dark == bool(options)
        assert browser.run("document.querySelector('h1').innerText") == "3 of 224 checks drifted"
        assert browser.run(ROWS) == 6  # three that drifted, and three of the exact ones
        browser.press("/")
        browser.press("image")
        assert browser.run(ROWS) == 2
        tab_to(browser, ".row")
        browser.press(ENTER)
        shown = browser.run(f"{DETAIL}.innerText")
        for words in ("image 1 of 2", "rel_l2", "random(2, 16, 16, 3)"):
            assert words in shown
        labels = f"[...{DETAIL}.querySelectorAll('canvas')].map((one) => one.dataset.label)"
        assert browser.run(labels) == ["baseline", "observed", "difference"]
        tab_to(browser, ".amplify")
        browser.press(RIGHT * 4)
        assert "and more; the largest is 0.25" in browser.run(f"{DETAIL}.innerText")
        tab_to(browser, ".stage")
        browser.press("2")
        assert browser.run(f"{DETAIL}.querySelector('.stage').dataset.mode") == "overlay"
        tab_to(browser, "aside .copy")
        tab_to(browser, "aside .copy")
        command = browser.run(f"{DETAIL}.querySelectorAll('.command')[1].textContent")
        browser.press("k")
        assert browser.run(f"{ACTIVE}.matches('.row[aria-expanded=true]')")
        browser.press(ENTER)
        assert browser.run(f"{DETAIL} === null")
        browser.press(DOWN)
        assert "stayed" in browser.run(f"{ACTIVE}.textContent")
        browser.press("k", holding=CONTROL)  # the browser's own key, not ours
        assert "stayed" in browser.run(f"{ACTIVE}.textContent")
        assert browser.complaints() == []
    shell = f'pytest-repro() {{ "{sys.executable}" -m pytest_repro.cli "$@"; }}\n{command}'
    done = subprocess.run(
        ["bash", "-c", shell], cwd=project.folder, capture_output=True, text=True, check=False
    )
    assert "1 check accepted" in done.stdout, done.stdout + done.stderr
    after = project.run()
    assert after.verdicts["test_image::image"] == "exact"
    assert after.verdicts["test_array::array"] == "drift"


def test_everything_is_found_filtered_and_sorted_and_nothing_of_a_test_is_run(project, page):
    with Browser(project.folder) as browser:
        browser.open(page)
        first = "document.querySelector('.row').innerText"
        assert "<img src=x" in browser.run(first)  # NaN stands before every distance
        browser.press("j")
        browser.press(ENTER)
        shown = browser.run(f"{DETAIL}.innerText")
        assert "NaN or infinite on one side only" in shown
        assert "1 place differs, first (0, 0): baseline 0.0, observed nan" in shown
        tab_to(browser, "details > summary")
        browser.press("j", ENTER)
        assert "rows: 7, columns: 300" in browser.run("document.body.innerText")
        assert browser.run("document.querySelectorAll('.scale .colours').length") == 1
        for field, word, count in (("verdict", "drift", 3), ("cause", "code", 3)):
            browser.run(f"document.getElementById({field!r}).focus()")
            browser.press(word)
            assert browser.run(ROWS) == count
            browser.press(HOME)
        assert browser.run(ROWS) == 6
        browser.run("document.querySelector('.fold').focus()")
        browser.press(ENTER)
        assert browser.run(ROWS) > 190
        browser.run("document.getElementById('more').focus()")
        browser.press(ENTER)
        assert browser.run(ROWS) == 224
        browser.run("document.getElementById('sort').focus()")
        browser.press("rel")
        assert browser.run("document.getElementById('sort').value") == "far"
        assert "test_nan" in browser.run(first)
        assert browser.run("document.title") == "3 of 224 checks drifted"
        # One file: the pictures stand in it, and nothing else was fetched.
        loaded = "performance.getEntriesByType('resource').map((one) => one.name.slice(0, 5))"
        assert set(browser.run(loaded)) <= {"data:"}
        assert browser.complaints() == []


def test_of_five_thousand_drifts_something_is_painted_within_a_second(tmp_path):
    leaves, tensors = held(IMAGE, IMAGE + NOISE.random(IMAGE.shape, dtype=np.float32))
    checks = [drifted(number, leaves=leaves) for number in range(5000)]
    page = tmp_path / "index.html"
    page.write_text(page_text(document(checks), tensors), encoding="utf-8")
    painted_ms = []
    for number in range(3):  # the best of three: the machine may be busy with something else
        (tmp_path / str(number)).mkdir()
        with Browser(tmp_path / str(number)) as browser:
            browser.open(page)
            painted_ms.append(browser.run("performance.getEntriesByType('paint')[0].startTime"))
    assert min(painted_ms) < 1000, painted_ms


@pytest.mark.parametrize("options", [(), ("--force-dark-mode",)], ids=["light", "dark"])
def test_the_matrix_can_be_read_light_and_dark(tmp_path, options):
    fill(tmp_path)
    policy = "schema: 1\nrules:\n  - check: '*image'\n    tolerance: exact\n    reason: x\n"
    (tmp_path / "baselines" / "policy.yaml").write_text(policy)
    page = tmp_path / "matrix.html"
    assert run(tmp_path, "matrix", "--far", "--html", str(page)) == 0
    assert 'drift" title' in page.read_text()
    with Browser(tmp_path, *options) as browser:
        browser.open(page)
        ratio, text = browser.least_contrast()
        assert ratio >= 4.5, text  # WCAG 2.1, level AA
        # The control: dark on dark, or light on light, is seen.
        faint = "document.querySelector('h1').style.color = 'rgb(121, 121, 121)'"
        browser.run(faint)
        assert browser.least_contrast()[0] < 4.5
        assert browser.complaints() == []

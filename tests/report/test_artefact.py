"""report.json and the summary: what they say, that equal runs give equal texts, what is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from pytest_repro.errors import CorruptBaseline, NewerSchema
from pytest_repro.model.baseline import ToleranceUse
from pytest_repro.model.ids import CheckId, EnvironmentKey
from pytest_repro.model.outcome import Outcome, Reference
from pytest_repro.model.words import Cause, Distance, Gate, Verdict
from pytest_repro.report.document import SCHEMA, Entry, entries_from, read_report, report_text
from pytest_repro.report.summary import summary_text

KEY = EnvironmentKey("cpu-x86_64-avx2-2c", "numpy-1.26.4")


def outcome(name="value", verdict=Verdict.DRIFT, share=1.5, **more):
    return Outcome(
        check=CheckId("tests/test_x.py", "test_x[a|b]", name),
        verdict=verdict,
        gate=Gate.TOLERANCE,
        reference=Reference(KEY, Distance.RELEASE, "baselines/x.yaml"),
        uses=(ToleranceUse("max_ulp", 3.0, 2.0, share),),
        **more,
    )


def text_of(outcomes, **more):
    parts = {"tool": "pytest-repro 0", "made_at": "2026-01-02T03:04:05Z", "files": {}} | more
    return report_text(entries_from(outcomes, (), str(KEY)), {}, **parts)


def test_a_report_is_read_back_as_it_was_written():
    read = read_report(text_of([outcome()], notes=["one"]), where="r")
    assert (read.tool, read.made_at) == ("pytest-repro 0", "2026-01-02T03:04:05Z")
    (entry,) = read.document["checks"]
    assert entry["check"] == "tests/test_x.py::test_x[a|b]::value"
    assert (entry["verdict"], entry["share"], entry["distance"]) == ("drift", 1.5, "release")
    assert read.document["schema"] == SCHEMA
    assert read.kept == ()  # nothing was kept, so nothing can be accepted


def test_the_order_of_the_tests_does_not_change_the_text():
    two = [outcome("a"), outcome("b", Verdict.EXACT)]
    assert text_of(two) == text_of(two[::-1])
    assert text_of(two) != text_of(two[:1])


def test_infinity_is_a_text_that_every_json_reader_accepts():
    text = text_of([outcome(share=float("inf"))])
    assert (
        json.loads(text, parse_constant=lambda _: pytest.fail("not JSON"))["checks"][0]["share"]
        == "inf"
    )


@pytest.mark.parametrize("position", range(0, 600, 37))
def test_any_changed_character_is_seen(position):
    text = text_of([outcome()])
    position %= len(text)
    changed = text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :]
    if json_or_none(changed) != json.loads(text):
        with pytest.raises(CorruptBaseline):
            read_report(changed, where="r")


def json_or_none(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def test_a_deeply_nested_text_is_refused_and_not_a_crash():
    with pytest.raises(CorruptBaseline):
        read_report("[" * 100_000, where="r")


def test_a_newer_schema_is_refused_before_its_digest_is_looked_at():
    document = json.loads(text_of([outcome()])) | {"schema": SCHEMA + 1}
    with pytest.raises(NewerSchema):
        read_report(json.dumps(document), where="r")


def test_the_summary_names_failures_fallbacks_and_idle_tests():
    entries = entries_from(
        [outcome("a", detail=("because",)), outcome("b", Verdict.WITHIN)], (), str(KEY)
    )
    text = summary_text(entries, ["tests/test_y.py::test_idle"])
    assert "**2 checks**: 1 within, 1 drift" in text
    assert text.count("| drift |") == 1
    assert "because" in text
    assert "2 compared with" in text
    assert "checked nothing" in text
    assert "| within |" not in text


def test_nothing_in_an_id_becomes_markdown_or_html_or_another_row():
    evil = "a|b`<img src=x>\n| exact | | forged |"
    text = summary_text(entries_from([outcome(detail=(evil,))], (), str(KEY)), [])
    (row,) = (line for line in text.splitlines() if line.startswith("| drift"))
    assert "<img" not in row.replace("\\<img", "")
    assert "\\|" in row
    assert not any(line.startswith("| exact") for line in text.splitlines())


def test_equal_failures_are_one_row_and_every_check_is_counted():
    same = [outcome(f"image {number}", detail=("the same",)) for number in range(30)]
    text = summary_text(entries_from([*same, outcome("x", detail=("another",))], (), str(KEY)), [])
    rows = [line for line in text.splitlines() if line.startswith("| drift")]
    assert len(rows) == 2
    assert "and 29 more" in rows[0]
    assert "**31 checks**: 31 drift" in text
    assert "key: " in text


def _schema():
    path = Path(__file__).parents[2] / "docs" / "report.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_report_follows_the_published_schema():
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(text_of([outcome(detail=("because",)), outcome("b", Verdict.WITHIN)]))
    jsonschema.validate(document, _schema())
    for name, wrong in (("verdict", "wrong"), ("gate", 1), ("surplus", "field")):
        changed = {**document, "checks": [{**document["checks"][0], name: wrong}]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, _schema())


def test_the_schema_knows_every_field_and_word():
    known = _schema()["$defs"]["check"]["properties"]
    assert {one.name for one in fields(Entry)} == set(known)
    for name, words in (
        ("verdict", Verdict),
        ("gate", Gate),
        ("cause", Cause),
        ("distance", Distance),
    ):
        assert {str(word) for word in words} <= set(known[name]["enum"])
    assert _schema()["properties"]["schema"] == {"const": SCHEMA}

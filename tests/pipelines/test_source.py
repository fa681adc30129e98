from __future__ import annotations

from pathlib import Path

import pytest

from pytest_repro.errors import SettingError
from pytest_repro.pipelines.source import SourceKind, parse_source

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("seeded", SourceKind.SEEDED),
        ("hub", SourceKind.HUB),
        (f"hub@{COMMIT}", SourceKind.HUB),
        ("./hub", SourceKind.FOLDER),
        ("models/seeded", SourceKind.FOLDER),
    ],
)
def test_text_names_one_kind_of_source(text, kind):
    assert parse_source(text).kind is kind


def test_folder_keeps_its_path():
    assert parse_source(" models/ddim ").folder == Path("models/ddim")


def test_pin_of_a_repository_goes_before_a_pin_of_any():
    source = parse_source(f"hub@{COMMIT},google/ddpm-cifar10-32={OTHER}")
    assert source.pinned("google/ddpm-cifar10-32", "") == OTHER
    assert source.pinned("kakaobrain/karlo-v1-alpha", "") == COMMIT
    assert parse_source("hub").pinned("kakaobrain/karlo-v1-alpha", "own") == "own"


def test_source_reads_back_from_its_own_text():
    for text in ("seeded", "hub", f"hub@{COMMIT}", f"hub@a/b={COMMIT},{OTHER}", "some/folder"):
        assert str(parse_source(text)) == text


@pytest.mark.parametrize(
    "pin", ["main", "", COMMIT[:7], COMMIT.upper(), f"a={COMMIT}", f"{COMMIT},"]
)
def test_what_can_move_is_no_pin(pin):
    with pytest.raises(SettingError, match="not a pinned revision"):
        parse_source(f"hub@{pin}")


def test_empty_text_is_refused():
    with pytest.raises(SettingError, match="empty"):
        parse_source("  ")

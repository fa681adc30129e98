"""`--repro-devices`: what a list means, who gets what, and what is refused."""

from __future__ import annotations

import pytest

from pytest_repro.environment.devices import Share, cores_of, ranges_text, shares_of_workers
from pytest_repro.errors import SettingError, UsageError
from pytest_repro.settings import parse_devices


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", ()),
        ("0", (0,)),
        ("0-7", tuple(range(8))),
        ("4,0-1", (4, 0, 1)),
        (" 0 , 2 - 3 ", (0, 2, 3)),
        ("0-1023", tuple(range(1024))),
        ("2000-2001", (2000, 2001)),
    ],
)
def test_a_list_of_devices_is_read_in_its_order(text, numbers):
    assert parse_devices(text) == numbers


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("0,0", "device 0 is named twice"),
        ("0-3,2", "device 2 is named twice"),
        ("7-0", "goes down"),
        ("-1", "neither a number nor a range"),
        ("0-", "neither"),
        ("0,,1", "neither"),
        ("all", "neither"),
        ("1.5", "neither"),
        ("\u0661", "neither"),  # a digit, but not one of ours
        ("0-1024", "more than 1024"),
        ("0-999999999", "more than 1024"),
    ],
)
def test_a_wrong_list_is_refused_with_its_reason(text, word):
    with pytest.raises(SettingError, match="--repro-devices") as error:
        parse_devices(text)
    assert word in str(error.value)


def test_workers_of_one_host_have_different_devices_and_hosts_start_anew():
    shares = shares_of_workers((4, 5), ["a", "b", "a", "b"])
    assert [(one.device, one.position) for one in shares] == [(4, 0), (4, 0), (5, 1), (5, 1)]
    assert {one.count for one in shares} == {2}


def test_more_workers_than_devices_are_refused():
    assert len(shares_of_workers((0, 1), ["a", "a"])) == 2
    with pytest.raises(UsageError, match="3 workers and 2 devices"):
        shares_of_workers((0, 1), ["a", "a", "a"])


def test_every_share_has_equally_many_cores_and_none_has_another_s():
    shares = [Share(n, n, 3) for n in range(3)]
    found = [cores_of(one, (0, 1, 2, 3, 8, 9, 10)) for one in shares]
    assert found == [(0, 1), (2, 3), (8, 9)]
    with pytest.raises(UsageError, match="2 cores cannot be divided among 3"):
        cores_of(shares[0], (0, 1))


def test_a_share_survives_its_text():
    share = Share(5, 1, 8)
    assert Share.from_text(str(share)) == share


def test_ranges_are_written_shortly():
    assert ranges_text((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"

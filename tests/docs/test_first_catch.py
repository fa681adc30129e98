"""What the README says of the recorded baselines is what the matrix says of them."""

from __future__ import annotations

import json

import pytest

from pytest_repro.cli import main
from tests.docs.pages import ROOT

OLDER, NEWER = ("mindspore-2.7.0", "mindspore-2.8.0"), ("mindspore-2.9.0", "mindspore-2.10.0")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    file = tmp_path_factory.mktemp("matrix") / "matrix.json"
    assert main(["matrix", "--far", "--root", str(ROOT), "--json", str(file)]) == 0
    return json.loads(file.read_text())


def test_which_versions_agree_bitwise(matrix):
    for pair in matrix["pairs"]:
        (hardware, version), (other, newer) = (
            pair[side].split("/") for side in ("first", "second")
        )
        if hardware != other or "~" in version + newer:
            continue  # a suffix: composed operators of another mindone, which share no check
        together = {version, newer} in ({*OLDER}, {*NEWER})
        agree = pair["exact"] == pair["shared"]
        # With 512 KiB of L2 cache per core, SSE41 agrees over all releases.
        assert agree is (together or hardware == "cpu-x86_64-sse41-2c-l2_512k"), pair
        assert pair["shared"] > 0


def test_simd_levels_agree_on_no_check(matrix):
    def simd(key):
        return key.split("/")[0].rsplit("-", 2)[0]

    across = [one for one in matrix["pairs"] if simd(one["first"]) != simd(one["second"])]
    assert len(across) > 50
    assert not any(one["exact"] for one in across)


def test_no_two_keys_are_farther_apart_than_the_tolerance(matrix):
    simulated = [one["simulated"] for check in matrix["checks"] for one in check["distances"]]
    assert len(simulated) > 100
    assert set(simulated) == {"within"}

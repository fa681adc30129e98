"""Folders of stored tensors are not collected as tests."""

from __future__ import annotations


def test_folders_of_tensors_are_not_collected_but_a_users_tests_are(pytester):
    tensors = pytester.path / "baselines" / "tensors"
    (tensors / "ab").mkdir(parents=True)
    (tensors / "ab" / "test_hidden.py").write_text("def test_hidden(): pass\n")
    pytester.runpytest_inprocess("-q").assert_outcomes()
    # Two letters for every folder is our layout; anything else makes it the user's.
    (tensors / "mine").mkdir()
    (tensors / "mine" / "test_mine.py").write_text("def test_mine(): pass\n")
    pytester.runpytest_inprocess("-q").assert_outcomes(passed=2)

"""A drift by code in a checkout of git: what was committed then and now."""

from __future__ import annotations

import shutil
import subprocess

import pytest

BODY = """
    @pytest.mark.repro
    def test_blur(repro_generator, repro_check):
        noise = repro_generator.standard_normal(64).astype("float32")
        repro_check((noise[1:] + noise[:-1]) / {divisor}, name="image")
"""


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(project, divisor):
    project.write(BODY.format(divisor=divisor))
    git(project.folder, "add", "test_story.py")
    git(project.folder, "commit", "-q", "-m", f"Divide by {divisor}")
    return git(project.folder, "rev-parse", "HEAD")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_code_is_named_by_its_commits_then_and_now(project):
    git(project.folder, "init", "-q")
    then = commit(project, 2)
    project.record()
    now = commit(project, 2.001)
    committed = project.run().failure
    assert "'image': drift (gate tolerance, cause code)" in committed
    assert f"the code changed: code.commit {then} became {now}" in committed
    assert f"code.commit  then {then}, now {now}" in committed
    assert "code.dirty" not in committed
    project.write(BODY.format(divisor=2.002))
    edited = project.run().failure
    assert "cause code" in edited
    assert "code.dirty  then no, now yes" in edited


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_another_commit_of_the_same_code_is_no_drift(project):
    git(project.folder, "init", "-q")
    commit(project, 2)
    project.record()
    git(project.folder, "commit", "-q", "--allow-empty", "-m", "Say more")
    assert project.run().verdicts == {"test_blur::image": "exact"}
